"""What the integration tests share."""

from __future__ import annotations

import sys
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from hypothesis import HealthCheck, settings

from beam_argilla.local import LocalServer, serve
from tests import fake_hub

if TYPE_CHECKING:
    import argilla as rg

    import beam_argilla as ba

# The same examples each time, so that a test that fails tells of the change at hand. Others on each run:
# make test TEST_ARGS=--hypothesis-profile=default
# No test fails for being slow where the machine has other things to do.
_SLOW = {'deadline': None, 'suppress_health_check': [HealthCheck.too_slow]}
settings.register_profile('the_same', derandomize=True, database=None, **_SLOW)
settings.load_profile('the_same')

# Workers take the files in this order: the longest first, lest one of them is waited for at the end.
LONGEST = (
    'test_faults',
    'test_parquet_to_argilla',
    'test_for_people',
    'test_page',
    'test_server',
    'test_argilla_to_parquet',
    'test_readme',
    'test_read_from_argilla',
    'test_weeks',
)


# They need Go, Java, PostgreSQL, Google's client or environments of their own, and minutes: make test-runners,
# make test-packages, make test-dataflow.
ELSEWHERE = ('dataflow', 'engines', 'opensearch', 'packages', 'postgresql')


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leaves out the tests that other targets run, where they are not named."""
    is_other = collection_path.name in ELSEWHERE and collection_path.parent == Path(__file__).parent
    return True if is_other and not any(collection_path.name in arg for arg in config.args) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


@pytest.fixture(scope='session')
def argilla_server() -> Iterator[LocalServer]:
    """A real Argilla server in a temporary home, one for the whole session: give datasets names of their own."""
    with serve() as server:
        yield server


@pytest.fixture(autouse=True, scope='module')
def _beam_at_speed() -> None:
    """In the tests that use Beam."""
    if 'apache_beam' in sys.modules:
        from tests import beam_at_speed

        beam_at_speed.speed_up()


# Beam and the SDK take seconds to import, and most tests of the local Argilla need neither.


@pytest.fixture(scope='module')
def connection(argilla_server: LocalServer) -> ba.ArgillaConnection:
    """The way to that server."""
    from apache_beam.utils.secret import RawSecret

    import beam_argilla as ba

    return ba.ArgillaConnection(argilla_server.api_url, api_key=RawSecret(argilla_server.api_key))


@pytest.fixture(scope='module')
def api(argilla_server: LocalServer) -> Iterator[httpx.Client]:
    """The server as it is, without this package or the SDK in between."""
    headers = {'X-Argilla-Api-Key': argilla_server.api_key}
    with httpx.Client(base_url=f'{argilla_server.api_url}/api/v1', headers=headers, timeout=60) as client:
        yield client


@pytest.fixture(scope='module')
def sdk(argilla_server: LocalServer) -> rg.Argilla:
    """The SDK's client of it."""
    import argilla as rg

    return rg.Argilla(api_url=argilla_server.api_url, api_key=argilla_server.api_key)


@pytest.fixture(scope='session')
def hub_server() -> Iterator[fake_hub.Hub]:
    with fake_hub.serve() as hub:
        yield hub


@pytest.fixture
def waits(monkeypatch) -> list[float]:
    """How long huggingface_hub would have waited between its tries: it does not."""
    import huggingface_hub.utils._http

    waits: list[float] = []
    clock = types.SimpleNamespace(**{**vars(time), 'sleep': waits.append})
    monkeypatch.setattr(huggingface_hub.utils._http, 'time', clock)
    return waits


@pytest.fixture
def hub(hub_server, waits, monkeypatch, tmp_path) -> fake_hub.Hub:
    """A Hugging Face Hub of this machine, without datasets and faults, to one who has no token."""
    import huggingface_hub.constants

    hub_server.datasets.clear()
    hub_server.faults.clear()
    hub_server.asked.clear()
    monkeypatch.setenv('HF_ENDPOINT', hub_server.url)
    monkeypatch.delenv('HF_TOKEN', raising=False)
    monkeypatch.setattr(huggingface_hub.constants, 'HF_TOKEN_PATH', str(tmp_path / 'no token'))
    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_DOWNLOAD_TIMEOUT', 1)  # seconds
    return hub_server
