"""Ctrl-C, and the signals of a system that goes down: one line, the exit status, and nothing left."""

from __future__ import annotations

import os
import shutil
import signal
import time

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.faults import Fault, FaultProxy
from tests.processes import children, end, running
from tests.samples import rows, unique

PRISM = shutil.which('prism')
PROMPT_SECONDS = 30


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
            deadline = time.monotonic() + PROMPT_SECONDS
            while not proxy.events and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.05)
            assert proxy.events, process.communicate(timeout=1)
            started = children(process)
            process.send_signal(number)
            try:
                out, err = process.communicate(timeout=PROMPT_SECONDS)
                _, left = psutil.wait_procs(started, timeout=5)
            finally:
                end(started)
    message = 'Stopped. What was written is there; running it again goes on from there.\n'
    assert (process.returncode, out, err, left) == (128 + number, '', message, [])
    assert list(folder.glob('beam-[ap]*')) == []


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
            deadline = time.monotonic() + PROMPT_SECONDS
            while not proxy.events and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.05)
            assert proxy.events, process.communicate(timeout=1)
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
