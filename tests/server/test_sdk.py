"""The `argilla` SDK's settings and records, there and back, against the SDK itself and a real server."""

from __future__ import annotations

import json
import pickle
import socket
import threading
import uuid

import apache_beam as beam
import argilla as rg
import httpx
import pytest
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.error_handling import CollectingErrorHandler
from PIL import Image

import beam_argilla as ba
from beam_argilla.errors import JobError
from beam_argilla.server.sdk import record_from_argilla
from tests.samples import pipeline, unique


def options(*values: str) -> list[dict]:
    return [{'value': value, 'text': value.upper()} for value in values]


def named(name: str, kind: str, required: bool = False, **settings) -> dict:
    return {'name': name, 'title': name.upper(), 'required': required, 'settings': {'type': kind, **settings}}


def metadata(name: str, kind: str, visible: bool, **settings) -> dict:
    return {
        'name': name,
        'title': name,
        'settings': {'type': kind, **settings},
        'visible_for_annotators': visible,
    }


EVERYTHING = ba.DatasetSettings(
    fields=[
        named('t', 'text', required=True, use_markdown=True),
        named('c', 'chat', use_markdown=False),
        named('i', 'image'),
        named('k', 'custom', template='<b>{{record.fields.k.a}}</b>', advanced_mode=True),
    ],
    questions=[
        {**named('r', 'rating', required=True, options=[{'value': v} for v in (5, 1, 3)]), 'description': 'rate it'},
        named('q', 'text', use_markdown=True),
        named('l', 'label_selection', options=options('e', 'd', 'c', 'b'), visible_options=3),
        named('d', 'label_selection', options=[{'value': 'a', 'text': 'A', 'description': 'first'}, *options('b')]),
        named('m', 'multi_label_selection', options=options('z', 'y', 'x'), options_order='suggestion'),
        named('o', 'ranking', options=options('z', 'y', 'x')),
        named('s', 'span', field='t', options=options('PER', 'LOC'), allow_overlapping=True),
    ],
    metadata=[metadata('mt', 'terms', False, values=['b', 'a']), metadata('mi', 'integer', True, min=0, max=10)],
    vectors=[ba.vector_property('v', 3)],
    guidelines='# Do it',
    min_submitted=2,
    allow_extra_metadata=True,
)
SETTINGS = [
    EVERYTHING,
    ba.Preference(4, metadata=['topic'], model_names=True).settings(),
    ba.TextGeneration().settings(),
]


@pytest.fixture
def connection(argilla_server, monkeypatch) -> ba.ArgillaConnection:
    monkeypatch.setenv('ARGILLA_API_KEY', argilla_server.api_key)
    return ba.ArgillaConnection(argilla_server.api_url)


@pytest.mark.parametrize('settings', SETTINGS, ids=['everything', 'preference', 'text generation'])
def test_settings_there_and_back_are_the_same_without_client_or_network(settings, monkeypatch):
    monkeypatch.setattr(socket, 'socket', None)
    monkeypatch.delenv('ARGILLA_API_KEY', raising=False)
    monkeypatch.setattr(rg.Argilla, '_default_client', None)
    seen = []
    thread = threading.Thread(target=lambda: seen.append(settings.to_argilla()))
    thread.start()
    thread.join()
    (theirs,) = seen
    assert isinstance(theirs, rg.Settings)
    assert ba.DatasetSettings.of(theirs) == settings
    assert ba.DatasetSettings.of(pickle.loads(pickle.dumps(theirs))) == settings
    assert rg.Argilla._default_client is None
    theirs.guidelines = 'Changed.'
    theirs.questions[0].title = 'Changed?'
    changed = ba.DatasetSettings.of(theirs)
    assert (changed.guidelines, changed.questions[0]['title']) == ('Changed.', 'Changed?')


