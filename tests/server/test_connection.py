"""The key reaches the server and nothing else."""

from __future__ import annotations

import pickle

import apache_beam as beam
import pytest
from apache_beam.internal import pickler
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.display import DisplayData
from apache_beam.utils.secret import RawSecret

import beam_argilla as ba
from beam_argilla.errors import JobError
from tests.unpacked import unpacked

KEY = 'a-very-secret-key'


def test_the_key_comes_from_the_environment_of_the_worker(monkeypatch):
    monkeypatch.setenv('MY_KEY', KEY)
    monkeypatch.setenv('BEARER', 'Bearer token')
    connection = ba.ArgillaConnection(
        'https://argilla.example/',
        api_key_env='MY_KEY',
        headers={'Authorization': ba.EnvironmentSecret('BEARER'), 'X-Team': 'blue'},
    )
    assert connection.api_url == 'https://argilla.example'
    assert pickle.loads(pickle.dumps(connection)).resolve() == {
        'X-Argilla-Api-Key': KEY,
        'Authorization': 'Bearer token',
        'X-Team': 'blue',
    }


def test_a_variable_that_is_not_set_is_an_error_that_names_it(monkeypatch):
    monkeypatch.delenv('MY_KEY', raising=False)
    with pytest.raises(JobError, match=r'MY_KEY is not set.*--api_key_secret'):
        ba.ArgillaConnection('http://x', api_key_env='MY_KEY').resolve()


@pytest.mark.parametrize(
    ('mistake', 'error'),
    [
        ({'api_url': 'argilla.example'}, ValueError),
        ({'api_url': ''}, ValueError),
        ({'api_url': 'http://x:port'}, ValueError),
        ({'api_url': 'http://[::1'}, ValueError),
        ({'api_url': f'http://user:{KEY}@x'}, ValueError),
        ({'api_url': f'http://user:1/{KEY}@x'}, ValueError),
        ({'api_url': f'http://{KEY}@x'}, ValueError),
        ({'api_url': f'ftp://user:{KEY}@x'}, ValueError),
        ({'api_url': f'http://x?token={KEY}'}, ValueError),
        ({'api_url': f'http://x/#{KEY}'}, ValueError),
        ({'api_url': 'http://x y'}, ValueError),
        ({'api_url': 'http://a..b'}, ValueError),
        ({'api_url': 'http://' + 'a' * 64}, ValueError),
        ({'api_url': 'http://' + 'a.' * 127}, ValueError),
        ({'api_url': 'http://xn--a'}, ValueError),
        ({'api_url': 'http://☃.example'}, ValueError),
        ({'api_url': 'http://256.1.1.1'}, ValueError),
        ({'api_url': 'http://x:99999'}, ValueError),
        ({'api_url': 'http://x:0'}, ValueError),
        ({'headers': {'É': 'x'}}, ValueError),
        ({'headers': {'': 'x'}}, ValueError),
        ({'headers': {'A B': 'x'}}, ValueError),
        ({'headers': {'A:': 'x'}}, ValueError),
        ({'headers': {'A\n': 'x'}}, ValueError),
        ({'headers': {'Content-Length': '1'}}, ValueError),
        ({'headers': {'host': 'x'}}, ValueError),
        ({'headers': {'x-argilla-api-key': 'x'}}, ValueError),
        ({'headers': {'A': 'x', 'a': 'y'}}, ValueError),
        ({'api_key': KEY}, TypeError),
        ({'timeout': 0}, ValueError),
        ({'timeout': float('nan')}, ValueError),
        ({'ca_file': 'company.pem'}, ValueError),
    ],
)
def test_a_connection_that_cannot_be_meant(mistake, error):
    with pytest.raises(error) as e:
        ba.ArgillaConnection(**{'api_url': 'http://x', **mistake})
    assert KEY not in str(e.value)


@pytest.mark.parametrize(
    'url',
    ['http://localhost:6900', 'https://owner-space.hf.space', 'http://my_host', 'http://[::1]:6900/argilla',
     'http://münchen.example', 'http://xn--mnchen-3ya.example', 'http://argilla.', 'HTTP://Argilla'],
)  # fmt: skip
def test_addresses_of_all_kinds_are_taken_as_they_are(url):
    assert ba.ArgillaConnection(f'{url}/').api_url == url


def test_a_secret_in_the_place_of_its_variable_is_not_repeated(monkeypatch):
    with pytest.raises(JobError, match='looks like a secret') as e:
        ba.ArgillaConnection('http://x', api_key_env='hf_AbC123').resolve()
    assert 'AbC' not in str(e.value)


ROW = {'instruction': 'q', 'generation': 'x', 'a': 'b'}


