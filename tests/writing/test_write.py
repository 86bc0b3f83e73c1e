"""The whole way and the sink alone, against a real Argilla server."""

from __future__ import annotations

import json
import random
from typing import Any, NamedTuple

import apache_beam as beam
import argilla as rg
import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms import window
from apache_beam.transforms.error_handling import ErrorHandler
from apache_beam.utils.secret import RawSecret

import beam_argilla as ba
from beam_argilla.errors import (
    AuthenticationError,
    DatasetDiffersError,
    DatasetNotFoundError,
    InputError,
    NotArgillaError,
    PermissionDeniedError,
    RefusedError,
    ServerUnavailableError,
    WorkspaceNotFoundError,
)
from beam_argilla.grouping.arrange import arrange
from beam_argilla.writing import sink
from tests.samples import COLUMNS, canonical, counters, pipeline, rows, unique

PATIENCE = ba.RetryPolicy(limit=5)


def dataset_id(api: httpx.Client, name: str) -> str:
    (dataset,) = [d for d in api.get('/me/datasets').json()['items'] if d['name'] == name]
    return dataset['id']


def stored(api: httpx.Client, name: str) -> dict[str, dict[str, Any]]:
    """Everything that the server holds of a dataset's records, by external id.

    But for when a suggestion was last confirmed: the server stamps that at every upsert, changed or not.
    """
    params = {'limit': 1000, 'include': 'suggestions,responses'}
    answer = api.get(f'/datasets/{dataset_id(api, name)}/records', params=params).json()
    for record in answer['items']:
        for suggestion in record['suggestions']:
            del suggestion['updated_at']
    return {r['external_id']: r for r in answer['items']}


def settings_of(api: httpx.Client, name: str) -> dict[str, Any]:
    """A dataset's settings without ids and times."""
    path = f'/datasets/{dataset_id(api, name)}'

    def plain(items):
        dropped = ('id', 'dataset_id', 'inserted_at', 'updated_at')
        return [{k: v for k, v in item.items() if k not in dropped} for item in items]

    head = api.get(path).json()
    return {
        'fields': plain(api.get(f'{path}/fields').json()['items']),
        'questions': plain(api.get(f'{path}/questions').json()['items']),
        'metadata': plain(api.get(f'/me{path}/metadata-properties').json()['items']),
        **{k: head[k] for k in ('status', 'guidelines', 'allow_extra_metadata', 'distribution')},
    }


def write(connection, name, elements, task=None, **options):
    """Writes rows; returns the pipeline's counters."""
    p = beam.Pipeline(runner='apache_beam.runners.portability.fn_api_runner.FnApiRunner')
    options = {'columns': COLUMNS, 'retry': PATIENCE, **options}
    _ = (
        p
        | beam.Create(elements)
        | ba.WriteToArgilla(name, task=task or ba.Preference(4), connection=connection, **options)
    )
    result = p.run()
    result.wait_until_finish()
    return counters(result)


# -- the datasets


def test_the_default_datasets_are_distilabels_to_the_letter(connection, api, sdk):
    """The parameters below are those of distilabel 1.5's TextGenerationToArgilla and PreferenceToArgilla."""
    write(connection, ours := unique('text'), rows(1), ba.TextGeneration())
    theirs = unique('text')
    rg.Dataset(
        name=theirs,
        workspace='default',
        settings=rg.Settings(
            fields=[
                rg.TextField(name='id', title='id'),
                rg.TextField(name='instruction', title='instruction'),
                rg.TextField(name='generation', title='generation'),
            ],
            questions=[
                rg.LabelQuestion(
                    name='quality',
                    title="What's the quality of the generation for the given instruction?",
                    labels={'bad': '👎', 'good': '👍'},
                )
            ],
        ),
        client=sdk,
    ).create()
    assert settings_of(api, ours) == settings_of(api, theirs)

    write(connection, ours := unique('preference'), rows(1, 3), ba.Preference(3))
    theirs = unique('preference')
    questions: list[Any] = []
    for i in range(3):
        note = f'Ignore this question if the corresponding `generations-{i}` field is not available.'
        questions += [
            rg.RatingQuestion(
                name=f'generations-{i}-rating',
                title=f'Rate generations-{i} given instruction.',
                description=None if i == 0 else note,
                values=[1, 2, 3, 4, 5],
                required=i == 0,
            ),
            rg.TextQuestion(
                name=f'generations-{i}-rationale',
                title=f"Specify the rationale for generations-{i}'s rating.",
                description=None if i == 0 else note,
                required=False,
            ),
        ]
    fields = [rg.TextField(name='id', title='id'), rg.TextField(name='instruction', title='instruction')]
    fields += [rg.TextField(name=f'generations-{i}', title=f'generations-{i}', required=i == 0) for i in range(3)]
    rg.Dataset(
        name=theirs, workspace='default', settings=rg.Settings(fields=fields, questions=questions), client=sdk
    ).create()
    assert settings_of(api, ours) == settings_of(api, theirs)


