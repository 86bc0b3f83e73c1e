"""A local Argilla that is used for weeks: crashes, backups, people who come, disks that fill, newer versions."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import uuid
from contextlib import closing, contextmanager

import httpx
import pytest

from beam_argilla.local import LocalServerError, serve
from beam_argilla.local.__main__ import main
from beam_argilla.local.backup import back_up, restore
from beam_argilla.local.database import alembic_config, connect
from beam_argilla.local.home import Home
from tests.local.test_server import eventually

BATCH = 20


@pytest.fixture(scope='module')
def server(tmp_path_factory):
    with serve(tmp_path_factory.mktemp('weeks') / 'home') as running:
        yield running


class Dataset:
    """A dataset with a field and a question, by plain HTTP."""

    def __init__(self, server, min_submitted=1):
        self.name = f'weeks-{uuid.uuid4().hex[:8]}'
        with Api(server) as api:
            (workspace,) = [w for w in api('GET', 'me/workspaces')['items'] if w['name'] == 'default']
            distribution = {'strategy': 'overlap', 'min_submitted': min_submitted}
            body = {'name': self.name, 'workspace_id': workspace['id'], 'distribution': distribution}
            self.id = api('POST', 'datasets', json=body)['id']
            text = {'type': 'text', 'use_markdown': False}
            for kind in ('fields', 'questions'):
                body = {'name': 'text', 'title': 'text', 'required': True, 'settings': text}
                api('POST', f'datasets/{self.id}/{kind}', json=body)
            api('PUT', f'datasets/{self.id}/publish')

    def put(self, api, names):
        items = [{'external_id': name, 'fields': {'text': f'some words of {name}'}} for name in names]
        return api('PUT', f'datasets/{self.id}/records/bulk', json={'items': items})['items']

    def all(self, api):
        """All records by their external ids."""
        found = {}
        while True:
            page = api('GET', f'datasets/{self.id}/records?include=responses&limit=1000&offset={len(found)}')['items']
            found |= {record['external_id']: record for record in page}
            if not page:
                return found

    def search(self, api, query):
        body = {'query': {'text': {'q': query}}}
        return api('POST', f'datasets/{self.id}/records/search', json=body)['total']


class Api(httpx.Client):
    """The HTTP API as the owner; what fails raises."""

    def __init__(self, server, api_key=None):
        super().__init__(
            base_url=f'{server.api_url}/api/v1/', headers={'X-Argilla-Api-Key': api_key or server.api_key}, timeout=60
        )

    def __call__(self, method, path, **options):
        answer = self.request(method, path, **options)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None


class Writing(threading.Thread):
    """Somebody who writes batches, and keeps in mind what was acknowledged, until the server is gone."""

    def __init__(self, server, dataset, name):
        super().__init__(name=name)
        self.server, self.dataset = server, dataset
        self.acknowledged = []
        self.has_written = threading.Event()
        self.stopping = False

    def run(self):
        with Api(self.server) as api:
            try:
                for number in range(10_000):
                    if self.stopping:
                        break
                    self.do(api, number)
                    if number == 3:
                        self.has_written.set()
            except httpx.TransportError:
                pass
        self.has_written.set()

    def do(self, api, number):
        names = [f'{self.name}-{number}-{i}' for i in range(BATCH)]
        self.dataset.put(api, names)
        self.acknowledged += names


class Answering(Writing):
    """Somebody who answers one record after the other."""

    def __init__(self, server, dataset, name, records):
        super().__init__(server, dataset, name)
        self.records = records

    def do(self, api, number):
        record = self.records[number]
        values = {'text': {'value': f'answer {number}'}}
        api('POST', f'records/{record["id"]}/responses', json={'values': values, 'status': 'submitted'})
        self.acknowledged.append(record['external_id'])


def are_complete(records, names):
    return all(records[name]['status'] == 'completed' for name in names)


def test_a_server_that_is_killed_has_all_that_was_acknowledged(server):
    dataset = Dataset(server)
    records = []
    with Api(server) as api:
        for part in range(4):
            records += dataset.put(api, [f'first-{part}-{i}' for i in range(100)])
    written, answered = [], []
    for turn in range(2):
        writers = [Writing(server, dataset, f'{turn}-{i}') for i in range(2)]
        people = [Answering(server, dataset, f'people-{turn}', records[turn * 200 : turn * 200 + 200])]
        for thread in (*writers, *people):
            thread.start()
        for thread in (*writers, *people):
            thread.has_written.wait()
        server.kill()
        for thread in (*writers, *people):
            thread.join()
        written += [name for writer in writers for name in writer.acknowledged]
        answered += people[0].acknowledged
        with closing(sqlite3.connect(server.home / 'argilla.db')) as connection:
            # As between the transaction of an answer and that of what follows from it.
            connection.execute("UPDATE records SET status = 'pending'")
            connection.commit()
        server.restart()
        with Api(server) as api:
            assert eventually(lambda api=api, names=tuple(answered): are_complete(dataset.all(api), names))
            found = dataset.all(api)
            assert set(written) <= found.keys()
            assert {r['status'] for name in answered for r in found[name]['responses']} == {'submitted'}
            assert all(found[name]['responses'] for name in answered)
            # Neither more nor less is searchable.
            assert dataset.search(api, 'words') == len(found)
            # What was cut off is simply sent again.
            again = [f'{turn}-0-{number}-{i}' for number in range(50) for i in range(2)]
            dataset.put(api, again)
            assert dataset.all(api).keys() == found.keys() | set(again)


def test_the_status_of_records_is_caught_up_with_in_every_dataset(server):
    answered_once, answered_twice = Dataset(server), Dataset(server, min_submitted=2)
    with Api(server) as api:
        for dataset in (answered_once, answered_twice):
            records = dataset.put(api, ['answered', 'not yet'])
            Answering(server, dataset, 'person', records).do(api, 0)
    server.kill()
    with closing(sqlite3.connect(server.home / 'argilla.db')) as connection:
        swapped = "UPDATE records SET status = CASE status WHEN 'pending' THEN 'completed' ELSE 'pending' END"
        ids = [(uuid.UUID(dataset.id).hex,) for dataset in (answered_once, answered_twice)]
        assert connection.executemany(f'{swapped} WHERE dataset_id = ?', ids).rowcount == 4
        connection.commit()
    server.restart()
    with Api(server) as api:
        expected = {answered_once: {'answered': 'completed', 'not yet': 'pending'}}
        expected[answered_twice] = {'answered': 'pending', 'not yet': 'pending'}
        for dataset, statuses in expected.items():
            assert eventually(
                lambda dataset=dataset, statuses=statuses: (
                    {name: record['status'] for name, record in dataset.all(api).items()} == statuses
                )
            )


def test_an_answer_takes_no_longer_when_many_are_there(server):
    """The server counts those of the record at each: of that record, not among all that are submitted."""
    count = "SELECT count(*) FROM responses WHERE record_id = 'x' AND status = 'submitted'"
    with closing(sqlite3.connect(server.home / 'argilla.db')) as connection:
        ((*_, plan),) = connection.execute(f'EXPLAIN QUERY PLAN {count}').fetchall()
    assert plan.endswith('(record_id=? AND status=?)')


def test_a_server_that_has_ended_by_itself_is_started_again(server):
    os.kill(server.pid, signal.SIGKILL)
    assert eventually(lambda: server.pid is None)
    server.kill()
    server.restart()
    with Api(server) as api:
        assert api('GET', 'me')


@contextmanager
def writing(server, dataset):
    writer = Writing(server, dataset, 'meanwhile')
    writer.start()
    writer.has_written.wait()
    try:
        yield writer
    finally:
        writer.stopping = True
        writer.join()


def added(capsys, *arguments):
    """The password that a new user is told."""
    assert main(arguments) == 0
    return re.search(r'^  password  (\S+)$', capsys.readouterr().out, re.MULTILINE)[1]


def log_in(server, name, password):
    return httpx.post(f'{server.api_url}/api/v1/token', data={'username': name, 'password': password})


def workspaces_of(server, name, password):
    token = log_in(server, name, password).json()['access_token']
    answer = httpx.get(f'{server.api_url}/api/v1/me/workspaces', headers={'Authorization': f'Bearer {token}'})
    return [workspace['name'] for workspace in answer.json()['items']]


def test_people_are_added_while_it_runs(server, capsys):
    home = str(server.home)
    with Api(server) as api:
        api('POST', 'workspaces', json={'name': 'second'})
    password = added(capsys, '--home', home, 'add-user', 'ann')
    assert workspaces_of(server, 'ann', password) == ['default']
    twice = ('--workspace', 'second') * 2
    other = added(capsys, 'add-user', 'bob', '--home', home, '--role', 'admin', *twice)
    assert other != password
    assert workspaces_of(server, 'bob', other) == ['second']
    assert main(['--home', home, 'add-user', 'cleo', '--role', 'owner', '--password', 'a password']) == 0
    assert capsys.readouterr().out == 'cleo can log in as owner; workspaces: all.\n'
    assert log_in(server, 'cleo', 'a password').status_code == 201
    for arguments, reason in {
        ('ann',): 'ann',  # is taken
        ('dora', '--workspace', 'third'): "no workspace 'third'. There is: default, second.",
        ('dora', '--password', 'short'): 'The password is refused: ',
        ('',): 'name is refused: String should have at least 1 character.',
    }.items():
        assert main(['--home', home, 'add-user', *arguments]) == 2
        assert reason in capsys.readouterr().err
    with Api(server) as api:
        assert {user['username'] for user in api('GET', 'users')['items']} == {'argilla', 'ann', 'bob', 'cleo'}


def test_backup_while_it_runs_and_a_home_made_of_it(server, tmp_path, capsys):
    dataset, file, other = Dataset(server), tmp_path / 'backup', tmp_path / 'other'
    with writing(server, dataset) as writer:
        before = set(writer.acknowledged)
        assert main(['--home', str(server.home), '--backup', str(file)]) == 0
    assert f'{file} holds all of {server.home}' in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ['backup']
    assert file.stat().st_mode & 0o777 == 0o600

    assert main(['--home', str(other), '--restore', str(file)]) == 0
    assert main(['--home', str(other), '--restore', str(file)]) == 2
    assert f'{other} has data already' in capsys.readouterr().err
    password = added(capsys, '--home', str(other), 'add-user', 'eve')  # starts a server for it
    with serve(other) as restored, Api(restored) as api:
        found = dataset.all(api)
        assert before <= found.keys() <= set(writer.acknowledged)
        assert dataset.search(api, 'words') == len(found)
        assert restored.api_key == server.api_key
        assert workspaces_of(restored, 'eve', password) == ['default']
    assert log_in(server, 'eve', password).status_code == 401


def test_what_a_running_server_uses_is_neither_removed_nor_replaced(server, tmp_path, capsys):
    for arguments in (['--reset', '--yes'], ['--restore', str(tmp_path / 'backup')]):
        assert main(['--home', str(server.home), *arguments]) == 2
        assert f'(pid {os.getpid()}, {server.api_url})' in capsys.readouterr().err


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 12 MB."""
    if os.geteuid() != 0:
        pytest.skip('only root can mount a small disk')
    mount = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=12m', 'none', str(tmp_path)], capture_output=True)
    if mount.returncode:
        pytest.skip(f'no small disk can be mounted: {mount.stderr.decode()}')
    yield tmp_path
    subprocess.run(['umount', '--lazy', str(tmp_path)], check=True)


