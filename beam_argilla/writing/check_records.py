"""`CheckRecords`: what would be sent, and what would be refused, without sending it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import apache_beam as beam
import orjson

from beam_argilla.errors import InvalidRecordError
from beam_argilla.metrics import count
from beam_argilla.records import Record, failed_record
from beam_argilla.refusing import Fallible, Refused, refuse
from beam_argilla.row_types import register_row
from beam_argilla.server.encoder import Encoder
from beam_argilla.server.settings import DatasetSettings
from beam_argilla.writing.as_record import as_record
from beam_argilla.writing.preview import preview


class CheckedRecord(NamedTuple):
    """A record that a dataset of these settings can hold.

    Attributes:
        external_id: the record's.
        item: JSON, as it would be sent, but with questions' names where the server has ids.
    """

    external_id: str
    item: str

    def shown(self) -> str:
        """The JSON over several lines, for people."""
        return orjson.dumps(orjson.loads(self.item), option=orjson.OPT_INDENT_2).decode()

    def preview(self, settings: Any) -> str:
        """The record as a person would see it, for a terminal.

        Args:
            settings: of the dataset (`DatasetSettings`, or an `argilla.Settings`).
        """
        dataset = DatasetSettings.of(settings)
        titles = [{part['name']: part['title'] for part in parts} for parts in (dataset.fields, dataset.questions)]
        return preview(orjson.loads(self.item), *titles)


register_row(CheckedRecord)


@beam.typehints.with_output_types(CheckedRecord)
class CheckRecords(Fallible):
    """Checks records as `WriteRecords` does before it sends them: a dry run, in need of no server.

    Input: PCollection of `Record` or `argilla.Record`. Output: PCollection of `CheckedRecord`; the counter
    ``records_checked`` counts them.

    What a dataset of these settings would refuse, or accept and lose from its search, goes to the error handler of
    `with_error_handler`; without one the pipeline fails.

    Args:
        settings: of the dataset (`DatasetSettings`, or an `argilla.Settings`).

    Example:
        >>> task = ba.Preference(num_generations=4)
        >>> records | ba.CheckRecords(task.settings()) | beam.Map(ba.CheckedRecord.shown) | beam.LogElements()
    """

    def __init__(self, settings: Any):
        super().__init__()
        self.settings = DatasetSettings.of(settings)

    def expand(self, records: beam.PCollection) -> beam.PCollection:
        checked = records | beam.ParDo(_Check(self.settings)).with_outputs(Refused.TAG, main='checked')
        self.refuse(checked[Refused.TAG])
        return checked.checked


class _Check(beam.DoFn):
    def __init__(self, settings: DatasetSettings):
        self._settings = settings

    def setup(self) -> None:
        self._encoder = Encoder(self._settings)

    def process(self, element: Any) -> Iterator[Any]:
        for record in as_record(element, self._settings):
            yield from self._checked(record) if isinstance(record, Record) else [record]

    def _checked(self, record: Record) -> Iterator[Any]:
        try:
            item = self._encoder.encode(record)
        except InvalidRecordError as e:
            yield refuse(failed_record(record, 'validate', e.error, str(e)))
        else:
            count('records_checked')
            yield CheckedRecord(record.external_id, item.decode())
