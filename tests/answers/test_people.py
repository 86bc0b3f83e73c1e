"""How much each person answered and how fast, whatever comes together in which bundle."""

from __future__ import annotations

import itertools
from datetime import timedelta
from statistics import median

import apache_beam as beam
from apache_beam.testing.util import assert_that
from hypothesis import given, settings
from hypothesis import strategies as st

import beam_argilla as ba
from beam_argilla.answers.people import HoursFn, of_a_person, of_an_hour
from tests.answers.samples import NOON, answered
from tests.samples import pipeline


def at(seconds: float, user: str = 'ada', status: str = 'submitted') -> ba.AnsweredRecord:
    """A record with a response of this many seconds after noon."""
    record = answered({}, {user: {}}, status=status)
    return record._replace(responses=[record.responses[0]._replace(updated_at=NOON + timedelta(seconds=seconds))])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 40_000), min_size=1, max_size=30), st.randoms())
def test_the_pace_is_the_median_of_all_gaps_that_are_no_pauses(seconds, random):
    """Whichever bundles they come in: hours are added in any order, and merged in any groups."""
    fn = HoursFn()
    hours = [
        of_an_hour(('ada', hour), [('submitted', s) for s in seconds if s // 3600 == hour])[1]
        for hour in sorted({s // 3600 for s in seconds})
    ]
    random.shuffle(hours)
    parts = [fn.create_accumulator() for _ in range(3)]
    for one in hours:
        fn.add_input(random.choice(parts), one)
    found = of_a_person('ada', fn.extract_output(fn.merge_accumulators(parts)))
    ordered = sorted(seconds)
    gaps = [b - a for a, b in itertools.pairwise(ordered) if b - a <= 1800]
    assert found.pace == (median(gaps) if gaps else None)
    assert (found.submitted, sum(found.hours.values())) == (len(seconds), len(seconds))


def test_each_person_is_told_with_all_their_responses():
    records = [at(0), at(20), at(3590), at(3610), at(90_000), at(5, status='draft'), at(-60, 'bob', 'discarded')]

    def check(found: list[ba.PersonAnswers]) -> None:
        ada, bob = sorted(found)
        hours = {NOON: 3, NOON + timedelta(hours=1): 1, NOON + timedelta(hours=25): 1}
        last = NOON + timedelta(seconds=90_000)
        assert ada == ('ada', 5, 1, 0, NOON, last, 20, hours)
        before = NOON - timedelta(minutes=1)
        assert ada.shown() == 'ada: 5 submitted, 1 draft, one every 20 s'
        assert bob == ('bob', 0, 0, 1, before, before, None, {})

    with pipeline() as p:
        assert_that((p | beam.Create(records) | ba.Agreement())['people'], check)
