"""The way back in for what was refused: the files that `--failed` writes, perhaps repaired."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import orjson
from apache_beam.io.filesystems import FileSystems

from beam_argilla.coding import GenerationTable
from beam_argilla.columns import Columns
from beam_argilla.errors import InputError
from beam_argilla.failures import FailedRecord, to_json
from beam_argilla.input.format_generations import FormatGenerations
from beam_argilla.input.tables import from_canonical_rows
from beam_argilla.records import Record, Suggestion
from beam_argilla.refusing import Fallible, Refused, refuse

_PART = (
    'These rows are a part of a group, and a record of them alone would overwrite the one that the others made. Give '
    'the job its --input as well, so that the group is whole, or repair the input and run the job again.'
)


class ReadFailed(Fallible):
    """Reads files of FailedRecords and makes of each what can be sent again.

    Output: ``records``: PCollection of `Record`; ``tables``: PCollection of canonical tables, to be grouped.

    Args:
        prefix: what was given to ``--failed``, or the name of one file.
        columns: what the input called its columns, for rows that were refused as they were read.
        groups_are_whole: whether rows that are a part of a group may be sent: there is no group to overwrite (text
            generation), or the rest of it is read too.

    Raises:
        InputError: there is no such file.

    Example:
        >>> again = p | ba.ReadFailed('gs://bucket/failed', ba.Columns(), groups_are_whole=False)
        >>> again['records'] | ba.WriteRecords('answers', connection=connection)
    """

    def __init__(self, prefix: str, columns: Columns, groups_are_whole: bool):
        super().__init__()
        self._pattern = prefix if prefix.endswith('.jsonl') else f'{prefix}-*.jsonl'
        if not FileSystems.match([self._pattern])[0].metadata_list:
            raise InputError(
                f'No file matches {self._pattern!r}: name a file, or the PREFIX that was given to --failed.'
            )
        self._columns = columns
        self._groups_are_whole = groups_are_whole

    def expand(self, pbegin: beam.pvalue.PBegin) -> dict[str, beam.PCollection]:
        read = (
            pbegin
            | 'Read lines' >> beam.io.ReadFromText(self._pattern)
            | 'Parse'
            >> beam.ParDo(_Parse(self._columns.metadata, self._groups_are_whole)).with_outputs(
                'tables', 'input', Refused.TAG, main='records'
            )
        )
        self.refuse(read[Refused.TAG])
        read.records.element_type = Record
        read.tables.element_type = GenerationTable
        formatted = read.input | 'Format' >> FormatGenerations(self._columns).with_error_handler(self._error_handler)
        return {'records': read.records, 'tables': (read.tables, formatted) | 'Tables' >> beam.Flatten()}


class _Parse(beam.DoFn):
    """A line of JSON → what it holds."""

    def __init__(self, metadata: Any, groups_are_whole: bool):
        self._metadata = metadata
        self._groups_are_whole = groups_are_whole

    def process(self, line: str) -> Iterator[Any]:
        try:
            failed = orjson.loads(line)
            ((kind, content),) = failed['data'].items()
            if kind == 'record':
                suggestions = [Suggestion(**s) for s in content.pop('suggestions')]
                yield Record(suggestions=suggestions, **content)
            elif kind not in ('group', 'rows', 'input'):
                raise ValueError(f'data is {kind!r}')
            elif kind != 'group' and not self._groups_are_whole:
                yield refuse(
                    FailedRecord(failed['external_id'], 'group', 'PartOfGroup', _PART, None, to_json(failed['data']))
                )
            elif kind == 'input':
                yield from (beam.pvalue.TaggedOutput('input', row) for row in content)
            else:
                yield beam.pvalue.TaggedOutput('tables', from_canonical_rows(content, self._metadata))
        except (ValueError, KeyError, TypeError, AttributeError) as e:
            message = f'This line is not one that --failed writes ({type(e).__name__}: {e}).'
            yield refuse(FailedRecord(None, 'format', 'NotAFailedRecord', message, None, to_json({'line': line})))
