"""How much each person answered, when, and at what pace."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

import apache_beam as beam

from beam_argilla.answers.answered import AnsweredRecord

PAUSE = 1800  # seconds; half an hour at most in which somebody may think about one record
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class PersonAnswers(NamedTuple):
    """What one person has done. Times are those at which a response last changed, by the server's clock, in UTC.

    Attributes:
        user: as of `Response`.
        submitted, draft, discarded: how many responses.
        first, last: when the first and the last response came to be what it is.
        pace: seconds from one submitted response to the next, as a median; None if there is no such pair. What lies
            more than half an hour apart is a pause, and left out. Responses that are submitted all at once are 0
            seconds apart.
        hours: start of an hour → responses that were submitted in it; of hours with some.
    """

    user: str
    submitted: int
    draft: int
    discarded: int
    first: datetime
    last: datetime
    pace: float | None
    hours: Mapping[datetime, int]

    def shown(self) -> str:
        """In a line for people."""
        counts = {'submitted': self.submitted, 'draft': self.draft, 'discarded': self.discarded}
        told = ', '.join(f'{count:,} {status}' for status, count in counts.items() if count)
        return f'{self.user}: {told}' + ('' if self.pace is None else f', one every {self.pace:,.0f} s')


class AnswersPerPerson(beam.PTransform):
    """Counts the responses of each person, and measures their pace.

    The time from one response to the next takes them in order, over all bundles, while what is kept of a person stays
    small: the responses of an hour come together first, and of them remain the first, the last, and how often each
    whole number of seconds lay between two; hours of a person are then put one behind the other. So a median is exact
    to a second, whatever the number of answers.

    Input: PCollection of `AnsweredRecord`, in any window. Output: PCollection of `PersonAnswers`, one a person.
    """

    def expand(self, records: beam.PCollection) -> beam.PCollection:
        return (
            records
            | 'Times' >> beam.FlatMap(_times).with_output_types(tuple[tuple[str, int], tuple[str, float]])
            | 'By hour' >> beam.GroupByKey()
            | 'Of an hour' >> beam.MapTuple(of_an_hour).with_output_types(tuple[str, Any])
            | 'Of a person' >> beam.CombinePerKey(HoursFn())
            | 'Say who' >> beam.MapTuple(of_a_person).with_output_types(PersonAnswers)
        )


def _times(record: AnsweredRecord) -> Iterator[tuple[tuple[str, int], tuple[str, float]]]:
    """(Person, hour since 1970), and status and seconds since 1970 of a response."""
    for response in record.responses:
        at = (response.updated_at - _EPOCH).total_seconds()
        yield (response.user, int(at // 3600)), (response.status, at)


class Submitted(NamedTuple):
    """What was submitted in an hour: how many, and the seconds since 1970 of the first and the last."""

    responses: int
    first: float
    last: float


@dataclass
class Hours:
    """What adds up of a person.

    Attributes:
        statuses: ``submitted``, ``draft``, ``discarded`` → responses.
        first, last: seconds since 1970.
        submitted: hour since 1970 → what was submitted in it.
        gaps: whole seconds between two that were submitted in the same hour → how often; no pauses.
    """

    statuses: Counter[str] = field(default_factory=Counter)
    first: float = float('inf')
    last: float = float('-inf')
    submitted: dict[int, Submitted] = field(default_factory=dict)
    gaps: Counter[int] = field(default_factory=Counter)


def of_an_hour(key: tuple[str, int], times: Iterable[tuple[str, float]]) -> tuple[str, Hours]:
    """A person, and what their responses of an hour add."""
    user, hour = key
    found = sorted(times, key=lambda time: time[1])
    submitted = [at for status, at in found if status == 'submitted']
    hours = Hours(Counter(status for status, _ in found), found[0][1], found[-1][1])
    if submitted:
        hours.submitted[hour] = Submitted(len(submitted), submitted[0], submitted[-1])
    hours.gaps = _gaps(itertools.pairwise(submitted))
    return user, hours


def _gaps(pairs: Iterable[tuple[float, float]]) -> Counter[int]:
    return Counter(round(after - before) for before, after in pairs if after - before <= PAUSE)


class HoursFn(beam.CombineFn):
    """`Hours` of a person, each hour once → their sum."""

    def create_accumulator(self) -> Hours:
        return Hours()

    def add_input(self, hours: Hours, more: Hours) -> Hours:
        hours.statuses.update(more.statuses)
        hours.first = min(hours.first, more.first)
        hours.last = max(hours.last, more.last)
        hours.submitted.update(more.submitted)
        hours.gaps.update(more.gaps)
        return hours

    def merge_accumulators(self, accumulators: Iterable[Hours]) -> Hours:
        merged = Hours()
        for hours in accumulators:
            self.add_input(merged, hours)
        return merged

    def extract_output(self, hours: Hours) -> Hours:
        return hours


def _median(counts: Counter[int]) -> float | None:
    """Of as many of each value as are counted; of an even number, the mean of the two in the middle."""
    total = counts.total()
    if not total:
        return None
    middle: list[int] = []
    for place in ((total - 1) // 2, total // 2):
        passed = 0
        for value in sorted(counts):
            passed += counts[value]
            if passed > place:
                middle.append(value)
                break
    return sum(middle) / 2


def of_a_person(user: str, hours: Hours) -> PersonAnswers:
    """What the hours of a person come to."""
    ordered = sorted(hours.submitted.items())
    between = itertools.pairwise(at for _, h in ordered for at in (h.first, h.last))
    # Of each hour its first and last, so every second pair lies between two hours.
    gaps = hours.gaps + _gaps(itertools.islice(between, 1, None, 2))
    return PersonAnswers(
        user,
        hours.statuses['submitted'],
        hours.statuses['draft'],
        hours.statuses['discarded'],
        _EPOCH + timedelta(seconds=hours.first),
        _EPOCH + timedelta(seconds=hours.last),
        _median(gaps),
        {_EPOCH + timedelta(hours=hour): h.responses for hour, h in ordered},
    )