@pytest.mark.parametrize(
    'task', [ba.Preference(4, metadata=['topic'], agent='judge'), ba.TextGeneration(metadata=['topic'])]
)
def test_what_is_sent_is_what_the_sdk_would_send(connection, sdk, monkeypatch, task):
    """Field by field, of the JSON that goes over the wire."""
    columns = ba.Columns(instruction_id='instruction_id', metadata=['topic'])
    name = unique('wire')
    sent: dict[str, list[dict[str, Any]]] = {'ours': [], 'theirs': []}
    send = httpx.Client.send

    def spy(self, request, **kwargs):
        if request.url.path.endswith('/records/bulk'):
            sent['theirs' if self is sdk.http_client else 'ours'] += json.loads(request.content)['items']
        return send(self, request, **kwargs)

    monkeypatch.setattr(httpx.Client, 'send', spy)
    write(connection, name, rows(3), task, columns=columns)
    table = arrange(canonical(rows(3), columns), ba.Policies()).table
    sdk.datasets(name).records.log(
        [
            rg.Record(
                id=r.external_id,
                fields=dict(r.fields),
                metadata=dict(r.metadata),
                suggestions=[rg.Suggestion(s.question, s.value, agent=s.agent) for s in r.suggestions],
            )
            for r in task.records(table)
        ]
    )

    def plain(item):
        """Without what the SDK writes where it has nothing to say."""
        suggestions = [{k: v for k, v in s.items() if v is not None} for s in item['suggestions']]
        suggestions = [{k: v for k, v in s.items() if k not in ('id', 'question_name')} for s in suggestions]
        empty = {k for k in ('id', 'responses', 'vectors') if not item.get(k)} | {'status', 'inserted_at', 'updated_at'}
        return {k: v for k, v in item.items() if k not in empty} | {'suggestions': suggestions}

    ours, theirs = ({i['external_id']: plain(i) for i in sent[who]} for who in ('ours', 'theirs'))
    assert len(ours) in (3, 12)
    assert ours == theirs


def test_options_of_a_task_reach_the_dataset(connection, api):
    task = ba.Preference(
        2,
        ratings=[0, 1],
        guidelines='Be kind.',
        use_markdown=True,
        model_names=True,
        metadata=[
            'topic',
            ba.Metadata('length', 'integer'),
            ba.Metadata('share', 'float', visible_for_annotators=False),
        ],
        min_submitted=3,
    )
    columns = ba.Columns(instruction_id='instruction_id', metadata=['topic', 'length', 'share'])
    write(connection, name := unique('options'), [{**r, 'rating': 1} for r in rows(3, 2)], task, columns=columns)
    settings = settings_of(api, name)
    assert settings['guidelines'] == 'Be kind.'
    assert settings['distribution'] == {'strategy': 'overlap', 'min_submitted': 3}
    assert all(f['settings']['use_markdown'] for f in settings['fields'])
    assert settings['questions'][0]['settings']['options'] == [{'value': 0}, {'value': 1}]
    assert [(m['name'], m['settings']['type'], m['visible_for_annotators']) for m in settings['metadata']] == [
        ('generations-0-model', 'terms', False),
        ('generations-1-model', 'terms', False),
        ('topic', 'terms', True),
        ('length', 'integer', True),
        ('share', 'float', False),
    ]
    assert stored(api, name)['i0002']['metadata'] == {
        'generations-0-model': 'alpha', 'generations-1-model': 'beta', 'topic': 'sums', 'length': 2, 'share': 0.25,
    }  # fmt: skip


