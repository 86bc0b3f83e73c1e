"""Flink and Spark on this machine: job servers, a cluster of processes, and workers for it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.engines import installed
from tests.processes import end

_SECONDS = 180  # until an engine answers, at most


@dataclass
class Server:
    """A process of an engine, and what it said."""

    process: subprocess.Popen
    log: Path

    @property
    def runs(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        """Ends it, and the workers that it has started, as a crash would: without a word to anybody."""
        with contextlib.suppress(psutil.NoSuchProcess):
            of_it = psutil.Process(self.process.pid)
            end([of_it, *of_it.children(recursive=True)])
        self.process.wait()


@dataclass
class Cluster:
    """A Flink cluster: a job manager, task managers, a job server and a pool of Python workers, each a process.

    Attributes:
        folder: its configuration, logs and checkpoints.
        rest: the port of the job manager's REST API.
        jobs: the port of the job server.
        workers: the port of the pool.
    """

    folder: Path
    rest: int
    jobs: int
    workers: int
    pool: Server
    job_manager: Server
    job_server: Server | None = None
    task_managers: list[Server] = field(default_factory=list)

    @property
    def options(self) -> tuple[str, ...]:
        """Beam's, for a job to run here."""
        return (
            '--runner=FlinkRunner',
            f'--flink_master=localhost:{self.rest}',
            f'--job_endpoint=localhost:{self.jobs}',
            '--environment_type=EXTERNAL',
            f'--environment_config=localhost:{self.workers}',
            '--parallelism=2',
        )

    @property
    def python_workers(self) -> list[psutil.Process]:
        return psutil.Process(self.pool.process.pid).children()

    def ask(self, path: str) -> Any:
        """What the job manager answers."""
        with urllib.request.urlopen(f'http://localhost:{self.rest}/{path}', timeout=10) as answer:
            return json.load(answer)

    def busy_task_managers(self) -> list[psutil.Process]:
        """Those of which slots are taken."""
        managers = self.ask('taskmanagers')['taskmanagers']
        busy = [manager['id'] for manager in managers if manager['freeSlots'] < manager['slotsNumber']]
        ports = {int(id.split(':')[1].split('-')[0]) for id in busy}
        at_work = {c.pid for c in psutil.net_connections('tcp') if c.laddr.port in ports}
        pids = [server.process.pid for server in self.task_managers if server.runs]
        return [psutil.Process(pid) for pid in pids if pid in at_work]

    def complete(self, task_managers: int = 2) -> None:
        """Starts what is not there, or not any more."""
        self.task_managers = [server for server in self.task_managers if server.runs]
        for _ in range(task_managers - len(self.task_managers)):
            self.task_managers.append(_flink(self.folder, _TASK_MANAGER, 640))
        _until(lambda: self.ask('overview')['taskmanagers'] == task_managers, [self.job_manager, *self.task_managers])
        if self.job_server is None or not self.job_server.runs:
            self.job_server = _flink_job_server(self.folder, f'localhost:{self.rest}', self.jobs)

    def cancel_jobs(self) -> None:
        """Ends what still runs, such as a job whose job server was killed."""
        for job in self._unfinished():
            request = urllib.request.Request(f'http://localhost:{self.rest}/jobs/{job}', method='PATCH')
            with contextlib.suppress(OSError), urllib.request.urlopen(request, timeout=10):  # it may just have ended
                pass
        _until(lambda: not self._unfinished(), [self.job_manager])

    def _unfinished(self) -> list[str]:
        jobs = self.ask('jobs/overview')['jobs']
        return [job['jid'] for job in jobs if job['state'] not in ('FINISHED', 'CANCELED', 'FAILED')]

    def kill(self) -> None:
        for server in (self.job_server, *self.task_managers, self.job_manager, self.pool):
            if server is not None:
                server.kill()


_JOB_MANAGER = 'org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint'
_TASK_MANAGER = 'org.apache.flink.runtime.taskexecutor.TaskManagerRunner'


def flink_conf(folder: Path, more: Mapping[str, object] | None = None) -> Path:
    """The folder, with a configuration of Flink in it: all on the loopback interface, and what fails is tried again."""
    conf = {
        'jobmanager.bind-host': '127.0.0.1',
        'taskmanager.bind-host': '127.0.0.1',
        'rest.bind-address': '127.0.0.1',
        'restart-strategy.type': 'fixed-delay',
        'restart-strategy.fixed-delay.attempts': 1,
        'restart-strategy.fixed-delay.delay': '200 ms',
        **(more or {}),
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'flink-conf.yaml').write_text(''.join(f'{name}: {value}\n' for name, value in conf.items()))
    return folder


@contextlib.contextmanager
def embedded_flink(folder: Path) -> Iterator[int]:
    """The port of a job server with Flink embedded in it."""
    port = _free_port()
    server = _flink_job_server(flink_conf(folder), '[local]', port)
    try:
        yield port
    finally:
        server.kill()