@pytest.mark.parametrize('settings', SETTINGS, ids=['everything', 'preference', 'text generation'])
def test_the_sdk_and_we_make_the_same_dataset_of_them(connection, settings):
    client = connection.client()
    theirs, ours = unique('sdk'), unique('ours')
    rg.Dataset(theirs, workspace='default', settings=settings.to_argilla(), client=client).create()
    write(connection, ours, [], settings.to_argilla())
    looks = [ba.check_dataset(name, connection=connection, settings=settings) for name in (theirs, ours)]
    assert [without_ids(look.settings) for look in looks] == [without_ids(looks[0].settings)] * 2
    assert [p['name'] for p in looks[1].settings.vectors] == [p['name'] for p in settings.vectors]


def without_ids(settings: ba.DatasetSettings) -> dict:
    def plain(properties):
        keep = [
            {k: v for k, v in p.items() if k in ('name', 'title', 'required', 'settings', 'dimensions', 'description')}
            for p in properties
        ]
        for p in keep:  # the SDK shows all labels where the settings do not say how many
            p.get('settings', {}).pop('visible_options', None)
        return keep

    kinds = {name: plain(getattr(settings, name)) for name in ('fields', 'questions', 'metadata', 'vectors')}
    return {**vars(settings), **kinds}


def write(connection, name, records, settings, **sink) -> tuple[list, list]:
    """What was written and what was refused."""
    written, failed = [], []
    with pipeline() as p:
        elements = p | beam.Create([None]) | beam.FlatMap(_taken, _store(records))
        result = elements | ba.WriteRecords(name, connection=connection, settings=settings, **sink)
        _ = result.written | 'Written' >> beam.Map(_put, _store(written))
        _ = result.failed | 'Failed' >> beam.Map(_put, _store(failed))
    return written, failed


# An `argilla.Record` that came from a server cannot be pickled, so these stay in this process, where the workers run.
STORE: dict[int, list] = {}


def _store(elements: list) -> int:
    STORE[len(STORE)] = elements
    return len(STORE) - 1


def _taken(_: None, key: int) -> list:
    return STORE[key]


def _put(element: object, key: int) -> None:
    STORE[key].append(element)


def a_record(number: int, **more) -> rg.Record:
    return rg.Record(
        id=f'r{number}',
        fields={
            't': f'text {number}',
            'c': [{'role': 'user', 'content': 'hi'}, {'role': 'assistant', 'content': 'ho'}],
            'i': 'https://example.org/x.png' if number else Image.new('RGB', (2, 2)),
            'k': {'a': number},
        },
        metadata={'mt': 'b', 'mi': number, 'extra': [1, {'deep': None}]},
        vectors={'v': [number + 0.1, 1, -2.5]},
        suggestions=[
            rg.Suggestion('r', 3, score=0.25, agent='judge', type='model'),
            rg.Suggestion('q', 'because'),
            rg.Suggestion('l', 'c'),
            rg.Suggestion('m', ('x', 'z'), score=[0.5, 0.75]),
            rg.Suggestion('o', ['x', 'z', 'y']),
            rg.Suggestion('s', [{'start': 0, 'end': 4, 'label': 'LOC'}]),
        ],
        **more,
    )


def stored(connection, name: str) -> dict[str, dict]:
    """External id → all that the server has of the record, but for what it makes up itself."""
    found = ba.check_dataset(name, connection=connection)
    headers = connection.resolve()
    with httpx.Client(base_url=f'{connection.api_url}/api/v1', headers=headers) as api:
        params = {'limit': 1000, 'include': ['suggestions', 'vectors', 'responses']}
        items = api.get(f'/datasets/{found.id}/records', params=params).json()['items']
    names = {identity: question for question, identity in found.question_ids.items()}
    keys = ('value', 'agent', 'score', 'type')
    return {
        item['external_id']: {
            **{k: item[k] for k in ('fields', 'metadata', 'vectors', 'responses', 'status')},
            'suggestions': {names[s['question_id']]: {k: s[k] for k in keys} for s in item['suggestions']},
        }
        for item in items
    }


