"""`ReadGenerations`: files → canonical tables."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

import apache_beam as beam
import pyarrow as pa
from apache_beam.io.filesystems import FileSystems

from beam_argilla.coding import GenerationTable
from beam_argilla.columns import Columns, Literal, as_columns
from beam_argilla.errors import BrokenPromiseError, InputError
from beam_argilla.failures import FailedRecord, failed_rows, to_json
from beam_argilla.files import pinned
from beam_argilla.generations import (
    METADATA,
    METADATA_PREFIX,
    as_grouped,
    group_starts,
    is_grouped,
    repeated_values,
    rows,
    run_starts,
)
from beam_argilla.input.canonical import canonical_tables, columns_of_ids, facts_of, instruction_ids
from beam_argilla.input.find_parents import FindParents, Parents, flattened
from beam_argilla.input.join_prompts import JoinPrompts
from beam_argilla.input.kind import Part, pieces
from beam_argilla.input.kinds import check_format, kind_of
from beam_argilla.input.layouts import AUTO, USUAL_PROMPTS, columns_for, layout_of, with_key
from beam_argilla.input.matching import matching_files, patterns_of
from beam_argilla.input.paths import path_to
from beam_argilla.input.roles import columns_to_read
from beam_argilla.input.schemas import look
from beam_argilla.input.sources import read, schema_of
from beam_argilla.input.tables import Origin
from beam_argilla.metrics import count, timed
from beam_argilla.refusing import Collect, Fallible, Refused, refuse
from beam_argilla.runners import keep_prism_from_splitting
from beam_argilla.scale import Scale


class ReadGenerations(Fallible):
    """Reads files on any Beam file system, long or wide; see `Columns`: Parquet, JSON (Lines), CSV, TSV, Arrow IPC.

    Output: PCollection of canonical tables of at most about 16 MB. Only the columns needed are read. (On Prism, the
    pipeline's bundles are not split, for memory's sake: the experiment ``prism_disable_sdf_split``.)

    What cannot be used of the rows goes to the error handler of `with_error_handler`; without one the pipeline fails.

    Args:
        patterns: a file, a folder (the files of these kinds in it and below), a file pattern, or several of them; a
            file that several lead to is read once. Folders on the way that are called ``column=value`` are columns.
            Brackets (on this machine, also ``*`` and ``?``) are taken as they stand where such a file or folder is
            there.
        columns: what the input calls its columns; what is named goes before what the layout says.
        layout: the name of one of `LAYOUTS`; or ``auto``: if no column is named and the usual ones are not there, the
            one that fits (see `ReadGenerations.layout`).
        format: ``parquet``, ``jsonl``, ``json``, ``csv`` or ``arrow``. Default: by the end of each file's name, also
            before ``.gz``, ``.zst`` and ``.bz2``; Parquet, if it says nothing.
        config: of a folder that distilabel saved (`Distiset.save_to_disk`), which configuration, if it has several.
        split: of a folder that datasets saved, which split, if it has several.
        prompts: files of the prompts, where they are not beside the generations (a batch's input, a set of questions).
        prompts_key: the column that says in both which prompt is which. Default: the layout's.
        prompts_column: the column, or path, of the prompts in their files. Default: the layout's, or a usual one.
        source: the name of a metadata column that is to hold the path of the file that a row came from, for inputs of
            which it counts which is which. No column of the files may be called so.
        clustered: the rows of each group are adjacent in one file, so long input needs no shuffle either. Files are
            then read from end to end, side by side. A promise that is not kept fails the pipeline.
        on_bad_file: a file that is not Parquet, is damaged or lacks a column. ``fail`` fails the pipeline; ``refuse``
            refuses what cannot be read of it.
        validate: look at the files' footers while the pipeline is built (side by side; of more than 2,000 files at so
            many of them), to tell of a mistake at once, to see whether the input is wide, and to learn its size and
            types. What differs between files is logged once. False: for files that do not exist yet, or cannot be seen
            from here.

    Attributes:
        columns: what the columns mean, with those that the layout names.
        layout: the `Layout` that was named or recognised; None if the names that were given, or the usual ones, do.
        names: role → the column, path or literal that plays it in the first file; empty if none was looked at.
        metadata_types: name of a column → ``integer``, ``float`` or ``terms``, whatever holds its values in all files;
            None if they were not looked at.
        lists: the columns that are known to hold lists.
        is_empty: whether it is known that no file has a row.
        is_joined: whether the instructions of rows are in other rows or files.

    Raises:
        InputError: a pattern matches no file, or a file is not Parquet, lacks a column, or has one of a type that can
            never mean what it should.
        ValueError: an unknown `on_bad_file` or layout.

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
        layout: str = AUTO,
        format: str | None = None,
        config: str | None = None,
        split: str | None = None,
        prompts: str | os.PathLike | Sequence[str | os.PathLike] | None = None,
        prompts_key: str | None = None,
        prompts_column: str | None = None,
        source: str | None = None,
    ):
        super().__init__()
        self.patterns = patterns_of(patterns)
        self.columns = as_columns(columns)
        self.clustered = clustered
        self.format = format
        self.source = source
        self._choice = (format, config, split)
        check_format(format)
        self.on_bad_file = on_bad_file
        if on_bad_file not in ('fail', 'refuse'):
            raise ValueError(f"on_bad_file={on_bad_file!r}: use 'fail' or 'refuse'")
        self.metadata_types: dict[str, str] | None = None
        self.lists: frozenset[str] = frozenset()
        self.is_empty = False
        self.layout = None if layout == AUTO else layout_of(layout)
        ids_are_texts = self.columns.instruction_id is None
        if prompts is not None and prompts_key is not None:
            self.columns = with_key(self.columns, prompts_key)
        self.names: Mapping[str, str] = {}
        whole, num_bytes = clustered, None
        if validate:
            self.patterns = [pinned(pattern) for pattern in self.patterns]  # what is looked at is what is read
            files = matching_files(self.patterns, *self._choice)
            seen = look([f.path for f in files], self.columns, on_bad_file, layout, format)
            self.columns, self.layout, self.names = seen.columns, seen.layout, seen.names
            self.metadata_types, self.lists = seen.metadata_types, seen.lists
            if source is not None and source in seen.metadata_types:
                raise InputError(f'The files have a column {source!r}: give their paths another name as metadata.')
            self.is_empty = seen.is_empty
            num_bytes = sum(f.size_in_bytes for f in files)
            whole = clustered or seen.all_wide
        elif self.layout is not None:
            self.columns, _ = columns_for([], self.columns, layout)
        self.prompts = self._prompts(prompts, prompts_key, prompts_column)
        self._ratings: Sequence[int] = (1, 2, 3, 4, 5)
        self._by_text = ids_are_texts and (self.layout is None or self.layout.columns.instruction_id is None)
        whole = whole and self.prompts is None and self._parents is None
        self.facts = facts_of(self.columns)._replace(groups_are_whole=whole, clustered=clustered, num_bytes=num_bytes)
        self._carry(self.columns)

    def _prompts(self, prompts: Any, key: str | None, column: str | None) -> ReadGenerations | None:
        """The reader of the prompts, whose ids are the keys."""
        of_layout = None if self.layout is None else self.layout.prompts
        if prompts is None:
            if of_layout is not None:
                raise InputError(
                    f'The prompts of layout {self.layout and self.layout.name!r} are in another file: prompts=..., '
                    '--prompts FILE.'
                )
            return None
        if of_layout is not None:
            key, column = key or of_layout.key, column or of_layout.instruction
        if key is None:
            raise InputError(
                'By which column do prompts and generations belong together? prompts_key=..., --prompts_key NAME.'
            )
        if column is None:
            first = matching_files(patterns_of(prompts))[0].path
            names = schema_of(first).names
            column = next((name for name in USUAL_PROMPTS if path_to(name, names) is not None), USUAL_PROMPTS[0])
        columns = Columns(column, Literal(''), instruction_id=key, chat=self.columns.chat)
        return ReadGenerations(prompts, columns, on_bad_file=self.on_bad_file)

    def carry(self, metadata: Sequence[str], ratings: Sequence[int]) -> None:
        """Reads further columns as metadata, null where a file has none, and puts scores on these ratings.

        Of a layout that was recognised it is known only now what it has. To be called before this is applied.
        """
        more = [name for name in metadata if name != self.source]
        columns = replace(self.columns, metadata=[*self.columns.metadata, *more], lenient=True)
        if isinstance(columns.scale, tuple):
            columns = replace(columns, scale=tuple(replace(scale, to=ratings) for scale in columns.scale))
        elif columns.scale is not None:
            columns = replace(columns, scale=replace(cast(Scale, columns.scale), to=ratings))
        self._ratings = ratings or self._ratings
        self._carry(columns)

    def _carry(self, columns: Columns) -> None:
        self.columns = columns
        self.facts = self.facts._replace(metadata=tuple(self._metadata))

    @property
    def _metadata(self) -> list[str]:
        """The metadata columns of what is read."""
        return [*self.columns.metadata, *([] if self.source is None else [self.source])]

    def expand(self, pbegin: beam.pvalue.PBegin) -> beam.PCollection:
        keep_prism_from_splitting(pbegin.pipeline)
        splits = (
            pbegin
            | 'Patterns' >> beam.Create([self.patterns])
            | 'Match' >> beam.FlatMap(_paths, *self._choice)
            | 'Split'
            >> beam.ParDo(_Split(self.clustered, self.on_bad_file, self.format)).with_outputs(
                Refused.TAG, main='splits'
            )
        )
        read = _Read(self._columns_read(), self.clustered, self.on_bad_file, self._parents, self.source)
        found = (
            splits.splits
            | 'Spread' >> beam.Reshuffle()
            | 'Read' >> beam.ParDo(read).with_outputs(Refused.TAG, main='tables')
        )
        facts = self.facts
        if facts.groups_are_whole:  # to see that they are, before any of them is written: the ids alone, read first
            read_ids = beam.ParDo(_ReadIds(self.columns, self.clustered))
            ids = splits.splits | 'Spread ids' >> beam.Reshuffle() | 'Ids' >> read_ids
            facts = facts._replace(ids=ids)
        refused = [splits[Refused.TAG], found[Refused.TAG]]
        tables = found.tables
        if self.prompts is not None:
            collected = Collect()
            prompts = pbegin | 'Prompts' >> self.prompts.with_error_handler(collected)
            join = JoinPrompts(self._by_text).with_error_handler(collected)
            tables = {'generations': tables, 'prompts': prompts} | 'Join' >> join
            refused += collected.pcollections
        if self._parents is not None:
            collected = Collect()
            find = FindParents(self._parents, self._metadata, self._ratings)
            tables = tables | 'Find parents' >> find.with_error_handler(collected)
            refused += collected.pcollections
        tables.element_type = GenerationTable
        tables.input_facts = facts
        self.refuse(refused | 'Refused' >> beam.Flatten(), tables)
        return tables

    @property
    def is_joined(self) -> bool:
        return self.prompts is not None or self._parents is not None

    @property
    def _parents(self) -> Parents | None:
        return None if self.layout is None else self.layout.parents

    def _columns_read(self) -> Columns:
        """With those that are needed on the way."""
        if self._parents is None:
            return self.columns
        more = [name for name in self._parents.columns if name not in self.columns.metadata]
        return replace(self.columns, metadata=[*self.columns.metadata, *more])

    def display_data(self) -> dict[str, Any]:
        return {'patterns': ', '.join(self.patterns), 'columns': str(self.columns)}