def fill(directory):
    """Leaves no room on a disk."""
    with open(directory / 'filler', 'wb', buffering=0) as filler:
        for size in (2**16, 1):
            try:
                while True:
                    filler.write(bytes(size))
            except OSError:
                pass
    return directory / 'filler'


def test_a_full_disk_is_told_and_nothing_is_lost(small_disk, capsys):
    home = small_disk / 'home'
    with serve(home) as server, Api(server) as api:
        dataset = Dataset(server)
        dataset.put(api, ['before'])
        filler = fill(small_disk)
        body = {'items': [{'external_id': str(i), 'fields': {'text': 'words ' * 2000}} for i in range(100)]}
        answer = api.put(f'datasets/{dataset.id}/records/bulk', json=body)
        assert answer.status_code == 507
        assert answer.json() == {
            'detail': f'The disk with {home} is full, so nothing more can be written. Make room on it and try again.'
        }
        assert dataset.all(api).keys() == {'before'}
        assert main(['--home', str(home), '--backup', str(small_disk / 'backup')]) == 2
        assert f'The disk with {small_disk} is full' in capsys.readouterr().err
        assert sorted(path.name for path in small_disk.iterdir()) == ['filler', 'home']
        filler.unlink()
        dataset.put(api, ['after'])
        assert dataset.all(api).keys() == {'before', 'after'}
    fill(small_disk)
    with pytest.raises(LocalServerError, match=f'The disk with {home} is full'), serve(home):
        pass


