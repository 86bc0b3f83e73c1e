"""The way back in for what was refused: the files that `WriteFailed` (`--failed`) writes, perhaps repaired."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

import apache_beam as beam
import orjson
from apache_beam.coders import BytesCoder
from apache_beam.metrics import Metrics
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue

from beam_argilla.coding import GenerationTable
from beam_argilla.columns import Columns, as_columns
from beam_argilla.errors import InputError
from beam_argilla.failed_files import SUFFIX, files_dealt_with, files_to_read
from beam_argilla.failures import FailedRecord, to_json
from beam_argilla.files import is_local
from beam_argilla.input.layouts import generation_names
from beam_argilla.input.rows import MAX_ROWS, from_rows
from beam_argilla.input.tables import from_canonical_rows
from beam_argilla.metrics import NAMESPACE
from beam_argilla.records import Record, Suggestion
from beam_argilla.refusing import Fallible, Refused, refuse

_PART = (
    'These rows are a part of a group, and a record of them alone would overwrite the one that the others made. Give '
    'the job its --input as well, so that the group is whole, or repair the input and run the job again.'
)

# Where a row was read from: the file, and which of its rows.
Origin = tuple[str, int]


class ReadFailed(Fallible):
    """Reads files of FailedRecords and makes of each what can be sent again.

    Output: ``records``: PCollection of `Record`; ``tables``: PCollection of canonical tables, to be grouped;
    ``origins``: where the rows among them were read from at first, for `LeaveOutRetried`.

    Args:
        place: what was given to ``--failed`` or `WriteFailed`: a prefix or a folder; or the name of a file.
        columns: what the input called its columns, for rows that were refused as they were read.
        groups_are_whole: whether rows that are a part of a group may be sent: there is no group to overwrite (text
            generation), or the rest of it is read too. A wide row (its generations are a list) is a whole group.
        shuffle: whether wide rows may share an id, as in `GroupGenerations`: then one of them is a part, too.

    Raises:
        InputError: there is no such file.

    Example:
        >>> again = p | ba.ReadFailed('gs://bucket/failed', ba.Columns(), groups_are_whole=False)
        >>> again['records'] | ba.WriteRecords('answers', connection=connection)
    """

    def __init__(self, place: str, columns: Columns, groups_are_whole: bool, shuffle: bool = False):
        super().__init__()
        self.files = files_to_read(place)
        self.files_dealt_with = files_dealt_with(place)  # at the end of the job
        if not self.files:
            raise InputError(
                f'No file matches {place!r}: name a {SUFFIX} file, or the prefix or folder that was given to --failed.'
            )
        self._parse = _Parse(as_columns(columns), groups_are_whole, shuffle)

    def expand(self, pbegin: beam.pvalue.PBegin) -> dict[str, beam.PCollection]:
        read = (
            pbegin
            | 'Files' >> beam.Create(self.files)
            | 'Read lines' >> beam.io.ReadAllFromText(coder=BytesCoder())  # one that is no UTF-8 is refused, too
            | 'Parse' >> beam.ParDo(self._parse).with_outputs('tables', 'origins', Refused.TAG, main='records')
        )
        self.refuse(read[Refused.TAG])
        read.records.element_type = Record
        read.tables.element_type = GenerationTable
        return {'records': read.records, 'tables': read.tables, 'origins': read.origins}


class LeaveOutRetried(Fallible):
    """Leaves out of what was refused of the input the rows that `ReadFailed` brings in again, perhaps repaired.

    Input: PCollection of what `ReadGenerations` refused. What is left of it goes to the error handler of
    `with_error_handler`; without one the pipeline fails. What is left out is counted as ``retried_<error>``.

    Args:
        origins: what `ReadFailed` says of where its rows were read from.

    Example:
        >>> again = p | ba.ReadFailed('failed', columns, groups_are_whole=True)
        >>> refused | ba.LeaveOutRetried(again['origins']).with_error_handler(handler)
    """

    def __init__(self, origins: beam.PCollection):
        super().__init__()
        self._origins = origins

    def expand(self, failed: beam.PCollection) -> beam.PCollection:
        left = failed | beam.ParDo(_LeaveOut(), beam.pvalue.AsDict(self._origins | beam.Map(_keyed)))
        self.refuse(left)
        return left


class _LeaveOut(beam.DoFn):
    def process(self, failed: FailedRecord, origins: Mapping[Origin, None]) -> Iterator[FailedRecord]:
        if failed.source is not None and failed.row is not None and _origin(failed.source, failed.row) in origins:
            Metrics.counter(NAMESPACE, f'retried_{failed.error}').inc()
        else:
            yield failed


def _keyed(origin: Origin) -> tuple[Origin, None]:
    return origin, None


def _origin(source: Any, row: Any) -> Origin:
    """The same for every way to write the path of a file of this machine."""
    return os.path.abspath(source) if is_local(source) else source, row


class _Parse(beam.DoFn):
    """A line of JSON → what it holds."""

    def __init__(self, columns: Columns, groups_are_whole: bool, shuffle: bool):
        self._columns = columns
        self._groups_are_whole = groups_are_whole
        self._shuffle = shuffle

    def start_bundle(self) -> None:
        self._rows: list[tuple[dict[str, Any], dict[str, Any]]] = []

    def process(self, line: bytes) -> Iterator[Any]:
        if not line.strip():  # an editor's
            return
        Metrics.counter(NAMESPACE, 'read_again').inc()
        try:
            yield from self._parsed(orjson.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError) as e:
            message = f'This line is not one that --failed writes ({type(e).__name__}: {e}).'
            yield refuse(FailedRecord(None, 'format', 'NotAFailedRecord', message, None, to_json({'line': line})))
        if len(self._rows) >= MAX_ROWS:
            yield from self._flush()

    def finish_bundle(self) -> Iterator[Any]:
        stamp = WindowedValue(None, MIN_TIMESTAMP, (GlobalWindow(),))
        for output in self._flush():
            yield beam.pvalue.TaggedOutput(output.tag, stamp.with_value(output.value))

    def _parsed(self, failed: dict[str, Any]) -> Iterator[Any]:
        ((kind, content),) = failed['data'].items()
        origin = {name: failed.get(name) for name in ('source', 'row')}  # not said before 0.1
        if kind == 'record':
            suggestions = [Suggestion(**s) for s in content.pop('suggestions')]
            yield Record(suggestions=suggestions, **content)
            return
        if kind not in ('group', 'rows', 'input'):
            raise ValueError(f'data is {kind!r}')
        whole = kind == 'group' or (kind == 'input' and not self._shuffle and all(map(self._is_wide, content)))
        if not (whole or self._groups_are_whole):
            data = to_json(failed['data'])
            yield refuse(FailedRecord(failed['external_id'], 'group', 'PartOfGroup', _PART, None, data, **origin))
        elif kind == 'input':
            self._rows += [(dict(row), origin) for row in content]
        else:
            yield beam.pvalue.TaggedOutput('tables', from_canonical_rows(content, self._columns.metadata))
        if origin['row'] is not None:
            yield beam.pvalue.TaggedOutput('origins', _origin(**origin))

    def _is_wide(self, row: Mapping[str, Any]) -> bool:
        """Whether the row, as it was read and perhaps repaired, is an instruction with all of its generations."""
        return any(isinstance(row.get(name), list) for name in generation_names(self._columns))

    def _flush(self) -> Iterator[beam.pvalue.TaggedOutput]:
        """The rows held, as tables; what is refused of them again is still of the file that it was of."""
        held, self._rows = self._rows, []
        tables, failed = from_rows([row for row, _ in held], self._columns) if held else ([], [])
        if failed:  # of which rows, only one by one can tell
            tables, failed = [], []
            for row, origin in held:
                good, bad = from_rows([row], self._columns)
                tables += good
                failed += [refused._replace(**origin) for refused in bad]
        yield from map(refuse, failed)
        yield from (beam.pvalue.TaggedOutput('tables', table) for table in tables)