# -- the records


def test_parquet_to_records_and_again_changes_nothing(connection, api, tmp_path):
    elements = rows(60)
    random.Random(3).shuffle(elements)
    for i in range(3):
        pq.write_table(pa.Table.from_pylist(elements[i::3]), tmp_path / f'{i}.parquet', row_group_size=50)
    name = unique('parquet')

    def load():
        p = beam.Pipeline(runner='apache_beam.runners.portability.fn_api_runner.FnApiRunner')
        read = ba.ReadGenerations(str(tmp_path / '*.parquet'), COLUMNS)
        result = p | read | ba.WriteToArgilla(name, task=ba.Preference(4), connection=connection, max_records=25)
        assert_that(result.written | beam.Map(lambda w: w.external_id), equal_to([f'i{g:04d}' for g in range(60)]))
        done = p.run()
        done.wait_until_finish()
        return counters(done)

    first = load()
    assert (first['rows_read'], first['groups'], first['records_created']) == (240, 60, 60)
    before = stored(api, name)
    assert len(before) == 60
    for g in range(60):
        record = before[f'i{g:04d}']
        assert record['fields']['instruction'] == f'What is {g} plus one?'
        assert [record['fields'][f'generations-{i}'].split()[0] for i in range(4)] == [
            'alpha',
            'beta',
            'delta',
            'gamma',
        ]
        values = {s['value'] for s in record['suggestions']}
        assert values == {1 + (g + m) % 5 for m in range(4)} | {f'Because of {g} and {m}.' for m in range(4)}
    second = load()
    assert second['records_updated'] == 60
    assert 'records_created' not in second
    assert stored(api, name) == before


def test_dicts_and_rows_at_the_end_of_a_pipeline(connection, api):
    """Some pipeline yields dicts, another beam.Rows, a third NamedTuples; each ends in WriteToArgilla."""
    as_row = beam.Map(lambda r: beam.Row(prompt=r['instruction'], answer=r['generation'], stars=str(r['rating'])))
    columns = ba.Columns(instruction='prompt', generation='answer', rating='stars')
    for step in (beam.Map(lambda r: as_dict(r)), as_row, beam.Map(lambda r: Answer(**as_dict(r)))):
        name = unique('rows')
        with pipeline() as p:
            elements = p | beam.Create(rows(5)) | 'Somebody else' >> step
            _ = elements | ba.WriteToArgilla(name, task=ba.Preference(4), connection=connection, columns=columns)
        records = stored(api, name)
        assert sorted(r['fields']['instruction'] for r in records.values()) == [
            f'What is {g} plus one?' for g in range(5)
        ]
        assert all(external_id == r['fields']['id'] for external_id, r in records.items())
        for record in records.values():
            assert sum(isinstance(s['value'], int) for s in record['suggestions']) == 4


def as_dict(r):
    return {'prompt': r['instruction'], 'answer': r['generation'], 'stars': str(r['rating'])}


class Answer(NamedTuple):
    prompt: str
    answer: str
    stars: str


def test_wide_input(connection, api):
    wide = pa.table(
        {
            'instruction': ['a', 'b'],
            'generations': [['x', 'y'], ['z']],
            'ratings': [[5, None], [1.0]],
            'generation_models': [['m', 'n'], ['m']],
        }
    )
    write(connection, name := unique('wide'), [wide], ba.Preference(2, model_names=True), columns=ba.Columns())
    records = {r['fields']['instruction']: r for r in stored(api, name).values()}
    assert records['a']['fields']['generations-1'] == 'y'
    assert [s['value'] for s in records['a']['suggestions']] == [5]
    assert records['b']['metadata'] == {'generations-0-model': 'm'}
    assert 'generations-1' not in records['b']['fields']


