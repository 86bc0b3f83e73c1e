"""What a job that fails leaves behind on the server: nothing of its own that is empty, and all that is not its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import apache_beam as beam
import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

import beam_argilla as ba
from beam_argilla.errors import BeamArgillaError, RefusedError
from beam_argilla.server.settings import text_field, text_question
from tests.faults import Fault, FaultProxy, Request
from tests.samples import pipeline, unique

SETTINGS = ba.DatasetSettings([text_field('t')], [text_question('q', 'q')])
GOOD, BAD = ba.Record('good', {'t': 'x'}), ba.Record('bad', {})


def there(api: httpx.Client, name: str) -> list[dict[str, Any]]:
    return api.get('/me/datasets', params={'name': name}).json()['items']


def workspaces(api: httpx.Client) -> set[str]:
    return {w['name'] for w in api.get('/me/workspaces').json()['items']}


def write(connection, name, records, settings=SETTINGS, **options) -> None:
    with pipeline() as p:
        _ = p | beam.Create(records) | ba.WriteRecords(name, connection=connection, settings=settings, **options)


def test_a_job_that_fails_before_it_wrote_anything_leaves_neither_dataset_nor_workspace(connection, api):
    name, workspace = unique('nothing'), unique('space')
    with pytest.raises(RefusedError):
        write(connection, name, [BAD], workspace=workspace, create_workspace=True)
    assert there(api, name) == []
    assert workspace not in workspaces(api)


def test_in_other_processes_too(connection, api):
    name = unique('processes')
    options = PipelineOptions(
        ['--runner=FnApiRunner', '--direct_running_mode=multi_processing', '--direct_num_workers=2']
    )
    with pytest.raises(Exception, match='MissingField'), beam.Pipeline(options=options) as p:
        _ = p | beam.Create([BAD]) | ba.WriteRecords(name, connection=connection, settings=SETTINGS)
    assert there(api, name) == []


def test_what_was_written_stays(connection, api):
    name = unique('some')
    with pytest.raises(RefusedError):
        write(connection, name, [GOOD, BAD])
    assert [d['name'] for d in there(api, name)] == [name]


def test_an_empty_dataset_of_a_job_that_worked_stays_whatever_later_jobs_do(connection, api):
    name, workspace = unique('empty'), unique('space')
    write(connection, name, [], workspace=workspace, create_workspace=True)
    (before,) = there(api, name)
    with pytest.raises(RefusedError):
        write(connection, name, [BAD], workspace=workspace, create_workspace=True)
    assert [d['id'] for d in there(api, name)] == [before['id']]
    assert workspace in workspaces(api)


def test_a_pipeline_that_is_run_again_keeps_what_it_made_when_it_worked(connection, api, tmp_path):
    name, switch = unique('again'), tmp_path / 'fail'
    p = beam.Pipeline(runner='FnApiRunner')
    records = p | beam.Create([str(switch)]) | beam.FlatMap(lambda path: [BAD] if Path(path).exists() else [])
    records.element_type = ba.Record
    _ = records | ba.WriteRecords(name, connection=connection, settings=SETTINGS)
    p.run().wait_until_finish()
    switch.touch()
    with pytest.raises(RefusedError):
        p.run()
    assert len(there(api, name)) == 1


def test_a_dataset_that_another_job_uses_by_now_stays(argilla_server, connection, api):
    """The first job makes it and is slow; the second finds it; then the first fails."""
    name, found = unique('two'), threading.Event()

    def wait_for_the_other(request: Request) -> Fault:
        found.wait(60)
        return Fault('refused', status=422, body=b'{"detail":"no"}')

    with FaultProxy(argilla_server.api_url, wait_for_the_other) as proxy:
        slow = ba.ArgillaConnection(proxy.url, api_key=connection.api_key)
        errors: list[BaseException] = []

        def first() -> None:
            try:
                write(slow, name, [GOOD])
            except BeamArgillaError as e:
                errors.append(e)

        thread = threading.Thread(target=first)
        thread.start()
        while not proxy.events:
            time.sleep(0.01)
        write(connection, name, [])
        found.set()
        thread.join()
    assert len(errors) == 1
    assert len(there(api, name)) == 1


def test_a_draft_that_could_not_be_completed_is_removed(connection, api):
    name = unique('half')
    # The server's limit on the options of a label question is not one of ours.
    options = [{'value': str(i), 'text': str(i)} for i in range(600)]
    question = {**text_question('l', 'l'), 'settings': {'type': 'label_selection', 'options': options}}
    settings = ba.DatasetSettings([text_field('t')], [question])
    with pytest.raises(BeamArgillaError, match='422'):
        write(connection, name, [GOOD], settings=settings)
    assert there(api, name) == []


PROGRAM = (sys.executable, '-m', 'pipelines.parquet_to_argilla')


@pytest.mark.parametrize('stopped', [False, True], ids=['refused', 'Ctrl-C'])
def test_the_program_leaves_nothing_either(argilla_server, api, tmp_path, stopped):
    name = unique('program')
    bad = None if not stopped else 'x'
    pq.write_table(pa.table({'instruction': ['a', bad], 'generation': ['x', 'y']}), tmp_path / 'in.parquet')
    hold = Fault('hold', delay=5.0, status=503)
    with FaultProxy(argilla_server.api_url, lambda request: hold) as proxy:
        process = subprocess.Popen(
            (*PROGRAM, '--input', str(tmp_path / 'in.parquet'), '--dataset', name, '--num_generations', '1'),
            env={**os.environ, 'ARGILLA_API_URL': proxy.url, 'ARGILLA_API_KEY': argilla_server.api_key},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        try:
            while stopped and not proxy.events and process.poll() is None:
                time.sleep(0.05)
            if stopped:
                process.send_signal(signal.SIGINT)
            text, _ = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode != 0, text
    assert there(api, name) == []
