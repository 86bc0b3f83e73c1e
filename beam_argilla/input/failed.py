"""The way back in for what was refused: the files that `WriteFailed` (`--failed`) writes, perhaps repaired."""

from __future__ import annotations

import codecs
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.io.filesystems import FileSystems
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue

from beam_argilla.coding import GenerationTable
from beam_argilla.columns import Columns, as_columns
from beam_argilla.errors import InputError
from beam_argilla.failed_files import SUFFIX, files_to_read
from beam_argilla.failures import FailedRecord, digest, to_json
from beam_argilla.files import identity
from beam_argilla.generations import COLUMNS, METADATA_PREFIX, OPTIONAL, rows
from beam_argilla.input.repairable import unmarked
from beam_argilla.input.rows import MAX_ROWS, from_rows
from beam_argilla.input.view import row_is_wide
from beam_argilla.metrics import count
from beam_argilla.records import Record, Suggestion, record_digest
from beam_argilla.refusing import Fallible, Refused, refuse

_PART = (
    'These rows are a part of a group, and a record of them alone would overwrite the one that the others made. Give '
    'the job its --input as well, so that the group is whole, or repair the input and run the job again.'
)

# Where something of the input is: the file and which of its rows, an instruction id, or a record's external id.
Place = tuple[str, int] | str
Replaced = Mapping[Place, frozenset[str | None]]  # which of what is there, by digest


class ReadFailed(Fallible):
    """Reads files of FailedRecords and makes of each what can be sent again.

    Output: ``records``: PCollection of `Record`; ``tables``: PCollection of canonical tables, to be grouped;
    ``origins``: what of the input all of them take the place of, for `LeaveOutRetried`.

    Args:
        place: what was given to ``--failed`` or `WriteFailed`: a prefix or a folder; or the name of a file.
        columns: what the input called its columns, for rows that were refused as they were read.
        groups_are_whole: whether rows that are a part of a group may be sent: there is no group to overwrite (text
            generation), or the rest of it is read too. A wide row (its generations are a list) is a whole group.
        shuffle: whether wide rows may share an id, as in `GroupGenerations`: then one of them is a part, too.
        joined: the instructions of rows as they were read are elsewhere (prompts in another file, messages that name
            the one that they answer): such rows wait for the input to be repaired, and keep their reason.

    Raises:
        InputError: there is no such file, or no such file system.
        ValueError: the place is empty.

    Example:
        >>> again = p | ba.ReadFailed('gs://bucket/failed', ba.Columns(), groups_are_whole=False)
        >>> again['records'] | ba.WriteRecords('answers', connection=connection)
    """

    def __init__(
        self, place: str, columns: Columns, groups_are_whole: bool, shuffle: bool = False, joined: bool = False
    ):
        super().__init__()
        self.files = files_to_read(place)
        if not self.files:
            raise InputError(
                f'No file matches {place!r}: name a {SUFFIX} file, or the prefix or folder that was given to --failed.'
            )
        self._parse = _Parse(as_columns(columns), groups_are_whole, shuffle, joined)

    def expand(self, pbegin: beam.pvalue.PBegin) -> dict[str, beam.PCollection]:
        files = pbegin | 'Files' >> beam.Create(self.files)
        # Jobs that died have left the same in several files. Read twice, so that no more than places is held in memory.
        contents = files | 'Look' >> beam.FlatMap(_contents)
        repeated = contents | 'Same' >> beam.GroupByKey() | 'Repeated' >> beam.FlatMap(_but_first)
        parse = beam.ParDo(self._parse, beam.pvalue.AsDict(repeated))
        read = (
            files
            | 'Read lines' >> beam.FlatMap(_lines)
            | 'Parse' >> parse.with_outputs('tables', 'origins', Refused.TAG, main='records')
        )
        self.refuse(read[Refused.TAG])
        read.records.element_type = Record
        read.tables.element_type = GenerationTable
        return {'records': read.records, 'tables': read.tables, 'origins': read.origins}


