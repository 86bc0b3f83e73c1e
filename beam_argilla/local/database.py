"""SQLite under argilla-server: set up for several writers, migrated, and with an owner in it."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from beam_argilla.local import text_index
from beam_argilla.local.backup import replace_database
from beam_argilla.local.errors import LocalServerError
from beam_argilla.local.home import Home, beside_database, write_private

BUSY_TIMEOUT_SECONDS = 60.0
WORKSPACE = 'default'

# All that records are ordered, counted and filtered by, so that their fields, which are far larger, need not be read.
PAGE_INDEX = """CREATE INDEX IF NOT EXISTS beam_argilla_pages_v1
ON records (dataset_id, inserted_at, id, status, external_id, updated_at, metadata)"""
# The submitted responses of a record are counted at each answer, and SQLite would look for the record among all that
# are submitted.
RESPONSE_INDEX = 'CREATE INDEX IF NOT EXISTS beam_argilla_responses_v1 ON responses (record_id, status)'

_kept_open: list[sqlite3.Connection] = []


def connect(path: Path) -> sqlite3.Connection:
    """Opens the database as every connection of the server must."""
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_SECONDS, check_same_thread=False)
    set_up(connection)
    return connection


def set_up(connection: sqlite3.Connection) -> None:
    """Prepares a new connection."""
    # With a write-ahead log readers and the one writer do not wait for each other.
    connection.execute('PRAGMA journal_mode = WAL')
    # What was acknowledged is on the disk, so a power cut costs none of it. (Without it a crash costs nothing either.)
    connection.execute('PRAGMA synchronous = FULL')
    connection.execute(f'PRAGMA busy_timeout = {BUSY_TIMEOUT_SECONDS * 1000:.0f}')
    connection.execute('PRAGMA foreign_keys = ON')
    text_index.add_functions(connection)


def use_for_sessions(path: Path) -> None:
    """Gives argilla-server's sessions engines whose connections are made by `connect`.

    Python's sqlite3 begins a transaction at its first *writing* statement. What a request reads before that is no part
    of it, so a transaction never has to be upgraded: the one case that SQLite refuses at once instead of waiting
    (SQLITE_BUSY_SNAPSHOT).
    """
    import aiosqlite
    import sqlalchemy
    from argilla_server import database
    from sqlalchemy.ext.asyncio import create_async_engine
    from sqlalchemy.pool import NullPool

    async def connect_async() -> aiosqlite.Connection:
        return await aiosqlite.Connection(lambda: connect(path), iter_chunk_size=64)

    # No pool: the background jobs run in another thread and event loop than the API, and a pool must not hand the
    # connections of one to the other. To open a SQLite file is cheap, as long as it is open elsewhere: with the last
    # connection the write-ahead log goes, and the next one must make it anew.
    _kept_open.append(connect(path))
    _kept_open[0].execute('SELECT count(*) FROM users')
    database.AsyncSessionLocal.configure(
        bind=create_async_engine('sqlite+aiosqlite://', async_creator=connect_async, poolclass=NullPool)
    )
    database.SyncSessionLocal.configure(
        bind=sqlalchemy.create_engine('sqlite://', creator=lambda: connect(path), poolclass=NullPool)
    )


def close() -> None:
    """Ends the use of the database in order: afterwards it is a single file again, unless a request is being served."""
    while _kept_open:
        _kept_open.pop().close()


def migrate(path: Path, tell: Callable[[str], None]) -> None:
    """Brings the tables to the state that this argilla-server wants, and makes the full-text index.

    Args:
      path: The database; a new one if it is not there.
      tell: Is told, before it begins, of work that takes its time.

    Raises:
      LocalServerError: The database is of a newer argilla-server.
      sqlite3.Error: It is damaged.
    """
    from alembic import command
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    home = Home(path.parent)
    if home.migrating.exists():
        _take_back(home)
    with closing(connect(path)) as connection:
        config = alembic_config()
        revisions = ScriptDirectory.from_config(config)
        # Nothing to do at most starts, and Alembic takes its time to find that out.
        revision = current_revision(connection)
        if revision != revisions.get_current_head():
            try:
                if revision is None:
                    write_private(home.migrating, '')
                else:
                    revisions.get_revision(revision)
                    copy = home.before(revision)
                    tell(f'it is brought up to date with this argilla-server, once. As it was it stays in {copy}.')
                    replace_database(path, copy)
                    write_private(home.migrating, revision)
                with set_up_by_alembic():
                    command.upgrade(config, 'head')
                home.migrating.unlink(missing_ok=True)
            except CommandError as error:
                raise LocalServerError(
                    f'The database {path} cannot be used by this argilla-server: {error}. Was it made by a newer one? '
                    'Run: pip install --upgrade "beam-argilla[local]", or give another --home.'
                ) from None
        text_index.ensure_index(connection, tell)
        connection.execute(PAGE_INDEX)
        connection.execute(RESPONSE_INDEX)


def _take_back(home: Home) -> None:
    """Puts the database back as it was before a migration at which a process was killed.

    Each statement of one stays by itself in SQLite, so it cannot go on from there.

    Raises:
      LocalServerError: The copy that was made of it is gone.
    """
    revision = home.migrating.read_text()
    if not revision:  # It was a new one.
        for file in (*beside_database(home.database), home.database):
            file.unlink(missing_ok=True)
        return
    before = home.before(revision)
    if not before.exists():
        raise LocalServerError(
            f'The database {home.database} was left while it was brought up to date, and {before}, as it was, is gone. '
            'Put that file back, or restore a backup.'
        )
    replace_database(before, home.database)


def current_revision(connection: sqlite3.Connection) -> str | None:
    """The migration that a database is at; None for a new one."""
    try:
        row = connection.execute('SELECT version_num FROM alembic_version').fetchone()
    except sqlite3.OperationalError:
        return None
    return row[0] if row else None


def alembic_config() -> Any:
    """argilla-server's Alembic configuration without its file, which would switch off all loggers of this process."""
    from alembic.config import Config
    from argilla_server import database

    config = Config()
    config.set_main_option('script_location', str(Path(database.ALEMBIC_CONFIG_FILE).parent / 'alembic'))
    return config


