"""Datasets, drafts and workspaces of others, and names, against a real server and the SDK itself."""

from __future__ import annotations

from typing import Any

import apache_beam as beam
import httpx
import pytest
from argilla.settings._resource import SettingsProperties

import beam_argilla as ba
from beam_argilla.errors import DatasetDiffersError
from beam_argilla.server.differences import draft_differences
from beam_argilla.server.settings import label_question, metadata_property, text_field, text_question
from tests.samples import pipeline, unique

NOWHERE = ba.ArgillaConnection('http://127.0.0.1:9')
ONE = ba.DatasetSettings([text_field('t')], [text_question('q', 'q')])


def make(api: httpx.Client, name: str, workspace: str = 'default', **more: Any) -> str:
    """The path of a new draft."""
    (home,) = [w['id'] for w in api.get('/me/workspaces').json()['items'] if w['name'] == workspace]
    body = {'name': name, 'workspace_id': home, 'allow_extra_metadata': False, **more}
    return f'/datasets/{api.post("/datasets", json=body).json()["id"]}'


def add(api: httpx.Client, path: str, kind: str, prop: Any) -> None:
    assert api.post(f'{path}/{kind}', json=prop).status_code == 201


def content(api: httpx.Client, path: str) -> list[Any]:
    kinds = ('fields', 'questions', 'vectors-settings')
    return [api.get(path).json(), *(api.get(f'{path}/{kind}').json() for kind in kinds)]


# -- drafts


def test_a_draft_of_others_is_left_alone(connection, api):
    name = unique('draft')
    path = make(api, name, guidelines='mine')
    add(api, path, 'fields', text_field('text'))
    before = content(api, path)
    with pytest.raises(DatasetDiffersError) as told:
        ba.check_dataset(name, connection=connection, settings=ba.Preference(2).settings())
    assert told.value.differences == ("guidelines is 'mine', not None", "field 'text' is not written here")
    with pytest.raises(DatasetDiffersError, match='is a draft, and not one that this job would make'), pipeline() as p:
        record = ba.Record('r', {'t': 'x'})
        _ = p | beam.Create([record]) | ba.WriteRecords(name, connection=connection, settings=ONE)
    assert content(api, path) == before


def test_a_draft_that_this_job_would_have_left_is_completed(connection, api):
    task = ba.Preference(2, guidelines='ours', metadata=['topic'])
    path = make(api, name := unique('draft'), guidelines='ours')
    settings = task.settings()
    for kind, properties in (('fields', settings.fields), ('questions', settings.questions[:2])):
        for prop in properties:
            add(api, path, kind, prop)
    assert ba.check_dataset(name, connection=connection, settings=settings) is None
    with pipeline() as p:
        _ = p | beam.Create([]) | ba.WriteRecords(name, connection=connection, settings=settings)
    found = ba.check_dataset(name, connection=connection, settings=settings)
    assert found is not None
    assert found.url.split('/')[-2] == path.split('/')[-1]


DRAFT = ba.DatasetSettings(
    fields=[text_field('t')],
    questions=[label_question('l', 'L', {'a': 'A', 'b': 'B'})],
    metadata=[metadata_property('m', 'integer')],
    vectors=[ba.vector_property('v', 2)],
)


@pytest.mark.parametrize(
    ('changes', 'difference'),
    [
        ({'fields': []}, None),
        ({'questions': [], 'metadata': [], 'vectors': []}, None),
        ({'fields': [{**text_field('t'), 'id': 'x', 'description': None}]}, None),
        ({'min_submitted': 2}, 'min_submitted is 2, not 1'),
        ({'allow_extra_metadata': True}, 'allow_extra_metadata is True, not False'),
        ({'fields': [text_field('t'), text_field('u', False)]}, "field 'u' is not written here"),
        ({'fields': [text_field('t', required=False)]}, "field 't': required is False, not True"),
        ({'fields': [{**text_field('t'), 'settings': {'type': 'chat'}}]}, "field 't': type is 'chat', not 'text'"),
        ({'questions': [label_question('l', 'L', {'a': 'A', 'b': 'C'})]}, "question 'l': text is 'C', not 'B'"),
        (
            {'questions': [label_question('l', 'L', {'a': 'A'})]},
            "question 'l': options is [{'value': 'a', 'text': 'A'}]",
        ),
        ({'metadata': [metadata_property('m', 'float')]}, "metadata property 'm': type is 'float', not 'integer'"),
        ({'vectors': [ba.vector_property('v', 3)]}, "vector 'v': dimensions is 3, not 2"),
    ],
)
def test_what_makes_a_draft_somebody_elses(changes, difference):
    found = draft_differences(DRAFT, {**vars(DRAFT), **changes})
    if difference is None:
        assert found == []
    else:
        assert len(found) == 1 + difference.startswith("field 't': type")  # the other type has no use_markdown either
        assert found[0].startswith(difference)


# -- names


