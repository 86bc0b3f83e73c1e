"""The demo, as somebody started it and left it running."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx

from tests.processes import running

_ROOT = Path(__file__).parents[1]
_LOG_IN = re.compile(r'Log in at (?P<url>\S+) as \S+ with the password \S+')
_EXPORT = re.compile(r'^\$ (?P<export>ARGILLA_API_KEY=(?P<api_key>\S+) .+)$', re.MULTILINE)
_HERE = {**os.environ, 'PYTHONPATH': str(_ROOT)}


class Demonstration(NamedTuple):
    """What it says.

    Attributes:
        url: of the page.
        api_key: of the owner.
        export: the command that exports what was answered.
        folder: where it was started.
        said: all that it has printed.
    """

    url: str
    api_key: str
    export: str
    folder: Path
    said: str

    def owner(self) -> httpx.Client:
        """The server, to the person who may do everything."""
        return httpx.Client(base_url=f'{self.url}/api/v1', headers={'X-Argilla-Api-Key': self.api_key}, timeout=60)

    def run(self, command: str) -> str:
        """Runs this in a shell where the demo was started, and returns what it prints."""
        shell = ['bash', '-o', 'pipefail', '-ec', command]
        done = subprocess.run(shell, cwd=self.folder, env=_HERE, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, ''), done
        return done.stdout


@contextmanager
def demonstration(folder: Path) -> Iterator[Demonstration]:
    """Starts the demo in an empty folder, and ends it as people do."""
    options = {'cwd': folder, 'env': _HERE, 'stderr': subprocess.STDOUT}
    with running('-m', 'pipelines.demo', '--port', 0, **options) as process:
        said = ''
        for line in process.stdout:
            said += line
            if line.startswith('Serving'):
                break
        log_in, export = _LOG_IN.search(said), _EXPORT.search(said)
        assert log_in and export, said
        yield Demonstration(**log_in.groupdict(), **export.groupdict(), folder=folder, said=said)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
