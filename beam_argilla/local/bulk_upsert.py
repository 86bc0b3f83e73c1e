"""Bulk requests in sets: one statement for all records of a request, one for all suggestions, and so on.

argilla-server makes a model of each row, asks the database for each again, and has pydantic make another model of it
for the answer. The rows that come of it are the same, but for three things: times of a request rise by a microsecond
from row to row, since pages are ordered by them; what is written keeps to the order of the request; and ids begin with
the time, so that a large database has to write few pages of its indexes rather than one for each row.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta, timezone
from itertools import count
from typing import Any
from uuid import UUID

from argilla_server.api.policies.v1 import DatasetPolicy, authorize
from argilla_server.bulk.records_bulk import UpsertRecordsBulk
from argilla_server.contexts.webhooks import list_enabled_webhooks
from argilla_server.enums import DatasetDistributionStrategy, RecordStatus, ResponseStatus
from argilla_server.models import Dataset, Record, Response, Suggestion, Vector
from argilla_server.models.database import DatasetUser
from argilla_server.search_engine import SearchEngine
from fastapi import Request
from fastapi import Response as HttpResponse
from fastapi.encoders import jsonable_encoder
from msgspec import UNSET
from sqlalchemy import bindparam, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import selectinload

from beam_argilla.local import many_rows
from beam_argilla.local.bulk_checks import check
from beam_argilla.local.bulk_items import Item, read_items
from beam_argilla.local.documents import as_documents
from beam_argilla.local.record_json import (
    RECORD_COLUMNS,
    add_responses,
    add_suggestions,
    add_vectors,
    decoded,
    read_records,
    respond,
)
from beam_argilla.local.routes import CurrentUser, Engine, InEachOthersWay, ServersOwnWay, Session
from beam_argilla.local.search_engine import SqliteSearchEngine

_RECORD = Record.__table__
_RESPONSE = Response.__table__
_INSERT: dict[str, Any] = {'sqlite': sqlite.insert, 'postgresql': postgresql.insert}
_DEADLOCK = '40P01'  # PostgreSQL's


async def upsert_dataset_records_bulk(
    request: Request, dataset_id: UUID, db: Session, search_engine: Engine, current_user: CurrentUser
) -> HttpResponse:
    """argilla-server's function of this name, in sets.

    Raises:
      ServersOwnWay: The request is none that can be done so.
      InEachOthersWay: Another one has the same records.
    """
    media_type = request.headers.get('Content-Type', 'application/json').partition(';')[0].strip().lower()
    if media_type != 'application/json':
        raise ServersOwnWay
    items = read_items(await request.body())
    dataset = await Dataset.get_or_raise(
        db,
        dataset_id,
        options=[
            selectinload(Dataset.fields),
            selectinload(Dataset.questions),
            selectinload(Dataset.metadata_properties),
            selectinload(Dataset.vectors_settings),
        ],
    )
    await authorize(current_user, DatasetPolicy.upsert_records(dataset))
    if dataset.distribution_strategy != DatasetDistributionStrategy.overlap:
        raise ServersOwnWay
    try:
        return respond({'items': await upsert(db, search_engine, dataset, items)})
    except DBAPIError as error:
        await db.rollback()
        # Another request has made or removed one of the records since they were looked up, or waits for this one.
        if isinstance(error, IntegrityError) or getattr(error.orig, 'sqlstate', None) == _DEADLOCK:
            raise InEachOthersWay from error
        raise


async def upsert(
    db: AsyncSession, search_engine: SearchEngine, dataset: Dataset, items: Sequence[Item]
) -> list[dict[str, Any]]:
    """Creates or updates records, all or none of them.

    Args:
      dataset: With its fields, questions, properties of metadata and settings of vectors.
      items: The records as they are sent.

    Returns:
      The records as they are now, in order, as argilla-server answers with them.

    Raises:
      UnprocessableEntityError: One may not be written; see `check`.
      ServersOwnWay: Two of them are one and the same.
    """
    found = await _find(db, dataset, items)
    await check(db, dataset, items, found)
    records = await _write_records(db, dataset, items, found)
    await _write_suggestions(db, records, items)
    await _write_vectors(db, dataset, records, items)
    await _write_responses(db, dataset, records, items)
    await _update_statuses(db, dataset, records, any(found) or any(item.responses for item in items))
    await add_responses(db, records)
    await add_suggestions(db, records)
    await add_vectors(db, records)
    await db.commit()
    # Our own search engine knows the records by now.
    if not isinstance(search_engine, SqliteSearchEngine):
        await search_engine.index_records(dataset, as_documents(dataset, records))
    if await list_enabled_webhooks(db):
        await _notify(db, search_engine, [record['id'] for record in records])
    return records


async def _find(db: AsyncSession, dataset: Dataset, items: Sequence[Item]) -> list[dict[str, Any] | None]:
    """The record that is there already for each of the items: the one with its id, else with its external id."""
    by_external_id = await _records_with(db, dataset, 'external_id', {item.external_id for item in items} - {None})
    by_id = await _records_with(db, dataset, 'id', {item.id for item in items} - {None})
    found = [by_id.get(item.id) or by_external_id.get(item.external_id) for item in items]
    ids = [record['id'] for record in found if record is not None]
    if len(set(ids)) < len(ids):
        raise ServersOwnWay
    return found


async def _records_with(db: AsyncSession, dataset: Dataset, name: str, values: Collection[Any]) -> dict[Any, Any]:
    if not values:
        return {}
    of_dataset = select(*RECORD_COLUMNS).where(_RECORD.c.dataset_id == dataset.id)
    # On PostgreSQL, requests with the same records wait here for each other, in one order, so that none waits forever.
    in_turn = of_dataset.where(_RECORD.c[name].in_(values)).order_by(_RECORD.c.id).with_for_update(key_share=True)
    records = await read_records(db, in_turn)
    for record in records:
        record |= {part: decoded(record[part]) for part in ('fields', 'metadata')}
    return {record[name]: record for record in records}


async def _write_records(
    db: AsyncSession, dataset: Dataset, items: Sequence[Item], found: Sequence[dict[str, Any] | None]
) -> list[dict[str, Any]]:
    new: list[dict[str, Any]] = []
    changed: defaultdict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    records: list[dict[str, Any]] = []
    ids = _new_ids(found.count(None))
    for item, there, now in zip(items, found, _times(), strict=False):
        sent: dict[str, Any] = {}
        if item.fields is not UNSET:
            sent['fields'] = _jsonable(item.fields)
        if item.metadata is not UNSET:
            sent['metadata'] = item.metadata
        if there is None:
            record = {
                'id': next(ids),
                'status': RecordStatus.pending,
                'metadata': None,
                **sent,
                'external_id': item.external_id,
                'dataset_id': dataset.id,
                'inserted_at': now,
                'updated_at': now,
            }
            new.append(record)
        else:
            # What is equal to Python is no change to SQLAlchemy: 1, 1.0 and True are.
            change = {name: value for name, value in sent.items() if value != there[name]}
            record = {**there, **sent}
            if change:
                record['updated_at'] = now
                changed[tuple(change)].append(record)
        records.append(record)
    if new:
        await many_rows.execute(db, insert(_RECORD), new)
    for names, of_them in changed.items():
        await _update(db, of_them, *names, 'updated_at')
    return records


async def _write_suggestions(db: AsyncSession, records: Sequence[dict[str, Any]], items: Sequence[Item]) -> None:
    rows = [
        {
            'record_id': record['id'],
            'question_id': suggestion.question_id,
            'value': _dumped(suggestion.value),
            'score': suggestion.score,
            'agent': suggestion.agent,
            'type': suggestion.type,
        }
        for record, item in zip(records, items, strict=True)
        for suggestion in item.suggestions or ()
    ]
    await _upsert(db, Suggestion, rows, ('record_id', 'question_id'))


async def _write_vectors(
    db: AsyncSession, dataset: Dataset, records: Sequence[dict[str, Any]], items: Sequence[Item]
) -> None:
    settings = {one.name: one.id for one in dataset.vectors_settings}
    rows = [
        {'record_id': record['id'], 'vector_settings_id': settings[name], 'value': value}
        for record, item in zip(records, items, strict=True)
        for name, value in (item.vectors or {}).items()
    ]
    await _upsert(db, Vector, rows, ('record_id', 'vector_settings_id'))


async def _write_responses(
    db: AsyncSession, dataset: Dataset, records: Sequence[dict[str, Any]], items: Sequence[Item]
) -> None:
    rows = [
        {**response.model_dump(), 'record_id': record['id']}
        for record, item in zip(records, items, strict=True)
        for response in item.responses or ()
    ]
    if rows:
        users = {row['user_id'] for row in rows}
        await DatasetUser.upsert_many(
            db,
            objects=[{'user_id': user, 'dataset_id': dataset.id} for user in users],
            constraints=[DatasetUser.user_id, DatasetUser.dataset_id],
            autocommit=False,
        )
    await _upsert(db, Response, rows, ('record_id', 'user_id'))


async def _update_statuses(
    db: AsyncSession, dataset: Dataset, records: Sequence[dict[str, Any]], may_have_responses: bool
) -> None:
    """A record is completed once it has as many submitted responses as the dataset wants."""
    submitted: dict[UUID, int] = {}
    if may_have_responses:
        c = _RESPONSE.c
        counts = select(c.record_id, func.count()).where(
            c.record_id.in_([record['id'] for record in records]), c.status == ResponseStatus.submitted
        )
        submitted = dict((await db.execute(counts.group_by(c.record_id))).tuples().all())
    changed = []
    for record, now in zip(records, _times(), strict=False):
        completed = submitted.get(record['id'], 0) >= dataset.distribution['min_submitted']
        status = RecordStatus.completed if completed else RecordStatus.pending
        if status != record['status']:
            record |= {'status': status, 'updated_at': now}
            changed.append(record)
    await _update(db, changed, 'status', 'updated_at')


async def _notify(db: AsyncSession, search_engine: SearchEngine, ids: Sequence[UUID]) -> None:
    """Has the webhooks hear of records, by argilla-server's own code."""
    whole = (
        selectinload(Record.responses).selectinload(Response.user),
        selectinload(Record.responses_submitted),
        selectinload(Record.suggestions).selectinload(Suggestion.question),
        selectinload(Record.vectors),
    )
    # Whatever the session may have of them: it was not asked when they were written.
    query = select(Record).where(Record.id.in_(ids)).options(*whole).execution_options(populate_existing=True)
    models = {record.id: record for record in await db.scalars(query)}
    await UpsertRecordsBulk(db, search_engine)._notify_upsert_record_events([models[id] for id in ids])


