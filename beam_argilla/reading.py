"""The way in: Parquet files, or a PCollection of tables or rows, → canonical tables."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io import fileio
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.metrics import Metrics
from apache_beam.utils.windowed_value import WindowedValue

from beam_argilla._fallible import Fallible, Refused, refuse
from beam_argilla.errors import InputError
from beam_argilla.formats import check_columns, from_rows, is_wide, to_canonical
from beam_argilla.generations import Columns, GenerationTable

# Uncompressed bytes that one worker reads in one go, and that one table holds. A footer read per 64 MB does not
# count; a few tables of 16 MB fit any worker.
_SPLIT_BYTES = 64 << 20
_BATCH_BYTES = 16 << 20
_READ_BUFFER_BYTES = 4 << 20  # a column chunk is streamed: one giant row group need not fit in memory
_MAX_ROWS = 2_000  # of rows (dicts and the like) in one table


class ReadGenerations(Fallible):
    """Reads Parquet files on any Beam file system, long or wide; see `Columns`.

    Output: PCollection of canonical tables of at most about 16 MB. Only the columns needed are read.

    What cannot be used of the rows goes to the error handler of `with_error_handler`; without one the pipeline fails.

    Args:
        patterns: a file pattern, or several.
        columns: what the input calls its columns.
        validate: look at the files while the pipeline is built, to tell of a mistake at once and to see whether the
            input is wide. False: for files that do not exist yet, or cannot be seen from here.

    Raises:
        InputError: a pattern matches no file, or the first file is not Parquet or lacks a column.
    """

    def __init__(self, patterns: str | Sequence[str], columns: Columns | None = None, validate: bool = True):
        super().__init__()
        self.patterns = [patterns] if isinstance(patterns, str) else list(patterns)
        self.columns = columns or Columns()
        if not self.patterns:
            raise InputError('No input: name at least one file pattern.')
        self.schema = _schema(self.patterns, self.columns) if validate else None

    def expand(self, pbegin: beam.pvalue.PBegin) -> beam.PCollection:
        tables = (
            pbegin
            | 'Patterns' >> beam.Create(self.patterns)
            | 'Match' >> fileio.MatchAll(fileio.EmptyMatchTreatment.DISALLOW)
            | 'Row groups' >> beam.ParDo(_RowGroups())
            | 'Spread' >> beam.Reshuffle()
            | 'Read' >> beam.ParDo(_ReadRowGroups(self.columns.to_read())).with_output_types(GenerationTable)
            | 'Format' >> FormatGenerations(self.columns).with_error_handler(self._error_handler)
        )
        # GroupGenerations leaves out its shuffle if it sees this.
        tables.groups_are_whole = self.schema is not None and is_wide(self.schema, self.columns)
        return tables

    def display_data(self) -> dict[str, Any]:
        return {'patterns': ', '.join(self.patterns), 'columns': str(self.columns)}


class FormatGenerations(Fallible):
    """Makes canonical tables of a user's elements: `pa.Table`, `pa.RecordBatch`, dict, `beam.Row` or NamedTuple.

    Rows are put into tables bundle by bundle and window by window.
    """

    def __init__(self, columns: Columns | None = None):
        super().__init__()
        self.columns = columns or Columns()

    def expand(self, elements: beam.PCollection) -> beam.PCollection:
        formatted = elements | beam.ParDo(_Format(self.columns)).with_outputs(Refused.TAG, main='tables')
        self.refuse(formatted[Refused.TAG])
        formatted.tables.element_type = GenerationTable
        return formatted.tables

    def display_data(self) -> dict[str, Any]:
        return {'columns': str(self.columns)}


class _RowGroupRange(NamedTuple):
    path: str
    first: int
    end: int


class _RowGroups(beam.DoFn):
    """File → ranges of row groups of about _SPLIT_BYTES."""

    def process(self, file: Any) -> Iterator[tuple[str, int, int]]:
        FileSystems.report_source_lineage(file.path)
        with _parquet(file.path) as parquet:
            meta = parquet.metadata
            first, size = 0, 0
            for index in range(meta.num_row_groups):
                size += meta.row_group(index).total_byte_size
                if size >= _SPLIT_BYTES or index == meta.num_row_groups - 1:
                    yield _RowGroupRange(file.path, first, index + 1)
                    first, size = index + 1, 0


class _ReadRowGroups(beam.DoFn):
    """Range of row groups → tables of about _BATCH_BYTES, of the columns that are there of those wanted."""

    def __init__(self, columns: Sequence[str]):
        self._columns = columns

    def process(self, element: tuple[str, int, int]) -> Iterator[pa.Table]:
        path, first, end = element
        with _parquet(path) as parquet:
            groups = [parquet.metadata.row_group(i) for i in range(first, end)]
            num_rows = sum(g.num_rows for g in groups)
            row_bytes = sum(g.total_byte_size for g in groups) / max(num_rows, 1)
            batch_size = int(min(max(_BATCH_BYTES / max(row_bytes, 1), 1), 1 << 16))
            present = [name for name in self._columns if name in parquet.schema_arrow.names]
            try:
                for batch in parquet.iter_batches(batch_size, row_groups=range(first, end), columns=present):
                    Metrics.counter('beam_argilla', 'rows_read').inc(batch.num_rows)
                    yield pa.Table.from_batches([batch])
            except (pa.ArrowException, OSError) as e:
                raise InputError(f'{path} cannot be read as Parquet (row groups {first} to {end - 1}): {e}') from e


class _Format(beam.DoFn):
    """The user's elements → canonical tables; rows are buffered until a table is worth it."""

    def __init__(self, columns: Columns):
        self._columns = columns

    def start_bundle(self) -> None:
        self._rows: dict[Any, list[Any]] = {}
        self._timestamps: dict[Any, Any] = {}

    def process(
        self, element: Any, window: Any = beam.DoFn.WindowParam, timestamp: Any = beam.DoFn.TimestampParam
    ) -> Iterator[Any]:
        if isinstance(element, pa.RecordBatch):
            element = pa.Table.from_batches([element])
        if isinstance(element, pa.Table):
            formatted = to_canonical(element, self._columns)
            yield from map(refuse, formatted.failed)
            if formatted.table.num_rows:
                yield formatted.table
            return
        buffered = self._rows.setdefault(window, [])
        buffered.append(element)
        self._timestamps[window] = max(timestamp, self._timestamps.get(window, timestamp))
        if len(buffered) >= _MAX_ROWS:
            yield from self._flush(window)

    def finish_bundle(self) -> Iterator[Any]:
        for window in list(self._rows):
            yield from self._flush(window)

    def _flush(self, window: Any) -> Iterator[Any]:
        stamp = WindowedValue(None, self._timestamps[window], (window,))
        formatted = from_rows(self._rows.pop(window), self._columns)
        yield from (refuse(failed, stamp) for failed in formatted.failed)
        if formatted.table.num_rows:
            yield stamp.with_value(formatted.table)


@contextlib.contextmanager
def _parquet(path: str) -> Iterator[pq.ParquetFile]:
    """An open Parquet file of any Beam file system."""
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
        try:
            parquet = pq.ParquetFile(file, buffer_size=_READ_BUFFER_BYTES)
        except (pa.ArrowException, OSError) as e:
            raise InputError(f'{path} cannot be read as Parquet: {e}') from e
        yield parquet


def _schema(patterns: Sequence[str], columns: Columns) -> pa.Schema:
    """The schema of the first file, once it is known that every pattern matches and the columns are there."""
    matched = FileSystems.match(patterns)
    for pattern, result in zip(patterns, matched, strict=True):
        if not result.metadata_list:
            hint = '' if '*' in pattern else ' To read the files of a folder, write FOLDER/*.parquet.'
            raise InputError(f'No file matches {pattern!r}.{hint}')
    path = matched[0].metadata_list[0].path
    with _parquet(path) as parquet:
        schema = parquet.schema_arrow
    try:
        check_columns(schema, columns)
    except InputError as e:
        raise InputError(f'{path}: {e}') from None
    return schema
