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

from beam_argilla.coding import to_ipc


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


def slices(table: pa.Table, key: str, num_partitions: int) -> list[tuple[int, bytes]]:
    """(partition, its part of the table), as it travels."""
    return [(partition, to_ipc(part)) for partition, part in split(table, key, num_partitions)]
