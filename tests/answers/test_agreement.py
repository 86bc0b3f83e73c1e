"""How far people agree: the same as the krippendorff package says, in any split."""

from __future__ import annotations

import itertools
from collections import Counter
from datetime import timedelta

import apache_beam as beam
import krippendorff
import numpy as np
import pytest
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given, settings
from hypothesis import strategies as st

import beam_argilla as ba
from beam_argilla.answers.agreement import Coincidences, Work, alpha
from tests.answers.samples import NOON, answered
from tests.samples import pipeline

UNITS = st.lists(st.lists(st.none() | st.integers(1, 5), min_size=3, max_size=3), min_size=1, max_size=12)


def coincidences(units: list[list[int | None]], splits: list[int]) -> Counter:
    """Of units that are cut in parts, each combined by itself."""
    combine = Coincidences()
    parts = [combine.create_accumulator() for _ in range(3)]
    for unit, part in zip(units, itertools.cycle(splits)):
        combine.add_input(parts[part], [value for value in unit if value is not None])
    return Counter(combine.extract_output(combine.merge_accumulators(parts)))


@pytest.mark.parametrize('level', ['nominal', 'ordinal', 'interval'])
@settings(max_examples=30)
@given(units=UNITS, splits=st.lists(st.integers(0, 2), min_size=1, max_size=5))
def test_alpha_is_that_of_the_krippendorff_package(level, units, splits):
    counts = coincidences(units, splits)
    matrix: Counter = Counter()
    for key, n in counts.items():
        if isinstance(key, tuple):
            a, b, size = key
            matrix[a, b] += n / (size - 1)
    ours = alpha(matrix, level)
    data = np.array([[np.nan if v is None else v for v in unit] for unit in units], float).T
    compared = [v for unit in units if sum(v is not None for v in unit) > 1 for v in unit if v is not None]
    if len(set(compared)) < 2:
        assert ours is None
    else:
        assert ours == pytest.approx(krippendorff.alpha(reliability_data=data, level_of_measurement=level))


def test_what_people_did_over_records_of_every_kind():
    questions = {'r': 'rating', 'l': 'label_selection', 'm': 'multi_label_selection', 'o': 'ranking', 't': 'text'}

    def values(rating, label, labels, ranks, text):
        order = [{'value': name, 'rank': rank} for name, rank in zip('ab', ranks, strict=True)]
        return dict(zip(questions, (rating, label, labels, order, text), strict=True))

    records = [
        answered(
            {},
            {'ada': values(5, 'x', ['x', 'y'], [1, 2], 's'), 'bob': values(5, 'x', ['y', 'x'], [1, 2], 's')},
            questions,
            {'r': 5, 't': 'u'},
        ),
        answered(
            {},
            {'ada': values(1, 'x', ['x'], [2, 1], 's'), 'bob': values(2, 'y', ['y'], [2, 1], 'u')},
            questions,
            {'r': 2, 't': 'u'},
        ),
        answered({}, {'eve': values(1, 'x', ['x'], [1, 1], 's')}, questions),
        answered({}, {'eve': {}}, questions, status='draft'),
    ]
    with pipeline() as p:
        found = p | beam.Create(records) | ba.Agreement(levels={'r': 'interval'})
        shown = found['questions'] | 'Q' >> beam.Map(
            lambda q: (q.question, q.level, q.units, q.answers, q.alpha and round(q.alpha, 3), q.agreement)
        )
        expected = [
            (
                'r',
                'interval',
                2,
                4,
                round(krippendorff.alpha([[5, 1], [5, 2]], level_of_measurement='interval'), 3),
                0.5,
            ),
            ('l', 'nominal', 2, 4, round(krippendorff.alpha([[0, 0], [0, 1]], level_of_measurement='nominal'), 3), 0.5),
            ('m', 'nominal', 2, 4, round(krippendorff.alpha([[0, 1], [0, 2]], level_of_measurement='nominal'), 3), 0.5),
            ('o', 'ordinal', 4, 8, 1.0, 1.0),
            ('t', None, 2, 4, None, 0.5),
        ]
        assert_that(shown, equal_to(expected), 'questions')
        suggested = found['suggestions'] | 'S' >> beam.Map(
            lambda s: (s.question, s.agent, sorted(s.counts.items()), s.agreement)
        )
        confusion = [
            ('r', 'judge', [((2, 1), 1), ((2, 2), 1), ((5, 5), 2)], 0.75),
            ('t', 'judge', [(('suggested', 'other'), 3), (('suggested', 'same'), 1)], 0.25),
        ]
        assert_that(suggested, equal_to(confusion), 'suggestions')
        people = found['people'] | 'P' >> beam.Map(
            lambda person: (person.user, person.submitted, person.draft, person.first)
        )
        minute = timedelta(minutes=1)
        assert_that(
            people, equal_to([('ada', 2, 0, NOON), ('bob', 2, 0, NOON + minute), ('eve', 1, 1, NOON)]), 'people'
        )


def test_a_line_for_people():
    alike = ba.QuestionAgreement('r', 'rating', 'ordinal', 1200, 2400, 0.8125, 0.75)
    assert alike.shown() == (
        "Agreement on r: Krippendorff's alpha 0.81 (ordinal), 75% of pairs the same, 1,200 answered by two or more"
    )
    assert 'alpha not defined, 100%' in alike._replace(alpha=None, agreement=1.0).shown()
    assert 'nothing was answered by two people' in alike._replace(alpha=None, agreement=None).shown()


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=20), st.lists(st.integers(0, 2), min_size=1, max_size=4))
def test_work_is_the_same_in_any_split(seconds, splits):
    combine = Work()
    parts = [combine.create_accumulator() for _ in range(3)]
    whole = combine.create_accumulator()
    for second, part in zip(seconds, itertools.cycle(splits)):
        response = ('submitted', NOON, NOON + timedelta(seconds=second))
        parts[part] = combine.add_input(parts[part], response)
        whole = combine.add_input(whole, response)
    counts, _, last, stretches = combine.extract_output(combine.merge_accumulators(parts))
    assert (counts, _, last, stretches) == combine.extract_output(whole)
    assert stretches == len({second // 300 for second in seconds})


def test_an_unknown_level_is_told():
    with pytest.raises(ValueError, match=r"levels=\{'r': 'ratio'\}: use one of 'nominal'"):
        ba.Agreement(levels={'r': 'ratio'})