async def _upsert(db: AsyncSession, model: Any, rows: Sequence[dict[str, Any]], key: Sequence[str]) -> None:
    """Inserts rows, or updates those whose key is there already, as the model's own `upsert_many`."""
    if not rows:
        return
    ids = _new_ids(len(rows))
    stamped = [
        {'id': id, 'inserted_at': now, 'updated_at': now, **row}
        for id, now, row in zip(ids, _times(), rows, strict=False)
    ]
    statement = _INSERT[db.get_bind().dialect.name](model.__table__)
    change = {name: statement.excluded[name] for name in (*model.__upsertable_columns__, 'updated_at')}
    await many_rows.execute(db, statement.on_conflict_do_update(index_elements=key, set_=change), stamped)


async def _update(db: AsyncSession, records: Sequence[dict[str, Any]], *names: str) -> None:
    if not records:
        return
    values = {name: bindparam(f'new_{name}', type_=_RECORD.c[name].type) for name in names}
    statement = update(_RECORD).where(_RECORD.c.id == bindparam('its_id')).values(values)
    rows = [{'its_id': one['id'], **{f'new_{name}': one[name] for name in names}} for one in records]
    await many_rows.execute(db, statement, rows)


# Of a UUID of version 7 (RFC 9562), with its time left out: what is fixed, and which bits are random.
_UUID7 = 7 << 76 | 0b10 << 62
_UUID7_RANDOM = (1 << 76) - 1 ^ 0b11 << 62


def _new_ids(number: int) -> Iterator[UUID]:
    """UUIDs of version 7, those of a request side by side."""
    fixed = time.time_ns() // 1_000_000 << 80 | _UUID7
    random = os.urandom(10 * number)
    return (
        UUID(int=fixed | int.from_bytes(random[start : start + 10], 'big') & _UUID7_RANDOM)
        for start in range(0, len(random), 10)
    )


def _times() -> Any:
    """Now, and a microsecond later each time."""
    now = datetime.now(timezone.utc).replace(tzinfo=None)
    return (now + timedelta(microseconds=n) for n in count())


def _jsonable(fields: dict[str, Any] | None) -> Any:
    """As argilla-server makes it, which leaves out some keys ("_sa…")."""
    is_plain = fields and all(isinstance(v, str | None) and not k.startswith('_sa') for k, v in fields.items())
    return fields if is_plain else jsonable_encoder(fields)


def _dumped(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    return [element if isinstance(element, str) else element.model_dump() for element in value]
