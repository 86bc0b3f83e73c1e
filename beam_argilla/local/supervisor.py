"""Starts, watches and ends the processes of a local Argilla: the server, and the Redis it needs.

    the caller of serve()
    ├── python (argilla-server: API, web UI, and the background jobs in a thread, see `server`)
    ├── redis-server (the queue of the background jobs)
    └── sh (ends Redis if the caller is killed)

Nothing outlives the caller, whatever ends it: the children hold the reading end of a pipe that only the caller can
write to, so they read its end as soon as the caller is gone. (Linux could kill them by itself, with PR_SET_PDEATHSIG,
but it does so already when the *thread* that started them ends, and macOS cannot do it at all.)
"""

import http.client
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from beam_argilla.local.errors import LocalServerError
from beam_argilla.local.home import Credentials, Home, check_database, check_exposure, home_at
from beam_argilla.local.requirements import check_database_url, check_requirements, redis_server
from beam_argilla.local.troubles import troubles_told

CONFIG_VARIABLE = 'BEAM_ARGILLA_LOCAL_CONFIG'
ERROR_FILE = 'error.txt'
TOLD_FILE = 'told.txt'
HOME_LINK = 'home'

STOP_SECONDS = 6.0
POLL_SECONDS = 0.05
LOG_TAIL_BYTES = 4000
# The path of a unix socket fits into 104 bytes (macOS), 108 (Linux).
SOCKET_PATH_LIMIT = 100

_LOGGER = logging.getLogger(__name__)

