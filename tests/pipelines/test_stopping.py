"""Ctrl-C, and the signals of a system that goes down: one line, the exit status, and nothing left."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
import types
from collections.abc import Callable

import apache_beam as beam
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.utils.secret import RawSecret

import beam_argilla as ba
from beam_argilla.local import LocalServer
from beam_argilla.metrics import count
from beam_argilla.server.bulk import count_records
from beam_argilla.server.client import Client
from beam_argilla.server.datasets import find_dataset
from pipelines import attempts, load, options, parquet_to_argilla
from pipelines.account import Account
from tests.faults import PASS, Fault, FaultProxy, Request
from tests.processes import children, end, running
from tests.samples import rows, unique
from tests.terminals import terminal

PRISM = shutil.which('prism')
PROMPT_SECONDS = 30
START_SECONDS = 120  # the machine may have much else to do


@pytest.mark.parametrize(
    ('number', 'engine'),
    [
        pytest.param(signal.SIGINT, [], id='none named'),
        pytest.param(
            signal.SIGTERM, ['--direct_running_mode=multi_processing', '--direct_num_workers=2'], id='processes'
        ),
        pytest.param(
            signal.SIGINT,
            ['--runner=PrismRunner', f'--prism_location={PRISM}'],
            id='Prism',
            marks=pytest.mark.skipif(PRISM is None, reason='no prism on the PATH'),
        ),
    ],
)
def test_in_mid_run(argilla_server, tmp_path, number, engine):
    pq.write_table(pa.Table.from_pylist(rows(30)), tmp_path / 'in.parquet')
    folder = tmp_path / 'temporary'
    folder.mkdir()
    program = ('-m', 'pipelines.parquet_to_argilla', '--num_generations', 4, '--input', tmp_path / 'in.parquet')
    # A server that is thinking: the job is writing, and rows lie in files.
    with FaultProxy(argilla_server.api_url, lambda request: Fault('thinks', delay=60)) as proxy:
        server = {'ARGILLA_API_URL': proxy.url, 'ARGILLA_API_KEY': argilla_server.api_key, 'TMPDIR': str(folder)}
        with running(*program, '--dataset', unique('stopped'), *engine, env={**os.environ, **server}) as process:
            wait_for(lambda: proxy.events, process)
            started = children(process)
            process.send_signal(number)
            try:
                out, err = process.communicate(timeout=PROMPT_SECONDS)
                _, left = psutil.wait_procs(started, timeout=5)
            finally:
                end(started)
    message = 'Stopped. No record had been written yet.\n'
    assert (process.returncode, out, err, left) == (128 + number, '', message, [])
    assert list(folder.glob('beam-[ap]*')) == []


def test_it_says_what_has_been_written_and_how_to_go_on(argilla_server, tmp_path):
    name = unique('goes-on')
    pq.write_table(pa.Table.from_pylist(rows(500)), tmp_path / 'in.parquet')
    program = ('-m', 'pipelines.parquet_to_argilla', '--num_generations', 4, '--input', tmp_path / 'in.parquet')
    server = {'ARGILLA_API_URL': argilla_server.api_url, 'ARGILLA_API_KEY': argilla_server.api_key}
    summary = tmp_path / 'summary.json'
    with FaultProxy(argilla_server.api_url, thinks_from_the_second_request_on) as proxy:
        env = {**os.environ, **server, 'ARGILLA_API_URL': proxy.url, 'TERM': 'xterm'}
        job = (*program, '--dataset', name, '--summary', summary)
        with terminal() as screen, running(*job, env=env, stderr=screen.descriptor) as process:
            wait_for(lambda: len(proxy.events) > 1 and written(argilla_server, name), process)
            number = written(argilla_server, name)
            wait_for(lambda: any(f' {number}/500 records ' in drawing for drawing in screen.drawings), process)
            process.send_signal(signal.SIGTERM)
            out, _ = process.communicate(timeout=PROMPT_SECONDS)
    *drawn, err, end = screen.drawings
    goes_on = f'Stopped. {number} of about 500 records had been written; running it again with --skip_unchanged'
    assert (process.returncode, out, err, end) == (143, '', f'{goes_on} goes on from there.', '')
    assert drawn[-1].strip() == ''  # nothing is left of the bar
    told = json.loads(summary.read_text())
    assert (told['status'], told['complete'], told['rows_read']) == (143, False, 2000)
    assert told['error'] == err
    with running(*program, '--dataset', name, '--skip_unchanged', env={**os.environ, **server}) as process:
        out, _ = process.communicate(timeout=2 * PROMPT_SECONDS)
    assert f'\n{500 - number} records written: {500 - number} created, 0 updated\n{number} unchanged' in out


def thinks_from_the_second_request_on(request: Request) -> Fault:
    return PASS if request.number == 0 else Fault('thinks', delay=60)


def written(server: LocalServer, name: str) -> int:
    with Client(ba.ArgillaConnection(server.api_url, api_key=RawSecret(server.api_key))) as client:
        dataset_id = find_dataset(client, name, 'default')
        return count_records(client, dataset_id) if dataset_id else 0


def wait_for(condition: Callable[[], object], process: subprocess.Popen) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not condition() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert condition(), process.communicate(timeout=1)


def test_in_mid_export(argilla_server, tmp_path):
    name = unique('stopped')
    pq.write_table(pa.Table.from_pylist(rows(3)), tmp_path / 'in.parquet')
    server = {'ARGILLA_API_URL': argilla_server.api_url, 'ARGILLA_API_KEY': argilla_server.api_key}
    load = ('-m', 'pipelines.parquet_to_argilla', '--num_generations', 4, '--input', tmp_path / 'in.parquet')
    with running(*load, '--dataset', name, env={**os.environ, **server}) as process:
        assert process.wait() == 0
    program = ('-m', 'pipelines.argilla_to_parquet', '--dataset', name, '--output', tmp_path / 'dpo')
    slow = Fault('thinks', delay=60)
    # Where the job is built, the server is only asked whether the dataset is there.
    with FaultProxy(argilla_server.api_url, lambda request: slow, is_of_records) as proxy:
        env = {**os.environ, **server, 'ARGILLA_API_URL': proxy.url}
        with running(*program, env=env) as process:
            wait_for(lambda: proxy.events, process)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=PROMPT_SECONDS)
    assert (process.returncode, out, err) == (130, '', 'Stopped. Running it again reads all of it anew.\n')
    assert [path.name for path in tmp_path.iterdir()] == ['in.parquet']


def is_of_records(method: str, path: str) -> bool:
    return '/records' in path


IMPORTING = """
import os, signal, sys

