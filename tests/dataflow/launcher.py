"""Runs programs in processes of their own in which Beam and Google's client, that take seconds, are imported already.

On each line of its input stands a program in JSON; its exit status goes out on a line.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import time
import types

import apache_beam.runners.dataflow.internal.apiclient  # noqa: F401
import google.cloud.secretmanager  # noqa: F401
import pyarrow.parquet  # noqa: F401
from apache_beam.runners.dataflow import dataflow_runner

# It looks at a job every five seconds.
dataflow_runner.time = types.SimpleNamespace(**{**vars(time), 'sleep': lambda seconds: time.sleep(0.05)})


def become(program: dict) -> None:
    """Makes this process run the program."""
    os.chdir(program['cwd'])
    os.environ.clear()
    os.environ.update(program['environment'])
    for number, file in ((1, program['stdout']), (2, program['stderr'])):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    what, *sys.argv[1:] = program['command']
    if what == '-m':
        sys.path[0] = ''  # as Python has it then
        module = sys.argv.pop(1)
        runpy.run_module(module, run_name='__main__', alter_sys=True)
    else:
        sys.argv[0], sys.path[0] = what, os.path.dirname(what)
        runpy.run_path(what, run_name='__main__')


for line in sys.stdin:
    child = os.fork()
    if child == 0:
        become(json.loads(line))
        break
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
