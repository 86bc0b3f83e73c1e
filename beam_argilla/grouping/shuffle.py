"""Arrow tables through a Beam shuffle: hash-partitioned on the key, one element per (partition, slice).

A slice travels as Arrow IPC, or, where there is a place to spill, stays in a file and only its address travels (see
`spilling`): then the runner holds 100 bytes per slice, whatever the input. A row-at-a-time shuffle would pickle every
cell.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from apache_beam import coders

from beam_argilla.generations import GenerationTable

# Runners copy what they shuffle several times: on the local one, shrinking 200,000 rows (280 MB) with zstd made reading
# and grouping them 1.9 times faster than leaving them as they are, and 1.2 times faster than lz4.
_SHUFFLED = pa.ipc.IpcWriteOptions(compression='zstd')


def partitions_of(keys: pa.Array, num_partitions: int) -> np.ndarray:
    """The partition (0 ≤ p < num_partitions) of each key: the same on every worker and in every run."""
    encoded = keys.dictionary_encode()
    hashes = [zlib.crc32(key) for key in encoded.dictionary.cast(pa.large_binary()).to_pylist()]
    partitions = np.array(hashes, np.uint32) % np.uint32(num_partitions)
    return partitions[encoded.indices.to_numpy(zero_copy_only=False)]


def split(table: pa.Table, key: str, num_partitions: int) -> Iterator[tuple[int, pa.Table]]:
    """The non-empty parts of the table, by partition. `take` is fastest on a table of one chunk."""
    partitions = partitions_of(table.column(key).combine_chunks(), num_partitions)
    order = np.argsort(partitions, kind='stable')
    table = table.take(pa.array(order))
    bounds = np.searchsorted(partitions[order], np.arange(num_partitions + 1))
    for partition in np.flatnonzero(np.diff(bounds)):
        start, end = bounds[partition], bounds[partition + 1]
        yield int(partition), table.slice(int(start), int(end - start))


def to_ipc(table: pa.Table) -> bytes:
    """The table as one Arrow IPC stream; of a slice, the slice alone."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=_SHUFFLED) as writer:
        writer.write_table(table.combine_chunks())  # small buffers are compressed badly
    return sink.getvalue().to_pybytes()


def from_ipc(stream: bytes) -> pa.Table:
    """The table of an Arrow IPC stream, without a copy of the data."""
    return pa.ipc.open_stream(pa.py_buffer(stream)).read_all()


class TableCoder(coders.Coder):
    """Tables as Arrow IPC wherever a runner moves them. It knows their size, which Beam would pickle them to learn."""

    def encode(self, value: pa.Table) -> bytes:
        return to_ipc(value)

    def decode(self, encoded: bytes) -> pa.Table:
        return from_ipc(encoded)

    def estimate_size(self, value: pa.Table) -> int:
        return value.nbytes

    def is_deterministic(self) -> bool:
        return False  # as keys: equal tables may be chunked differently

    def to_type_hint(self) -> type:
        return GenerationTable


coders.registry.register_coder(GenerationTable, TableCoder)