class Interrupted:
    def find_spec(self, name, *_):
        if name == {imported!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupted())
from pipelines import {program}
sys.argv[1:] = {argv!r}
{program}.command()
"""


@pytest.mark.parametrize(
    ('program', 'imported', 'argv'),
    [
        ('parquet_to_argilla', 'difflib', []),
        ('parquet_to_argilla', 'apache_beam', ['--input=x', '--dataset=x', '--num_generations=1', '--dry_run']),
        ('demo', 'beam_argilla.local.supervisor', []),
    ],
)
def test_while_it_imports(program, imported, argv):
    with running('-c', IMPORTING.format(program=program, imported=imported, argv=argv)) as process:
        out, err = process.communicate(timeout=PROMPT_SECONDS)
    assert (process.returncode, out, err) == (130, '', 'Stopped.\n')


class DataflowRunner(FnApiRunner):
    """One that is called so: Google's own needs its client."""


def test_of_a_job_on_dataflow_it_says_that_it_goes_on():
    result = types.SimpleNamespace(job_id=lambda: '2026-11-27_1')
    assert attempts.goes_on(beam.Pipeline(), result) is None
    cloud = PipelineOptions(['--project=ours', '--region=europe-west1', '--temp_location=gs://ours/temp'])
    p = beam.Pipeline(DataflowRunner(), cloud)
    assert attempts.goes_on(p, result) == (
        'Stopped watching. The job goes on: '
        'https://console.cloud.google.com/dataflow/jobs/europe-west1/2026-11-27_1?project=ours\n'
        'To cancel it: gcloud dataflow jobs cancel 2026-11-27_1 --region=europe-west1 --project=ours'
    )


@pytest.mark.parametrize(
    ('argv', 'counts', 'elsewhere', 'said'),
    [
        ([], {}, False, 'Stopped. No record had been written yet.'),
        (['--dry_run'], {'records_checked': 9}, False, 'Stopped. It was a dry run: nothing was written.'),
        (
            [],
            {'records_created': 1200, 'records_updated': 34},
            False,
            'Stopped. 1,234 records had been written; running it again with --skip_unchanged goes on from there.',
        ),
        (
            ['--skip_unchanged'],
            {'records_created': 2, 'records_unchanged': 1, 'groups_whole': 9},
            True,
            'Stopped. 3 of about 9 records had been written; running it again goes on from there. '
            'See on its engine whether it goes on there, and cancel it.',
        ),
    ],
)
def test_what_is_said_of_a_load_that_was_stopped(argv, counts, elsewhere, said):
    args, _ = options.parse(
        parquet_to_argilla.parser(), ['--input=f', '--dataset=d', '--num_generations=1', '--api_url=http://a', *argv]
    )
    account = Account()
    account.elsewhere = elsewhere
    for name, number in counts.items():
        count(name, number)
    assert load.stopped(args, account) == said
