"""Whether a record says what the server holds already, so that it need not be sent."""

from __future__ import annotations

from typing import Any

import apache_beam as beam

from beam_argilla.errors import InvalidRecordError
from beam_argilla.metrics import count
from beam_argilla.records import Record
from beam_argilla.server.bulk import Item, decode_item
from beam_argilla.server.datasets import Dataset
from beam_argilla.server.encoder import Encoder
from beam_argilla.writing.ensured import Ensured, known
from beam_argilla.writing.existing import Existing, Fingerprint, fingerprint
from beam_argilla.writing.results import WrittenRecord


class Compare(beam.DoFn):
    """Base of DoFns that compare records with what the dataset holds.

    Args:
        skip_unchanged: whether records that the dataset holds as they are need not be sent.
        replace: whether suggestions that only the server has make a difference.
    """

    def __init__(self, skip_unchanged: bool, replace: bool):
        self._skip_unchanged = skip_unchanged
        self._replace = replace

    def start_bundle(self) -> None:
        self.encoder: Encoder | None = None

    def known(self, dataset: Dataset | Ensured) -> Dataset:
        """The dataset that a step was given, by which records are compared from now on."""
        found = known(dataset)
        self.encoder = self.encoder or Encoder(found.settings, found.question_ids)
        return found

    def compared(self, record: Record, found: Existing | None) -> Any:
        """The record if it is to be sent, else that it is there."""
        if found is not None and self._skip_unchanged and self._same(record, found):
            count('records_unchanged')
            written = WrittenRecord(record.external_id, found.record_id, 'unchanged', record.warnings)
            return beam.pvalue.TaggedOutput('unchanged', written)
        return record

    def _same(self, record: Record, existing: Existing) -> bool:
        wanted, suggestions = self.fingerprint(record), frozenset(existing.suggestions)
        if wanted is None or wanted.content != existing.content or not wanted.vectors <= frozenset(existing.vectors):
            return False
        return wanted.suggestions == suggestions if self._replace else wanted.suggestions <= suggestions

    def fingerprint(self, record: Record) -> Fingerprint | None:
        item = self.as_sent(record)
        return None if item is None else fingerprint(item)

    def as_sent(self, record: Record) -> Item | None:
        """What would be sent of it."""
        assert self.encoder is not None
        try:
            return decode_item(self.encoder.encode(record))
        except InvalidRecordError:
            return None  # the sink will say what is wrong with it
