"""Answers of several people → one value."""

from __future__ import annotations

import pytest

from beam_argilla.answers.aggregate import Aggregate, Value, aggregate, scores
from tests.answers.samples import answered

FIELDS = {'id': 'i', 'instruction': 'q', 'generations-0': 'a', 'generations-1': 'b'}
RATINGS = {'generations-0-rating': 'rating', 'generations-1-rating': 'rating', 'comment': 'text'}


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


def found(record, **rule):
    people, reasons = scores(record, Aggregate(**rule))
    return [[(s.generation.text, s.score, s.user, s.suggested) for s in person] for person in people], reasons


def test_ratings_are_of_the_fields_that_they_are_called_after():
    people = {'ada': {'generations-0-rating': 4, 'generations-1-rating': 2}, 'bob': {'generations-0-rating': 5}}
    record = answered(FIELDS, people, RATINGS, suggestions={'generations-1-rating': 1})
    assert found(record) == ([[('a', 4.5, None, False), ('b', 2, None, False)]], [])
    assert found(record, min_answers=2) == ([[('a', 4.5, None, False)]], ['too_few_answers'])
    assert found(record, user='bob') == ([[('a', 5, None, False)]], ['unanswered'])
    assert found(record, user='bob', suggestions=True) == ([[('a', 5, None, False), ('b', 1, None, True)]], [])
    by_person = [[('a', 4, 'ada', False), ('b', 2, 'ada', False)], [('a', 5, 'bob', False)]]
    assert found(record, how='all') == (by_person, [])
    assert found(answered(FIELDS, people, RATINGS, status='draft')) == ([], ['unanswered', 'unanswered'])


def test_a_ranking_is_of_the_fields_that_its_options_are_called_like():
    ranks = [{'value': 'generations-1', 'rank': 1}, {'value': 'generations-0', 'rank': 2}, {'value': 'x', 'rank': 3}]
    record = answered(FIELDS, {'ada': {'order': ranks}}, {'order': 'ranking'})
    assert found(record) == ([[('a', -2, None, False), ('b', -1, None, False)]], [])


def test_labels_say_good_or_bad_of_the_one_generation():
    fields, questions = {'id': 'i', 'instruction': 'q', 'generation': 'a'}, {'quality': 'label_selection'}
    for label, score in (('good', 1), ('bad', 0)):
        record = answered(fields, {'ada': {'quality': label}}, questions)
        assert found(record) == ([[('a', score, None, False)]], [])
    assert found(answered(fields, {'ada': {'quality': 'unsure'}}, questions)) == ([], ['other_label'])
    assert found(answered(fields, {'ada': {'note': 'x'}}, {'note': 'text'})) == ([], [])
