"""On each engine: what a person sees of a job comes back to where it was started, and Ctrl-C is answered at once."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

from tests.engines.conftest import Engine
from tests.engines.datasets import long_files
from tests.faults import Fault, FaultProxy
from tests.processes import running
from tests.samples import rows, unique
from tests.terminals import terminal

PROGRAM = ('-m', 'pipelines.parquet_to_argilla', '--num_generations', '4')
SECONDS = 240  # the machine may have much else to do


def test_a_dry_run_shows_a_record_a_refusal_and_the_counts(engine: Engine, tmp_path):
    """Whether or not somebody watches on a terminal, so that it is asked all the time how far the job is."""
    files = long_files(tmp_path, [*rows(3), {**rows(1)[0], 'generation': None}])
    how = ('--no_spill', '--instruction_id_column', 'instruction_id', *engine.options)
    job = ('--input', files, '--dataset', unique('never'), '--dry_run', *how)
    env = {**os.environ, 'TERM': 'xterm'}
    with terminal() as screen, running(*PROGRAM, *job, env=env, stderr=screen.descriptor) as process:
        out, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    assert out.startswith('The first record as it would be sent:\n{\n  "external_id": "i000')
    lines = out.splitlines()
    assert any(line.startswith('Refused: ') and 'NullGeneration' in line for line in lines)
    assert '13 rows read, 3 groups' in lines
    assert '3 records would be written (dry run: nothing was)' in lines


def test_ctrl_c_is_answered(argilla_server, engine: Engine, tmp_path):
    files = long_files(tmp_path, rows(30))
    key = ['--api_key_secret', 'type:EnvironmentSecret;variable:ARGILLA_API_KEY'] if engine.remote else []
    how = ('--no_spill', '--no_progress', '--retry_seconds', 1, *key, *engine.options)
    with FaultProxy(argilla_server.api_url, lambda request: Fault('thinks', delay=60)) as proxy:
        env = {**os.environ, 'ARGILLA_API_URL': proxy.url, 'ARGILLA_API_KEY': argilla_server.api_key}
        with running(*PROGRAM, '--input', files, '--dataset', unique('stopped'), *how, env=env) as process:
            wait_for(lambda: proxy.events or process.poll() is not None)
            assert proxy.events, process.communicate(timeout=1)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=SECONDS)
    engine_too = ' See on its engine whether it goes on there, and cancel it.' if engine.remote else ''
    said = f'Stopped. No record had been written yet.{engine_too}\n'
    assert (process.returncode, out, err) == (130, '', said)


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)
