"""A local server as a user meets it: its processes, its home, its web UI, and many clients at once."""

import http.server
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from contextlib import closing
from pathlib import Path

import argilla as rg
import httpx
import psutil
import pytest

from beam_argilla.local import LocalServerError, serve
from tests.processes import python, running

PROMPT_SECONDS = 10


def eventually(condition, seconds=PROMPT_SECONDS):
    """Whether a condition comes true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return bool(condition())


def client(server):
    return rg.Argilla(api_url=server.api_url, api_key=server.api_key)


def http_client(server, **headers):
    headers = {'X-Argilla-Api-Key': server.api_key} | headers
    return httpx.Client(base_url=f'{server.api_url}/api/v1/', headers=headers, timeout=60)


def create_dataset(server, min_submitted=1):
    argilla = client(server)  # First: the SDK's settings want one to be there.
    settings = rg.Settings(
        fields=[rg.TextField(name='text'), rg.TextField(name='more', required=False)],
        questions=[rg.RatingQuestion(name='rating', values=[1, 2, 3])],
        distribution=rg.TaskDistribution(min_submitted=min_submitted),
    )
    dataset = rg.Dataset(f'd-{uuid.uuid4().hex[:8]}', 'default', settings, client=argilla)
    return dataset.create()


def found(dataset, query):
    return sorted(record.fields['text'] for record in dataset.records(query=rg.Query(query=query)))


def log_in(server, password):
    form = {'username': server.username, 'password': password}
    return httpx.post(f'{server.api_url}/api/v1/token', data=form)


def family(pid):
    """All processes below one."""
    return psutil.Process(pid).children(recursive=True)


def test_owner_and_workspace(argilla_server):
    argilla = client(argilla_server)
    assert (argilla.me.username, argilla.me.role) == ('argilla', 'owner')
    assert 'argilla' in [user.username for user in argilla.workspaces('default').users]
    assert log_in(argilla_server, argilla_server.password).status_code == 201
    assert log_in(argilla_server, 'wrong password').status_code == 401


def test_whose_key_it_is_is_looked_up_for_each_request(argilla_server):
    """With the workspaces that they are in just then, and the name that they have."""
    owner = client(argilla_server)
    person = rg.User(username='somebody', password='12345678', role='annotator', client=owner).create()
    key = owner.api.http_client.get(f'/api/v1/users/{person.id}').json()['api_key']
    with httpx.Client(base_url=f'{argilla_server.api_url}/api/v1', headers={'X-Argilla-Api-Key': key}) as api:

        def seen() -> tuple[str, list[str]]:
            workspaces = api.get('/me/workspaces').json()['items']
            return api.get('/me').json()['username'], [workspace['name'] for workspace in workspaces]

        assert seen() == ('somebody', [])
        for name in ('first', 'second'):
            rg.Workspace(name=name, client=owner).create().add_user(person)
        owner.api.http_client.patch(f'/api/v1/users/{person.id}', json={'username': 'somebody-else'})
        assert seen() == ('somebody-else', ['first', 'second'])
        person.delete()
        assert api.get('/me').status_code == 401


def test_web_ui_is_served_and_complete(argilla_server):
    page = httpx.get(argilla_server.api_url)
    assert page.headers['content-type'].startswith('text/html')
    scripts = re.findall(r'(?:src|href)="([^"]+\.(?:js|css))"', page.text)
    assert scripts
    for script in scripts:
        # Nothing comes from elsewhere.
        assert script.startswith('/')
        content = httpx.get(argilla_server.api_url + script)
        assert content.status_code == 200
        assert not re.search('@import[^;]*http', content.text)
    # A deep link, as the web UI makes them, is the web UI too.
    assert httpx.get(f'{argilla_server.api_url}/dataset/x/annotation-mode').text == page.text


def test_index_follows_the_records(argilla_server):
    dataset = create_dataset(argilla_server)
    dataset.records.log([{'id': 'a', 'text': 'first apple'}, {'id': 'b', 'text': 'second apple'}])
    assert found(dataset, 'apple') == ['first apple', 'second apple']
    dataset.records.log([{'id': 'a', 'text': 'first pear', 'more': 'melon'}])
    assert found(dataset, 'apple') == ['second apple']
    assert found(dataset, 'pear | melon') == ['first pear']
    dataset.records.delete([next(r for r in dataset.records if r.id == 'b')])
    assert found(dataset, 'apple') == []
    dataset.delete()
    # Nothing is left of a deleted dataset, and the index is sound.
    connection = sqlite3.connect(argilla_server.home / 'argilla.db')
    assert connection.execute(
        "SELECT count(*) FROM beam_argilla_text_v2 WHERE f0 LIKE '%pear%' OR f0 LIKE '%apple%'"
    ).fetchone() == (0,)
    connection.execute("INSERT INTO beam_argilla_index_v2 (beam_argilla_index_v2) VALUES ('integrity-check')")
    connection.rollback()
    connection.close()


def test_all_kinds_of_fields_are_searched(argilla_server):
    argilla = client(argilla_server)
    settings = rg.Settings(
        fields=[
            rg.TextField('text'),
            rg.ChatField('chat', required=False),
            rg.CustomField('custom', template='{{record.fields.custom.key}}', required=False),
            rg.ImageField('image', required=False),
            *[rg.TextField(f'field {i}', required=False) for i in range(40)],
        ],
        questions=[rg.RatingQuestion('rating', values=[1, 2])],
    )
    dataset = rg.Dataset(f'd-{uuid.uuid4().hex[:8]}', 'default', settings, client=argilla).create()
    dataset.records.log(
        [
            {
                'text': 'a',
                'chat': [{'role': 'user', 'content': 'hello wörld'}, {'role': 'system', 'content': 'be kind'}],
            },
            {'text': 'b', 'custom': {'key': {'deeper': ['value', 17]}}},
            {'text': 'c', 'image': 'https://example.com/picture.png'},
            {'text': 'd', 'field 3': 'three', 'field 38': 'many', 'field 39': 'columns'},
        ]
    )
    assert found(dataset, 'WÖRLD') == ['a']
    assert found(dataset, '"be kind"') == ['a']
    assert found(dataset, 'system') == ['a']
    assert found(dataset, 'deeper value 17') == ['b']
    assert found(dataset, 'picture') == []
    assert found(dataset, 'three many columns') == ['d']

    def in_field(field, query):
        with http_client(argilla_server) as api:
            body = {'query': {'text': {'q': query, 'field': field}}}
            answer = api.post(f'datasets/{dataset.id}/records/search', json=body)
        return [item['record']['fields']['text'] for item in answer.json()['items']]

    assert in_field('chat', 'hello') == ['a']
    assert in_field('custom', 'hello') == []
    assert in_field('field 3', 'three') == ['d']
    assert in_field('field 4', 'three') == []
    assert in_field('field 39', 'columns') == ['d']


def test_fields_of_a_draft_are_removed_where_it_has_records(argilla_server):
    with http_client(argilla_server) as api:
        workspace = next(one['id'] for one in api.get('me/workspaces').json()['items'] if one['name'] == 'default')
        body = {'name': f'draft-{uuid.uuid4().hex[:8]}', 'workspace_id': workspace}
        dataset = f'datasets/{api.post("datasets", json=body).json()["id"]}'
        text = {'type': 'text', 'use_markdown': False}

        def add(kind, name, required):
            body = {'name': name, 'title': name, 'required': required, 'settings': text}
            return api.post(f'{dataset}/{kind}', json=body).raise_for_status().json()['id']

        def put(name, **fields):
            body = {'items': [{'external_id': name, 'fields': fields}]}
            api.put(f'{dataset}/records/bulk', json=body).raise_for_status()

        def found(query, **field):
            body = {'query': {'text': {'q': query, **field}}}
            answer = api.post(f'{dataset}/records/search', json=body).raise_for_status()
            return sorted(item['record']['external_id'] for item in answer.json()['items'])

        first = add('fields', 'first', True)
        add('fields', 'second', False)
        add('questions', 'question', True)
        put('1', first='apple', second='banana')
        api.delete(f'fields/{first}').raise_for_status()
        add('fields', 'third', True)
        api.put(f'{dataset}/publish').raise_for_status()
        put('2', second='banana', third='cherry')
        assert found('banana') == found('banana', field='second') == ['1', '2']
        assert found('banana', field='third') == []
        assert found('apple') == []
        assert found('cherry', field='third') == ['2']
        api.delete(dataset).raise_for_status()


def test_many_writers(argilla_server):
    """Four clients write at once, all of them the same new records: every request is answered, none with an error."""
    dataset = create_dataset(argilla_server)
    answers = []
    together = threading.Barrier(4)

    def write(writer):
        with http_client(argilla_server) as api:
            for batch in range(5):
                names = [f'{batch}-{i}' for i in range(20)] + [f'{writer}-{batch}-{i}' for i in range(20)]
                together.wait(60)
                answers.append(put(api, dataset, names).status_code)

    writers = [threading.Thread(target=write, args=(i,)) for i in range(4)]
    for thread in writers:
        thread.start()
    for thread in writers:
        thread.join()
    assert answers == [200] * 20
    assert len(list(dataset.records)) == 5 * 20 + 4 * 5 * 20


def put(api, dataset, names):
    question = str(dataset.settings.questions['rating'].id)
    suggestions = [{'question_id': question, 'value': 2, 'agent': 'model'}]
    items = [{'external_id': name, 'fields': {'text': f'text {name}'}, 'suggestions': suggestions} for name in names]
    return api.put(f'datasets/{dataset.id}/records/bulk', json={'items': items})


def test_readers_do_not_wait_for_a_writer(argilla_server):
    dataset = create_dataset(argilla_server)
    answers = []

    def write():
        with http_client(argilla_server) as api:
            for batch in range(3):
                answers.append(put(api, dataset, range(500 * batch, 500 * (batch + 1))).status_code)

    writer = threading.Thread(target=write)
    totals = []
    with http_client(argilla_server) as api:
        writer.start()
        while writer.is_alive():
            answer = api.post(f'datasets/{dataset.id}/records/search', json={}, params={'limit': 5})
            assert answer.status_code == 200
            totals.append(answer.json()['total'])
    assert answers == [200] * 3
    # In line with the three batches there would have been about one between two of them.
    assert len(totals) > 6
    # They see all of a batch, or nothing of it.
    assert set(totals) <= {0, 500, 1000, 1500}
    assert totals == sorted(totals)


def test_slow_client_does_not_hold_up_the_others(argilla_server):
    dataset = create_dataset(argilla_server)
    path = f'datasets/{dataset.id}/records/bulk'
    started, go_on = threading.Event(), threading.Event()

    def body():
        yield b'{"items": [{"fields": '
        started.set()
        go_on.wait(30)
        yield b'{"text": "slow"}}]}'

    def write_slowly():
        with http_client(argilla_server, **{'Content-Type': 'application/json'}) as api:
            answers.append(api.put(path, content=body()).status_code)

    answers = []
    thread = threading.Thread(target=write_slowly)
    thread.start()
    started.wait(30)
    with http_client(argilla_server) as api:
        assert api.put(path, json={'items': [{'fields': {'text': 'quick'}}]}, timeout=15).status_code == 200
        assert answers == []
    go_on.set()
    thread.join()
    assert answers == [200]
    assert found(dataset, 'slow | quick') == ['quick', 'slow']


def test_background_job(argilla_server):
    """When a dataset asks for another number of responses, the status of its records follows."""
    dataset = create_dataset(argilla_server)
    dataset.records.log([{'text': 'x'}, {'text': 'y'}])
    with http_client(argilla_server) as api:
        record = api.get(f'datasets/{dataset.id}/records').json()['items'][0]
        body = {'status': 'submitted', 'values': {'rating': {'value': 2}}}
        assert api.post(f'records/{record["id"]}/responses', json=body).status_code == 201

        def progress():
            answer = api.get(f'datasets/{dataset.id}/progress').json()
            return answer['completed'], answer['pending']

        assert progress() == (1, 1)
        for number, expected in ((2, (0, 2)), (1, (1, 1))):
            distribution = {'strategy': 'overlap', 'min_submitted': number}
            assert api.patch(f'datasets/{dataset.id}', json={'distribution': distribution}).status_code == 200
            assert eventually(lambda: progress() == expected), progress()  # noqa: B023


def test_webhook(argilla_server):
    """It is called for records of a bulk request, and again if it did not answer well at first."""
    calls = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            calls.append(json.loads(self.rfile.read(int(self.headers['Content-Length']))))
            self.send_response(500 if len(calls) == 1 else 204)
            self.end_headers()

        def log_message(self, *args): ...

    dataset = create_dataset(argilla_server)
    with http.server.HTTPServer(('127.0.0.1', 0), Handler) as listener, http_client(argilla_server) as api:
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        body = {'url': f'http://127.0.0.1:{listener.server_port}/', 'events': ['record.created', 'record.updated']}
        webhook = api.post('webhooks', json=body).json()
        try:
            dataset.records.log([{'id': 'a', 'text': 'one'}])
            # Tried again after 10 s.
            assert eventually(lambda: len(calls) == 2, seconds=30)
            dataset.records.log([{'id': 'a', 'text': 'two'}])
            assert eventually(lambda: len(calls) == 3)
        finally:
            api.delete(f'webhooks/{webhook["id"]}')
            listener.shutdown()
    assert [call['type'] for call in calls] == ['record.created', 'record.created', 'record.updated']
    assert [call['data']['fields']['text'] for call in calls] == ['one', 'one', 'two']


def test_secrets_are_not_on_a_command_line(argilla_server):
    lines = [' '.join(process.cmdline()) for process in family(os.getpid())]
    assert any('redis-server' in line for line in lines)
    assert any('local.server' in line for line in lines)
    for secret in (argilla_server.api_key, argilla_server.password):
        assert not any(secret in line for line in lines)


def test_a_home_runs_once(argilla_server):
    refused = pytest.raises(LocalServerError, match=rf'pid {os.getpid()}, {argilla_server.api_url}')
    with refused, serve(argilla_server.home):
        pass


class CommandLine:
    """``python -m beam_argilla.local``, running."""

    def __init__(self, *arguments, **environment):
        command = ('-m', 'beam_argilla.local', '--port', '0', *arguments)
        self.process = python(*command, env={**os.environ, **environment})
        self.lines = []
        while not self.lines or not self.lines[-1].startswith('Press Ctrl-C'):
            line = self.process.stdout.readline()
            assert line, self.process.stderr.read()
            self.lines.append(line.strip())
        self.api_url = re.search(r'http://\S+', self.lines[0])[0]
        self.family = family(self.process.pid)

    def end(self, number):
        """Sends a signal; returns the exit status."""
        self.process.send_signal(number)
        output, errors = self.process.communicate(timeout=PROMPT_SECONDS)
        assert output == ''
        assert 'Traceback' not in errors
        return self.process.returncode

    def all_gone(self):
        return eventually(lambda: not any(process.is_running() for process in self.family))


@pytest.fixture
def command_line():
    started = []

    def start(*arguments, **environment):
        started.append(CommandLine(*arguments, **environment))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
        one.process.communicate()


def test_life_of_a_home(tmp_path, command_line):
    """Started and ended in all ways, one after the other; the data, and log-ins, survive each of them."""
    home = tmp_path / 'new' / 'h?me 100%# é'
    secrets = {
        'BEAM_ARGILLA_LOCAL_PASSWORD': 'a password of mine',
        'BEAM_ARGILLA_LOCAL_API_KEY': 'a.key.of.mine',
        # The settings of another server are not ours.
        'ARGILLA_DATABASE_URL': 'sqlite:////nowhere/at/all.db',
        'ARGILLA_BASE_URL': '/elsewhere',
    }
    first = command_line('--home', home, '--username', 'me', **secrets)
    assert len(first.family) == 3
    assert not any(secret in line for secret in secrets.values() for line in first.lines)
    api = rg.Argilla(api_url=first.api_url, api_key='a.key.of.mine')
    first.username, first.api_key = 'me', 'a.key.of.mine'
    dataset = create_dataset(first)
    dataset.records.log([{'id': 'a', 'text': 'something to find again'}])
    token = log_in(first, 'a password of mine').json()['access_token']
    second = subprocess.run(
        [sys.executable, '-m', 'beam_argilla.local', '--home', str(home), '--port', '0'], capture_output=True, text=True
    )
    assert second.returncode == 2
    assert f'pid {first.process.pid}, {first.api_url}' in second.stderr
    assert api.me.username == 'me'
    assert first.end(signal.SIGTERM) == 0
    assert first.all_gone()
    # All of the data is in one file, fit to be copied.
    assert not list(home.glob('argilla.db-*'))

    # Without options it is as it was made; what an older version of this package has not indexed is.
    with closing(sqlite3.connect(home / 'argilla.db')) as database:
        database.execute('DROP TABLE beam_argilla_words_v2')
        database.execute('DELETE FROM beam_argilla_text_v2')
        database.commit()
    second = command_line('--home', home)
    second.username, second.api_key = 'me', 'a.key.of.mine'
    assert log_in(second, 'a password of mine').status_code == 201
    assert log_in(second, '12345678').status_code == 401
    me = httpx.get(f'{second.api_url}/api/v1/me', headers={'Authorization': f'Bearer {token}'})
    assert me.json()['username'] == 'me'
    dataset = client(second).datasets(dataset.name)
    assert found(dataset, '"find again"') == ['something to find again']
    second.process.kill()
    assert f'{home} was used by another version: its records (1) are indexed' in second.process.communicate()[1]
    assert second.all_gone()

    # Started again at once after SIGKILL, in this process, with another password and key.
    others = family(os.getpid())
    with serve(home, password='another password', api_key='another.key') as server:
        assert client(server).me.username == 'me'
        assert log_in(server, 'another password').status_code == 201
        assert log_in(server, 'a password of mine').status_code == 401
        old = httpx.get(f'{server.api_url}/api/v1/me', headers={'X-Argilla-Api-Key': 'a.key.of.mine'})
        assert old.status_code == 401
        dataset = client(server).datasets(dataset.name)
        assert found(dataset, 'something') == ['something to find again']

        url, pid = server.api_url, server.pid
        server.kill()
        assert server.pid is None
        with pytest.raises(httpx.ConnectError):
            httpx.get(url)
        server.check()  # It was no accident.
        server.restart()
        assert server.api_url == url
        assert server.pid not in (pid, None)
        assert found(dataset, 'something') == ['something to find again']
        children = [process for process in family(os.getpid()) if process not in others]

        (redis,) = [child for child in children if child.name() == 'redis-server']
        redis.kill()
        redis.wait()
        with pytest.raises(LocalServerError, match='Redis has ended unexpectedly') as caught:
            server.check()
        assert caught.value.exit_status == 1
    assert not any(child.is_running() for child in children)

    third = command_line('--home', home)
    (server_process,) = [process for process in third.family if process.name().startswith('python')]
    server_process.kill()
    _, errors = third.process.communicate(timeout=PROMPT_SECONDS)
    assert third.process.returncode == 1
    assert 'The Argilla server has ended unexpectedly' in errors
    assert 'Traceback' not in errors
    assert third.all_gone()


@pytest.fixture
def short_path():
    """A folder in whose subfolders a unix socket's path fits."""
    with tempfile.TemporaryDirectory(dir='/tmp') as folder:
        yield Path(folder)


