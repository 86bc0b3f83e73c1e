"""The directory that holds everything of one local Argilla: database, log, credentials, and a lock."""

import fcntl
import json
import os
import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from beam_argilla.local.errors import LocalServerError

DEFAULT_USERNAME = 'argilla'
DEFAULT_PASSWORD = '12345678'
DEFAULT_API_KEY = 'argilla.apikey'

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

    def prepare(self) -> None:
        """Creates the directory if need be, and makes sure that a server can work in it.

        Raises:
          LocalServerError: It is not a directory, cannot be written, or holds a damaged or foreign database.
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
        check_database(self.database)

    @contextmanager
    def locked(self, url: str) -> Iterator[int]:
        """Keeps every other server off this directory.

        Args:
          url: Where this server will answer; told to whoever tries to start a second one.

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
        """Loads what this directory was made with, changed by what is given, and stores the outcome.

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
        write_private(self._credentials, json.dumps(asdict(credentials)))
        return credentials

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


def write_private(path: Path, text: str) -> None:
    """Replaces a file atomically by one that only its owner can read."""
    temporary = path.with_name(path.name + '.new')
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, 'w', encoding='utf-8') as file:
        file.write(text)
    temporary.replace(path)


def check_database(path: Path) -> None:
    """Makes sure that a database file, if there is one, is Argilla's and can be read.

    Raises:
      LocalServerError: It is damaged, or something else.
    """
    if not path.exists():
        return
    remedy = 'Put back a copy of it, or give another --home.'
    try:
        connection = sqlite3.connect(path, timeout=30)
        try:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise LocalServerError(f'The database {path} cannot be read: {error}. {remedy}') from None
    if tables and 'alembic_version' not in tables:
        raise LocalServerError(f'The database {path} is not one of Argilla. {remedy}')


def is_running(pid: str) -> bool:
    """Whether a process exists."""
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True
