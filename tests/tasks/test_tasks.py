"""Groups → records."""

from __future__ import annotations

import hashlib

import pytest

import beam_argilla as ba
from beam_argilla.grouping.arrange import arrange
from beam_argilla.server.encoder import Encoder
from beam_argilla.tasks.task import metadata_value, parse_rating
from tests.samples import COLUMNS, canonical, rows


def records(task, elements, columns=COLUMNS) -> list:
    return list(task.records(arrange(canonical(elements, columns), ba.Policies()).table))


def test_a_preference_record_holds_a_group_with_its_ratings_and_rationales():
    (record,) = records(ba.Preference(4), rows(1))
    assert record.external_id == 'i0000'
    assert record.fields == {
        'id': 'i0000',
        'instruction': 'What is 0 plus one?',
        'generations-0': 'alpha says 1.',
        'generations-1': 'beta says 1.',
        'generations-2': 'delta says 1.',
        'generations-3': 'gamma says 1.',
    }
    assert [(s.question, s.value) for s in record.suggestions] == [
        ('generations-0-rating', 1),
        ('generations-0-rationale', 'Because of 0 and 0.'),
        ('generations-1-rating', 2),
        ('generations-1-rationale', 'Because of 0 and 1.'),
        ('generations-2-rating', 4),
        ('generations-2-rationale', 'Because of 0 and 3.'),
        ('generations-3-rating', 3),
        ('generations-3-rationale', 'Because of 0 and 2.'),
    ]
    assert record.metadata == {}
    assert record.warnings == ()


@pytest.mark.parametrize(
    ('given', 'suggested'),
    [(4, 4), (4.0, 4), ('4', 4), ('4.0', 4), (None, None), (float('nan'), None), ('', None), ('N/A', None)],
)
def test_a_rating_that_says_something_is_suggested_and_none_is_none(given, suggested):
    (record,) = records(ba.Preference(1), [{**rows(1)[0], 'rating': given, 'rationale': ''}])
    assert [s.value for s in record.suggestions] == ([] if suggested is None else [suggested])
    assert all(type(s.value) is int for s in record.suggestions)
    assert record.warnings == ()


@pytest.mark.parametrize('given', [4.5, '4.5', 0, 6, -1, 'good', '1_0', 'inf', '1e400', '4/5'])
def test_a_rating_off_the_scale_is_reported_not_rounded(given):
    (record,) = records(ba.Preference(1), [{**rows(1)[0], 'rating': given}])
    assert [s.question for s in record.suggestions] == ['generations-0-rationale']
    assert record.warnings == (f"rating '{given}' of generations-0 is not one of 1, 2, 3, 4, 5: not suggested",)


def test_parse_rating_never_rounds():
    assert [parse_rating(t) for t in ('3', '3.0', '3e0', ' 3\n', '+3', '2.9999999', 'nan')] == [3] * 5 + [None] * 2
    big = 2**53 + 1
    assert [parse_rating(t) for t in (f'{big}', f'{big}.0', '1e22')] == [big, big, 10**22]


@pytest.mark.parametrize('text', ['1_0', '４', '٣', '3\u00a0', '\u20033', '0x3', 'inf', '', '1e9999999', '³', '1,5'])
def test_only_the_digits_of_ascii_are_numbers(text):
    """Of others Python makes numbers as well."""
    assert parse_rating(text) is None
    for kind in ('integer', 'float'):
        assert metadata_value(ba.Metadata('m', kind), [[text]], []) == text  # which is refused


def test_numbers_of_metadata_are_not_rounded():
    big = 2**63 - 1
    values = [metadata_value(ba.Metadata('m', 'integer'), [[text]], []) for text in (f'{big}', f'{big}.0', '-5', '1e3')]
    assert values == [big, big, -5, 1000]
    assert metadata_value(ba.Metadata('m', 'float'), [['0.1'], ['1e-1']], []) == 0.1


@pytest.mark.parametrize('name', ['status', 'id', 'index', 'responses', '_server_id'])
def test_a_name_that_the_sdk_needs_is_refused_where_it_is_written(name):
    with pytest.raises(ValueError, match=f"is called '{name}'.*name='row_{name}'"):
        ba.Metadata(name)
    with pytest.raises(ValueError, match=f"is called '{name}'"):
        ba.Metadata('column', name=name)
    assert ba.Metadata(name, name='mine').property_name == 'mine'