def older_home(server, tmp_path):
    """A dataset, a home with a copy of it as an earlier version of argilla-server has made it, and its revision."""
    from alembic.script import ScriptDirectory

    head = ScriptDirectory.from_config(alembic_config()).get_revision('head')
    dataset, home = Dataset(server), Home(tmp_path / 'older')
    with Api(server) as api:
        dataset.put(api, ['kept'])
    back_up(Home(server.home), tmp_path / 'backup')
    restore(tmp_path / 'backup', home)
    downgrade(home.database, head.module)
    return dataset, home, head.down_revision


def test_a_home_of_an_older_argilla_is_brought_up_to_date(server, tmp_path, caplog):
    dataset, home, revision = older_home(server, tmp_path)
    with serve(home.path) as migrated, Api(migrated) as api:
        assert dataset.all(api).keys() == {'kept'}
        assert dataset.search(api, 'words') == 1
    assert f'{home.path} was used by another version: it is brought up to date' in caplog.text
    (copy,) = home.path.glob('argilla-*.db')
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute('SELECT version_num FROM alembic_version').fetchall() == [(revision,)]


def test_a_migration_that_was_cut_off_begins_anew(server, tmp_path):
    """Of a migration each statement stays by itself: what a killed one leaves is neither of the two versions."""
    dataset, home, revision = older_home(server, tmp_path)
    dies = tmp_path / 'dies.py'
    dies.write_text(DIES_WITHIN_A_MIGRATION)
    for statements in (1, 2):
        killed = subprocess.run([sys.executable, str(dies), str(home.path), str(statements)], check=False)
        assert killed.returncode == -signal.SIGKILL
        assert home.migrating.exists()
    with serve(home.path) as migrated, Api(migrated) as api:
        assert dataset.all(api).keys() == {'kept'}
    assert not home.migrating.exists()
    copy = home.before(revision)
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute('SELECT version_num FROM alembic_version').fetchall() == [(revision,)]
    (home.path / 'argilla.migrating').write_text(revision)
    copy.unlink()
    with pytest.raises(LocalServerError, match='as it was, is gone'), serve(home.path):
        pass