def test_a_windowed_pipeline_keeps_windows_and_timestamps(connection):
    stamped = [window.TimestampedValue(r, 100 * g) for g, r in enumerate(rows(3, 1))]
    with pipeline() as p:
        result = (
            p
            | beam.Create(stamped)
            | beam.WindowInto(window.FixedWindows(100))
            | ba.WriteToArgilla(unique('windows'), task=ba.Preference(1), connection=connection, columns=COLUMNS)
        )
        with_window = beam.Map(lambda w, win=beam.DoFn.WindowParam: (w.external_id, int(win.start)))
        assert_that(result.written | with_window, equal_to([('i0000', 0), ('i0001', 100), ('i0002', 200)]))


def test_a_record_that_the_server_refuses_costs_itself_and_not_its_batch(connection, api, sdk):
    """Bounds of a metadata property are the server's business: only it can refuse what is outside them."""
    name = unique('bounds')
    rg.Dataset(
        name=name,
        workspace='default',
        settings=rg.Settings(
            fields=[rg.TextField(name='text')],
            questions=[rg.TextQuestion(name='q')],
            metadata=[rg.IntegerMetadataProperty(name='n', min=0, max=9)],
        ),
        client=sdk,
    ).create()
    numbers = [0, 1, 99, 2, -1, 3, 4]
    records = [ba.Record(f'r{n}', {'text': 'x'}, metadata={'n': n}) for n in numbers]
    with pipeline() as p:
        result = p | beam.Create(records) | ba.WriteRecords(name, connection=connection)
        assert_that(result.written | beam.Map(lambda w: w.external_id), equal_to(['r0', 'r1', 'r2', 'r3', 'r4']))
        outcome = result.failed | beam.Map(
            lambda f: (f.external_id, f.stage, f.status, json.loads(f.data)['record']['metadata'])
        )
        assert_that(outcome, equal_to([('r99', 'write', 422, {'n': 99}), ('r-1', 'write', 422, {'n': -1})]), 'failed')
    assert set(stored(api, name)) == {'r0', 'r1', 'r2', 'r3', 'r4'}


# -- failures and mistakes


BAD = [
    {**rows(1)[0], 'generation': None},
    *rows(3)[5:],
    {**rows(3)[4], 'instruction': 'conflicting', 'generation': '?'},
]


def test_an_unconsumed_failure_stops_the_pipeline(connection):
    with pytest.raises(RefusedError, match=r'NullGeneration|InstructionConflict'):
        write(connection, unique('stop'), BAD)


def test_consuming_failed_is_how_to_go_on(connection, api):
    name = unique('failed')
    with pipeline() as p:
        result = (
            p
            | beam.Create(BAD)
            | ba.WriteToArgilla(name, task=ba.Preference(4), connection=connection, columns=COLUMNS)
        )
        assert_that(result.failed | beam.Map(lambda f: f.error), equal_to(['NullGeneration', 'InstructionConflict']))
        assert_that(result.written | beam.Map(lambda w: w.external_id), equal_to(['i0002']), 'written')
    assert set(stored(api, name)) == {'i0002'}


def test_consuming_failed_covers_what_was_refused_while_reading(connection, api, tmp_path):
    """The README's first example."""
    pq.write_table(pa.Table.from_pylist(BAD), tmp_path / 'bad.parquet')
    name = unique('reading')
    with pipeline() as p:
        read = ba.ReadGenerations(str(tmp_path / '*.parquet'), COLUMNS)
        result = p | read | ba.WriteToArgilla(name, task=ba.Preference(4), connection=connection)
        assert_that(result.failed | beam.Map(lambda f: f.error), equal_to(['NullGeneration', 'InstructionConflict']))
    assert set(stored(api, name)) == {'i0002'}
    with pytest.raises(RefusedError, match='NullGeneration'), pipeline() as p:
        _ = p | ba.ReadGenerations(str(tmp_path / '*.parquet'), COLUMNS)


def test_the_task_says_which_columns_are_kept_as_metadata(connection, api):
    task = ba.Preference(4, metadata=['topic', ba.Metadata('length', 'integer')])
    write(connection, name := unique('metadata'), rows(2), task)  # with COLUMNS, which names none
    assert stored(api, name)['i0001']['metadata'] == {'topic': 'counting', 'length': 1}


