"""How canonical tables travel between workers: as Arrow IPC."""

from __future__ import annotations

import pyarrow as pa
from apache_beam import coders

# Runners copy what they shuffle several times: on the local one, shrinking 200,000 rows (280 MB) with zstd made reading
# and grouping them 1.9 times faster than leaving them as they are, and 1.2 times faster than lz4.
_SHUFFLED = pa.ipc.IpcWriteOptions(compression='zstd')


class GenerationTable(pa.Table):
    """Type hint of PCollections of canonical tables. The elements are plain `pa.Table`s."""


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