@pytest.mark.parametrize('name', ['my team', 'équipe', 'a/b', 'a.b', ' a', 'a\n', 'ｗ', '٣'])
def test_a_workspace_that_would_break_the_sdk_is_not_created(name):
    arguments = {'connection': NOWHERE, 'workspace': name, 'create_workspace': True}
    for use in (
        lambda: ba.WriteRecords('x', **arguments),
        lambda: ba.WriteToArgilla('x', task=ba.Preference(1), **arguments),
        lambda: ba.check_dataset('x', **arguments),
    ):
        with pytest.raises(ValueError, match=r'cannot be created.*A-Z.*do not ask for it to be created'):
            use()


def test_a_workspace_of_any_name_that_is_there_is_written_to(connection, api):
    workspace = unique('mon équipe/')
    assert api.post('/workspaces', json={'name': workspace}).status_code == 201
    try:
        with pipeline() as p:
            write = ba.WriteRecords('d', connection=connection, workspace=workspace, settings=ONE)
            _ = p | beam.Create([ba.Record('r', {'t': 'x'})]) | write
        assert ba.check_dataset('d', connection=connection, workspace=workspace) is not None
    finally:  # others list all workspaces with the SDK
        (home,) = [w['id'] for w in api.get('/me/workspaces').json()['items'] if w['name'] == workspace]
        for dataset in api.get('/me/datasets', params={'workspace_id': home}).json()['items']:
            api.delete(f'/datasets/{dataset["id"]}')
        assert api.delete(f'/workspaces/{home}').status_code == 200


@pytest.mark.parametrize('name', [' x', 'x ', 'x\n', '\u3000x'])
def test_a_dataset_that_the_sdk_would_not_find_is_not_created(name):
    with pytest.raises(ValueError, match='the argilla SDK could not find it'):
        ba.WriteRecords(name, connection=NOWHERE, settings=ONE)
    ba.WriteRecords(name, connection=NOWHERE)  # it may be there


METADATA = [
    *('id', 'status', '_server_id', 'responses', 'suggestions', 'count', 'index', 'add', '_settings', '__class__'),
    *('instruction', 'generations-0', 'generations-0-rating', 'generations-1-rationale'),
    *(
        'generations-0-rating.suggestion',
        'generations-0-rating.suggestion.score',
        'generations-0-rating.responses.users',
    ),
]


@pytest.mark.parametrize('name', METADATA)
def test_metadata_that_the_sdk_has_another_use_for_is_refused_with_the_way_out(name):
    with pytest.raises(ValueError, match=r'give it another name, such as Metadata\(column=') as told:
        ba.Preference(2, metadata=[name])
    assert repr(name) in str(told.value)
    task = ba.Preference(2, metadata=[ba.Metadata(name, name=f'row_{name}')])
    assert task.metadata_columns == (name,)
    assert [m['name'] for m in task.settings().metadata] == [f'row_{name}']


def test_metadata_that_the_sdk_has_no_other_use_for_is_taken():
    ba.Preference(2, metadata=['score', 'fields', 'metadata', 'agent', 'a b', 'é', 'generations', 'rating.suggestion'])


@pytest.mark.parametrize(
    ('parts', 'message'),
    [
        ({'fields': [text_field('status')]}, "A field is called 'status'"),
        ({'fields': [text_field('q')]}, "A question is called 'q', but a field is called so as well"),
        ({'fields': [text_field('index')]}, 'could not open the dataset'),
        ({'questions': [text_question('count', 'C')]}, 'could not open the dataset'),
        (
            {'vectors': [ba.vector_property('a b', 2)]},
            "A vector is called 'a b', but the argilla SDK reads vectors only",
        ),
        ({'vectors': [ba.vector_property('t', 2)]}, 'but a field is called so as well'),
        ({'vectors': [ba.vector_property('id', 2)]}, 'export has a column of that name'),
    ],
)
def test_other_names_that_the_sdk_cannot_work_with_are_refused(parts, message):
    settings = ba.DatasetSettings(**{**vars(ONE), **parts})
    with pytest.raises(ValueError, match=message):
        ba.WriteRecords('x', connection=NOWHERE, settings=settings)
    with pytest.raises(ValueError, match=message):
        ba.check_dataset('x', connection=NOWHERE, settings=settings)


def test_all_attributes_that_the_sdk_keeps_for_itself_are_known():
    class Dataset:
        dataset = None

    for name in dir(SettingsProperties(Dataset(), [])):
        with pytest.raises(ValueError, match='called'):
            ba.DatasetSettings([text_field('t')], ONE.questions, [metadata_property(name, 'terms')]).check_names()


def test_a_dataset_with_such_names_is_written_to_as_it_is(connection, api):
    path = make(api, name := unique('names'))
    add(api, path, 'fields', text_field('status'))
    add(api, path, 'questions', text_question('q', 'q'))
    add(api, path, 'metadata-properties', metadata_property('index', 'terms'))
    assert api.put(f'{path}/publish').status_code == 200
    with pipeline() as p:
        record = ba.Record('r', {'status': 'x'}, metadata={'index': 'y'})
        _ = p | beam.Create([record]) | ba.WriteRecords(name, connection=connection)
    assert [r['metadata'] for r in api.get(f'{path}/records').json()['items']] == [{'index': 'y'}]
