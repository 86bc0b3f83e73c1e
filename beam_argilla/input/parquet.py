"""Parquet files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from beam_argilla.failures import FailedRecord
from beam_argilla.files import open_file
from beam_argilla.input import kind
from beam_argilla.input.kind import Kind, Part, Piece
from beam_argilla.input.plain import plain
from beam_argilla.input.roles import Wanted
from beam_argilla.input.text_files import TROUBLE
from beam_argilla.input.values import says_nothing

_READ_BUFFER_BYTES = 4 << 20  # a column chunk is streamed: one giant row group need not fit in memory


class Parquet(Kind):
    """Parts are ranges of row groups."""

    name, title, suffixes = 'parquet', 'Parquet', ('.parquet', '.parq', '.pq')

    def schema(self, path: str) -> pa.Schema:
        with self._open(path) as parquet:
            return parquet.schema_arrow

    def says_nothing(self, path: str, name: str) -> bool:
        with self._open(path) as parquet:
            try:
                return name in parquet.schema_arrow.names and _says_nothing(parquet, name)
            except TROUBLE as e:
                raise self.unreadable(path, e) from e

    def parts(self, path: str, whole: bool) -> Iterator[Part]:
        with self._open(path) as parquet:
            groups = [parquet.metadata.row_group(i) for i in range(parquet.metadata.num_row_groups)]
            sizes = [(group.total_byte_size, group.num_rows) for group in groups]
        first = size = row = num_rows = 0
        for index, (group_bytes, group_rows) in enumerate(sizes):
            size += group_bytes
            num_rows += group_rows
            if index == len(sizes) - 1 or (size >= kind.SPLIT_BYTES and not whole):
                yield Part(path, self.name, first, index + 1, row, num_rows)
                first, size, row, num_rows = index + 1, 0, row + num_rows, 0

    def read(self, part: Part, wanted: Wanted) -> Iterator[Piece | FailedRecord]:
        """In pieces of about BATCH_BYTES as encoded."""
        row = part.row
        for batch in self.batches(part, wanted):
            yield Piece(range(row, row + batch.num_rows), batch)
            row += batch.num_rows

    def batches(self, part: Part, wanted: Wanted) -> Iterator[pa.Table]:
        with self._open(part.path) as parquet:
            first, end = part.first, parquet.num_row_groups if part.end is None else part.end
            groups = [parquet.metadata.row_group(i) for i in range(first, end)]
            row_bytes = sum(g.total_byte_size for g in groups) / max(sum(g.num_rows for g in groups), 1)
            batch_size = int(min(max(kind.BATCH_BYTES / max(row_bytes, 1), 1), kind.MAX_BATCH_ROWS))
            names = parquet.schema_arrow.names
            present = [name for name in wanted(names) if name in names] or names[:1]  # to know how many rows there are
            batches = parquet.iter_batches(batch_size, row_groups=range(first, end), columns=present)
            while True:
                try:
                    batch = next(batches)
                except StopIteration:
                    return
                except TROUBLE as e:
                    raise self.unreadable(part.path, f'row groups {first} to {end - 1}: {e}') from e
                yield pa.Table.from_batches([batch])

    @contextlib.contextmanager
    def _open(self, path: str) -> Iterator[pq.ParquetFile]:
        try:
            file = open_file(path)
            parquet = pq.ParquetFile(file, buffer_size=_READ_BUFFER_BYTES)
        except TROUBLE as e:
            raise self.unreadable(path, e) from e
        with file:
            yield parquet


def _says_nothing(parquet: pq.ParquetFile, name: str) -> bool:
    """Whether no row of the file has a value there: by its statistics where they tell, else by its values."""
    footer = parquet.metadata
    paths = [f'{footer.schema.column(i).path}.' for i in range(footer.num_columns)]
    others = [f'{other}.' for other in parquet.schema_arrow.names if other.startswith(f'{name}.')]  # no parts of it
    leaves = [i for i, path in enumerate(paths) if path.startswith(f'{name}.') and not path.startswith(tuple(others))]
    chunks = [footer.row_group(group).column(leaf) for group in range(footer.num_row_groups) for leaf in leaves]
    if chunks and all(c.statistics and c.statistics.has_null_count for c in chunks):
        if all(c.statistics.null_count == c.num_values for c in chunks):
            return True
        if not any(map(_may_be_nan, map(footer.schema.column, leaves))):
            return False
    return bool(chunks) and all(
        says_nothing(plain(batch.column(name))) for batch in parquet.iter_batches(columns=[name])
    )


def _may_be_nan(leaf: pq.ColumnSchema) -> bool:
    """Whether its values are floats, among which NaN is no value, though statistics do not count it as null."""
    return leaf.physical_type in ('FLOAT', 'DOUBLE') or leaf.logical_type.type == 'FLOAT16'