@contextlib.contextmanager
def embedded_spark(folder: Path) -> Iterator[int]:
    """The port of a job server with Spark embedded in it; what fails there is tried again."""
    port = _free_port()
    jar = installed.program('spark', 'org.apache.beam.runners.spark.SparkJobServerDriver')
    server = _job_server(jar, folder, port, '--spark-master-url=local[2,4]')
    try:
        yield port
    finally:
        server.kill()


@contextlib.contextmanager
def flink_cluster(folder: Path, environment: Mapping[str, str], tries_again: int = 1) -> Iterator[Cluster]:
    """A Flink cluster of processes: two task managers, each of two slots, and with Flink's own network buffers.

    Args:
        environment: of the Python workers.
        tries_again: how often, at most, what fails.
    """
    rpc, rest, blobs, jobs, workers = (_free_port() for _ in range(5))
    (folder / 'tmp').mkdir(parents=True)
    conf = {
        'jobmanager.rpc.address': '127.0.0.1',
        'jobmanager.rpc.port': rpc,
        'blob.server.port': blobs,
        'rest.address': '127.0.0.1',
        'rest.port': rest,
        'taskmanager.numberOfTaskSlots': 2,
        # What Flink's own start scripts work out; its processes do not.
        'taskmanager.cpu.cores': 1,
        'taskmanager.memory.framework.heap.size': '128m',
        'taskmanager.memory.framework.off-heap.size': '128m',
        'taskmanager.memory.task.heap.size': '384m',
        'taskmanager.memory.task.off-heap.size': '64m',
        'taskmanager.memory.network.min': '128m',
        'taskmanager.memory.network.max': '128m',
        'taskmanager.memory.managed.size': '128m',
        'taskmanager.memory.jvm-metaspace.size': '256m',
        'taskmanager.memory.jvm-overhead.min': '128m',
        'taskmanager.memory.jvm-overhead.max': '128m',
        'restart-strategy.fixed-delay.attempts': tries_again,
        # What is gone is noticed soon, by heartbeats that find nobody; what is slow is not taken for gone.
        'heartbeat.interval': 1000,
        'heartbeat.timeout': 60_000,
        'cluster.registration.initial-timeout': 200,
        'cluster.registration.error-delay': 200,
        'io.tmp.dirs': folder / 'tmp',
        'state.checkpoints.dir': (folder / 'checkpoints').as_uri(),
        'state.savepoints.dir': (folder / 'savepoints').as_uri(),
    }
    flink_conf(folder, conf)
    python = {'PATH': f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'}
    pool_main = ['-m', 'apache_beam.runners.worker.worker_pool_main', f'--service_port={workers}']
    pool = _start(folder, {**environment, **python}, sys.executable, *pool_main)
    cluster = Cluster(folder, rest, jobs, workers, pool, _flink(folder, _JOB_MANAGER, 512))
    try:
        _until(lambda: bool(cluster.ask('overview')), [cluster.job_manager])
        cluster.complete()
        _until(lambda: _listens(workers), [pool])
        yield cluster
    finally:
        cluster.kill()


def _flink(folder: Path, main: str, megabytes: int) -> Server:
    """A process of a Flink cluster."""
    command = [*java(megabytes), '-jar', installed.program('flink', main), '--configDir', folder]
    return _start(folder, {'FLINK_CONF_DIR': str(folder)}, *command)


def _flink_job_server(folder: Path, master: str, port: int) -> Server:
    jar = installed.program('flink', 'org.apache.beam.runners.flink.FlinkJobServerDriver')
    return _job_server(jar, folder, port, f'--flink-master={master}', f'--flink-conf-dir={folder}')


def _job_server(jar: Path, folder: Path, port: int, *arguments: str) -> Server:
    ports = ['--job-host=localhost', f'--job-port={port}', '--artifact-port=0', '--expansion-port=0']
    command = [*java(1000), '-jar', jar, *ports, f'--artifacts-dir={folder / "artifacts"}', *arguments]
    server = _start(folder, {}, *command)
    _until(lambda: _listens(port), [server])
    return server


def java(megabytes: int) -> list[object]:
    """How Java is started here, with that much heap."""
    # A small machine, and short lives: what compiles longest pays off last.
    lives = ['-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC']
    return ['java', f'-Xmx{megabytes}m', *lives, '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn']


def _start(folder: Path, environment: Mapping[str, str], *command: object) -> Server:
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f'{len(list(folder.glob("*.log")))}.log'
    with open(log, 'wb') as out:
        process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env={**os.environ, **environment},
            cwd=installed.ROOT,
        )
    return Server(process, log)


def _free_port() -> int:
    with socket.create_server(('127.0.0.1', 0)) as free:
        return free.getsockname()[1]


def _listens(port: int) -> bool:
    with socket.create_connection(('localhost', port), timeout=1):
        return True


def _until(answers: Callable[[], bool], servers: Sequence[Server]) -> None:
    """Waits for servers.

    Raises:
        AssertionError: one of them has ended, or none answers.
    """
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        for server in servers:
            assert server.runs, server.log.read_text()
        with contextlib.suppress(OSError):
            if answers():
                return
        time.sleep(0.1)
    raise AssertionError(''.join(server.log.read_text() for server in servers))
