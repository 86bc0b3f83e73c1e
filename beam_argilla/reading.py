"""The way in: Parquet files, or a PCollection of tables or rows, → canonical tables."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from apache_beam.io import fileio
from apache_beam.io.filesystem import BeamIOError
from apache_beam.io.filesystems import FileSystems
from apache_beam.metrics import Metrics
from apache_beam.utils.windowed_value import WindowedValue

from beam_argilla._fallible import NAMESPACE, Fallible, Refused, refuse
from beam_argilla._files import open_file
from beam_argilla.errors import BrokenPromiseError, InputError
from beam_argilla.failures import FailedRecord, failed_rows, to_json
from beam_argilla.formats import check_columns, from_rows, instruction_ids, is_wide, to_canonical
from beam_argilla.generations import (
    GROUPED,
    Columns,
    GenerationTable,
    InputFacts,
    group_starts,
    is_grouped,
    rows,
    run_starts,
)

# Uncompressed bytes that one worker reads in one go, and that one table holds. A footer read per 64 MB does not
# count; a few tables of 16 MB fit any worker.
_SPLIT_BYTES = 64 << 20
_BATCH_BYTES = 16 << 20
_READ_BUFFER_BYTES = 4 << 20  # a column chunk is streamed: one giant row group need not fit in memory
_MAX_BATCH_ROWS = 1 << 13  # dictionary-encoded, many rows of a long prompt look small
_MAX_ROWS = 2_000  # of rows (dicts and the like) in one table


class ReadGenerations(Fallible):
    """Reads Parquet files on any Beam file system, long or wide; see `Columns`.

    Output: PCollection of canonical tables of at most about 16 MB. Only the columns needed are read.

    What cannot be used of the rows goes to the error handler of `with_error_handler`; without one the pipeline fails.

    Args:
        patterns: a file pattern, or several.
        columns: what the input calls its columns.
        clustered: the rows of each group are adjacent in one file, so long input needs no shuffle either. Files are
            then read from end to end, side by side. A promise that is not kept fails the pipeline.
        on_bad_file: a file that is not Parquet, is damaged or lacks a column. ``fail`` fails the pipeline; ``refuse``
            refuses what cannot be read of it.
        validate: look at the files while the pipeline is built, to tell of a mistake at once, to see whether the input
            is wide, and to learn its size. False: for files that do not exist yet, or cannot be seen from here.

    Raises:
        InputError: a pattern matches no file, or the first file is not Parquet or lacks a column.
        ValueError: an unknown `on_bad_file`.
    """

    def __init__(
        self,
        patterns: str | Sequence[str],
        columns: Columns | None = None,
        clustered: bool = False,
        on_bad_file: str = 'fail',
        validate: bool = True,
    ):
        super().__init__()
        self.patterns = [patterns] if isinstance(patterns, str) else list(patterns)
        self.columns = columns or Columns()
        self.clustered = clustered
        self.on_bad_file = on_bad_file
        if not self.patterns:
            raise InputError('No input: name at least one file pattern.')
        if on_bad_file not in ('fail', 'refuse'):
            raise ValueError(f"on_bad_file={on_bad_file!r}: use 'fail' or 'refuse'")
        self.schema: pa.Schema | None = None
        self.facts = InputFacts(clustered, clustered)
        if validate:
            files = _match(self.patterns)
            self.schema = _schema([f.path for f in files], self.columns, on_bad_file)
            whole = clustered or is_wide(self.schema, self.columns)
            self.facts = InputFacts(whole, clustered, sum(f.size_in_bytes for f in files))

    def expand(self, pbegin: beam.pvalue.PBegin) -> beam.PCollection:
        splits = (
            pbegin
            | 'Patterns' >> beam.Create(self.patterns)
            | 'Match' >> fileio.MatchAll(fileio.EmptyMatchTreatment.DISALLOW)
            | 'Split' >> beam.ParDo(_Split(self.clustered, self.on_bad_file)).with_outputs(Refused.TAG, main='splits')
        )
        read = (
            splits.splits
            | 'Spread' >> beam.Reshuffle()
            | 'Read'
            >> beam.ParDo(_Read(self.columns, self.clustered, self.on_bad_file)).with_outputs(
                Refused.TAG, main='tables'
            )
        )
        facts = self.facts
        if facts.groups_are_whole:  # to see that they are, before any of them is written: the ids alone, read first
            read_ids = beam.ParDo(_ReadIds(self.columns, self.clustered))
            ids = splits.splits | 'Spread ids' >> beam.Reshuffle() | 'Ids' >> read_ids
            facts = facts._replace(ids=ids)
        read.tables.element_type = GenerationTable
        read.tables.input_facts = facts
        self.refuse((splits[Refused.TAG], read[Refused.TAG]) | 'Refused' >> beam.Flatten(), read.tables)
        return read.tables

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
        self.refuse(formatted[Refused.TAG], formatted.tables)
        formatted.tables.element_type = GenerationTable
        return formatted.tables

    def display_data(self) -> dict[str, Any]:
        return {'columns': str(self.columns)}


class _RowGroups(NamedTuple):
    """A part of a file."""

    path: str
    first: int
    end: int


class _Split(beam.DoFn):
    """File → ranges of row groups of about _SPLIT_BYTES; of a clustered file, one range."""

    def __init__(self, clustered: bool, on_bad_file: str):
        self._clustered = clustered
        self._on_bad_file = on_bad_file

    def process(self, file: Any) -> Iterator[Any]:
        FileSystems.report_source_lineage(file.path)
        try:
            with _parquet(file.path) as parquet:
                sizes = [parquet.metadata.row_group(i).total_byte_size for i in range(parquet.metadata.num_row_groups)]
        except InputError as e:
            yield _bad_file(e, file.path, self._on_bad_file)
            return
        first, size = 0, 0
        for index, row_group in enumerate(sizes):
            size += row_group
            last = index == len(sizes) - 1
            if last or (size >= _SPLIT_BYTES and not self._clustered):
                yield _RowGroups(file.path, first, index + 1)
                first, size = index + 1, 0


class _Read(beam.DoFn):
    """Range of row groups → canonical tables of about _BATCH_BYTES."""

    def __init__(self, columns: Columns, clustered: bool, on_bad_file: str):
        self._columns = columns
        self._clustered = clustered
        self._on_bad_file = on_bad_file

    def process(self, row_groups: _RowGroups) -> Iterator[Any]:
        path = row_groups[0]
        outputs = self._canonical(*row_groups)
        if self._clustered:
            outputs = _whole_groups(outputs, path)
        try:
            yield from outputs
        except BrokenPromiseError:
            raise
        except InputError as e:
            yield _bad_file(e, path, self._on_bad_file)

    def _canonical(self, path: str, first: int, end: int) -> Iterator[Any]:
        for table in _batches(path, first, end, self._columns.to_read()):
            Metrics.counter(NAMESPACE, 'rows_read').inc(table.num_rows)
            try:
                formatted = to_canonical(table, self._columns)
            except InputError as e:
                raise InputError(f'{path}: {e}') from e
            yield from map(refuse, formatted.failed)
            # Encoded, 10,000 rows of one long prompt are small; decoded, they are not.
            step = max(1, int(formatted.table.num_rows * _BATCH_BYTES / max(formatted.table.nbytes, 1)))
            wide = is_grouped(formatted.table)  # whose groups must stay in one piece
            for start in range(0, formatted.table.num_rows, formatted.table.num_rows if wide else step):
                yield formatted.table.slice(start, formatted.table.num_rows if wide else step)


class _ReadIds(beam.DoFn):
    """Range of row groups → lists of instruction ids: of wide input each row's, of clustered input each run's."""

    def __init__(self, columns: Columns, clustered: bool):
        self._columns = columns
        self._clustered = clustered

    def process(self, row_groups: _RowGroups) -> Iterator[list[str]]:
        last = None
        try:
            for table in _batches(*row_groups, [self._columns.instruction_id or self._columns.instruction]):
                ids = instruction_ids(table, self._columns)
                if self._clustered:
                    runs = ids.take(pa.array(run_starts(ids))).to_pylist()
                    last, before = ids[-1].as_py(), last
                    yield [i for n, i in enumerate(runs) if i is not None and not (n == 0 and i == before)]
                else:
                    yield ids.drop_null().to_pylist()
        except InputError:
            return  # whoever reads the rows will say so


def _batches(path: str, first: int, end: int, columns: Sequence[str]) -> Iterator[pa.Table]:
    """The row groups in pieces of about _BATCH_BYTES as encoded, of those of the columns that are there.

    Raises:
        InputError: they cannot be read.
    """
    with _parquet(path) as parquet:
        groups = [parquet.metadata.row_group(i) for i in range(first, end)]
        row_bytes = sum(g.total_byte_size for g in groups) / max(sum(g.num_rows for g in groups), 1)
        batch_size = int(min(max(_BATCH_BYTES / max(row_bytes, 1), 1), _MAX_BATCH_ROWS))
        present = [name for name in columns if name in parquet.schema_arrow.names]
        batches = parquet.iter_batches(batch_size, row_groups=range(first, end), columns=present)
        while True:
            try:
                batch = next(batches)
            except StopIteration:
                return
            except (pa.ArrowException, OSError) as e:
                raise InputError(f'{path} cannot be read as Parquet (row groups {first} to {end - 1}): {e}') from e
            yield pa.Table.from_batches([batch])


def _bad_file(error: InputError, path: str, on_bad_file: str) -> beam.pvalue.TaggedOutput:
    if on_bad_file == 'fail':
        raise error
    return refuse(FailedRecord(None, 'format', 'BadFile', str(error), None, to_json({'file': path})))


def _whole_groups(outputs: Iterable[Any], path: str) -> Iterator[Any]:
    """Tables of a clustered file → tables of whole groups: the last group of each waits for the next one's rows."""
    held: pa.Table | None = None
    try:
        for output in outputs:
            if not isinstance(output, pa.Table):
                yield output
                continue
            table = output if held is None else pa.concat_tables([held, output])
            starts = group_starts(table)
            ids = table.column('instruction_id').take(pa.array(starts))
            if len(pc.unique(ids)) < len(starts):
                repeated = next(
                    v['values'] for v in pc.value_counts(ids.combine_chunks()).to_pylist() if v['counts'] > 1
                )
                raise BrokenPromiseError(
                    f'{path} is not clustered: the rows of instruction id {repeated!r} are not adjacent.'
                )
            held = table.slice(starts[-1])
            if starts[-1]:
                yield table.slice(0, starts[-1]).replace_schema_metadata({GROUPED: b'clustered'})
    except InputError as e:
        if held is not None and not isinstance(e, BrokenPromiseError):  # of this group, more may have come
            message = f'The file broke off within this group: {e}'
            yield refuse(failed_rows(rows(held), 'format', 'BadFile', message, held.column(0)[0].as_py()))
        raise
    if held is not None:
        yield held.replace_schema_metadata({GROUPED: b'clustered'})


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
        tables, failed = from_rows(self._rows.pop(window), self._columns)
        yield from (refuse(f, stamp) for f in failed)
        yield from map(stamp.with_value, tables)