def test_killed_with_a_temporary_home(short_path):
    """Nothing is left of a notebook or a test that is killed: no process, and no file."""
    code = (
        'from beam_argilla.local import serve\nwith serve() as server:\n  print(server.api_url, flush=True)\n  input()'
    )
    process = subprocess.Popen(
        [sys.executable, '-c', code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, 'TMPDIR': str(short_path)},
    )
    with process:
        assert process.stdout.readline().startswith(b'http://')
        children = family(process.pid)
        assert len(list(short_path.iterdir())) == 2
        process.kill()
    assert eventually(lambda: not any(child.is_running() for child in children))
    assert list(short_path.iterdir()) == []


def test_ctrl_c_while_it_starts(tmp_path):
    with running('-m', 'beam_argilla.local', '--home', tmp_path, '--port', '0') as process:
        assert eventually(lambda: len(family(process.pid)) == 3, seconds=30)
        children = family(process.pid)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=PROMPT_SECONDS)
    assert (process.returncode, output) == (0, '')
    assert 'Traceback' not in errors
    assert not any(child.is_running() for child in children)


def test_ctrl_c_while_it_imports(tmp_path):
    code = f"""
import os, signal
from beam_argilla.local import __main__
class Interrupted:
    def find_spec(self, name, *_):
        if name == 'beam_argilla.local.supervisor':
            os.kill(os.getpid(), signal.SIGINT)
import sys
sys.meta_path.insert(0, Interrupted())
sys.argv[1:] = ['--home', {str(tmp_path / 'home')!r}]
__main__.command()
"""
    with running('-c', code) as process:
        output, errors = process.communicate(timeout=PROMPT_SECONDS)
    assert (process.returncode, output, errors) == (0, '', '')
    assert not (tmp_path / 'home').exists()


def test_database_of_a_newer_argilla(tmp_path):
    connection = sqlite3.connect(tmp_path / 'argilla.db')
    connection.execute('CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)')
    connection.execute("INSERT INTO alembic_version VALUES ('fedcba987654')")
    connection.commit()
    connection.close()
    with pytest.raises(LocalServerError, match='Was it made by a newer one') as caught, serve(tmp_path):
        pass
    assert caught.value.exit_status == 2


def test_server_that_does_not_come_up_in_time():
    with pytest.raises(LocalServerError, match=r'does not answer at http://\S+ after 0\.1 s'), serve(timeout=0.1):
        pass


def test_search_engine_that_is_not_there():
    url = 'http://127.0.0.1:9'
    with pytest.raises(LocalServerError, match=f'no Elasticsearch or OpenSearch at {url}'), serve(elasticsearch=url):
        pass