@pytest.mark.parametrize(
    ('mistake', 'message'),
    [
        ({'connection': 'http://x'}, 'connection must be an ArgillaConnection, not str'),
        ({'task': 'preference'}, "task must be a task such as .*not 'preference'"),
    ],
)
def test_a_wrong_kind_of_argument_is_told_when_the_transform_is_made(mistake, message):
    arguments = {'task': ba.Preference(2), 'connection': ba.ArgillaConnection('http://x'), **mistake}
    with pytest.raises(TypeError, match=message):
        ba.WriteToArgilla('x', **arguments)


def test_rows_without_column_names_are_told_what_is_missing(connection):
    with pytest.raises(InputError, match=r'not Dict.*WriteToArgilla\(columns=ba.Columns'):
        write(connection, unique('x'), rows(1), columns=None)


def test_an_error_handler_is_the_other_way_to_go_on(connection, api):
    name = unique('handler')
    with pipeline() as p:
        with ErrorHandler(beam.Map(lambda f: (f.external_id, f.error))) as handler:
            write_it = ba.WriteToArgilla(name, task=ba.Preference(4), connection=connection, columns=COLUMNS)
            _ = p | beam.Create(BAD) | write_it.with_error_handler(handler)
        assert_that(handler.output(), equal_to([('i0000', 'NullGeneration'), ('i0001', 'InstructionConflict')]))
    assert set(stored(api, name)) == {'i0002'}


def test_failed_records_can_be_written_as_json_lines(connection, tmp_path):
    with pipeline() as p:
        write_it = ba.WriteToArgilla(unique('json'), task=ba.Preference(4), connection=connection, columns=COLUMNS)
        failed = (p | beam.Create(BAD) | write_it).failed
        _ = failed | beam.Map(ba.FailedRecord.to_json) | beam.io.WriteToText(str(tmp_path / 'failed'))
    lines = [json.loads(line) for f in tmp_path.glob('failed*') for line in f.read_text().splitlines()]
    by_error = {line['error']: line for line in lines}
    assert by_error['NullGeneration']['data']['input'][0]['instruction'] == 'What is 0 plus one?'
    assert len(by_error['InstructionConflict']['data']['group']) == 4


def test_a_missing_workspace_is_an_error_that_lists_those_there_are(connection, api):
    workspace = unique('space')
    with pytest.raises(WorkspaceNotFoundError, match=rf"no workspace '{workspace}'.*'default'.*create_workspace"):
        write(connection, unique('x'), rows(1), workspace=workspace)
    write(connection, name := unique('x'), rows(1), workspace=workspace, create_workspace=True)
    assert len(stored(api, name)) == 1


def test_a_dataset_with_other_settings_stops_the_job_before_anything_is_written(connection, api):
    write(connection, name := unique('differs'), rows(1), ba.Preference(4))
    with pytest.raises(DatasetDiffersError) as e:
        write(connection, name, rows(2), ba.Preference(4, ratings=range(11), metadata=['topic']),
              columns=ba.Columns(instruction_id='instruction_id', metadata=['topic']))  # fmt: skip
    assert "question 'generations-0-rating' has the values [1, 2, 3, 4, 5]: [0, 6, 7, 8, 9, 10] would be" in str(
        e.value
    )
    assert "metadata property 'topic' is missing" in str(e.value)
    assert len(stored(api, name)) == 1


def test_a_draft_that_somebody_left_behind_is_completed(connection, api):
    name = unique('draft')
    (workspace,) = [w['id'] for w in api.get('/me/workspaces').json()['items'] if w['name'] == 'default']
    draft = api.post('/datasets', json={'name': name, 'workspace_id': workspace, 'allow_extra_metadata': False}).json()
    field = {'name': 'id', 'title': 'id', 'required': True, 'settings': {'type': 'text', 'use_markdown': False}}
    assert api.post(f'/datasets/{draft["id"]}/fields', json=field).status_code == 201
    write(connection, name, rows(1))
    assert settings_of(api, name)['status'] == 'ready'
    assert set(stored(api, name)) == {'i0000'}


def test_records_without_settings_need_a_dataset(connection):
    with pytest.raises(DatasetNotFoundError, match='no dataset'), pipeline() as p:
        _ = p | beam.Create([ba.Record('a', {'x': 'y'})]) | ba.WriteRecords(unique('none'), connection=connection)


