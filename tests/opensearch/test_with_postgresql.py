"""The local Argilla on PostgreSQL, answered for by several processes, and searched by OpenSearch."""

from __future__ import annotations

import itertools
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta

import httpx
import psutil
import pytest

from beam_argilla.local import LocalServer, LocalServerError, serve
from beam_argilla.local.__main__ import main
from tests import postgresql
from tests.local.test_same_as_stock import EVERYTHING, Way

pytestmark = pytest.mark.xdist_group('OpenSearch')


@pytest.fixture(scope='module')
def database_url() -> Iterator[str]:
    try:
        with postgresql.running() as url:
            yield url
    except postgresql.MissingError as e:
        pytest.skip(f'PostgreSQL cannot be run here: {e}')


@pytest.fixture(scope='module')
def server(opensearch: str, database_url: str) -> Iterator[LocalServer]:
    with serve(database_url=database_url, workers=2, elasticsearch=opensearch, timeout=180) as server:
        yield server


def test_requests_with_the_same_records_do_not_fail_each_other(server):
    """As where an engine does a bundle again that is still at work somewhere else."""
    way = Way(server, vectors=())
    path = f'/datasets/{way.dataset}/records/bulk'
    common = EVERYTHING | {'vectors': {}}
    statuses = []

    def write(number: int) -> None:
        chance = random.Random(number)
        for turn in range(10):
            items = [
                {'external_id': f'r{n}', **common, 'fields': {'text': f'text {number} {turn}'}}
                for n in chance.sample(range(20 * turn, 20 * turn + 100), 80)
            ]
            statuses.append(
                httpx.put(
                    f'{server.api_url}/api/v1{path}', content=way.body(items), headers=headers, timeout=60
                ).status_code
            )

    headers = {'X-Argilla-Api-Key': server.api_key, 'Content-Type': 'application/json'}
    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert statuses == [200] * 40
    listed = way.api.get(f'/datasets/{way.dataset}/records?limit=1000').raise_for_status().json()['items']
    names = [record['external_id'] for record in listed]
    assert len(names) == len(set(names))
    assert set(names) <= {f'r{n}' for n in range(280)}
    assert {record['status'] for record in listed} == {'completed'}


def test_everything_is_written_read_and_found(server):
    way = Way(server, vectors=())
    # Without the plugin for vectors, which this OpenSearch has not.
    common = EVERYTHING | {'vectors': {}}
    items = [{'external_id': f'r{n}', **common, 'fields': {'text': f'text {n}'}} for n in range(300)]
    answers = [way.api.put(f'/datasets/{way.dataset}/records/bulk', content=way.body(items)) for _ in range(2)]
    first, again = (answer.raise_for_status().json()['items'] for answer in answers)
    assert [one['id'] for one in first] == [one['id'] for one in again]
    # The faster way's times rise by a microsecond; and what it reads is sent as it is.
    times = [datetime.fromisoformat(record['inserted_at']) for record in first]
    assert {later - earlier for earlier, later in itertools.pairwise(times)} == {timedelta(microseconds=1)}
    assert all(answer.headers['Content-Encoding'] == 'identity' for answer in answers)
    for page in (0, 290):
        query = {'offset': page, 'limit': 10, 'include': 'responses,suggestions,vectors'}
        listed = way.api.get(f'/datasets/{way.dataset}/records', params=query).raise_for_status().json()
        assert (listed['total'], listed['items']) == (300, again[page : page + 10])
    found = way.api.post(
        f'/datasets/{way.dataset}/records/search?include=responses&include=suggestions&include=vectors',
        json={'query': {'text': {'q': '"text 123"'}}},
    ).raise_for_status().json()  # fmt: skip
    assert [item['record'] for item in found['items']] == [again[123]]
    progress = way.api.get(f'/datasets/{way.dataset}/progress').json()
    assert (progress['total'], progress['completed']) == (300, 300)


def test_the_same_new_records_from_several_clients_are_written_once(server):
    way = Way(server, vectors=())
    body = way.body([{'external_id': f'r{n}', 'fields': {'text': 'one'}} for n in range(100)])
    statuses = []

    def put() -> None:
        statuses.append(way.api.put(f'/datasets/{way.dataset}/records/bulk', content=body).status_code)

    clients = [threading.Thread(target=put) for _ in range(6)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert statuses == [200] * 6
    assert way.api.get(f'/datasets/{way.dataset}/records').json()['total'] == 100


def test_people_are_added_while_it_runs_and_copies_are_pg_dumps(server, tmp_path, capsys):
    home = str(server.home)
    assert main(['--home', home, 'add-user', 'ann', '--password', 'a password']) == 0
    log_in = {'username': 'ann', 'password': 'a password'}
    assert httpx.post(f'{server.api_url}/api/v1/token', data=log_in).status_code == 201
    assert main(['--home', home, '--backup', str(tmp_path / 'copy')]) == 2
    assert 'is backed up by pg_dump' in capsys.readouterr().err


def test_data_that_nobody_would_see_is_told(opensearch, database_url, tmp_path):
    with serve(tmp_path):
        pass
    with pytest.raises(LocalServerError, match='has data, which nobody would see, nor back up, beside a PostgreSQL'):
        serve(tmp_path, database_url=database_url, elasticsearch=opensearch).__enter__()


def test_several_processes_answer_and_none_is_left_over(opensearch, database_url):
    with serve(database_url=database_url, workers=3, elasticsearch=opensearch, timeout=180) as server:
        first = psutil.Process(server.pid)
        others = first.children()
        assert len(others) == 2
        server.kill()
        assert not psutil.wait_procs(others, timeout=10)[1]
        server.restart(timeout=180)
        others = psutil.Process(server.pid).children()
    assert not psutil.wait_procs(others, timeout=10)[1]


def test_where_one_process_dies_the_server_is_told_to_have_ended(opensearch, database_url):
    with serve(database_url=database_url, workers=2, elasticsearch=opensearch, timeout=180) as server:
        (other,) = psutil.Process(server.pid).children()
        os.kill(other.pid, signal.SIGKILL)
        with pytest.raises(LocalServerError, match='has ended unexpectedly'):
            for _ in range(200):
                server.check()
                time.sleep(0.05)


def test_a_database_that_is_not_there_is_told(opensearch, database_url):
    nothing = serve(database_url=database_url.replace('/postgres?', '/nothing?'), elasticsearch=opensearch, timeout=180)
    with pytest.raises(LocalServerError, match=r'The database .*nothing.* cannot be used: .*does not exist'):
        nothing.__enter__()
