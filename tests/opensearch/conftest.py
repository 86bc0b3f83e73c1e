"""An OpenSearch of this machine, and an Argilla that searches with it instead of with what this package brings."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from beam_argilla.local import LocalServer, serve

HERE = Path(__file__).parent
JARS = HERE.parents[1] / '.engines' / 'opensearch'  # kept from one run to the next
_SECONDS = 90  # until it answers


@pytest.fixture(scope='session')
def opensearch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an empty OpenSearch."""
    if missing := [name for name in ('java', 'mvn') if shutil.which(name) is None]:
        pytest.skip(f'OpenSearch needs Java 17 and Maven: there is no {" and no ".join(missing)}')
    if not JARS.exists():
        copy = ['dependency:copy-dependencies', '-DincludeScope=runtime', f'-DoutputDirectory={JARS}']
        subprocess.run(['mvn', '-q', '-B', '-f', HERE / 'pom.xml', *copy], check=True)
    with socket.create_server(('127.0.0.1', 0)) as free:
        port = free.getsockname()[1]
    url = f'http://127.0.0.1:{port}'
    home = tmp_path_factory.mktemp('opensearch')
    command = ['java', '-Xmx512m', '-cp', f'{JARS}/*', str(HERE / 'SearchNode.java'), str(home), str(port)]
    with open(home / 'log', 'wb') as log, subprocess.Popen(command, stdin=-1, stdout=log, stderr=log) as node:
        try:
            for _ in range(_SECONDS * 10):
                assert node.poll() is None, (home / 'log').read_text()
                try:
                    with urllib.request.urlopen(url, timeout=1):
                        break
                except OSError:
                    time.sleep(0.1)
            yield url
        finally:
            node.kill()


@pytest.fixture(scope='session')
def argilla_server(opensearch: str) -> Iterator[LocalServer]:
    """In place of the one that other tests have."""
    with serve(elasticsearch=opensearch) as server:
        yield server
