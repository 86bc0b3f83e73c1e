"""What people do at the page, in a real browser, and what is read back of it."""

from __future__ import annotations

import dataclasses
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that, equal_to

import beam_argilla as ba
from tests.answers.people import Person, crew, record_ids
from tests.browser import Annotator, browser
from tests.samples import pipeline, unique

__all__ = ['browser', 'crew']  # fixtures
OPTIONS = {'a': 'The first', 'b': 'The second', 'c': 'Neither'}
ORDER = {
    'name': 'order',
    'title': 'Order',
    'required': True,
    'settings': {'type': 'ranking', 'options': [{'value': value, 'text': text} for value, text in OPTIONS.items()]},
}
SETTINGS = ba.DatasetSettings(
    fields=[ba.text_field('instruction'), ba.chat_field('talk')],
    questions=[
        ba.rating_question('quality', 'Quality', [1, 2, 3, 4, 5]),
        ba.label_question('right', 'Is it right?', {'yes': 'Yes', 'no': 'No'}),
        ba.text_question('why', 'Why?', required=False),
    ],
    metadata=[ba.metadata_property('topic', 'terms'), ba.metadata_property('length', 'integer')],
)
COUNT = 6


def instruction(number: int) -> str:
    return f'What is {number} plus one, in {"words" if number == 4 else "digits"}?'


def talk(number: int) -> list[dict[str, str]]:
    return [
        {'role': 'user', 'content': f'And {number}?'},
        {'role': 'assistant', 'content': f'That makes {number + 1}.\nNext?'},
    ]


def record(number: int) -> ba.Record:
    metadata = {'topic': ('sums', 'counting')[number % 2], 'length': 10 - number}
    suggestions = [ba.Suggestion('quality', 1 + number % 5, agent='judge-1', score=0.5)]
    fields = {'instruction': instruction(number), 'talk': talk(number)}
    return ba.Record(f'r{number}', fields, suggestions, metadata)


@pytest.fixture
def load(connection):
    """Makes a dataset of six records and returns its name."""

    def made(settings: ba.DatasetSettings = SETTINGS) -> str:
        name = unique('page')
        with pipeline() as p:
            records = p | beam.Create([record(number) for number in range(COUNT)])
            _ = records | ba.WriteRecords(name, connection=connection, settings=settings)
        return name

    return made


@pytest.fixture
def sign_in(browser, argilla_server):
    """Has people sign in at the page, where nothing went wrong by the end of the test."""
    people: list[Annotator] = []

    def signed_in(person: Person) -> Annotator:
        people.append(Annotator(browser, argilla_server.api_url, person.name, person.password))
        return people[-1]

    yield signed_in
    assert [annotator.trouble for annotator in people] == [[] for _ in people]
    for annotator in people:
        annotator.page.context.close()


def rankings(record: ba.AnsweredRecord) -> list[tuple[str, str, list[str]]]:
    """Record id, name and options, the best one first, of each answer."""
    given = [(response.user, response.values['order']) for response in record.responses]
    return [
        (record.external_id, user, [option['value'] for option in sorted(order, key=lambda option: option['rank'])])
        for user, order in given
    ]


def answers(sdk, name: str) -> dict[str, list[tuple[str, dict[str, Any]]]]:
    """Record id → status and values of each answer, as the SDK reads them."""
    found = {}
    for row in sdk.datasets(name).records:
        given: dict[Any, tuple[str, dict[str, Any]]] = {}
        for response in row.responses:
            given.setdefault(response.user_id, (response.status.value, {}))[1][response.question_name] = response.value
        if given:
            found[row.id] = list(given.values())
    return found


def test_people_find_what_they_look_for(load, sign_in, crew):
    name = load()
    eve = sign_in(crew[2])
    eve.open(name)
    assert sorted(eve.all_shown('instruction')) == [instruction(n) for n in range(COUNT)]
    eve.sort_by('length')
    assert eve.all_shown('instruction') == [instruction(n) for n in (5, 4, 3, 2, 1, 0)]
    eve.filter_by_metadata('topic', 'sums')
    assert eve.all_shown('instruction') == [instruction(n) for n in (4, 2, 0)]
    eve.filter_by_suggestion('quality', at_least=3)
    assert eve.all_shown('instruction') == [instruction(n) for n in (4, 2)]
    eve.search('words')
    assert eve.all_shown('instruction') == [instruction(4)]
    assert eve.talk('talk') == [(message['role'], message['content']) for message in talk(4)]
    assert eve.chosen('quality') == ['5 Suggestion judge-1: 0.5']
    assert eve.chosen('right') == []