def test_records_of_the_sdk_arrive_as_its_own_log_writes_them(connection):
    client = connection.client()
    theirs, ours = unique('sdk'), unique('ours')
    dataset = rg.Dataset(theirs, workspace='default', settings=EVERYTHING.to_argilla(), client=client).create()
    dataset.records.log([a_record(n) for n in range(3)])
    written, failed = write(connection, ours, [a_record(n) for n in range(3)], EVERYTHING)
    assert (sorted(w.external_id for w in written), failed) == (['r0', 'r1', 'r2'], [])
    assert stored(connection, ours) == stored(connection, theirs)
    assert stored(connection, ours)['r1']['vectors'] == {'v': [1.1, 1.0, -2.5]}
    assert stored(connection, ours)['r0']['fields']['i'].startswith('data:image/')


def test_records_that_came_from_a_server_say_the_same(connection):
    client = connection.client()
    first, second = unique('first'), unique('second')
    write(connection, first, [a_record(n) for n in range(2)], EVERYTHING)
    read = list(client.datasets(first, workspace='default').records(with_suggestions=True, with_vectors=True))
    # Such records cannot be pickled, so they are converted before they go into a pipeline.
    assert write(connection, second, [record_from_argilla(r, EVERYTHING.fields) for r in read], EVERYTHING)[1] == []
    assert stored(connection, second) == stored(connection, first)


def test_responses_are_refused_and_the_rest_of_the_record_is_kept(connection):
    name = unique('responses')
    user = connection.client().me.id
    answered = a_record(1, responses=[rg.Response('r', 5, user_id=user)])
    written, failed = write(connection, name, [a_record(0), answered], EVERYTHING)
    assert [w.external_id for w in written] == ['r0']
    (refused,) = failed
    assert (refused.external_id, refused.stage, refused.error) == ('r1', 'validate', 'HasResponses')
    assert 'overwrite what people have answered' in refused.message
    assert '"text 1"' in refused.data
    assert '"vectors":{"v":[1.1,1.0,-2.5]}' in refused.data


def test_a_record_that_cannot_be_sent_is_refused_with_what_it_held(connection):
    broken = a_record(1)
    broken.fields['c'] = [{'nobody': 'says'}]
    _, failed = write(connection, unique('broken'), [broken], EVERYTHING)
    (refused,) = failed
    assert (refused.external_id, refused.error) == ('r1', 'NotARecord')
    assert "KeyError: 'role'" in refused.message
    held = json.loads(refused.data)['record']
    assert held['fields']['c'] == [{'nobody': 'says'}]
    assert held['vectors'] == {'v': [1.1, 1, -2.5]}
    assert {s['question'] for s in held['suggestions']} == {'r', 'q', 'l', 'm', 'o', 's'}


def test_what_is_there_already_is_not_sent_again_whatever_it_holds(connection):
    name = unique('unchanged')
    write(connection, name, [a_record(n) for n in range(3)], EVERYTHING)
    again, _ = write(connection, name, [a_record(n) for n in range(3)], EVERYTHING, skip_unchanged=True)
    assert [w.outcome for w in again] == ['unchanged'] * 3


def test_records_are_checked_without_a_server_as_they_are_written():
    answered = a_record(1, responses=[rg.Response('r', 5, user_id=uuid.uuid4())])
    with pipeline() as p:
        refused = CollectingErrorHandler()
        checked = p | beam.Create([a_record(2), answered]) | ba.CheckRecords(EVERYTHING).with_error_handler(refused)
        refused.close()
        assert_that(checked | beam.Map(lambda c: c.external_id), equal_to(['r2']))
        assert_that(refused.output() | 'Why' >> beam.Map(lambda f: f.error), equal_to(['HasResponses']), 'refused')


@pytest.mark.parametrize('settings', [{'fields': []}, 5, None], ids=str)
def test_what_are_no_settings_is_said(settings):
    with pytest.raises(TypeError, match=r'must be a DatasetSettings or an argilla\.Settings, not a '):
        ba.CheckRecords(settings)