class LeaveOutRetried(Fallible):
    """Leaves out of what comes of the input what `ReadFailed` brings in again, perhaps repaired.

    Input: PCollection of what `ReadGenerations` refused; of its canonical tables; or of `Record`s made of them. Output:
    the same without what is sent again: the very rows (of a file, or of a group that was refused) and the very records
    that are in the files, as they were when they were refused. Anything else of the same group or id stays.

    What is left of FailedRecords goes to the error handler of `with_error_handler`; without one the pipeline fails.
    What is left out is counted as ``retried_<error>``, ``replaced_rows`` and ``replaced_records``.

    Args:
        origins: what `ReadFailed` says of them.

    Example:
        >>> again = p | ba.ReadFailed('failed', columns, groups_are_whole=True)
        >>> refused | ba.LeaveOutRetried(again['origins']).with_error_handler(handler)
        >>> rest = p | ba.ReadGenerations('*.parquet', columns) | ba.LeaveOutRetried(again['origins'])
    """

    def __init__(self, origins: beam.PCollection):
        super().__init__()
        self._origins = origins

    def expand(self, elements: beam.PCollection) -> beam.PCollection:
        by_place = self._origins | beam.GroupByKey() | 'As sets' >> beam.MapTuple(_with_set)
        leave_out = _LEAVE_OUT.get(elements.element_type, _rows_left)
        left = elements | 'Leave out' >> beam.FlatMap(leave_out, beam.pvalue.AsDict(by_place))
        left.element_type = elements.element_type
        if hasattr(elements, 'input_facts'):  # what is said of the whole is true of what is left of it
            left.input_facts = elements.input_facts
        if elements.element_type is FailedRecord:
            self.refuse(left)
        return left


def _with_set(place: Place, digests: Iterable[str | None]) -> tuple[Place, frozenset[str | None]]:
    return place, frozenset(digests)


def _refusals_left(failed: FailedRecord, again: Replaced) -> Iterator[FailedRecord]:
    place = _row_of(failed)
    if place is not None and failed.digests in again.get(place, ()):
        count(f'retried_{failed.error}')
    else:
        yield failed


def _records_left(record: Record, again: Replaced) -> Iterator[Record]:
    if record.external_id in again and record_digest(record) in again[record.external_id]:
        count('replaced_records')
    else:
        yield record


def _rows_left(table: pa.Table, again: Replaced) -> Iterator[pa.Table]:
    left = _without(table, again)
    if left.num_rows:
        yield left


_LEAVE_OUT: Mapping[Any, Callable[[Any, Replaced], Iterator[Any]]] = {
    FailedRecord: _refusals_left,
    Record: _records_left,
}


def _without(table: pa.Table, again: Replaced) -> pa.Table:
    """The canonical table without the rows that are sent again."""
    ids = table.column('instruction_id')
    places = [name for name in pc.unique(ids).to_pylist() if name in again]
    if not places:
        return table
    suspects = np.flatnonzero(pc.is_in(ids, value_set=pa.array(places, ids.type)))
    found = rows(table.take(pa.array(suspects)))
    replaced = [i for i, row in zip(suspects, found, strict=True) if digest(row) in again[row['instruction_id']]]
    kept: np.ndarray = np.ones(table.num_rows, bool)
    kept[replaced] = False
    count('replaced_rows', len(replaced))
    return table.filter(pa.array(kept))


def _row_of(failed: FailedRecord) -> Place | None:
    """Which row of which file was refused, however its path is written; None if that is not known."""
    return None if failed.source is None or failed.row is None else (identity(failed.source), failed.row)


def _lines(path: str) -> Iterator[tuple[str, int, bytes]]:
    """Path, number (from 1) and text of each line."""
    with FileSystems.open(path) as file:
        for number, line in enumerate(file, 1):
            text = line.removeprefix(codecs.BOM_UTF8).strip()  # as editors leave them
            if text:
                yield path, number, text


