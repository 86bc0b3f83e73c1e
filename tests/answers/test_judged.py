"""Which generations people judged, and how good each is."""

from __future__ import annotations

import pytest

from beam_argilla.answers.aggregate import Aggregate
from beam_argilla.answers.judged import Fields, scores
from beam_argilla.errors import FormError
from tests.answers.samples import answered

FIELDS = {'id': 'i', 'instruction': 'q', 'generations-0': 'a', 'generations-1': 'b'}
RATINGS = {'generations-0-rating': 'rating', 'generations-1-rating': 'rating', 'comment': 'text'}


def found(record, fields=None, **rule):
    known = scores(record, Aggregate(**rule), fields or Fields())
    if known is None:
        return None
    people = [[(s.generation.text, s.score, s.user, s.suggested) for s in person] for person in known.people]
    return people, known.reasons


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
    assert found(answered(fields, {'ada': {'note': 'x'}}, {'note': 'text'})) is None


OTHERS = {'question': 'q', 'left': 'a', 'right': 'b'}


@pytest.mark.parametrize(
    ('question', 'questions', 'answers', 'scored', 'reasons'),
    [
        ('better', {'better': 'label_selection'}, ['left', 'left', 'right'], [('a', 2 / 3), ('b', 1 / 3)], []),
        ('better', {'better': 'label_selection'}, ['tie'], [], ['other_label', 'other_label']),
        ('order', {'order': 'ranking', 'x': 'ranking'}, [[{'value': 'right', 'rank': 1}]], [('b', -1)], ['unranked']),
        ({'left': 'one', 'right': 'two'}, {'one': 'rating', 'two': 'rating'}, None, [('a', 4), ('b', 2)], []),
    ],
)
def test_fields_and_questions_that_are_called_otherwise(question, questions, answers, scored, reasons):
    people = (
        {f'u{n}': {question: answer} for n, answer in enumerate(answers)} if answers else {'u': {'one': 4, 'two': 2}}
    )
    fields = Fields('question', ['left', 'right'], question)
    people, why = found(answered(OTHERS, people, questions), fields)
    assert [(text, score) for person in people for text, score, *_ in person] == [
        (text, pytest.approx(score)) for text, score in scored
    ]
    assert why == reasons


@pytest.mark.parametrize(
    ('question', 'message'),
    [
        ('gone', r"question='gone' can be one rating, ranking or label.* asks stars \(rating\), note \(text\)"),
        ('note', r"question='note' can be one rating"),
        ({'left': 'stars', 'right': 'order'}, 'can be one rating'),
        ({'left': 'order'}, 'can be one rating'),
        ('stars', r"question='stars' is one rating: say of which generation, \{'left': 'stars'\}"),
    ],
)
def test_questions_that_judge_nothing(question, message):
    questions = {'stars': 'rating', 'note': 'text', 'order': 'ranking'}
    with pytest.raises(FormError, match=message):
        found(answered(OTHERS, {}, questions), Fields('question', ['left', 'right'], question))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'generations': 'left'}, "generations='left': give a list"),
        ({'good': []}, 'good='),
        ({'good': ['a'], 'bad': ['b', 'a']}, "'a' cannot be both"),
        ({'generations': ['left', 'right', 'left']}, "generations=.*: 'left' is there twice"),
        ({'generations': ['a', 'b'], 'question': {'a': 'stars', 'b': 'stars'}}, "question=.*: 'stars' is there twice"),
        ({'generations': ['a', 'b'], 'question': {'c': 'stars'}}, r"'c' is no generation\. Those are a, b\."),
        ({'question': {'instruction': 'stars'}}, r"'instruction' is no generation\. Those are generations-0, "),
        ({'question': {}}, 'give a question, or a field'),
        ({'generations': ['a', 'instruction']}, "prompt='instruction': it is one of the generations"),
    ],
)
def test_fields_that_cannot_be(arguments, message):
    with pytest.raises(ValueError, match=message):
        Fields(**arguments)


@pytest.mark.parametrize(
    'fields', [Fields('question', ['left', 'rihgt']), Fields(question={'rihgt': 'stars'}, generations=['rihgt'])]
)
def test_a_misspelt_field_is_told(fields):
    message = "There is no field 'rihgt', where a generation should be: the dataset has 'question', 'left', 'right'"
    with pytest.raises(FormError, match=message):
        fields.check(['question', 'left', 'right'])


def test_what_nobody_has_ranked_is_told_and_no_suggestion_stands_in():
    ranks = [{'value': 'generations-1', 'rank': 1}, {'value': 'generations-0', 'rank': None}]
    hint = [{'value': 'generations-0', 'rank': 1}, {'value': 'generations-1', 'rank': 2}]
    record = answered(FIELDS, {'ada': {'order': ranks}}, {'order': 'ranking'}, {'order': hint})
    assert found(record, suggestions=True) == ([[('b', -1, None, False)]], ['unranked'])
    assert found(record, user='bob') == ([], ['unanswered', 'unanswered'])


def test_a_record_that_lacks_a_generation_is_judged_as_the_others_are():
    ranks = [{'value': 'generations-0', 'rank': 1}]
    record = answered({'instruction': 'q', 'generations-0': 'a'}, {'ada': {'order': ranks}}, {'order': 'ranking'})
    assert found(record) == ([[('a', -1, None, False)]], [])
