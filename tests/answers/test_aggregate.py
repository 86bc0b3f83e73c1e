"""Answers of several people → one value."""

from __future__ import annotations

import pytest

from beam_argilla.answers.aggregate import Aggregate, Value, aggregate


@pytest.mark.parametrize(
    ('how', 'values', 'found', 'reason'),
    [
        ('mean', [1, 2, 5], [8 / 3], None),
        ('median', [1, 2, 5], [2], None),
        ('median', [1, 2, 4, 5], [3], None),
        ('min', [3, 2], [2], None),
        ('max', [3, 2], [3], None),
        ('majority', [3, 2, 3], [3], None),
        ('majority', [3, 2, 3, 2], [], 'tie'),
        ('mean', ['good', 'bad', 'good'], ['good'], None),
        ('mean', ['good', 'bad'], [], 'tie'),
        ('all', [3, 2], [3, 2], None),
        ('mean', [], [], 'unanswered'),
    ],
)
def test_ways(how, values, found, reason):
    people = {f'u{i}': value for i, value in enumerate(values)}
    made, why = aggregate(people, None, Aggregate(how))
    assert [value.value for value in made] == found
    assert why == reason
    assert [value.user for value in made] == (list(people) if how == 'all' else [None] * len(found))


def test_too_few_and_suggestions():
    assert aggregate({'ada': 1}, 5, Aggregate(min_answers=2, suggestions=True)) == ([], 'too_few_answers')
    assert aggregate({}, 5, Aggregate()) == ([], 'unanswered')
    assert aggregate({}, 5, Aggregate(suggestions=True)) == ([Value(5, None, True)], None)


@pytest.mark.parametrize('arguments', [{'how': 'average'}, {'min_answers': 0}])
def test_what_cannot_be(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        Aggregate(**arguments)
