"""Argilla on PostgreSQL, which has limits that SQLite does not have.

Needs PostgreSQL's programs (Debian: ``apt-get install postgresql``) and the packages asyncpg and psycopg2; nothing that
runs already is touched, and no port but the server's own is opened.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
import httpx
import pytest
from apache_beam.testing.util import assert_that, equal_to

import beam_argilla as ba
from beam_argilla.local.requirements import redis_server
from tests import postgresql
from tests.samples import COLUMNS, pipeline, rows, unique
from tests.writing.test_properties import EDGES, LONG, SETTINGS, check

pytestmark = pytest.mark.xdist_group('PostgreSQL')

# argilla-server without Elasticsearch: its search engine finds nothing, which writing and listing do not notice.
SERVER = """
import asyncio, os, socket, sys
from argilla_server.search_engine import SearchEngine

async def nothing(*args, **kwargs):
    return None

async def yes(*args, **kwargs):
    return True

@SearchEngine.register('nothing')
class Nothing(SearchEngine):
    @classmethod
    async def new_instance(cls):
        return cls()

for name in SearchEngine.__abstractmethods__ - {'new_instance'}:
    setattr(Nothing, name, yes if name == 'ping' else nothing)
Nothing.__abstractmethods__ = frozenset()

from alembic import command
from alembic.config import Config
from argilla_server.contexts import accounts
from argilla_server.database import ALEMBIC_CONFIG_FILE, AsyncSessionLocal, async_engine
from argilla_server.enums import UserRole
from argilla_server.models import User, Workspace, WorkspaceUser

command.upgrade(Config(ALEMBIC_CONFIG_FILE), 'head')

async def add_owner(key):
    async with AsyncSessionLocal() as db:
        password = accounts.hash_password(key)
        user = User(first_name='o', username='owner', role=UserRole.owner, password_hash=password, api_key=key)
        workspace = Workspace(name='default')
        db.add_all([user, workspace])
        await db.flush()
        db.add(WorkspaceUser(workspace_id=workspace.id, user_id=user.id))
        await db.commit()
    await async_engine.dispose()  # its connections belong to this event loop

asyncio.run(add_owner(sys.argv[2]))

import uvicorn
from argilla_server import app

