"""The engines that tests run on, one after the other."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.engines import installed, servers
from tests.engines.servers import Cluster, Server


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


@pytest.fixture(scope='session', autouse=True)
def is_alone() -> bool:
    """Whether nothing but the loopback interface is there: job servers listen on all that are, whatever is asked."""
    return set(psutil.net_if_addrs()) == {'lo'}


def _prism(folder: Path, tidying: contextlib.ExitStack) -> Engine:
    return Engine(('--runner=PrismRunner', f'--prism_location={installed.prism()}'))


def _direct_on_prism(folder: Path, tidying: contextlib.ExitStack) -> Engine:
    return Engine(('--runner=DirectRunner', f'--prism_location={installed.prism()}'))


def _direct(folder: Path, tidying: contextlib.ExitStack) -> Engine:
    return Engine(('--runner=DirectRunner', '--prism_location=none'), streams=False)  # which it makes do without


def _processes(folder: Path, tidying: contextlib.ExitStack) -> Engine:
    several = ('--direct_running_mode=multi_processing', '--direct_num_workers=2')
    return Engine(('--runner=FnApiRunner', *several), streams=False)


def _flink(folder: Path, tidying: contextlib.ExitStack) -> Engine:
    server = tidying.enter_context(servers.flink_job_server(folder))
    return Engine(('--runner=FlinkRunner', f'--job_endpoint=localhost:{server.port}', '--parallelism=2'))


def _flink_cluster(folder: Path, tidying: contextlib.ExitStack) -> Engine:
    cluster = tidying.enter_context(servers.flink_cluster(folder / 'cluster'))
    server = tidying.enter_context(servers.flink_job_server(folder / 'job-server', f'localhost:{cluster.rest}'))
    return Engine(on_cluster(cluster, server), remote=True)


def on_cluster(cluster: Cluster, server: Server) -> tuple[str, ...]:
    """Beam's options, for a job to run there."""
    return (
        '--runner=FlinkRunner',
        f'--flink_master=localhost:{cluster.rest}',
        f'--job_endpoint=localhost:{server.port}',
        '--environment_type=EXTERNAL',
        f'--environment_config=localhost:{cluster.workers}',
        '--parallelism=2',
    )


def _spark(folder: Path, tidying: contextlib.ExitStack) -> Engine:
    server = tidying.enter_context(servers.spark_job_server(folder))
    return Engine(('--runner=SparkRunner', f'--job_endpoint=localhost:{server.port}'), streams=False)


STARTED: dict[str, Callable[[Path, contextlib.ExitStack], Engine]] = {
    'Prism': _prism,
    'DirectRunner with Prism': _direct_on_prism,
    'DirectRunner without': _direct,
    'multi-processing': _processes,
    'Flink': _flink,
    'Flink cluster': _flink_cluster,
    'Spark': _spark,
}


@pytest.fixture(scope='session', params=STARTED)
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Each engine in turn, for as long as tests of it run."""
    # Worker processes import the tests' functions from where pytest runs, as they do the package.
    os.environ['PYTHONPATH'] = str(installed.ROOT)
    with contextlib.ExitStack() as tidying:
        try:
            yield STARTED[request.param](tmp_path_factory.mktemp('engine') / 'home', tidying)
        except installed.MissingError as e:
            pytest.skip(f'{request.param} cannot be run here: {e}')
