"""A plugin of pytest: argilla-server's tests of its search engines, on ours, with rows in place of index documents.

Loaded by `servers_own_tests`, where `tests` are argilla-server's. What these write into an index by hand is written
into the tables that ours searches, before the next search.
"""

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from typing import Any
from uuid import UUID

import argilla_server.search_engine
import opensearchpy
import sqlalchemy
from argilla_server.cli.database import migrate
from argilla_server.models import Field, Record, Response
from argilla_server.settings import settings
from sqlalchemy.ext.asyncio import AsyncSession

from beam_argilla.local import search_engine, text_index

_written: list[Callable[[AsyncSession], Awaitable[None]]] = []


@asynccontextmanager
async def session_of_the_test() -> AsyncIterator[AsyncSession]:
    """The test's own session, whose transaction nobody else sees, with all that was written by hand."""
    from tests.database import TestSession

    session = TestSession()
    while _written:
        await _written.pop(0)(session)
        await session.flush()
    yield session


class Engine(search_engine.SqliteSearchEngine):
    """Ours, made as theirs is."""

    def __init__(self, **_: Any) -> None:
        self.client = self

    async def _bulk_op_request(self, _: Any) -> None:
        """Vectors, which are rows already."""


class Index:
    """What tests do to an index: here there is nothing to do."""

    def indices(self, **_: Any) -> list[Any]:
        return []

    create = refresh = delete = indices


class Client:
    """OpenSearch's client."""

    def __init__(self, **_: Any) -> None:
        self.cat = self.indices = Index()

    def get(self, **_: Any) -> dict[str, Any]:
        return {'_source': {}}  # what is there already stays

    def update(self, _: str, id: UUID, body: dict[str, Any]) -> None:
        async def write(session: AsyncSession) -> None:
            for response in body['doc']['responses']:
                user_id = UUID(response['user_id'])
                row = await session.scalar(sqlalchemy.select(Response).filter_by(record_id=id, user_id=user_id))
                if row is None:
                    row = Response(record_id=id, user_id=user_id)
                    session.add(row)
                row.status, row.values = response['status'], {'rating': {'value': response['rating']}}

        _written.append(write)


def bulk(client: Client, actions: list[dict[str, Any]]) -> None:
    """Texts of records whose dataset has no fields."""

    async def write(session: AsyncSession) -> None:
        records = [await session.get_one(Record, action['_id']) for action in actions]
        text = {'type': 'text', 'use_markdown': False}
        session.add(Field(name='text', title='text', settings=text, dataset_id=records[0].dataset_id))
        await session.flush()
        for record, action in zip(records, actions, strict=True):
            record.fields = action['fields']

    _written.append(write)


def with_index(revision: str) -> None:
    """Makes the tables, and our index of them."""
    migrate_database(revision)
    if revision == 'head':
        with closing(sqlite3.connect(settings.database_url.split('///')[1].partition('?')[0])) as connection:
            text_index.add_functions(connection)
            text_index.ensure_index(connection, print)


@sqlalchemy.event.listens_for(sqlalchemy.Engine, 'connect')
def add_functions(connection: Any, _: Any) -> None:
    connection = getattr(connection, 'driver_connection', connection)
    connection = getattr(connection, '_conn', connection)  # aiosqlite's
    text_index.add_functions(connection)


@sqlalchemy.event.listens_for(Record, 'before_insert')
def as_numbers(_mapper: Any, _connection: Any, record: Record) -> None:
    """Numbers that are given as text: Elasticsearch would take them, while argilla-server lets none come so far."""
    if record.metadata_ and 'textId' in record.metadata_:
        record.metadata_ = record.metadata_ | {'textId': int(record.metadata_['textId'])}


migrate_database, migrate.migrate_db = migrate.migrate_db, with_index
search_engine.AsyncSessionLocal = session_of_the_test
argilla_server.search_engine.ElasticSearchEngine = Engine
opensearchpy.OpenSearch, opensearchpy.helpers.bulk = Client, bulk