def _contents(path: str) -> Iterator[tuple[str, tuple[str, int]]]:
    """What each line holds, whatever is said of it, and where it stands."""
    for _, number, text in _lines(path):
        try:
            said = _line(text).said
            content: dict[str, Any] = {'data': said.data, 'source': said.source, 'row': said.row}
        except _Broken:
            content = {'line': text}
        yield digest(content), (path, number)


def _but_first(element: tuple[str, Iterable[tuple[str, int]]]) -> list[tuple[tuple[str, int], None]]:
    return [(place, None) for place in sorted(element[1])[1:]]


class _Line(NamedTuple):
    """What a line holds: of which kind, a `Record` or rows, and all that was said of it."""

    kind: str
    content: Any
    said: FailedRecord


class _Broken(Exception):
    """A line of another kind: the line, and what is wrong with it."""


def _line(text: Any) -> _Line:
    """Parses a line.

    Raises:
        _Broken: it is not one that `WriteFailed` writes.
    """
    try:
        found = orjson.loads(text)
        data = found.get('data') if isinstance(found, dict) else None
        if not isinstance(data, dict) or len(data) != 1:
            raise ValueError('it has no "data" with one thing in it')
        ((kind, content),) = data.items()
        if kind == 'line':  # one that was broken before
            return _line(content)
        if kind == 'record':
            suggestions = [Suggestion(**s) for s in content['suggestions']]
            content = Record(**{**content, 'suggestions': suggestions})
        elif kind in ('group', 'rows', 'input'):
            if not (isinstance(content, list) and content and all(isinstance(row, dict) for row in content)):
                raise ValueError(f'its "{kind}" is not a list of rows')
        elif kind not in ('file', 'text'):
            raise ValueError(f'its data is a "{kind}"')
        said = {name: found.get(name) for name in FailedRecord._fields}
        texts = {name: said[name] or '' for name in ('stage', 'error', 'message')}  # lines may be written by hand
        return _Line(kind, content, FailedRecord(**{**said, **texts, 'data': to_json(data)}))
    except orjson.JSONDecodeError as e:
        raise _Broken(text, f'{e.msg}, at character {e.pos + 1}') from None
    except KeyError as e:
        raise _Broken(text, f'it has no {e}') from None
    except (ValueError, TypeError, AttributeError) as e:
        raise _Broken(text, str(e)) from None


def _origins(line: _Line) -> Iterator[tuple[Place, str | None]]:
    """What of the input the line takes the place of."""
    said = line.said
    place = _row_of(said)
    if place is not None:
        yield place, said.digests
    if said.digests is not None and said.external_id is not None:
        yield from ((said.external_id, part) for part in said.digests.split())


