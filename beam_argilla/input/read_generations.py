"""`ReadGenerations`: Parquet files → canonical tables."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.io.filesystems import FileSystems
from apache_beam.metrics import Metrics

from beam_argilla.coding import GenerationTable
from beam_argilla.columns import Columns
from beam_argilla.errors import BrokenPromiseError, InputError
from beam_argilla.failures import FailedRecord, failed_rows, to_json
from beam_argilla.generations import InputFacts, as_grouped, group_starts, is_grouped, repeated_values, rows, run_starts
from beam_argilla.input import parquet
from beam_argilla.input.layouts import columns_to_read
from beam_argilla.input.matching import matching_files, patterns_of
from beam_argilla.input.parquet import RowGroups, batches, parquet_file, pieces
from beam_argilla.input.schemas import look
from beam_argilla.input.tables import Origin, instruction_ids, to_canonical
from beam_argilla.metrics import NAMESPACE
from beam_argilla.refusing import Fallible, Refused, refuse
from beam_argilla.runners import keep_prism_from_splitting


class ReadGenerations(Fallible):
    """Reads Parquet files on any Beam file system, long or wide; see `Columns`.

    Output: PCollection of canonical tables of at most about 16 MB. Only the columns needed are read. (On Prism, the
    pipeline's bundles are not split, for memory's sake: the experiment ``prism_disable_sdf_split``.)

    What cannot be used of the rows goes to the error handler of `with_error_handler`; without one the pipeline fails.

    Args:
        patterns: a file, a folder (the Parquet files in it and below), a file pattern, or several of them; a file that
            several lead to is read once. Folders on the way that are called ``column=value`` are columns. Brackets
            (on this machine, also ``*`` and ``?``) are taken as they stand where such a file or folder is there.
        columns: what the input calls its columns.
        clustered: the rows of each group are adjacent in one file, so long input needs no shuffle either. Files are
            then read from end to end, side by side. A promise that is not kept fails the pipeline.
        on_bad_file: a file that is not Parquet, is damaged or lacks a column. ``fail`` fails the pipeline; ``refuse``
            refuses what cannot be read of it.
        validate: look at the files' footers while the pipeline is built (side by side; of more than 2,000 files at so
            many of them), to tell of a mistake at once, to see whether the input is wide, and to learn its size and
            types. What differs between files is logged once. False: for files that do not exist yet, or cannot be seen
            from here.

    Attributes:
        metadata_types: name of a column → ``integer``, ``float`` or ``terms``, whatever holds its values in all files;
            None if they were not looked at.
        is_empty: whether it is known that no file has a row.

    Raises:
        InputError: a pattern matches no file, or a file is not Parquet, lacks a column, or has one of a type that can
            never mean what it should.
        ValueError: an unknown `on_bad_file`.

    Example:
        >>> tables = p | ba.ReadGenerations('gs://bucket/generations-*.parquet', ba.Columns(instruction='prompt'))
    """

    def __init__(
        self,
        patterns: str | os.PathLike | Sequence[str | os.PathLike],
        columns: Columns | None = None,
        clustered: bool = False,
        on_bad_file: str = 'fail',
        validate: bool = True,
    ):
        super().__init__()
        self.patterns = patterns_of(patterns)
        self.columns = columns or Columns()
        self.clustered = clustered
        self.on_bad_file = on_bad_file
        if on_bad_file not in ('fail', 'refuse'):
            raise ValueError(f"on_bad_file={on_bad_file!r}: use 'fail' or 'refuse'")
        self.metadata_types: dict[str, str] | None = None
        self.is_empty = False
        self.facts = InputFacts(clustered, clustered, metadata=tuple(self.columns.metadata))
        if validate:
            files = matching_files(self.patterns)
            seen = look([f.path for f in files], self.columns, on_bad_file)
            self.metadata_types = seen.metadata_types
            self.is_empty = seen.is_empty
            num_bytes = sum(f.size_in_bytes for f in files)
            whole = clustered or seen.all_wide
            self.facts = self.facts._replace(groups_are_whole=whole, num_bytes=num_bytes)

    def expand(self, pbegin: beam.pvalue.PBegin) -> beam.PCollection:
        keep_prism_from_splitting(pbegin.pipeline)
        splits = (
            pbegin
            | 'Patterns' >> beam.Create([self.patterns])
            | 'Match' >> beam.FlatMap(lambda patterns: [file.path for file in matching_files(patterns)])
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


class _Split(beam.DoFn):
    """File → ranges of row groups of about SPLIT_BYTES; of a clustered file, one range."""

    def __init__(self, clustered: bool, on_bad_file: str):
        self._clustered = clustered
        self._on_bad_file = on_bad_file

    def process(self, path: str) -> Iterator[Any]:
        FileSystems.report_source_lineage(path)
        try:
            with parquet_file(path) as opened:
                groups = [opened.metadata.row_group(i) for i in range(opened.metadata.num_row_groups)]
                sizes = [(group.total_byte_size, group.num_rows) for group in groups]
        except InputError as e:
            yield _bad_file(e, path, self._on_bad_file)
            return
        first = size = row = num_rows = 0
        for index, (group_bytes, group_rows) in enumerate(sizes):
            size += group_bytes
            num_rows += group_rows
            last = index == len(sizes) - 1
            if last or (size >= parquet.SPLIT_BYTES and not self._clustered):
                yield RowGroups(path, first, index + 1, row)
                first, size, row, num_rows = index + 1, 0, row + num_rows, 0


class _Read(beam.DoFn):
    """Range of row groups → canonical tables of about BATCH_BYTES."""

    def __init__(self, columns: Columns, clustered: bool, on_bad_file: str):
        self._columns = columns
        self._clustered = clustered
        self._on_bad_file = on_bad_file

    def process(self, row_groups: RowGroups) -> Iterator[Any]:
        path = row_groups[0]
        outputs = self._canonical(*row_groups)
        if self._clustered:
            outputs = whole_groups(outputs, path)
        try:
            yield from outputs
        except BrokenPromiseError:
            raise
        except InputError as e:
            yield _bad_file(e, path, self._on_bad_file)

    def _canonical(self, path: str, first: int, end: int, row: int) -> Iterator[Any]:
        for table in batches(path, first, end, columns_to_read(self._columns)):
            Metrics.counter(NAMESPACE, 'rows_read').inc(table.num_rows)
            try:
                formatted = to_canonical(table, self._columns, Origin(path, row))
            except InputError as e:
                raise InputError(f'{path}: {e}') from e
            row += table.num_rows
            yield from map(refuse, formatted.failed)
            if not formatted.table.num_rows:
                continue
            # Encoded, 10,000 rows of one long prompt are small; decoded, they are not. Groups of wide rows stay whole.
            yield from [formatted.table] if is_grouped(formatted.table) else pieces(formatted.table)


class _ReadIds(beam.DoFn):
    """Range of row groups → lists of instruction ids: of wide input each row's, of clustered input each run's."""

    def __init__(self, columns: Columns, clustered: bool):
        self._columns = columns
        self._clustered = clustered

    def process(self, row_groups: RowGroups) -> Iterator[list[str]]:
        last = None
        try:
            for table in batches(*row_groups[:3], [self._columns.instruction_id or self._columns.instruction]):
                ids = instruction_ids(table, self._columns).drop_null()  # whose rows are refused: they part no group
                if self._clustered and len(ids):
                    ids = ids.take(pa.array(run_starts(ids)))
                    ids, last = ids.slice(int(ids[0].as_py() == last)), ids[-1].as_py()
                yield ids.to_pylist()
        except InputError:
            pass  # whoever reads the rows will say so


def _bad_file(error: InputError, path: str, on_bad_file: str) -> beam.pvalue.TaggedOutput:
    if on_bad_file == 'fail':
        raise error
    return refuse(FailedRecord(None, 'format', 'BadFile', str(error), None, to_json({'file': path})))


def whole_groups(outputs: Iterable[Any], path: str) -> Iterator[Any]:
    """Tables of a clustered file → tables of whole groups: the last group of each waits for the next one's rows."""
    held: pa.Table | None = None
    try:
        for output in outputs:
            if not isinstance(output, pa.Table):
                yield output
                continue
            table = output if held is None else pa.concat_tables([held, output])
            starts = group_starts(table)
            repeated = repeated_values(table.column('instruction_id').take(pa.array(starts)).combine_chunks())
            if repeated:
                raise BrokenPromiseError(
                    f'{path} is not clustered: the rows of instruction id {repeated[0]!r} are not adjacent.'
                )
            held = table.slice(starts[-1])
            if starts[-1]:
                yield as_grouped(table.slice(0, starts[-1]))
    except InputError as e:
        if held is not None and not isinstance(e, BrokenPromiseError):  # of this group, more may have come
            message = f'The file broke off within this group: {e}'
            yield refuse(failed_rows(rows(held), 'format', 'BadFile', message, held.column(0)[0].as_py()))
        raise
    if held is not None:
        yield as_grouped(held)