def test_a_first_start_that_was_cut_off_begins_anew(tmp_path):
    home = Home(tmp_path / 'home')
    home.prepare()
    (tmp_path / 'dies.py').write_text(DIES_WITHIN_A_MIGRATION)
    for statements in (1, 5):
        killed = subprocess.run([sys.executable, tmp_path / 'dies.py', home.path, str(statements)], check=False)
        assert killed.returncode == -signal.SIGKILL
        assert home.database.exists()
    with serve(home.path) as server, Api(server) as api:
        assert api('GET', 'me')['username'] == 'argilla'
    assert not home.migrating.exists()


# As a server that is started and killed after some statements which change tables.
DIES_WITHIN_A_MIGRATION = """
import os, signal, sys
from pathlib import Path

path = Path(sys.argv[1], 'argilla.db')
os.environ['ARGILLA_DATABASE_URL'] = f'sqlite+aiosqlite:///{path}'
os.environ['ARGILLA_HOME_PATH'] = sys.argv[1]

import sqlalchemy
from beam_argilla.local.database import migrate

left = int(sys.argv[2])


def after(connection, cursor, statement, *rest):
    global left
    if statement.lstrip().upper().startswith(('ALTER', 'CREATE', 'DROP')):
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)


sqlalchemy.event.listen(sqlalchemy.Engine, 'after_cursor_execute', after)
migrate(path, print)
"""


def downgrade(path, migration):
    """Takes a migration back, as Alembic does."""
    import sqlalchemy
    from alembic.operations import Operations
    from alembic.runtime.migration import MigrationContext

    engine = sqlalchemy.create_engine('sqlite://', creator=lambda: connect(path))
    with engine.begin() as connection, Operations.context(MigrationContext.configure(connection)):
        migration.downgrade()
        connection.execute(sqlalchemy.text(f"UPDATE alembic_version SET version_num = '{migration.down_revision}'"))
    engine.dispose()