@contextmanager
def set_up_by_alembic() -> Iterator[None]:
    """Prepares the connections of engines that others make, as Alembic does."""
    import sqlalchemy

    def on_connect(connection: sqlite3.Connection, _record: Any) -> None:
        set_up(connection)

    sqlalchemy.event.listen(sqlalchemy.Engine, 'connect', on_connect)
    try:
        yield
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, 'connect', on_connect)


async def ensure_owner(username: str, password: str, api_key: str) -> None:
    """Makes sure that an owner with these credentials exists, and is in the workspace ``default``.

    Raises:
      LocalServerError: Another user has this API key.
    """
    from argilla_server.contexts import accounts
    from argilla_server.database import AsyncSessionLocal
    from argilla_server.enums import UserRole
    from argilla_server.models import User, Workspace, WorkspaceUser

    async with AsyncSessionLocal() as session:
        holder = await User.get_by(session, api_key=api_key)
        if holder is not None and holder.username != username:
            raise LocalServerError(
                f'The API key is the one of the user {holder.username!r} already. Give {username!r} another --api-key.'
            )
        user = await User.get_by(session, username=username)
        if user is None:
            user = User(first_name=username, username=username, password_hash='')
            session.add(user)
        user.role = UserRole.owner
        user.api_key = api_key
        if not user.password_hash or not accounts.verify_password(password, user.password_hash):
            user.password_hash = accounts.hash_password(password)
        workspace = await Workspace.get_by(session, name=WORKSPACE)
        if workspace is None:
            workspace = Workspace(name=WORKSPACE)
            session.add(workspace)
        await session.flush()
        if await WorkspaceUser.get_by(session, workspace_id=workspace.id, user_id=user.id) is None:
            session.add(WorkspaceUser(workspace_id=workspace.id, user_id=user.id))
        await session.commit()