@contextlib.contextmanager
def _parquet(path: str) -> Iterator[pq.ParquetFile]:
    """An open Parquet file of any Beam file system.

    Raises:
        InputError: it is not there, or not Parquet.
    """
    try:
        file = open_file(path)
        parquet = pq.ParquetFile(file, buffer_size=_READ_BUFFER_BYTES)
    except (pa.ArrowException, OSError, BeamIOError) as e:
        raise InputError(f'{path} cannot be read as Parquet: {e}') from e
    with file:
        yield parquet


def _match(patterns: Sequence[str]) -> list[Any]:
    """Metadata of the files; every pattern must match some."""
    matched = FileSystems.match(patterns)
    for pattern, result in zip(patterns, matched, strict=True):
        if not result.metadata_list:
            hint = '' if '*' in pattern else ' To read the files of a folder, write FOLDER/*.parquet.'
            raise InputError(f'No file matches {pattern!r}.{hint}')
    return [file for result in matched for file in result.metadata_list]


def _schema(paths: Sequence[str], columns: Columns, on_bad_file: str) -> pa.Schema:
    """The schema of the first file, or of the first that can be read if bad ones are to be refused."""
    for path in paths:
        try:
            return _checked_schema(path, columns)
        except InputError:
            if on_bad_file == 'fail' or path == paths[-1]:
                raise
    raise AssertionError('a pattern matches at least one file')


def _checked_schema(path: str, columns: Columns) -> pa.Schema:
    with _parquet(path) as parquet:
        schema = parquet.schema_arrow
    try:
        check_columns(schema, columns)
    except InputError as e:
        raise InputError(f'{path}: {e}') from None
    return schema