def test_answers_with_the_mouse_and_with_keys(load, sign_in, crew, sdk):
    name = load()
    eve = sign_in(crew[2])
    eve.open(name)
    eve.sort_by('length', descending=True)
    eve.sees(pending=6, draft=0, discarded=0, submitted=0)
    eve.rate({'quality': 4})
    eve.choose('right', 'Yes')
    eve.submit()
    eve.type('4', '2', 'Escape')  # what is suggested would be taken away by its key
    eve.submit('Enter')
    eve.choose('right', 'No')
    eve.save()
    eve.go_on()
    eve.discard()
    eve.discard('Backspace')
    eve.type('3', '1', 'Escape')
    eve.save('Control+s')
    eve.sees(pending=0, draft=2, discarded=2, submitted=2)
    assert answers(sdk, name) == {
        'r0': [('submitted', {'quality': 4, 'right': 'yes'})],
        'r1': [('submitted', {'quality': 4, 'right': 'no'})],
        'r2': [('draft', {'quality': 3, 'right': 'no'})],
        'r3': [('discarded', {'quality': 4})],
        'r4': [('discarded', {'quality': 5})],
        'r5': [('draft', {'quality': 3, 'right': 'yes'})],
    }
    eve.show('draft')
    assert eve.all_shown('instruction') == [instruction(n) for n in (2, 5)]


def test_a_ranking_is_dragged(load, sign_in, crew, connection):
    name = load(dataclasses.replace(SETTINGS, questions=[*SETTINGS.questions, ORDER]))
    eve = sign_in(crew[2])
    eve.open(name)
    eve.search('words')
    eve.rank('order', [OPTIONS['b'], OPTIONS['c'], OPTIONS['a']])
    eve.choose('right', 'Yes')
    eve.submit()
    with pipeline() as p:  # the SDK leaves out the ranks
        read = p | ba.ReadFromArgilla(name, connection=connection) | beam.FlatMap(rankings)
        assert_that(read, equal_to([('r4', crew[2].name, ['b', 'c', 'a'])]))


def test_a_record_is_shown_while_it_needs_answers(load, sign_in, crew, sdk, api):
    name = load(dataclasses.replace(SETTINGS, min_submitted=2))
    crew[1].answers(record_ids(api, name)['r0'], {'quality': 1, 'right': 'no'})
    ada, _, eve = crew
    second = sign_in(eve)
    second.open(name)
    second.sort_by('length', descending=True)
    assert second.shown('instruction') == instruction(0)
    second.rate({'quality': 2})
    second.choose('right', 'Yes')
    second.submit()
    third = sign_in(ada)
    third.open(name)
    assert sorted(third.all_shown('instruction')) == [instruction(n) for n in range(1, COUNT)]
    given = [('submitted', {'quality': 1, 'right': 'no'}), ('submitted', {'quality': 2, 'right': 'yes'})]
    assert sorted(answers(sdk, name)['r0'], key=str) == given


def test_two_tabs_give_one_answer_to_a_record(load, sign_in, crew, sdk):
    name = load()
    eve = sign_in(crew[2])
    eve.open(name)
    eve.sort_by('length', descending=True)
    other = eve.tab()
    for tab, rating in ((eve, 3), (other, 5)):
        assert tab.shown('instruction') == instruction(0)
        tab.rate({'quality': rating})
        tab.choose('right', 'No')
    eve.submit()
    assert 'Response already exists' in other.told_on_submit(409)
    assert answers(sdk, name) == {'r0': [('submitted', {'quality': 3, 'right': 'no'})]}
    other.go_on()
    following = other.shown('instruction')
    other.rate({'quality': 5})
    other.choose('right', 'Yes')
    other.submit()
    number = [instruction(n) for n in range(COUNT)].index(following)
    assert answers(sdk, name)[f'r{number}'] == [('submitted', {'quality': 5, 'right': 'yes'})]