uvicorn.Server(uvicorn.Config(app)).run(sockets=[socket.socket(fileno=int(sys.argv[1]))])
"""


class Server(NamedTuple):
    api_url: str
    api_key: str


@contextlib.contextmanager
def running(command: list[str], log: Path, **options: Any) -> Iterator[subprocess.Popen]:
    with open(log, 'ab') as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=log.parent, **options
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(scope='module')
def argilla_server() -> Iterator[Server]:
    """A real argilla-server on a real PostgreSQL, in place of the one that other tests have."""
    key = 'a key for the tests'
    with contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix='beam-argilla-pg-', dir='/tmp')))
        try:
            url = stack.enter_context(postgresql.running())
        except postgresql.MissingError as e:
            pytest.skip(f'PostgreSQL cannot be run here: {e}')
        redis = [redis_server(), '--port', '0', '--unixsocket', str(home / 'redis.sock')]
        stack.enter_context(running([*redis, '--save', '', '--dir', str(home)], home / 'redis.log'))
        listener = stack.enter_context(socket.create_server(('127.0.0.1', 0)))
        environment = {name: value for name, value in os.environ.items() if not name.startswith('ARGILLA_')} | {
            'ARGILLA_DATABASE_URL': url,
            'ARGILLA_HOME_PATH': str(home),
            'ARGILLA_REDIS_URL': f'unix://{home / "redis.sock"}',
            'ARGILLA_SEARCH_ENGINE': 'nothing',
            'HF_HUB_DISABLE_TELEMETRY': '1',
            'HF_HUB_OFFLINE': '1',
            'TMPDIR': str(home),
        }
        (home / 'server.py').write_text(SERVER)
        log = home / 'server.log'
        command = [sys.executable, str(home / 'server.py'), str(listener.fileno()), key]
        process = stack.enter_context(running(command, log, env=environment, pass_fds=[listener.fileno()]))
        address = f'http://127.0.0.1:{listener.getsockname()[1]}'
        deadline = time.monotonic() + 90
        while not answers(address, key):
            assert process.poll() is None, log.read_text()[-4000:]
            assert time.monotonic() < deadline, log.read_text()[-4000:]
        yield Server(address, key)


def answers(address: str, key: str) -> bool:
    try:
        return httpx.get(f'{address}/api/v1/me', headers={'X-Argilla-Api-Key': key}, timeout=1).status_code == 200
    except httpx.TransportError:
        time.sleep(0.1)
        return False


def dataset_path(api: httpx.Client, name: str) -> str:
    (dataset,) = [d for d in api.get('/me/datasets').json()['items'] if d['name'] == name]
    return f'/datasets/{dataset["id"]}'


def stored(api: httpx.Client, name: str) -> list[dict[str, Any]]:
    params = {'limit': 1000, 'include': 'suggestions'}
    return api.get(f'{dataset_path(api, name)}/records', params=params).json()['items']


def test_requests_hold_no_more_suggestions_than_postgresql_can_store_at_once(connection, api):
    """500 records with 8 suggestions each are 36,000 query arguments; PostgreSQL has numbers for 32,767."""
    name = unique('preference')
    retry = ba.RetryPolicy(limit=30, first_delay=0.05)
    with pipeline() as p:
        write = ba.WriteToArgilla(
            name, task=ba.Preference(4), connection=connection, columns=COLUMNS, max_records=500, retry=retry
        )
        result = p | beam.Create(rows(600)) | write
        assert_that(result.failed, equal_to([]), 'failed')
        assert_that(result.written | beam.combiners.Count.Globally(), equal_to([600]), 'written')
    records = stored(api, name)
    assert sorted(r['external_id'] for r in records) == [f'i{g:04d}' for g in range(600)]
    assert [len(r['suggestions']) for r in records] == [8] * 600
    for record in records:
        group = int(record['external_id'][1:])
        values = {s['value'] for s in record['suggestions']}
        assert values == {1 + (group + m) % 5 for m in range(4)} | {f'Because of {group} and {m}.' for m in range(4)}


@pytest.mark.parametrize(('count', 'status'), [(250, 200), (500, 500)])
def test_why_requests_are_bounded_by_suggestions(connection, api, count, status):
    """What the server does with such requests. Once it takes 500, the bound can go."""
    name = unique('bound')
    with pipeline() as p:
        write = ba.WriteToArgilla(name, task=ba.Preference(4), connection=connection, columns=COLUMNS)
        _ = p | beam.Create(rows(1)) | write
    path = dataset_path(api, name)
    suggestions = [
        {'question_id': q['id'], 'value': 1 if q['settings']['type'] == 'rating' else 'because'}
        for q in api.get(f'{path}/questions').json()['items']
    ]
    assert len(suggestions) == 8
    fields = {'id': 'x', 'instruction': 'x', 'generations-0': 'x'}
    items = [{'external_id': f'r{n}', 'fields': fields, 'suggestions': suggestions} for n in range(count)]
    close = {'Connection': 'close'}  # after a 500 the server does so anyway, without saying so
    assert api.put(f'{path}/records/bulk', json={'items': items}, headers=close).status_code == status
    assert len(stored(api, name)) == 1 + (count if status == 200 else 0)


@pytest.mark.parametrize('records', [EDGES, LONG], ids=['edges', 'long'])
def test_each_record_is_written_to_the_letter_or_refused(argilla_server, api, records):
    check(argilla_server, api, records)


def test_an_external_id_that_is_too_long_for_postgresqls_index_costs_itself(connection, api):
    """An index entry has 2,704 bytes, compressed: texts that SQLite and Elasticsearch take do not fit."""
    noise = ''.join(random.Random(1).choices('abcdefghijklmnopqrstuvwxyz0123456789', k=20_000))
    records = [ba.Record(i, {'text': 'x'}) for i in ('short', noise, noise[:2_000], 'other')]
    name = unique('index')
    retry = ba.RetryPolicy(limit=60, first_delay=0.05, max_delay=0.1)
    with pipeline() as p:
        write = ba.WriteRecords(name, connection=connection, settings=SETTINGS, retry=retry)
        result = p | beam.Create(records) | write
        assert_that(result.failed | beam.Map(lambda f: f.external_id), equal_to([noise]))
    assert {r['external_id'] for r in stored(api, name)} == {'short', noise[:2_000], 'other'}
