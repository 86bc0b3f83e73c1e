"""Flink and Spark on this machine: job servers, a cluster of processes, and workers for it."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.engines import installed
from tests.processes import end

_SECONDS = 60  # until an engine answers


@dataclass
class Server:
    """A process of an engine.

    Attributes:
        port: where it is asked for jobs; 0 if it is not.
    """

    process: subprocess.Popen
    log: Path
    port: int = 0

    def kill(self) -> None:
        """Ends it, and the workers that it has started, as a crash would: without a word to anybody."""
        with contextlib.suppress(psutil.NoSuchProcess):
            of_it = psutil.Process(self.process.pid)
            end([of_it, *of_it.children(recursive=True)])
        self.process.wait()


@dataclass
class Cluster:
    """A Flink cluster: a job manager, task managers and a pool of Python workers, each a process of its own.

    Attributes:
        folder: its configuration, logs and checkpoints.
        rest: the port of the job manager's REST API.
        workers: the port of the pool.
    """

    folder: Path
    rest: int
    workers: int
    pool: Server
    managers: list[Server] = field(default_factory=list)

    def add_task_manager(self) -> None:
        self.managers.append(_start(self.folder, self._environment, *self._java(_TASK_MANAGER, 640)))

    def add_job_manager(self) -> Server:
        return _start(self.folder, self._environment, *self._java(_JOB_MANAGER, 512))

    @property
    def _environment(self) -> dict[str, str]:
        return {'FLINK_CONF_DIR': str(self.folder)}

    def _java(self, main: str, megabytes: int) -> list[object]:
        return [*_java(megabytes), '-jar', installed.program('flink', main), '--configDir', self.folder]

    def python_workers(self) -> list[psutil.Process]:
        return psutil.Process(self.pool.process.pid).children()

    def ask(self, path: str) -> bytes:
        with urllib.request.urlopen(f'http://localhost:{self.rest}/{path}', timeout=10) as answer:
            return answer.read()


_JOB_MANAGER = 'org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint'
_TASK_MANAGER = 'org.apache.flink.runtime.taskexecutor.TaskManagerRunner'


def flink_conf(folder: Path, more: Mapping[str, object] | None = None) -> Path:
    """The folder, with a configuration of Flink in it: all on the loopback interface, and what fails is tried again."""
    conf = {
        'jobmanager.bind-host': '127.0.0.1',
        'taskmanager.bind-host': '127.0.0.1',
        'rest.bind-address': '127.0.0.1',
        'restart-strategy.type': 'fixed-delay',
        'restart-strategy.fixed-delay.attempts': 5,
        'restart-strategy.fixed-delay.delay': '200 ms',
        **(more or {}),
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'flink-conf.yaml').write_text(''.join(f'{name}: {value}\n' for name, value in conf.items()))
    return folder


@contextlib.contextmanager
def flink_job_server(folder: Path, master: str = '[local]') -> Iterator[Server]:
    """A job server for Flink, embedded in it or elsewhere."""
    flink_conf(folder)
    jar = installed.program('flink', 'org.apache.beam.runners.flink.FlinkJobServerDriver')
    with _job_server(jar, folder, f'--flink-master={master}', f'--flink-conf-dir={folder}') as server:
        yield server


@contextlib.contextmanager
def spark_job_server(folder: Path) -> Iterator[Server]:
    """A job server with Spark embedded in it; what fails there is tried again."""
    folder.mkdir()
    jar = installed.program('spark', 'org.apache.beam.runners.spark.SparkJobServerDriver')
    with _job_server(jar, folder, '--spark-master-url=local[2,4]') as server:
        yield server


@contextlib.contextmanager
def flink_cluster(folder: Path, task_managers: int = 2, more: Mapping[str, object] | None = None) -> Iterator[Cluster]:
    """A Flink cluster of separate processes, each task manager with two slots and little memory."""
    rpc, rest, blobs = (_free_port() for _ in range(3))
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
        'cluster.registration.initial-timeout': 200,
        'cluster.registration.error-delay': 200,
        'heartbeat.interval': 1000,
        'heartbeat.timeout': 6000,
        'io.tmp.dirs': folder / 'tmp',
        **(more or {}),
    }
    flink_conf(folder, conf)
    port = _free_port()
    pool_main = ['-m', 'apache_beam.runners.worker.worker_pool_main', f'--service_port={port}']
    python = {'PATH': f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'}
    with contextlib.ExitStack() as left:
        pool = _start(folder, python, sys.executable, *pool_main)
        left.callback(pool.kill)
        cluster = Cluster(folder, rest, port, pool)
        left.callback(lambda: [server.kill() for server in cluster.managers])
        cluster.managers.append(cluster.add_job_manager())
        _until(lambda: bool(cluster.ask('overview')), cluster.managers)
        for _ in range(task_managers):
            cluster.add_task_manager()
        _until(lambda: b'"taskmanagers":%d' % task_managers in cluster.ask('overview'), cluster.managers)
        _until(lambda: _listens(port), [pool])
        yield cluster


@contextlib.contextmanager
def _job_server(jar: Path, folder: Path, *arguments: str) -> Iterator[Server]:
    port = _free_port()
    ports = ['--job-host=localhost', f'--job-port={port}', '--artifact-port=0', '--expansion-port=0']
    command = [*_java(1000), '-jar', jar, *ports, f'--artifacts-dir={folder / "artifacts"}', *arguments]
    server = _start(folder, {}, *command)
    server.port = port
    try:
        _until(lambda: _listens(port), [server])
        yield server
    finally:
        server.kill()


def _java(megabytes: int) -> list[object]:
    # A small machine, and short lives: what compiles longest pays off last.
    lives = ['-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC']
    return ['java', f'-Xmx{megabytes}m', *lives, '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn']


def _start(folder: Path, environment: dict[str, str], *command: object) -> Server:
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
            assert server.process.poll() is None, server.log.read_text()
        with contextlib.suppress(OSError):
            if answers():
                return
        time.sleep(0.1)
    raise AssertionError(''.join(server.log.read_text() for server in servers))