def test_the_agent_is_the_columns_or_the_tasks_in_characters_that_the_server_takes():
    one, two = rows(1)[:2]
    elements = [{**one, 'judge': 'gpt-4 (turbo)'}, {**two, 'judge': None}]
    task = ba.Preference(2, agent='house judge')
    columns = ba.Columns(instruction_id='instruction_id', agent='judge')
    (record,) = records(task, elements, columns)
    assert [s.agent for s in record.suggestions] == ['gpt-4 -turbo-'] * 2 + ['house judge'] * 2
    Encoder(task.settings()).encode(record)


def test_suggestions_can_be_left_out():
    (record,) = records(ba.Preference(4, suggestions=False), rows(1))
    assert record.suggestions == ()


def test_another_scale():
    elements = [{**rows(1)[0], 'rating': 10}]
    (record,) = records(ba.Preference(1, ratings=range(11)), elements)
    assert record.suggestions[0].value == 10
    with pytest.raises(ValueError, match='2 to 11 different integers from 0 to 10'):
        ba.Preference(1, ratings=[1, 11])


def test_metadata_of_a_group_is_what_its_rows_agree_on():
    elements = rows(1)
    elements[1]['topic'] = 'other'
    elements[2]['length'] = 7
    metadata = [ba.Metadata('topic'), ba.Metadata('length', 'integer'), ba.Metadata('share', 'float')]
    columns = ba.Columns(instruction_id='instruction_id', metadata=['topic', 'length', 'share'])
    task = ba.Preference(4, metadata=metadata, model_names=True)
    (record,) = records(task, elements, columns)
    assert record.metadata == {
        'generations-0-model': 'alpha',
        'generations-1-model': 'beta',
        'generations-2-model': 'delta',
        'generations-3-model': 'gamma',
        'topic': ['sums', 'other'],
        'length': 0,
        'share': 0.0,
    }
    assert record.warnings == (
        "7 of metadata 'length': a record has one integer there, but its rows have 2; 0, the first in their order, was "
        'kept',
    )
    Encoder(task.settings()).encode(record)


@pytest.mark.parametrize('task', [ba.Preference, ba.TextGeneration])
def test_a_property_can_be_called_otherwise_than_its_column(task):
    metadata = [ba.Metadata('topic', name='status of topic'), ba.Metadata('topic', visible_for_annotators=False)]
    made = task(*([4] if task is ba.Preference else []), metadata=metadata)
    columns = ba.Columns(instruction_id='instruction_id', metadata=list(made.metadata_columns))
    record = records(made, rows(1), columns)[0]
    assert record.metadata == {'status of topic': 'sums', 'topic': 'sums'}
    Encoder(made.settings()).encode(record)


def test_text_generation_makes_a_record_of_each_generation_whose_id_never_moves():
    task = ba.TextGeneration(model_names=True)
    before = records(task, rows(1, 2))
    after = records(task, rows(1, 4))
    suffix = hashlib.sha256(b'alpha\0alpha says 1.').hexdigest()[:12]
    assert before[0].external_id == f'i0000-{suffix}'
    assert before[0].fields == {'id': 'i0000', 'instruction': 'What is 0 plus one?', 'generation': 'alpha says 1.'}
    assert before[0].metadata == {'model_name': 'alpha'}
    assert {r.external_id for r in before} < {r.external_id for r in after}
    assert len({r.external_id for r in after}) == 4


@pytest.mark.parametrize('task', [ba.TextGeneration(namespace='run1'), ba.Preference(4, namespace='run1')])
def test_a_namespace_goes_before_every_external_id(task):
    assert all(r.external_id.startswith('run1/i000') for r in records(task, rows(2)))


def test_a_group_too_large_for_its_record_is_refused_even_without_policies():
    (failed,) = records(ba.Preference(3), rows(1))
    assert (failed.stage, failed.error, failed.external_id) == ('build', 'TooManyGenerations', 'i0000')


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda: ba.Preference(0), 'num_generations'),
        (lambda: ba.Preference(1, metadata='topic'), 'give a list'),
        (lambda: ba.Preference(1, metadata=['a', 'a']), "called 'a'"),
        (lambda: ba.TextGeneration(model_names=True, metadata=['model_name']), "called 'model_name'"),
        (lambda: ba.TextGeneration(guidelines=''), 'guidelines'),
        (lambda: ba.TextGeneration(min_submitted=0), 'min_submitted'),
        (lambda: ba.TextGeneration(metadata=[ba.Metadata('a', 'number')]), "'terms', 'integer' or 'float'"),
    ],
)
def test_a_task_that_the_server_would_refuse_is_refused_when_it_is_made(make, message):
    with pytest.raises(ValueError, match=message):
        make()