def test_the_key_is_not_in_the_pipeline_its_display_data_or_a_repr(monkeypatch):
    monkeypatch.setenv('MY_KEY', KEY)
    connection = ba.ArgillaConnection('http://x', api_key_env='MY_KEY')
    p = beam.Pipeline()
    write = ba.WriteToArgilla('d', task=ba.Preference(2), connection=connection, columns=ba.Columns())
    _ = p | beam.Create([ROW]) | write
    assert KEY.encode() not in unpacked(p.to_runner_api().SerializeToString())
    assert 'MY_KEY' in repr(connection)
    secret = ba.ArgillaConnection('http://x', api_key=RawSecret(KEY), headers={'A': KEY})
    assert KEY not in repr(secret)
    write = ba.WriteRecords('d', connection=secret)
    assert KEY not in str(DisplayData.create_from(write).items)


def test_every_do_fn_survives_pickling(monkeypatch):
    connection = ba.ArgillaConnection('http://x', api_key_env='MY_KEY')
    p = beam.Pipeline()
    task = ba.Preference(2, metadata=['a'])
    result = p | beam.Create([ROW]) | ba.WriteToArgilla('d', task=task, connection=connection, columns=ba.Columns())
    assert result.written.producer is not None
    fns = [t.transform.fn for t in _applied(p) if isinstance(t.transform, beam.ParDo)]
    assert {type(f).__name__ for f in fns} >= {'_Format', '_Partition', '_Merge', '_Build', 'WriteRecordsFn', 'Refused'}
    for fn in fns:
        assert type(pickler.loads(pickler.dumps(fn))) is type(fn)
        if type(fn).__module__.startswith('beam_argilla'):
            assert type(pickle.loads(pickle.dumps(fn))) is type(fn)


def _applied(p):
    todo = list(p._root_transform().parts)
    while todo:
        node = todo.pop()
        todo += node.parts
        yield node


ELSEWHERE = ['--runner=FlinkRunner', '--flink_master=flink:8081']


def written(connection: ba.ArgillaConnection, options: list[str]) -> beam.Pipeline:
    p = beam.Pipeline(options=PipelineOptions(options))
    _ = p | beam.Create([ba.Record('r', {'text': 'x'})]) | ba.WriteRecords('d', connection=connection)
    return p


@pytest.mark.parametrize('transform', ['write', 'read'])
def test_a_key_in_the_environment_of_this_machine_is_no_use_to_workers_on_others(monkeypatch, transform):
    monkeypatch.setenv('MY_KEY', KEY)
    connection = ba.ArgillaConnection('http://x', api_key_env='MY_KEY')
    with pytest.raises(JobError, match=r"MY_KEY, which the workers .* api_key=ba.EnvironmentSecret\('MY_KEY'\)"):
        if transform == 'write':
            written(connection, ELSEWHERE)
        else:
            beam.Pipeline(options=PipelineOptions(ELSEWHERE)) | ba.ReadFromArgilla('d', connection=connection)
    written(connection, [])  # here they get it


def test_a_key_that_is_given_for_the_name_of_its_variable_is_not_repeated():
    with pytest.raises(JobError) as e:
        written(ba.ArgillaConnection('http://x', api_key_env=KEY), ELSEWHERE)
    assert KEY not in str(e.value)


def test_what_workers_look_up_themselves_is_no_part_of_the_job(monkeypatch, caplog):
    monkeypatch.setenv('MY_KEY', KEY)
    monkeypatch.setenv('BEARER', KEY)
    headers = {'Authorization': ba.EnvironmentSecret('BEARER')}
    connection = ba.ArgillaConnection('http://x', api_key=ba.EnvironmentSecret('MY_KEY'), headers=headers)
    sent = unpacked(written(connection, ELSEWHERE).to_runner_api().SerializeToString())
    assert KEY.encode() not in sent
    assert b'MY_KEY' in sent
    assert caplog.messages == []


@pytest.mark.parametrize('options', [[], ELSEWHERE], ids=['here', 'elsewhere'])
def test_a_secret_that_goes_to_other_machines_with_the_job_is_told_once(caplog, options):
    headers = {'Authorization': KEY, 'X-Token': RawSecret(KEY), 'X-Other': ba.EnvironmentSecret('OTHER')}
    p = written(ba.ArgillaConnection('http://x', api_key=RawSecret(KEY), headers=headers), options)
    assert KEY.encode() in unpacked(p.to_runner_api().SerializeToString())
    told = 'the key (RawSecret) and the header Authorization and the header X-Token as plain text'
    assert [told in message for message in caplog.messages] == ([True] if options else [])
    assert KEY not in caplog.text
