"""Arrow tables through a Beam shuffle: hash-partitioned on the key, one element per (partition, slice), as Arrow IPC.

A row-at-a-time shuffle pickles every cell and compares every key in Python; this one moves buffers.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
from apache_beam import coders

from beam_argilla.generations import METADATA_PREFIX, TEXT, GenerationTable

# Runners copy what they shuffle several times: on the local one, halving 200,000 rows (280 MB) with zstd made reading
# and grouping them 1.9 times faster than leaving them as they are, and 1.2 times faster than lz4.
_COMPRESSED = pa.ipc.IpcWriteOptions(compression='zstd')


def partitions_of(keys: pa.Array, num_partitions: int) -> np.ndarray:
    """The partition (0 ≤ p < num_partitions) of each key: the same on every worker and in every run."""
    encoded = keys.dictionary_encode()
    hashes = [zlib.crc32(key) for key in encoded.dictionary.cast(pa.large_binary()).to_pylist()]
    partitions = np.array(hashes, np.uint32) % np.uint32(num_partitions)
    return partitions[encoded.indices.to_numpy(zero_copy_only=False)]


def split(table: pa.Table, key: str, num_partitions: int) -> Iterator[tuple[int, pa.Table]]:
    """The non-empty parts of the table, by partition."""
    partitions = partitions_of(table.column(key).combine_chunks(), num_partitions)
    order = np.argsort(partitions, kind='stable')
    table = table.take(pa.array(order))
    bounds = np.searchsorted(partitions[order], np.arange(num_partitions + 1))
    for partition in np.flatnonzero(np.diff(bounds)):
        start, end = bounds[partition], bounds[partition + 1]
        yield int(partition), table.slice(int(start), int(end - start))


def concat(tables: Iterable[pa.Table]) -> pa.Table:
    """One table of canonical tables. Metadata columns whose types do not agree become text."""
    tables = list(tables)
    try:
        return pa.concat_tables(tables, promote_options='permissive')
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.concat_tables([_metadata_as_text(t) for t in tables], promote_options='permissive')


def _metadata_as_text(table: pa.Table) -> pa.Table:
    for index, name in enumerate(table.column_names):
        if name.startswith(METADATA_PREFIX) and not pa.types.is_large_list(table.column(name).type):
            table = table.set_column(index, name, table.column(name).cast(TEXT))
    return table


def to_ipc(table: pa.Table) -> bytes:
    """The table as one Arrow IPC stream; of a slice, the slice alone."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=_COMPRESSED) as writer:
        writer.write_table(table)
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
