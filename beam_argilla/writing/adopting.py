"""Records of others, such as distilabel, that ours take over: people's answers stay with them, and with their texts."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from beam_argilla.metrics import count
from beam_argilla.records import Record, failed_record
from beam_argilla.refusing import refuse
from beam_argilla.server.datasets import Dataset
from beam_argilla.tasks.preference import is_place, moved
from beam_argilla.writing.comparing import Compare
from beam_argilla.writing.ensured import Ensured
from beam_argilla.writing.existing import Existing, subject, texts


class Adopt(Compare):
    """Records that the dataset lacks, and those of others in it, on some subjects → what is to be sent."""

    def process(self, element: tuple[int, Mapping[str, Iterable[Any]]], dataset: Dataset | Ensured) -> Iterator[Any]:
        _, met = element
        dataset = self.known(dataset)
        others: dict[bytes, dict[str, Existing]] = {}  # a record may have been listed twice
        for found in itertools.starmap(Existing, met['others']):
            others.setdefault(found.subject or b'', {})[found.record_id] = found
        by_subject: dict[bytes, list[Record]] = {}
        for record in met['missing']:
            by_subject.setdefault(subject(record.fields, dataset.settings), []).append(record)
        for key, records in by_subject.items():
            for record, adopted in self._matched(records, list(others.get(key, {}).values())):
                if adopted is None:
                    yield self.compared(record, None)
                    continue
                fitted = self._fitted(record, adopted)
                if fitted is None:
                    named = adopted.external_id or adopted.record_id
                    yield refuse(failed_record(record, 'validate', 'AnsweredRecord', _ANSWERED.format(named)))
                    continue
                count('records_adopted')
                yield self.compared(fitted._replace(record_id=adopted.record_id), adopted)

    def _matched(self, records: list[Record], others: list[Existing]) -> Iterator[tuple[Record, Existing | None]]:
        """Each record with the one that it takes over: the same one whenever it is asked again."""
        matches: dict[str, Existing] = {}
        records = sorted(records, key=lambda r: str(r.external_id))
        # What shows the very id was made, or adopted before, for that record; only what is left is for the others. And
        # none is kept from one that it fits by one that it does not.
        for of_same_id, fits in itertools.product((True, False), repeat=2):
            for record in records:
                fitting = [
                    other
                    for other in others
                    if (other.shown_id == record.fields.get('id') if of_same_id else other.is_anyones)
                    and (self._fitted(record, other) is not None or not fits)
                ]
                if record.external_id not in matches and fitting:
                    best = min(fitting, key=functools.partial(self._rank, record))
                    others.remove(best)
                    matches[record.external_id] = best
        for record in records:
            yield record, matches.get(record.external_id)

    def _rank(self, record: Record, other: Existing) -> tuple[Any, ...]:
        """The lowest is the best: the same already, then answered by people, then the oldest."""
        fitted = self._fitted(record, other)
        wanted = None if fitted is None else self.fingerprint(fitted)
        is_same = wanted is not None and wanted.content == other.content
        return not is_same, not other.is_answered, other.inserted_at, other.record_id

    def _fitted(self, record: Record, other: Existing) -> Record | None:
        """The record as it can take over the other, whose texts stay in their places; None if it cannot.

        Where the texts differ, what people have answered would be said of texts that they have never seen.
        """
        item = self.as_sent(record)
        if item is None:
            return record  # the sink will say what is wrong with it
        places = _places(texts(item.fields), other.texts)
        if places is None:
            return None if other.is_answered else record
        return moved(record, places)


def _places(wanted: Mapping[str, bytes], there: Mapping[str, bytes]) -> dict[str, str] | None:
    """Where each generation has to go to be where its text is in the record that is there; None if texts differ.

    Args:
        wanted, there: what `texts` makes of the fields.
    """
    rest = dict(there)
    places = {}
    for name, text in wanted.items():
        found = next((n for n in rest if rest[n] == text and (n == name or (is_place(n) and is_place(name)))), None)
        if found is None:
            return None
        del rest[found]
        places[name] = found
    return None if rest else places


_ANSWERED = (
    'People have answered the record {!r}, which this one would take over, and its texts are others: their answers '
    'would stand beside texts that they have not seen, so it is left as it is. Either give the job the texts that are '
    'there (in any order), or delete the record (or its answers) in Argilla, or write this one beside it, without '
    'adopt=True (--adopt).'
)