def test_a_wrong_key_an_annotators_key_and_wrong_addresses(connection, api, argilla_server):
    def attempt(url=argilla_server.api_url, key=argilla_server.api_key):
        write(ba.ArgillaConnection(url, api_key=RawSecret(key)), unique('x'), rows(1), retry=ba.RetryPolicy(limit=1))

    with pytest.raises(AuthenticationError, match='does not know the API key') as e:
        attempt(key='not-the-key')
    assert 'not-the-key' not in str(e.value)
    user = {'username': unique('ann'), 'first_name': 'Ann', 'password': 'a password', 'role': 'annotator'}
    annotator = api.post('/users', json=user).json()
    (workspace,) = [w['id'] for w in api.get('/me/workspaces').json()['items'] if w['name'] == 'default']
    assert api.post(f'/workspaces/{workspace}/users', json={'user_id': annotator['id']}).status_code == 201
    with pytest.raises(PermissionDeniedError, match='must be an owner, or an admin'):
        attempt(key=annotator['api_key'])
    with pytest.raises(ServerUnavailableError, match='Is the server running'):
        attempt(url='http://127.0.0.1:9')
    with pytest.raises(NotArgillaError, match=r'not an Argilla server|web page'):
        attempt(url=f'{argilla_server.api_url}/sign-in')


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'max_records': 501}, 'max_records'),
        ({'max_bytes': 0}, 'max_bytes'),
        ({'max_suggestions': 0}, 'max_suggestions'),
        ({'max_in_flight': 0}, 'max_in_flight'),
        ({'workspace': ''}, 'workspace'),
        ({'overflow': 'drop'}, 'overflow'),
        ({'min_generations': 9}, 'min_generations'),
        ({'num_partitions': 0}, 'num_partitions'),
    ],
)
def test_options_are_checked_when_the_transform_is_made(options, message):
    with pytest.raises(ValueError, match=message):
        (
            (p := beam.Pipeline())
            | beam.Create([{}])
            | ba.WriteToArgilla('x', task=ba.Preference(2), connection=ba.ArgillaConnection('http://x'), **options)
        )
    del p


def test_batches_are_bounded_by_records_bytes_and_suggestions(connection, api, monkeypatch):
    sent = []
    upsert = sink.upsert

    def spy(client, dataset, items, *args, **kwargs):
        sent.append((len(items), sum(map(len, items)), sum(json.loads(i)['suggestions'].__len__() for i in items)))
        return upsert(client, dataset, items, *args, **kwargs)

    monkeypatch.setattr(sink, 'upsert', spy)
    write(connection, unique('records'), rows(10), max_records=4)
    assert sorted(n for n, _, _ in sent) == [2, 4, 4]
    sent.clear()
    write(connection, unique('suggestions'), rows(10), max_suggestions=24)
    assert max(s for _, _, s in sent) == 24
    sent.clear()
    write(connection, unique('bytes'), rows(10), max_bytes=3000)
    assert max(b for _, b, _ in sent) <= 3000
    assert sum(n for n, _, _ in sent) == 10
    assert len(sent) > 2


def test_what_became_of_each_record_can_be_written_as_it_is(connection, tmp_path):
    """By steps that take rows in batches, to which Beam does not bring what a bundle yields at its end."""
    with pipeline() as p:
        records = p | beam.Create([{'id': 'q', 'instruction': 'q', 'generation': text} for text in ('a', None)])
        task = ba.TextGeneration()
        write = ba.WriteToArgilla(unique('told'), task=task, connection=connection, columns=ba.Columns())
        result = records | write
        _ = result.written | 'Written' >> beam.io.WriteToJson(str(tmp_path / 'written'))
        _ = result.failed | 'Failed' >> beam.io.WriteToJson(str(tmp_path / 'failed'))
    written, failed = (
        [json.loads(line) for file in tmp_path.glob(f'{name}*') for line in file.read_text().splitlines()]
        for name in ('written', 'failed')
    )
    assert [record['outcome'] for record in written] == ['created']
    assert [record['error'] for record in failed] == ['NullGeneration']
