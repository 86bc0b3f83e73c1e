"""Streams on a Flink cluster that go on from a checkpoint, since a task manager was killed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineState
from apache_beam.transforms.periodicsequence import PeriodicImpulse
from apache_beam.utils.secret import RawSecret

import beam_argilla as ba
from beam_argilla.local import LocalServer
from tests.answers.people import Person, crew, dataset_id, record_ids
from tests.engines.servers import Cluster
from tests.processes import end
from tests.samples import unique
from tests.writing.test_write import stored

__all__ = ['crew']  # a fixture

# Not on the one that other tests have meanwhile.
pytestmark = pytest.mark.xdist_group('Flink cluster of which parts are killed')

SECONDS = 300  # until something has happened, at most
Found = TypeVar('Found')


class Stream:
    """A job that runs on the cluster as long as this is open, and is checkpointed twice a second."""

    # What a bundle gives out while a checkpoint is taken is lost now and then unless the bundle is finished before.
    options = ('--streaming', '--checkpointing_interval=500', '--finish_bundle_before_checkpointing')

    def __init__(self, cluster: Cluster, p: beam.Pipeline):
        self._cluster = cluster
        self._pipeline = p

    def __enter__(self) -> Stream:
        self._result = self._pipeline.run()
        self._id = self.until(self._running)
        return self

    def __exit__(self, *_: object) -> None:
        self._result.cancel()
        self._cluster.cancel_jobs()  # waits for it to have ended

    def _running(self) -> str | None:
        jobs = self._cluster.ask('jobs/overview')['jobs']
        return next((job['jid'] for job in jobs if job['state'] == 'RUNNING'), None)

    def _checkpoints(self) -> dict[str, int]:
        return self._cluster.ask(f'jobs/{self._id}/checkpoints')['counts']

    def until(self, happened: Callable[[], Found | None]) -> Found:
        """Waits for something, and returns it."""
        deadline = time.monotonic() + SECONDS
        while not (found := happened()):
            assert not PipelineState.is_terminal(self._result.state), self._result.state
            assert time.monotonic() < deadline, 'it does not happen'
            time.sleep(0.2)
        return found

    def begin_anew(self) -> None:
        """Kills a task manager at work, once what has happened is in a checkpoint; Flink goes on from there."""
        known = self._checkpoints()['completed']
        self.until(lambda: self._checkpoints()['completed'] > known + 1)
        end(self._cluster.busy_task_managers()[:1])
        self.until(lambda: self._checkpoints()['restored'])


@pytest.fixture
def connection(argilla_server: LocalServer) -> ba.ArgillaConnection:
    return ba.ArgillaConnection(argilla_server.api_url, api_key=RawSecret(argilla_server.api_key))


SETTINGS = ba.DatasetSettings([ba.text_field('text')], [ba.rating_question('good', 'Good?', [1, 2, 3], True)])


def test_a_load(connection, api, crew: list[Person], cluster: Cluster):
    """Each record is there once, whenever it came, and so is what people said before."""
    name = unique('stream')
    elements = [ba.Record(f'r{i:03d}', {'text': f'Text {i}'}) for i in range(600)]  # a second each
    now = time.time()
    p = beam.Pipeline(options=PipelineOptions([*cluster.options, *Stream.options]))
    source = p | PeriodicImpulse(now, now + len(elements), 1, data=elements)
    _ = source | ba.WriteRecords(name, settings=SETTINGS, connection=connection)
    with Stream(cluster, p) as stream:
        before = stream.until(lambda: records(api, name))
        for id in before.values():
            crew[0].answers(id, {'good': 3})
        stream.begin_anew()
        come = {record.external_id for record in elements[: len(records(api, name)) + 5]}
        stream.until(lambda: come <= set(records(api, name)))
    found = stored(api, name)
    assert api.get(f'/datasets/{dataset_id(api, name)}/progress').json()['total'] == len(found)
    expected = {record.external_id: record.fields for record in elements}
    assert all(record['fields'] == expected[id] for id, record in found.items())
    assert {id for id, record in found.items() if record['responses']} == set(before)


def records(api, name: str) -> dict[str, str]:
    """External id → id of what is there, if the dataset is."""
    names = [dataset['name'] for dataset in api.get('/me/datasets').json()['items']]
    return record_ids(api, name) if name in names else {}


class _Note(beam.DoFn):
    """Makes a mark for each time that a state of an answer comes, in a file for each."""

    def __init__(self, folder: str):
        self._folder = folder

    def process(self, state: tuple[str, str, int]) -> None:
        with open(Path(self._folder, '-'.join(map(str, state))), 'a') as file:
            file.write('|')


def states(record: ba.AnsweredRecord) -> Iterable[tuple[str, str, int]]:
    return [(record.external_id, response.user, response.values['good']) for response in record.responses]


def test_answers(connection, api, crew: list[Person], cluster: Cluster, tmp_path: Path):
    """Each state of an answer comes once: those given before, those given after, and one that changed."""
    name = unique('answers')
    with beam.Pipeline(runner='FnApiRunner') as p:
        texts = p | beam.Create([ba.Record(f'r{i}', {'text': f'Text {i}'}) for i in range(4)])
        _ = texts | ba.WriteRecords(name, settings=SETTINGS, connection=connection)
    p = beam.Pipeline(options=PipelineOptions([*cluster.options, *Stream.options]))
    _ = (
        p
        | ba.ReadFromArgilla(name, connection=connection, poll=0.5)
        | beam.FlatMap(states)
        | beam.ParDo(_Note(str(tmp_path)))
    )
    ids = record_ids(api, name)
    given: set[str] = set()

    def answer(record: str, person: Person, value: int) -> None:
        person.answers(ids[record], {'good': value})
        given.add(f'{record}-{person.name}-{value}')

    def noted() -> bool:
        return given <= {file.name for file in tmp_path.iterdir()}

    answer('r0', crew[0], 1)
    answer('r1', crew[1], 2)
    with Stream(cluster, p) as stream:
        stream.until(noted)
        stream.begin_anew()
        answer('r0', crew[0], 3)
        answer('r2', crew[2], 1)
        stream.until(noted)
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == dict.fromkeys(given, '|')
