"""How far people agree: the same numbers as others' programs give, however the answers are spread over bundles."""

from __future__ import annotations

from collections import Counter

import apache_beam as beam
import krippendorff
import pytest
from apache_beam.testing.util import assert_that
from hypothesis import given, settings
from hypothesis import strategies as st

import beam_argilla as ba
from beam_argilla.answers.agreement import AgreementFn, compare, of_question
from beam_argilla.answers.alpha import alpha, coincidences
from beam_argilla.errors import InputError
from tests.answers.samples import answered
from tests.samples import pipeline

# Of each record, what up to four people answered.
ANSWERS = st.lists(st.lists(st.integers(1, 5), max_size=4), min_size=1, max_size=12)


def counted(units: list[list]) -> Counter:
    return sum((coincidences(unit) for unit in units), Counter())


@pytest.mark.parametrize('level', ['nominal', 'ordinal', 'interval'])
@settings(max_examples=40, deadline=None)
@given(ANSWERS)
def test_alpha_is_that_of_the_krippendorff_package(level, units):
    if len({value for unit in units if len(unit) > 1 for value in unit}) < 2:
        assert alpha(counted(units), level) is None
        return
    table = [[unit.count(value) for value in range(1, 6)] for unit in units]
    theirs = krippendorff.alpha(value_counts=table, value_domain=[1, 2, 3, 4, 5], level_of_measurement=level)
    assert alpha(counted(units), level) == pytest.approx(theirs, abs=1e-9)


def test_sets_of_labels_differ_by_what_they_share():
    a, ab, bc, c = ('a',), ('a', 'b'), ('b', 'c'), ('c',)
    # Of the four values, each stands once: a-ab differ by 1 - 1/2 * 2/3, ab-bc by 1 - 1/3 * 1/3, bc-c like the first.
    subset, overlap = 2 / 3, 8 / 9
    observed = 2 * (subset + subset)
    expected = 2 * (subset + 1 + 1 + overlap + 1 + subset)  # a-ab, a-bc, a-c, ab-bc, ab-c, bc-c
    assert alpha(counted([[a, ab], [bc, c]]), 'masi') == pytest.approx(1 - 3 * observed / expected)
    assert alpha(counted([[a, a], [bc, bc], [(), ()]]), 'masi') == pytest.approx(1)


QUESTIONS = {
    'stars': 'rating',
    'order': 'ranking',
    'topic': 'label_selection',
    'flags': 'multi_label_selection',
    'why': 'text',
    'names': 'span',
    'unasked': 'text',
}


def ranks(*names: str) -> list[dict]:
    return [{'value': name, 'rank': i} for i, name in enumerate(names, 1)]


SPANS = [{'label': 'x', 'start': 0, 'end': 3}, {'label': 'y', 'start': 5, 'end': 6}]
ADA = {'stars': 5, 'order': ranks('p', 'q'), 'topic': 'art', 'flags': ['u', 'v'], 'why': 'so', 'names': SPANS}
BOB = {'stars': 5, 'order': ranks('p', 'q'), 'topic': 'art', 'flags': ['v', 'u'], 'why': 'so', 'names': SPANS[::-1]}
EVE = {'stars': 1, 'order': ranks('q', 'p'), 'topic': 'law', 'flags': ['u'], 'why': 'no', 'names': SPANS[:1]}
RECORDS = [
    answered({}, {'ada': ADA, 'bob': BOB}, QUESTIONS, suggestions={**ADA, 'stars': 4}),
    answered({}, {'ada': EVE, 'bob': EVE, 'eve': ADA}, QUESTIONS, suggestions=EVE),
    answered({}, {'eve': EVE}, QUESTIONS),
    answered({}, {'ada': ADA, 'bob': EVE}, QUESTIONS, suggestions=ADA, status='draft'),
]