class _Parse(beam.DoFn):
    """(path, number, line of JSON) → what the line holds."""

    def __init__(self, columns: Columns, groups_are_whole: bool, shuffle: bool, joined: bool = False):
        self._columns = columns
        self._with_the_input = ('file', 'text', *(['input'] if joined else []))
        metadata = [METADATA_PREFIX + name for name in columns.metadata]
        self._canonical = Columns(**{name: name for name in COLUMNS}, metadata=metadata)
        self._groups_are_whole = groups_are_whole
        self._shuffle = shuffle

    def start_bundle(self) -> None:
        self._lines: list[_Line] = []

    def process(self, element: tuple[str, int, bytes], repeated: Mapping[tuple[str, int], None]) -> Iterator[Any]:
        path, number, text = element
        if (path, number) in repeated:
            return
        count('read_again')
        try:
            line = _line(text)
        except _Broken as e:
            broken, why = e.args
            message = f'Line {number} of {path} (counted from 1) is not one that --failed writes: {why}.'
            yield refuse(FailedRecord(None, 'format', 'NotAFailedRecord', message, None, to_json({'line': broken})))
            return
        yield from (beam.pvalue.TaggedOutput('origins', origin) for origin in _origins(line))
        if line.kind == 'record':
            yield line.content
        elif line.kind in self._with_the_input or self._is_repeated(line):
            # It is read, or not, with the rest of the input.
            yield refuse(line.said)
        elif line.kind == 'input':  # rows as they were read have nothing to do with each other
            rows_read = [{name: unmarked(value) for name, value in row.items()} for row in line.content]
            self._lines += [line._replace(content=[row]) for row in rows_read]
        else:
            self._lines.append(line._replace(content=[{**dict.fromkeys(COLUMNS), **row} for row in line.content]))
        if len(self._lines) >= MAX_ROWS:
            yield from self._flush()

    def finish_bundle(self) -> Iterator[Any]:
        stamp = WindowedValue(None, MIN_TIMESTAMP, (GlobalWindow(),))
        for output in self._flush():
            yield beam.pvalue.TaggedOutput(output.tag, stamp.with_value(output.value))

    def _flush(self) -> Iterator[beam.pvalue.TaggedOutput]:
        """The rows held, as tables; what is refused of them again is still of the row that it was of."""
        held, self._lines = self._lines, []
        for as_read, whole in itertools.product((True, False), (True, False)):
            lines = [line for line in held if (line.kind == 'input', self._is_whole(line)) == (as_read, whole)]
            for some, tables, failed in _formatted(lines, self._columns if as_read else self._canonical, as_read):
                said = some[0].said
                if failed and not as_read:  # a group goes in as a whole, or not at all
                    found = failed[0]
                    yield refuse(said._replace(stage='format', error=found.error, message=found.message, status=None))
                elif tables and not whole:
                    yield from (refuse(_part_of_group(line)) for line in some)
                else:
                    yield from (beam.pvalue.TaggedOutput('tables', table) for table in tables)
                    yield from (refuse(f._replace(source=said.source, row=said.row)) for f in failed)

    def _is_repeated(self, line: _Line) -> bool:
        """Whether the rows are still one of several places where their id stands, as they were refused for."""
        if line.said.error != 'RepeatedId' or self._shuffle:
            return False
        return line.said.digests == ' '.join(map(digest, line.content))

    def _is_whole(self, line: _Line) -> bool:
        """Whether a record may be made of the rows."""
        if self._groups_are_whole or line.kind == 'group':
            return True
        return line.kind == 'input' and not self._shuffle and all(map(self._is_wide, line.content))

    def _is_wide(self, row: Mapping[str, Any]) -> bool:
        """Whether the row, as it was read and perhaps repaired, is an instruction with all of its generations."""
        return row_is_wide(row, self._columns)


def _formatted(
    lines: Sequence[_Line], columns: Columns, as_read: bool
) -> Iterator[tuple[Sequence[_Line], list[pa.Table], list[FailedRecord]]]:
    """Lines, the tables of their rows, and what is refused of them: all at once, or each alone if anything is."""
    content = [row for line in lines for row in line.content]
    tables, failed = from_rows(content, columns, also=None if as_read else {name: name for name in OPTIONAL})
    if failed and len(lines) > 1:
        for line in lines:
            yield from _formatted([line], columns, as_read)
    elif lines:
        twice = METADATA_PREFIX * 2  # of canonical rows
        names = [[n.replace(twice, METADATA_PREFIX, 1) for n in table.column_names] for table in tables]
        yield lines, [t.rename_columns(n) for t, n in zip(tables, names, strict=True)], failed


def _part_of_group(line: _Line) -> FailedRecord:
    """The line, which is right by itself, refused; with the reason for which it was at first."""
    said = line.said
    at_first = said.message if said.error == 'PartOfGroup' else f'{_PART} At first: {said.error}: {said.message}'
    data = to_json({'input': line.content}) if line.kind == 'input' else said.data
    return said._replace(stage='group', error='PartOfGroup', message=at_first, status=None, data=data)