def _paths(patterns: Sequence[str], *choice: str | None) -> list[str]:
    return [file.path for file in matching_files(patterns, *choice)]


class _Split(beam.DoFn):
    """File → its parts; of a clustered file, one."""

    def __init__(self, clustered: bool, on_bad_file: str, format: str | None):
        self._clustered = clustered
        self._on_bad_file = on_bad_file
        self._format = format

    def process(self, path: str) -> Iterator[Any]:
        FileSystems.report_source_lineage(path)
        try:
            for part in kind_of(path, self._format).parts(path, self._clustered):
                count('rows_found', part.num_rows)
                yield part
        except InputError as e:
            yield _bad_file(e, path, self._on_bad_file)


class _Read(beam.DoFn):
    """Part of a file → canonical tables of about BATCH_BYTES."""

    def __init__(
        self,
        columns: Columns,
        clustered: bool,
        on_bad_file: str,
        parents: Parents | None = None,
        source: str | None = None,
    ):
        self._columns = columns
        self._clustered = clustered
        self._on_bad_file = on_bad_file
        self._parents = parents
        self._source = source

    @timed('read')
    def process(self, part: Part) -> Iterator[Any]:
        outputs = self._canonical(part)
        if self._clustered:
            outputs = whole_groups(outputs, part.path)
        try:
            yield from outputs
        except BrokenPromiseError:
            raise
        except InputError as e:
            yield _bad_file(e, part.path, self._on_bad_file)

    def _canonical(self, part: Part) -> Iterator[Any]:
        for piece in read(part, partial(columns_to_read, self._columns)):
            if isinstance(piece, FailedRecord):
                count('rows_read')
                yield refuse(piece)
                continue
            count('rows_read', len(piece.numbers))
            try:
                rows, numbers, columns = piece.rows, piece.numbers, self._columns
                if self._parents is not None and self._parents.tree is not None:
                    dicts = rows.to_pylist() if isinstance(rows, pa.Table) else rows
                    rows, numbers, columns = flattened(dicts, numbers, columns, self._parents)
                tables, failed = canonical_tables(rows, columns, Origin(part.path, numbers))
            except InputError as e:
                raise InputError(f'{part.path}: {e}') from e
            yield from map(refuse, failed)
            for canonical in tables if self._source is None else (self._with_source(t, part.path) for t in tables):
                # Decoded, a long prompt is there once a row, and not once a file. Groups of wide rows stay whole.
                yield from [canonical] if is_grouped(canonical) else pieces(canonical)

    def _with_source(self, table: pa.Table, path: str) -> pa.Table:
        field = pa.field(f'{METADATA_PREFIX}{self._source}', METADATA)
        return table.append_column(field, pa.repeat(pa.scalar([path], METADATA), table.num_rows))


class _ReadIds(beam.DoFn):
    """Part of a file → lists of instruction ids: of wide input each row's, of clustered input each run's."""

    def __init__(self, columns: Columns, clustered: bool):
        self._columns = columns
        self._clustered = clustered

    def process(self, part: Part) -> Iterator[list[str]]:
        last = None
        try:
            for piece in read(part, partial(columns_of_ids, self._columns)):
                if isinstance(piece, FailedRecord):
                    continue
                ids = instruction_ids(
                    piece.rows, self._columns
                ).drop_null()  # whose rows are refused: they part no group
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
