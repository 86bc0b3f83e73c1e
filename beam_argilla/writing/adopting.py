"""Records of others, such as distilabel, that ours take over: people's answers stay with them."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from apache_beam.metrics import Metrics

from beam_argilla.metrics import NAMESPACE
from beam_argilla.records import Record
from beam_argilla.server.datasets import Dataset
from beam_argilla.server.encoder import Encoder
from beam_argilla.writing.comparing import Compare
from beam_argilla.writing.existing import Existing, Fingerprint, subject


class Adopt(Compare):
    """Records that the dataset lacks, and those of others in it, on some subjects → what is to be sent."""

    def process(self, element: tuple[int, Mapping[str, Iterable[Any]]], dataset: Dataset) -> Iterator[Any]:
        _, met = element
        self.encoder = self.encoder or Encoder(dataset.settings, dataset.question_ids)
        others: dict[bytes, dict[str, Existing]] = {}  # a record may have been listed twice
        for found in itertools.starmap(Existing, met['others']):
            others.setdefault(found.subject or b'', {})[found.record_id] = found
        by_subject: dict[bytes, list[Record]] = {}
        for record in met['missing']:
            by_subject.setdefault(subject(record.fields, dataset.settings), []).append(record)
        for key, records in by_subject.items():
            for record, adopted in self._matched(records, list(others.get(key, {}).values())):
                if adopted is not None:
                    Metrics.counter(NAMESPACE, 'records_adopted').inc()
                    record = record._replace(record_id=adopted.record_id)
                yield self.compared(record, adopted)

    def _matched(self, records: list[Record], others: list[Existing]) -> Iterator[tuple[Record, Existing | None]]:
        """Each record with the one that it takes over: the same one whenever it is asked again."""
        matches: dict[str, Existing] = {}
        records = sorted(records, key=lambda r: str(r.external_id))
        # What shows the very id was made, or adopted before, for that record; only what is left is for the others.
        for of_same_id in (True, False):
            for record in records:
                fitting = [
                    other
                    for other in others
                    if (other.shown_id == record.fields.get('id') if of_same_id else other.is_anyones)
                ]
                if record.external_id not in matches and fitting:
                    best = min(fitting, key=functools.partial(self._rank, self.fingerprint(record)))
                    others.remove(best)
                    matches[record.external_id] = best
        for record in records:
            yield record, matches.get(record.external_id)

    @staticmethod
    def _rank(wanted: Fingerprint | None, other: Existing) -> tuple[Any, ...]:
        """The lowest is the best: the same already, then answered by people, then the oldest."""
        is_same = wanted is not None and wanted.content == other.content
        return not is_same, not other.is_answered, other.inserted_at, other.record_id
