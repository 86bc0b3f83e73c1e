"""PostgreSQL under argilla-server, for more people and several processes, in place of the file in a home."""

from __future__ import annotations

from typing import Any

from beam_argilla.local.database import alembic_config
from beam_argilla.local.errors import LocalServerError

# By what pages of a list are ordered, so that what comes before one can be counted off without being read.
PAGE_INDEX = 'CREATE INDEX IF NOT EXISTS beam_argilla_pages_v1 ON records (dataset_id, inserted_at, id)'


def migrate(url: str) -> None:
    """Brings the tables to the state that this argilla-server wants.

    Args:
      url: The database's, as SQLAlchemy writes it for asyncpg.

    Raises:
      LocalServerError: Nothing answers there, the log-in is wrong, or the database is of a newer argilla-server.
    """
    import sqlalchemy
    from alembic import command
    from alembic.util import CommandError
    from sqlalchemy.exc import SQLAlchemyError

    shown = sqlalchemy.make_url(url).render_as_string(hide_password=True)
    try:
        command.upgrade(alembic_config(), 'head')
        with _engine(url).begin() as connection:
            connection.execute(sqlalchemy.text(PAGE_INDEX))
    except CommandError as error:
        raise LocalServerError(
            f'The database {shown} cannot be used by this argilla-server: {error}. Was it made by a newer one?'
        ) from None
    except SQLAlchemyError as error:
        reason = str(getattr(error, 'orig', error)).strip().splitlines()[0]
        raise LocalServerError(f'The database {shown} cannot be used: {reason}') from None


def use_for_sessions(url: str) -> None:
    """Gives argilla-server's sessions engines without a pool.

    The background jobs run in another thread and event loop than the API, and a pool would hand the connections of one
    to the other.
    """
    from argilla_server import database
    from sqlalchemy.ext.asyncio import create_async_engine
    from sqlalchemy.pool import NullPool

    database.AsyncSessionLocal.configure(bind=create_async_engine(url, poolclass=NullPool))
    database.SyncSessionLocal.configure(bind=_engine(url))


def _engine(url: str) -> Any:
    import sqlalchemy
    from sqlalchemy.pool import NullPool

    return sqlalchemy.create_engine(sqlalchemy.make_url(url).set(drivername='postgresql+psycopg2'), poolclass=NullPool)