def test_each_kind_is_measured_by_what_its_values_are():
    # A row a person, a column a record.
    answers = [[5, 1], [5, 1], [float('nan'), 5]]
    nominal, ordinal = (krippendorff.alpha(answers, level_of_measurement=level) for level in ('nominal', 'ordinal'))

    def people(found: list[ba.QuestionAgreement]) -> None:
        by = {result.question: result for result in found}
        assert {name: result.kind for name, result in by.items()} == QUESTIONS
        levels = ['ordinal', 'ordinal', 'nominal', 'masi', None, None, None]
        assert [by[name].level for name in QUESTIONS] == levels
        unasked = by.pop('unasked')
        assert unasked[3:] == (0, 0, 0, None, 'nothing was answered by two people', None)
        for result in by.values():
            options = 2 if result.kind == 'ranking' else 1
            assert (result.units, result.answers, result.people) == (2 * options, 6, 3)
            assert result.agreement == pytest.approx(2 / 4)  # of one pair and of three
        assert (by['topic'].alpha, by['stars'].alpha) == (pytest.approx(nominal), pytest.approx(ordinal))
        assert (by['why'].alpha, by['why'].why) == (None, 'texts and spans are the same or not')

    def agents(found: list[ba.SuggestionAgreement]) -> None:
        by = {result.question: result for result in found}
        assert by.keys() == QUESTIONS.keys() - {'unasked'}
        for result in by.values():
            assert (result.agent, result.answers) == ('judge', 10 if result.kind == 'ranking' else 5)
            assert result.agreement == pytest.approx(2 / 5 if result.question == 'stars' else 4 / 5)
        assert by['stars'].counts == {(4, 5): 2, (1, 1): 2, (1, 5): 1}
        assert by['flags'].counts[('u',), ('u', 'v')] == 1  # in whichever order
        assert by['order'].counts[1, 2] == 1
        assert by['why'].counts == {}  # of which no text is kept
        assert by['topic'].shown() == 'Suggestions for topic: 80% of 5 answers are those of judge'

    with pipeline() as p:
        agreement = p | beam.Create(RECORDS) | ba.Agreement({'flags': 'masi'})
        assert_that(agreement['questions'], people, 'people')
        assert_that(agreement['suggestions'], agents, 'agents')


def test_a_line_for_people():
    alike = ba.QuestionAgreement('r', 'rating', 'ordinal', 1200, 2400, 3, -0.001, None, 0.75)
    assert alike.shown() == (
        "Agreement on r: Krippendorff's alpha 0.00 (ordinal), 75% of pairs the same, 1,200 answered by two or more"
    )
    same = alike._replace(alpha=None, why='all answers are the same', agreement=1.0)
    assert 'alpha not defined (all answers are the same), 100%' in same.shown()
    assert same._replace(agreement=None, why='nobody').shown() == 'Agreement on r: nobody'


@pytest.mark.parametrize('values', [(3, 3), (3,)])
def test_where_alpha_is_not_defined_it_is_said_why(values):
    people = {f'p{i}': {'stars': value} for i, value in enumerate(values)}

    counts = AgreementFn().create_accumulator()
    for key, compared in compare(answered({}, people, {'stars': 'rating'}), {}):
        found = of_question((key, AgreementFn().add_input(counts, compared)), {})
    assert (found.alpha, found.agreement) == (None, 1 if len(values) > 1 else None)
    assert found.why == ('all answers are the same' if len(values) > 1 else 'nothing was answered by two people')


def test_a_level_that_the_values_do_not_have_is_told():
    with pytest.raises(ValueError, match=r"'stars': 'ratio'.*use one of 'interval', 'masi', 'nominal', 'ordinal'"):
        ba.Agreement({'stars': 'ratio'})
    for levels, message in [
        ({'topic': 'interval', 'stars': 'interval'}, "'topic': 'interval'.*label_selection.*nominal"),
        ({'why': 'nominal'}, 'text.*leave it out'),
        ({'star': 'nominal'}, "no question 'star'.*stars"),
    ]:
        with pytest.raises(InputError, match=message):
            list(compare(RECORDS[0], levels))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from(RECORDS), max_size=8), st.randoms())
def test_counts_are_the_same_in_whichever_bundles_they_were_made(records, random):
    fn = AgreementFn()
    compared = [value for record in records for _, value in compare(record, {})]
    whole = fn.create_accumulator()
    parts = [fn.create_accumulator() for _ in range(3)]
    for one in compared:
        fn.add_input(whole, one)
    for one in random.sample(compared, len(compared)):
        fn.add_input(random.choice(parts), one)
    assert fn.merge_accumulators([parts[0], fn.merge_accumulators(parts[1:])]) == whole
