"""Which models people prefer, and how sure that is."""

from __future__ import annotations

import math

import pytest

from beam_argilla.answers.judged import Fields
from beam_argilla.answers.models import (
    Judged,
    Models,
    ModelsFn,
    Preference,
    each_person,
    judged,
    preferences,
    strengths,
)
from tests.answers.samples import answered

RATED = {'generations-0-rating': 'rating', 'generations-1-rating': 'rating', 'generations-2-rating': 'rating'}


def rated(*ratings: int | None, models: tuple[str | None, ...] = ('x', 'y', 'z'), record: str = 'r'):
    """A record in which somebody rated the generations of models."""
    values = {f'generations-{i}-rating': value for i, value in enumerate(ratings) if value is not None}
    return answered(
        {f'generations-{i}': 'text' for i in range(len(ratings))},
        {'ada': values},
        RATED,
        metadata={f'generations-{i}-model': model for i, model in enumerate(models) if model},
    )._replace(record_id=record)


def summed(records, split: int = 1) -> Models:
    fn = ModelsFn(Fields())
    parts = [fn.create_accumulator() for _ in range(split)]
    for i, record in enumerate(records):
        fn.add_input(parts[i % split], record)
    return fn.extract_output(fn.merge_accumulators(parts))


@pytest.mark.parametrize(
    ('record', 'pairs'),
    [
        (rated(5, 3, 3), [('x', 'y', False), ('x', 'z', False), ('y', 'z', True)]),
        (rated(1, None, 2), [('z', 'x', False)]),
        (rated(1, 2, models=('x', 'x')), []),
        (rated(1, 2, models=('x', None)), []),
        (rated(1, 2)._replace(responses=[]), []),
    ],
)
def test_models_are_compared_within_what_one_person_says_of_a_record(record, pairs):
    assert list(preferences(each_person(record, Fields()))) == [Preference(*pair) for pair in pairs]


def test_a_ranking_prefers_what_stands_first():
    value = [{'value': 'generations-1', 'rank': 1}, {'value': 'generations-0', 'rank': 2}]
    record = answered(
        {'generations-0': 'a', 'generations-1': 'b'},
        {'ada': {'order': value}},
        {'order': 'ranking'},
        metadata={'generations-0-model': 'x', 'generations-1-model': 'y'},
    )
    found = each_person(record, Fields())
    assert list(preferences(found)) == [Preference('y', 'x', False)]
    assert set(judged(found)) == {Judged('ranking', 'y', 1), Judged('ranking', 'x', 2)}


def test_a_choice_prefers_one_and_says_nothing_of_the_others():
    names = ('left', 'middle', 'right')
    metadata = {f'{name}-model': name for name in names}
    record = answered(
        dict.fromkeys(names, 'text'), {'ada': {'best': 'middle'}}, {'best': 'label_selection'}, {}, metadata
    )
    found = each_person(record, Fields(generations=names, question='best'))
    assert set(preferences(found)) == {Preference('middle', 'left', False), Preference('middle', 'right', False)}
    assert {(given.kind, given.model, given.value) for given in judged(found)} == {
        ('choice', 'left', 0),
        ('choice', 'middle', 1),
        ('choice', 'right', 0),
    }


def test_strengths_are_those_of_bradley_and_terry():
    records = [rated(*(5, 1) if i % 4 else (1, 5), record=f'r{i}') for i in range(40)] + [rated(3, 3, record='tie')] * 2
    x, y = strengths(summed(records))
    # Of two models, the odds are those of the wins: 30 and 10, two ties of half a win each, and a tenth to begin with.
    assert x.strength - y.strength == pytest.approx(math.log(31.1 / 11.1), abs=1e-3)
    assert (x.model, x.wins, x.losses, x.ties) == ('x', 30, 10, 2)
    # The middle 95% of the logarithm of odds of 42 trials reach about ±1.96 √(1/31 + 1/11); half of it for each.
    assert x.high - x.low == pytest.approx(2 * 1.96 * math.sqrt(1 / 31 + 1 / 11) / 2, rel=0.35)
    assert x.low < x.strength < x.high
    assert strengths(summed(records[::-1], split=3)) == strengths(summed(records))


def test_a_model_that_never_lost_has_a_strength_and_none_is_none():
    strong, weak = strengths(summed([rated(5, 1)]))
    assert strong.model == 'x' and math.isfinite(strong.strength) and weak.strength < 0
    assert strengths(Models()) == []