def test_what_is_no_record_ends_the_job_with_what_to_do(connection):
    with pytest.raises(
        Exception, match=r'Records and argilla\.Records are written, not dict.*WriteToArgilla\(columns='
    ):
        write(connection, unique('rows'), [{'t': 'x'}], EVERYTHING)


def test_the_client_knows_the_server_and_its_user(connection, monkeypatch):
    client = connection.client()
    assert client.api_url.rstrip('/') == connection.api_url
    assert client.me.username == 'argilla'
    monkeypatch.delenv('ARGILLA_API_KEY')
    with pytest.raises(JobError, match='ARGILLA_API_KEY is not set'):
        connection.client()


# -- vectors

ONE = ba.DatasetSettings(
    fields=[named('t', 'text', required=True)],
    questions=[named('q', 'text', required=True)],
    vectors=[ba.vector_property('v', 3)],
)


def a_vector(values) -> ba.Record:
    return ba.Record('x', {'t': 'text'}, vectors={'v': values})


def test_vectors_that_are_not_sent_stay_and_those_that_are_the_same_are_not_sent(connection):
    name = unique('vectors')
    write(connection, name, [a_vector([1, 2, 3.5])], ONE)
    write(connection, name, [ba.Record('x', {'t': 'changed'})], ONE)
    assert stored(connection, name)['x']['vectors'] == {'v': [1.0, 2.0, 3.5]}
    for record, outcome in (
        (ba.Record('x', {'t': 'changed'}, vectors={'v': (1, 2, 3.5)}), 'unchanged'),
        (ba.Record('x', {'t': 'changed'}), 'unchanged'),
        (ba.Record('x', {'t': 'changed'}, vectors={'v': (1, 2, 4)}), 'updated'),
    ):
        (written,), _ = write(connection, name, [record], ONE, skip_unchanged=True)
        assert written.outcome == outcome
    assert stored(connection, name)['x']['vectors'] == {'v': [1.0, 2.0, 4.0]}


@pytest.mark.parametrize(
    ('values', 'message'),
    [
        ([1, 2], 'must be 3 numbers'),
        ([1, 2, 'x'], 'must be 3 numbers'),
        ([1, 2, True], 'must be 3 numbers'),
        ([1, 2, None], 'must be 3 numbers'),
        ('abc', 'must be 3 numbers'),
        (None, 'must be 3 numbers'),
        (5, 'must be 3 numbers'),
        ([1, 2, float('nan')], 'lost from search'),
        ([1, 2, float('inf')], 'lost from search'),
        ([1, 2, 1e39], 'lost from search'),
        ([0, 0, 0], 'lost from search'),
        ([0, 1e-50, 0], 'lost from search'),
    ],
    ids=str,
)
def test_vectors_that_the_server_would_refuse_or_lose(connection, values, message):
    _, failed = write(connection, unique('vectors'), [a_vector(values)], ONE)
    (refused,) = failed
    assert refused.error == 'VectorValue'
    assert message in refused.message


def test_a_vector_that_the_dataset_has_not():
    with pytest.raises(Exception, match="no vector 'w'; it has"), pipeline() as p:
        record = ba.Record('x', {'t': 'text'}, vectors={'w': [1.0]})
        _ = p | beam.Create([record]) | ba.CheckRecords(ONE)


def test_vectors_of_an_existing_dataset_are_compared(connection):
    name = unique('vectors')
    write(connection, name, [], ONE)
    other = ba.DatasetSettings(
        ONE.fields, ONE.questions, vectors=[ba.vector_property('v', 4), ba.vector_property('w', 2)]
    )
    with pytest.raises(Exception, match=r"'v' has 3 dimensions, not 4\n.*vector 'w' is missing"):
        ba.check_dataset(name, connection=connection, settings=other)
    with pytest.raises(ValueError, match='6 vectors: a dataset has 5 at most'):
        ba.DatasetSettings(ONE.fields, ONE.questions, vectors=[ba.vector_property(f'v{i}', 2) for i in range(6)])
