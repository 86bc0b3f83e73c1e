"""The directory that holds everything of one local Argilla: database, log, credentials, and a lock."""

import fcntl
import ipaddress
import json
import os
import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import BinaryIO

from beam_argilla.local.errors import LocalServerError
from beam_argilla.local.troubles import REMEDY, troubles_told

DEFAULT_USERNAME = 'argilla'
DEFAULT_PASSWORD = '12345678'
DEFAULT_API_KEY = 'argilla.apikey'

# Where argilla-server keeps the number by which it counts in its makers' statistics, which are off here.
SERVER_ID_FILE = 'server_id.dat'

# After a SIGKILL of its supervisor a server needs a moment to notice and let go of the lock.
LOCK_PATIENCE_SECONDS = 5.0


@dataclass(frozen=True)
class Credentials:
    """The owner's log-in, and the key that signs log-in tokens (kept, so that log-ins survive a restart)."""

    username: str
    password: str
    api_key: str
    auth_secret_key: str

    def __repr__(self) -> str:
        return f'Credentials(username={self.username!r}, ...)'


@dataclass(frozen=True)
class Home:
    """A directory, and the names of what lies in it."""

    path: Path

    @property
    def database(self) -> Path:
        return self.path / 'argilla.db'

    @property
    def log(self) -> Path:
        return self.path / 'argilla.log'

    @property
    def _credentials(self) -> Path:
        return self.path / 'credentials.json'

    @property
    def _lock(self) -> Path:
        return self.path / 'argilla.lock'

    @property
    def small_files(self) -> tuple[Path, ...]:
        """What belongs to the data besides the database; not all of it need be there."""
        return self._credentials, self.path / SERVER_ID_FILE

    def before(self, revision: str) -> Path:
        """Where the database is kept as it was before a migration, at this revision."""
        return self.path / f'argilla-{revision}.db'

    @property
    def migrating(self) -> Path:
        """While the database is brought up to date: holds the revision that it had, see `before`; none of a new one."""
        return self.path / 'argilla.migrating'

    def prepare(self) -> None:
        """Creates the directory if need be, and makes sure that it can be written.

        Raises:
          LocalServerError: It is not a directory, or cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise LocalServerError(f'{self.path} is not a directory. Give another --home.') from None
        except OSError as error:
            raise LocalServerError(
                f'{self.path} cannot be used: {error.strerror}. Give another --home, or change its permissions.'
            ) from None
        if not os.access(self.path, os.R_OK | os.W_OK | os.X_OK):
            raise LocalServerError(f'{self.path} is not writable. Give another --home, or change its permissions.')

    def contents(self) -> str:
        """How much is in the database, for people.

        Raises:
          LocalServerError: It is of something else.
        """
        try:
            with closing(sqlite3.connect(self.database.as_uri() + '?mode=ro', uri=True)) as connection:
                check_tables(self.database, connection)
                tables = ('datasets', 'records', 'responses', 'users')
                counts = [connection.execute(f'SELECT count(*) FROM {table}').fetchone()[0] for table in tables]
        except sqlite3.Error:
            return 'without a database that can be read'
        return ', '.join(f'{count:,} {table}' for table, count in zip(tables, counts, strict=True))

    def empty(self) -> None:
        """Removes all that servers have put here, and nothing else that may lie in the directory."""
        kept = [*self.path.glob(self.before('[0-9a-f]' * 12).name), self.database]
        databases = [path for database in kept for path in (coming(database), database)]
        beside = [path for database in databases for path in beside_database(database)]
        small = [path for file in (*self.small_files, self.migrating) for path in (file, coming(file))]
        # The database at last: without it the rest is a new home's.
        for path in (*small, self.log, *beside, *databases):
            path.unlink(missing_ok=True)

    @contextmanager
    def locked(self, url: str) -> Iterator[int]:
        """Keeps every other server off this directory.

        Args:
          url: Where this server will answer, or what else is done here; told to whoever tries to start a second one.

        Yields:
          The descriptor of the lock. A server process inherits it, so that the directory stays locked until the last
          process of a killed tree has gone.

        Raises:
          LocalServerError: Another server runs on this directory.
        """
        descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self._acquire(descriptor)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f'{os.getpid()} {url}'.encode(), 0)
            yield descriptor
        finally:
            os.close(descriptor)

    def served_at(self) -> str | None:
        """The URL of the server that runs on this directory; None without one."""
        try:
            with open(self._lock, encoding='utf-8') as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    what = lock.read().partition(' ')[2]
                    return what if what.startswith('http') else None
        except FileNotFoundError:
            pass
        return None

    def _acquire(self, descriptor: int) -> None:
        deadline = time.monotonic() + LOCK_PATIENCE_SECONDS
        while True:
            try:
                return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pid, _, url = os.pread(descriptor, 1000, 0).decode(errors='replace').partition(' ')
                # Waiting makes sense only for a server whose supervisor is gone already.
                if time.monotonic() > deadline or is_running(pid):
                    raise LocalServerError(
                        f'An Argilla server is running on {self.path} already (pid {pid}, {url}). '
                        'Use that one, stop it first, or give another --home.'
                    ) from None
                time.sleep(0.05)

    def credentials(
        self, username: str | None = None, password: str | None = None, api_key: str | None = None
    ) -> Credentials:
        """What this directory was made with, changed by what is given; to be kept by `keep`.

        A directory that is new gets the defaults for what is not given. One that exists keeps it: starting without
        options must never reset somebody's password to a well-known one.

        Raises:
          LocalServerError: A value that Argilla would not take, or a file that cannot be read.
        """
        stored = self._stored_credentials()
        if stored is not None and username not in (None, stored.username):
            # Another user: the key of the first one cannot be theirs too.
            if api_key is None:
                raise LocalServerError(
                    f'{self.path} was made for the user {stored.username!r}. To add {username!r} give an --api-key '
                    '(and a --password) of their own.'
                )
            stored = replace(stored, password=DEFAULT_PASSWORD)
        if stored is None:
            stored = Credentials(DEFAULT_USERNAME, DEFAULT_PASSWORD, DEFAULT_API_KEY, secrets.token_hex(32))
        given = {'username': username, 'password': password, 'api_key': api_key}
        credentials = replace(stored, **{name: value for name, value in given.items() if value is not None})
        check_credentials(credentials)
        return credentials

    def keep(self, credentials: Credentials) -> None:
        """Stores the log-in for the next start."""
        write_private(self._credentials, json.dumps(asdict(credentials)))

    def _stored_credentials(self) -> Credentials | None:
        try:
            return Credentials(**json.loads(self._credentials.read_text(encoding='utf-8')))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError):
            raise LocalServerError(
                f'{self._credentials} cannot be read. Remove it, and start again with the --password you want.'
            ) from None


def check_credentials(credentials: Credentials) -> None:
    """Refuses what argilla-server or HTTP would refuse later, with a worse message.

    Raises:
      LocalServerError: The message names the value, never its content.
    """
    if not credentials.username.strip():
        raise LocalServerError('The username must not be empty.')
    # 8 is argilla-server's limit, 72 bytes is bcrypt's.
    if len(credentials.password) < 8 or len(credentials.password.encode()) > 72:
        raise LocalServerError('The password must have at least 8 characters, and at most 72 bytes.')
    api_key = credentials.api_key
    if not api_key or not api_key.isascii() or not api_key.isprintable() or ' ' in api_key:
        raise LocalServerError('The API key must be printable ASCII without spaces: it travels in an HTTP header.')


def home_at(path: str | os.PathLike[str]) -> Home:
    """The home in a directory, which may begin with a tilde."""
    return Home(Path(path).expanduser().absolute())


def check_exposure(host: str, credentials: Credentials) -> None:
    """Refuses to let others on the network in by a log-in that everybody knows.

    Raises:
      LocalServerError: The host is another than this machine, and the password or the API key is the default.
    """
    try:
        is_private = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_private = host == 'localhost'
    known = {
        '--password': credentials.password == DEFAULT_PASSWORD,
        '--api-key': credentials.api_key == DEFAULT_API_KEY,
    }
    if not is_private and any(known.values()):
        options = ' and '.join(option for option, is_default in known.items() if is_default)
        raise LocalServerError(
            f'Other machines can reach a server at {host}, and everybody knows the log-in of this home, which is the '
            f'default one. Give {options}.'
        )


def coming(path: Path) -> Path:
    """What is to take the place of a file, once it is there as a whole."""
    return path.with_name(path.name + '.new')


def beside_database(database: Path) -> list[Path]:
    """The files that SQLite makes along with a database: they hold what has not found its way into it yet."""
    return [database.with_name(database.name + ending) for ending in ('-wal', '-shm', '-journal')]


def write_private(path: Path, text: str) -> None:
    """Replaces a file atomically by one that only its owner can read."""
    temporary = coming(path)
    temporary.unlink(missing_ok=True)
    with new_private(temporary) as file:
        file.write(text.encode())
    temporary.replace(path)


def new_private(path: Path) -> BinaryIO:
    """Opens a new file that only its owner can read.

    Raises:
      FileExistsError: It is there.
    """
    return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), 'wb')


def check_database(path: Path) -> None:
    """Makes sure that a database file, if there is one, is Argilla's and can be read and written.

    Raises:
      LocalServerError: It is damaged, something else, or another process keeps it for itself.
    """
    if not path.exists():
        return
    with troubles_told(path), closing(sqlite3.connect(path, timeout=LOCK_PATIENCE_SECONDS)) as connection:
        check_tables(path, connection)
        connection.execute('BEGIN IMMEDIATE')


def check_tables(path: Path, connection: sqlite3.Connection) -> None:
    """Makes sure that a database, if there is something in it, is Argilla's.

    Raises:
      LocalServerError: It is something else.
    """
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if tables and 'alembic_version' not in tables:
        raise LocalServerError(f'The database {path} is not one of Argilla. {REMEDY}')


def is_running(pid: str) -> bool:
    """Whether a process exists."""
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True