# Run in the server process, which takes this package from where the caller has it, and nothing else from there.
BOOTSTRAP = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location('beam_argilla', {init!r})
sys.modules['beam_argilla'] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules['beam_argilla'])
from beam_argilla.local.server import main
main()
"""


class LocalServer:
    """A running Argilla. Made by `serve`.

    Attributes:
      home: The directory with the database and the log.
      host: The address it is bound to.
      port: The port it listens on.
      api_url: Where it answers, such as ``'http://127.0.0.1:6900'``: the API, and the web UI.
      username: The owner's name in the web UI.
      password: The owner's password in the web UI.
      api_key: The owner's API key.
    """

    def __init__(self, home: Home, host: str, port: int, credentials: Credentials) -> None:
        self.home = home.path
        self.host = host
        self.port = port
        self.api_url = url_of(host, port)
        self.username = credentials.username
        self.password = credentials.password
        self.api_key = credentials.api_key
        self._home = home
        self._auth_secret_key = credentials.auth_secret_key
        self._search = {'ARGILLA_SEARCH_ENGINE': 'sqlite'}
        self._database_url: str | None = None
        self._workers = 1
        self._stock = False
        self._runtime = Path()
        self._temporary: list[Path] = []
        self._lock = -1
        self._caller_gone = -1
        self._redis: subprocess.Popen[bytes] | None = None
        self._redis_guard: subprocess.Popen[bytes] | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    def __repr__(self) -> str:
        return f'LocalServer(api_url={self.api_url!r}, home={str(self.home)!r})'

    @property
    def log(self) -> Path:
        """The file that the server's log goes to."""
        return self._home.log

    @property
    def pid(self) -> int | None:
        """The process id of the server; None while it does not run."""
        return self._server.pid if self._server is not None and self._server.poll() is None else None

    def kill(self) -> None:
        """Ends the server at once, with SIGKILL, as a crash would. What was committed is in the home; see `restart`."""
        if self._server is not None:
            with suppress(ProcessLookupError):  # It has ended by itself.
                os.killpg(self._server.pid, signal.SIGKILL)
            self._server.wait()
            self._server = None

    def restart(self, timeout: float = 60.0) -> None:
        """Starts the server again, on the same home and port; one that still runs is stopped first, in order.

        Args:
          timeout: Seconds that the server may take until it answers.

        Raises:
          LocalServerError: The port was taken in the meantime, or the server does not come up.
        """
        self._stop_server()
        with bind(self.host, self.port) as listener:
            self._start_server(listener)
        self._wait_until_ready(timeout)

    def check(self) -> None:
        """Makes sure that nothing has ended by itself.

        Raises:
          LocalServerError: A process has; the message holds the end of the log.
        """
        for name, process in (('Redis', self._redis), ('The Argilla server', self._server)):
            if process is not None and process.poll() is not None:
                raise self._death(name, process.returncode)

    def _start_redis(self) -> None:
        # No TCP port: only this user's processes can talk to it. Nothing on disk: its jobs last for moments.
        options = {
            'port': '0',
            'unixsocket': str(self._runtime / 'redis.sock'),
            'unixsocketperm': '700',
            'dir': str(self._runtime),
            'save': '',
            'appendonly': 'no',
            'databases': '1',
            'loglevel': 'warning',
        }
        command = [redis_server()]
        for name, value in options.items():
            command += [f'--{name}', value]
        try:
            self._redis = self._spawn(command)
        except OSError as error:
            raise LocalServerError(f'Redis cannot be started: {error}. Is it a Redis for this machine?') from None
        # Redis cannot watch a pipe, so a shell does it for it.
        self._redis_guard = subprocess.Popen(
            ['/bin/sh', '-c', 'read -r _; kill "$1"', 'sh', str(self._redis.pid)],
            stdin=self._caller_gone,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _start_server(self, listener: socket.socket) -> None:
        config = {
            'database': str(self._home.database),
            'runtime': str(self._runtime),
            'temporary': [str(path) for path in self._temporary],
            'listener': listener.fileno(),
            'caller_gone': self._caller_gone,
            'username': self.username,
            'password': self.password,
            'api_key': self.api_key,
            'database_url': self._database_url,
            'workers': self._workers,
            'stock': self._stock,
        }
        # By way of a link: a "?" in a path would end it in a URL, and a "%" upsets Alembic.
        file = f'sqlite+aiosqlite:///{HOME_LINK}/{self._home.database.name}?check_same_thread=False'
        # Settings of another Argilla, such as its address or its database, must not reach this one.
        environment = {name: value for name, value in os.environ.items() if not name.startswith('ARGILLA_')}
        environment |= {
            # Not on the command line, which everybody on the machine can read.
            CONFIG_VARIABLE: json.dumps(config),
            'ARGILLA_AUTH_SECRET_KEY': self._auth_secret_key,
            'ARGILLA_DATABASE_URL': self._database_url or file,
            'ARGILLA_HOME_PATH': str(self.home),
            'ARGILLA_REDIS_URL': f'unix://{self._runtime / "redis.sock"}',
            **self._search,
            'HF_HUB_DISABLE_TELEMETRY': '1',
            'HF_HUB_OFFLINE': '1',
            # argilla-server copies its web UI to a temporary directory and never removes it.
            'TMPDIR': str(self._runtime),
        }
        with suppress(FileNotFoundError):
            self._log_start = self.log.stat().st_size
        for name in (ERROR_FILE, TOLD_FILE):
            (self._runtime / name).unlink(missing_ok=True)
        init = str(Path(__file__).resolve().parents[1] / '__init__.py')
        self._server = self._spawn(
            [sys.executable, '-c', BOOTSTRAP.format(init=init)],
            env=environment,
            pass_fds=(listener.fileno(), self._caller_gone, self._lock),
        )

    def _spawn(
        self, command: list[str], env: dict[str, str] | None = None, pass_fds: tuple[int, ...] = ()
    ) -> subprocess.Popen[bytes]:
        with open(self.log, 'ab') as log:
            return subprocess.Popen(
                command,
                env=env,
                pass_fds=pass_fds,
                cwd=self._runtime,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C goes to the whole group of a terminal's foreground process, but ending the children in order is
                # up to the caller.
                start_new_session=True,
            )

    def _wait_until_ready(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        told = 0
        answers = False
        while not answers:
            self.check()
            answers = self._answers()
            lines = self._told()
            for line in lines[told:]:
                _LOGGER.warning('%s was used by another version: %s', self.home, line)
            told = len(lines)
            # What grew for weeks may need minutes to be brought up to date, and a process that dies is seen above.
            if not answers and not told and time.monotonic() > deadline:
                raise LocalServerError(
                    f'The Argilla server does not answer at {self.api_url} after {timeout:g} s. '
                    f'The end of {self.log}:\n{self._log_tail()}',
                    exit_status=1,
                )
            time.sleep(POLL_SECONDS)

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection(reachable_host(self.host), self.port, timeout=5)
        try:
            connection.request('GET', '/api/v1/me', headers={'X-Argilla-Api-Key': self.api_key})
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _told(self) -> list[str]:
        """What a server that does not answer yet says that takes so long, a line each."""
        try:
            return (self._runtime / TOLD_FILE).read_text(encoding='utf-8').splitlines()
        except FileNotFoundError:
            return []

    def _death(self, name: str, status: int) -> LocalServerError:
        with suppress(FileNotFoundError):
            return LocalServerError((self._runtime / ERROR_FILE).read_text(encoding='utf-8'))
        return LocalServerError(
            f'{name} has ended unexpectedly (status {status}). The end of {self.log}:\n{self._log_tail()}',
            exit_status=1,
        )

    def _log_tail(self) -> str:
        try:
            with open(self.log, 'rb') as log:
                end = log.seek(0, os.SEEK_END)
                log.seek(max(self._log_start, end - LOG_TAIL_BYTES))
                return log.read().decode(errors='replace')
        except OSError:
            return ''

    def _stop_server(self) -> None:
        stop(self._server)
        self._server = None

    def _stop(self) -> None:
        self._stop_server()
        # The guard first: it knows Redis by its process id alone, which could be another's once Redis has ended.
        if self._redis_guard is not None:
            self._redis_guard.kill()
            self._redis_guard.wait()
        stop(self._redis)
        self._redis = self._redis_guard = None


@contextmanager
def serve(
    home: str | os.PathLike[str] | None = None,
    port: int = 0,
    *,
    host: str = '127.0.0.1',
    username: str | None = None,
    password: str | None = None,
    api_key: str | None = None,
    database_url: str | None = None,
    workers: int = 1,
    elasticsearch: str | None = None,
    stock: bool = False,
    timeout: float = 60.0,
) -> Iterator[LocalServer]:
    """Runs an Argilla server with its web UI while the context is open.

    Args:
      home: The directory of the database and the log, made if need be; everything in it is found again by the next
        start. None is a temporary directory, removed at the end.
      port: The TCP port; 0 is any free one.
      host: The address to bind to. One that other machines reach needs a password and an API key that are not the
        well-known defaults.
      username: The owner's name. None is the one that `home` was made with, or ``'argilla'`` in a new one. A name that
        `home` does not know is added as another owner, and needs an `api_key`.
      password: The owner's password, at least 8 characters. None keeps the one that `home` has; ``'12345678'`` in a
        new one. Another one than `home` has replaces it.
      api_key: The owner's API key. None keeps the one that `home` has; ``'argilla.apikey'`` in a new one. Another one
        than `home` has replaces it.
      database_url: A PostgreSQL that holds the data instead of a file in the home, such as
        ``'postgresql+asyncpg://user:password@host/database'``. Needs `elasticsearch`, for what searches otherwise works
        on that file, and ``pip install "beam-argilla[local,postgresql]"``.
      workers: How many processes answer. More than one need a `database_url`: a file has one writer at a time.
      elasticsearch: The URL of an Elasticsearch 8 or an OpenSearch 2 that searches, as in a deployment of Argilla,
        instead of what this package brings. It must know all records that the home has: use a new home, or run
        ``argilla_server search-engine reindex``.
      stock: Whether to leave argilla-server's own ways of writing and reading records, which are several times slower,
        in place of this package's: to compare, or where you suspect these.
      timeout: Seconds that the server may take until it answers. What a home of another version needs once, to be
        brought up to date, is told by a warning to the log ``beam_argilla.local.supervisor``, and may take longer.

    Yields:
      The server. It answers already, and the owner has the workspace ``'default'``.

    Raises:
      LocalServerError: The server cannot start. The message says what to do.
    """
    check_requirements()
    check_database_url(database_url, workers, elasticsearch)
    search = {} if elasticsearch is None else searched_by(elasticsearch)
    with ExitStack() as stack:
        temporary: list[Path] = []
        if home is None:
            home = stack.enter_context(temporary_directory())
            temporary.append(home)
        place = home_at(home)
        with troubles_told(place.database):
            place.prepare()
            with bind(host, port) as listener:
                actual_port = listener.getsockname()[1]
                lock = stack.enter_context(place.locked(url_of(host, actual_port)))
                check_database(place.database)
                if database_url is not None and place.database.exists():
                    raise LocalServerError(
                        f'{place.database} has data, which nobody would see, nor back up, beside a PostgreSQL. Give '
                        'another --home, or move that file away.'
                    )
                credentials = place.credentials(username, password, api_key)
                check_exposure(host, credentials)
                place.keep(credentials)
                server = LocalServer(place, host, actual_port, credentials)
                server._lock = lock
                server._search |= search
                server._database_url = database_url
                server._workers = workers
                server._stock = stock
                server._runtime = stack.enter_context(temporary_directory())
                server._temporary = [*temporary, server._runtime]
                (server._runtime / HOME_LINK).symlink_to(place.path, target_is_directory=True)
                server._caller_gone = stack.enter_context(pipe_of_life())
                stack.callback(server._stop)
                server._start_redis()
                server._start_server(listener)
            server._wait_until_ready(timeout)
        yield server


def searched_by(url: str) -> dict[str, str]:
    """The settings of argilla-server for the Elasticsearch or OpenSearch at a URL.

    Raises:
      LocalServerError: None of these answers there.
    """
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            version = json.load(answer)['version']
    except (OSError, ValueError, KeyError, TypeError, http.client.HTTPException) as error:
        raise LocalServerError(f'There is no Elasticsearch or OpenSearch at {url}: {error}.') from None
    engine = 'opensearch' if version.get('distribution') == 'opensearch' else 'elasticsearch'
    return {'ARGILLA_SEARCH_ENGINE': engine, 'ARGILLA_ELASTICSEARCH': url}


def bind(host: str, port: int) -> socket.socket:
    """Reserves an address. Nobody is answered before the server listens on it.

    Raises:
      LocalServerError: The port is taken, or the address is not one of this machine.
    """
    # The resolver would take 70000 for 4464.
    if port not in range(2**16):
        raise LocalServerError(f'{host}:{port} is no address: ports are numbers from 0 to 65535.')
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        raise LocalServerError(f'{host}:{port} is no address: {error}.') from None
    listener = socket.socket(family, kind)
    try:
        # After a restart, old connections may still hold the port in TIME_WAIT.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise LocalServerError(
            f'Cannot listen on {host}:{port}: {error.strerror}. Is something else running there? '
            'Give another --port (0 is any free one) or --host.'
        ) from None
    return listener


def reachable_host(host: str) -> str:
    """The address to talk to for one to bind to: a wildcard such as ``0.0.0.0`` is no place to connect to."""
    return {'': '127.0.0.1', '0.0.0.0': '127.0.0.1', '::': '::1'}.get(host, host)


def url_of(host: str, port: int) -> str:
    """The URL of a server that is bound to this address."""
    name = reachable_host(host)
    return f'http://[{name}]:{port}' if ':' in name else f'http://{name}:{port}'


@contextmanager
def temporary_directory() -> Iterator[Path]:
    """A private directory, removed at the end, with a path short enough for a unix socket in it."""
    path = Path(tempfile.mkdtemp(prefix='beam-argilla-'))
    if len(os.fsencode(path / 'redis.sock')) > SOCKET_PATH_LIMIT:
        path.rmdir()
        path = Path(tempfile.mkdtemp(prefix='beam-argilla-', dir='/tmp'))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def pipe_of_life() -> Iterator[int]:
    """A descriptor that reads as ended once the context is left, or this process is gone."""
    reading, writing = os.pipe()
    try:
        yield reading
    finally:
        os.close(reading)
        os.close(writing)


def stop(process: 'subprocess.Popen[bytes] | None') -> None:
    """Ends a process, in order if it does so in time."""
    if process is None:
        return
    if process.poll() is not None:
        return
    # It, and the processes that it has made: each was started as the leader of a group.
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
