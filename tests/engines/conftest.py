"""The engines that tests run on, one after the other."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from beam_argilla.local import LocalServer
from tests.engines import installed, servers
from tests.engines.servers import Cluster


@dataclass(frozen=True)
class Engine:
    """An engine that takes jobs.

    Attributes:
        options: Beam's options, for a job to run on it.
        streams: it runs pipelines that read on and on. (Beam's Python on Spark does not, and FnApiRunner, which
            multi-processing and DirectRunner without Prism come to, loses what PeriodicImpulse emits.)
        remote: its workers are started by somebody else, as on any cluster.
    """

    options: tuple[str, ...]
    streams: bool = True
    remote: bool = False


@pytest.fixture(scope='session')
def cluster_to_break(tmp_path_factory: pytest.TempPathFactory, argilla_server: LocalServer) -> Iterator[Cluster]:
    """A Flink cluster on which a part that is killed may cost several tries, until its slots are known to be gone."""
    with contextlib.ExitStack() as tidying:
        with _needed('A Flink cluster'):
            folder = tmp_path_factory.mktemp('flink') / 'home'
            cluster = tidying.enter_context(servers.flink_cluster(folder, _key_of(argilla_server), tries_again=5))
        yield cluster


@pytest.fixture
def cluster(cluster_to_break: Cluster) -> Iterator[Cluster]:
    """The cluster, of which parts may be killed: it is whole again in the end, and nothing runs on it."""
    yield cluster_to_break
    cluster_to_break.complete()
    cluster_to_break.cancel_jobs()


def _key_of(server: LocalServer) -> dict[str, str]:
    """As the environment of a cluster's Python workers holds it."""
    return {'ARGILLA_API_KEY': server.api_key}


@contextlib.contextmanager
def _needed(what: str) -> Iterator[None]:
    """Leaves out the tests of what cannot be installed here."""
    try:
        yield
    except installed.MissingError as e:
        pytest.skip(f'{what} cannot be run here: {e}')


Start = Callable[[pytest.FixtureRequest, Path, contextlib.ExitStack], Engine]


def _prism(request: pytest.FixtureRequest, folder: Path, tidying: contextlib.ExitStack) -> Engine:
    return Engine(('--runner=PrismRunner', f'--prism_location={installed.prism()}'))


def _direct_on_prism(request: pytest.FixtureRequest, folder: Path, tidying: contextlib.ExitStack) -> Engine:
    return Engine(('--runner=DirectRunner', f'--prism_location={installed.prism()}'))


def _direct(request: pytest.FixtureRequest, folder: Path, tidying: contextlib.ExitStack) -> Engine:
    return Engine(('--runner=DirectRunner', '--prism_location=none'), streams=False)  # which it makes do without


def _processes(request: pytest.FixtureRequest, folder: Path, tidying: contextlib.ExitStack) -> Engine:
    several = ('--direct_running_mode=multi_processing', '--direct_num_workers=2')
    return Engine(('--runner=FnApiRunner', *several), streams=False)


def _flink(request: pytest.FixtureRequest, folder: Path, tidying: contextlib.ExitStack) -> Engine:
    port = tidying.enter_context(servers.embedded_flink(folder))
    return Engine(('--runner=FlinkRunner', f'--job_endpoint=localhost:{port}', '--parallelism=2'))


def _flink_cluster(request: pytest.FixtureRequest, folder: Path, tidying: contextlib.ExitStack) -> Engine:
    key = _key_of(request.getfixturevalue('argilla_server'))
    return Engine(tidying.enter_context(servers.flink_cluster(folder, key)).options, remote=True)


def _spark(request: pytest.FixtureRequest, folder: Path, tidying: contextlib.ExitStack) -> Engine:
    port = tidying.enter_context(servers.embedded_spark(folder))
    return Engine(('--runner=SparkRunner', f'--job_endpoint=localhost:{port}'), streams=False)


STARTS: dict[str, Start] = {
    'Prism': _prism,
    'DirectRunner with Prism': _direct_on_prism,
    'DirectRunner without': _direct,
    'multi-processing': _processes,
    'Flink': _flink,
    'Flink cluster': _flink_cluster,
    'Spark': _spark,
}


# All tests of an engine go to one of pytest's workers, which starts it once.
@pytest.fixture(scope='session', params=[pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in STARTS])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Each engine in turn, for as long as tests of it run."""
    with contextlib.ExitStack() as tidying:
        with _needed(request.param):
            started = STARTS[request.param](request, tmp_path_factory.mktemp('engine') / 'home', tidying)
        yield started


@pytest.fixture(scope='session', autouse=True)
def _workers_import_tests() -> None:
    """Processes of engines find the tests' functions, and the package, where pytest does."""
    os.environ['PYTHONPATH'] = str(installed.ROOT)
