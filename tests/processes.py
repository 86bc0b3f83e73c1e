"""Programs that a test starts and sends signals to."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import psutil

# Whatever the tests were started to ignore (as `make test &` ignores Ctrl-C), the program is not.
_ANEW = """
import os, signal, sys
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])
"""


def python(*arguments: Any, **options: Any) -> subprocess.Popen:
    """Starts Python with these arguments, in a session of its own; its output is piped, as text."""
    command = [sys.executable, '-c', _ANEW, sys.executable, *map(str, arguments)]
    pipes: dict[str, Any] = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, 'text': True}
    return subprocess.Popen(command, start_new_session=True, **{**pipes, **options})


@contextlib.contextmanager
def running(*arguments: Any, **options: Any) -> Iterator[subprocess.Popen]:
    """As `python`, and in the end neither it nor what it started is left."""
    process = python(*arguments, **options)
    try:
        yield process
    finally:
        end([psutil.Process(process.pid), *children(process)] if process.poll() is None else [])
        process.communicate()


def children(process: subprocess.Popen) -> Sequence[psutil.Process]:
    """The processes that it has started, and theirs."""
    return psutil.Process(process.pid).children(recursive=True)


def end(processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
