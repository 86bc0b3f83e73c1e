"""What becomes of a dataset when a part of a Flink cluster is killed in mid-load."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

import apache_beam as beam
import psutil
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.utils.secret import RawSecret

import beam_argilla as ba
from beam_argilla.local import LocalServer
from tests.answers.people import Person, crew, record_ids
from tests.engines.datasets import expected, held, long_files
from tests.engines.servers import Cluster
from tests.faults import Fault, FaultProxy, Request
from tests.processes import end
from tests.samples import rows, unique
from tests.writing.test_write import dataset_id, stored

__all__ = ['crew']  # a fixture

# Not on the one that other tests have meanwhile.
pytestmark = pytest.mark.xdist_group('Flink cluster of which parts are killed')

GROUPS = 80
SLOW = Fault('slow', delay=0.1)
TASK = ba.Preference(4, metadata=[ba.Metadata('length', 'integer')])
COLUMNS = ba.Columns(instruction_id='instruction_id', metadata=['length'])


def the_python_worker(cluster: Cluster, proxy: FaultProxy) -> list[psutil.Process]:
    """Who is writing."""
    port = urlsplit(proxy.url).port
    writing = {c.pid for c in psutil.net_connections('tcp') if c.raddr and c.raddr.port == port}
    return [process for process in cluster.python_workers if process.pid in writing]


def the_task_manager(cluster: Cluster, proxy: FaultProxy) -> list[psutil.Process]:
    """One that is at work."""
    return cluster.busy_task_managers()[:1]


def the_job_server(cluster: Cluster, proxy: FaultProxy) -> list[psutil.Process]:
    assert cluster.job_server is not None
    return [psutil.Process(cluster.job_server.process.pid)]


Victims = Callable[[Cluster, FaultProxy], list[psutil.Process]]


@pytest.mark.parametrize('victims', [the_python_worker, the_task_manager, the_job_server])
def test_a_crash_in_mid_load(
    argilla_server: LocalServer, api, crew: list[Person], cluster: Cluster, tmp_path, victims: Victims
):
    """Flink goes on by itself, or the job runs again: every record is there once, and what people said meanwhile."""
    name = unique('crash')
    elements = rows(GROUPS)
    files = long_files(tmp_path, elements)
    answered: dict[str, str] = {}
    killed: list[psutil.Process] = []

    def schedule(request: Request) -> Fault | None:
        if request.number == 8:
            answered.update(record_ids(api, name))
            for id in answered.values():
                crew[0].answers(id, {'generations-0-rating': 1})
            killed.extend(victims(cluster, proxy))
            end(killed)
        return SLOW

    def load() -> None:
        p = beam.Pipeline(options=PipelineOptions(cluster.options))
        connection = ba.ArgillaConnection(proxy.url, api_key=RawSecret(argilla_server.api_key))
        write = ba.WriteToArgilla(name, task=TASK, connection=connection, max_records=4)
        _ = p | ba.ReadGenerations(files, COLUMNS) | write
        p.run().wait_until_finish()

    with FaultProxy(argilla_server.api_url, schedule) as proxy:
        if victims is the_job_server:
            with pytest.raises(Exception, match=r'UNAVAILABLE|Connection'):
                load()
            cluster.complete()
        load()
    assert len(killed) == 1
    assert held(api, name) == expected(elements)
    assert api.get(f'/datasets/{dataset_id(api, name)}/progress').json()['total'] == GROUPS
    assert 0 < len(answered) < GROUPS
    of_people = {id: record['responses'] for id, record in stored(api, name).items() if record['responses']}
    assert set(of_people) == set(answered)
    assert all(response['values']['generations-0-rating']['value'] == 1 for (response,) in of_people.values())
