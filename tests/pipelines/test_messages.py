"""What is said of an engine's trouble: what to set, rather than the hundreds of lines that it is found in."""

from __future__ import annotations

import contextlib
import re

import pytest

from pipelines.attempts import new_pipeline
from pipelines.messages import explain

# As Beam's portable runner raises it: a stack trace of a worker's, in one of the engine's, in Python's.
FAILED = """Pipeline BeamApp-root-1 failed in state FAILED: java.lang.RuntimeException: Error received from SDK harness
Traceback (most recent call last):
  File "/usr/lib/python3/apache_beam/runners/worker/sdk_worker.py", line 315, in _execute
    response = task()
%s
\tat org.apache.flink.runtime.taskmanager.Task.doRun(Task.java:751)
"""


@pytest.mark.parametrize(
    ('said', 'advice'),
    [
        ("ModuleNotFoundError: No module named 'beam_argilla'", r'--setup_file \./setup\.py .*--extra_package dist/'),
        ("ModuleNotFoundError: No module named 'beam_argilla.writing'", '--setup_file'),
        ("ModuleNotFoundError: No module named 'mine.tasks'", "no module 'mine.tasks'.*--extra_package"),
        (
            'java.io.IOException: Insufficient number of network buffers: required 512, but only 482 available.',
            r'taskmanager\.memory\.network\.max: 256m.*--parallelism',
        ),
    ],
)
def test_what_an_engine_lacks_is_told_with_what_to_set(said, advice):
    status, message = explain(RuntimeError(FAILED % said), str)
    assert status == 2
    assert len(message.splitlines()) == 1
    assert re.search(advice, message), message


def test_a_module_that_this_process_lacks_is_not_said_to_be_lacking_elsewhere():
    _, message = explain(ModuleNotFoundError("No module named 'google.cloud'"), str)
    assert 'workers' not in message


@pytest.mark.parametrize('runner', [['--runner=DirectRunner'], []])
def test_several_processes_are_several_also_where_the_direct_runner_would_take_prism(runner):
    with contextlib.ExitStack() as tidying:
        p = new_pipeline([*runner, '--direct_running_mode=multi_processing', '--direct_num_workers=2'], tidying)
    assert type(p.runner).__name__ == 'FnApiRunner'
