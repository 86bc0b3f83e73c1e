"""An OpenSearch of this machine, and an Argilla that searches with it instead of with what this package brings."""

from __future__ import annotations

import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from beam_argilla.local import LocalServer, serve
from tests.engines import installed
from tests.engines.servers import java

NODE = Path(__file__).parent / 'SearchNode.java'
_SECONDS = 300  # until it answers


@pytest.fixture(scope='session')
def opensearch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an empty OpenSearch."""
    try:
        jars = installed.jars('opensearch')
    except installed.MissingError as e:
        pytest.skip(f'OpenSearch cannot be run here: {e}')
    with socket.create_server(('127.0.0.1', 0)) as free:
        port = free.getsockname()[1]
    url = f'http://127.0.0.1:{port}'
    home = tmp_path_factory.mktemp('opensearch')
    command = [*map(str, java(512)), '-cp', f'{jars}/*', str(NODE), str(home), str(port)]
    with open(home / 'log', 'wb') as log, subprocess.Popen(command, stdin=-1, stdout=log, stderr=log) as node:
        try:
            for _ in range(_SECONDS * 10):
                assert node.poll() is None, (home / 'log').read_text()
                try:
                    with urllib.request.urlopen(url, timeout=1):
                        break
                except OSError:
                    time.sleep(0.1)
            else:
                pytest.fail(f'OpenSearch does not answer after {_SECONDS} s: {(home / "log").read_text()}')
            yield url
        finally:
            node.kill()


@pytest.fixture(scope='session')
def argilla_server(opensearch: str) -> Iterator[LocalServer]:
    """In place of the one that other tests have."""
    with serve(elasticsearch=opensearch) as server:
        yield server
