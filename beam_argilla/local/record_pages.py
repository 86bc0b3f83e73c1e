"""Pages of records, listed or searched for: a statement for all records of a page, one for all their suggestions, and
so on.

argilla-server makes a model of each row, and of each of these another one, before there is an answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Annotated, Any
from uuid import UUID

from argilla_server.api.handlers.v1.datasets import records as handlers
from argilla_server.api.policies.v1 import DatasetPolicy, RecordPolicy, authorize, is_authorized
from argilla_server.api.schemas.v1.records import RecordIncludeParam, SearchRecordsQuery
from argilla_server.models import Dataset, Record, User
from argilla_server.search_engine import SearchEngine
from fastapi import Depends, Query
from fastapi import Response as HttpResponse
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import selectinload

from beam_argilla.local.record_json import (
    RECORD_COLUMNS,
    add_responses,
    add_suggestions,
    add_vectors,
    decoded,
    read_records,
    respond,
)
from beam_argilla.local.routes import CurrentUser, Engine, ServersOwnWay, Session

_RECORD = Record.__table__

_Include = Annotated[RecordIncludeParam | None, Depends(handlers.parse_record_include_param)]
_Offset = Annotated[int, Query(ge=0)]
_Limit = Annotated[int, Query(ge=1, le=handlers.LIST_DATASET_RECORDS_LIMIT_LE)]


async def list_dataset_records(
    db: Session,
    dataset_id: UUID,
    current_user: CurrentUser,
    include: _Include,
    offset: int = 0,
    limit: _Limit = handlers.LIST_DATASET_RECORDS_LIMIT_DEFAULT,
) -> HttpResponse:
    """argilla-server's function of this name, in sets.

    Raises:
      ServersOwnWay: Vectors are asked for by name, of which it counts each as one of the page.
    """
    if include and include.with_some_vector:
        raise ServersOwnWay
    dataset = await Dataset.get_or_raise(db, dataset_id)
    await authorize(current_user, DatasetPolicy.list_records_with_all_responses(dataset))
    of_dataset = _RECORD.c.dataset_id == dataset_id
    in_order = (_RECORD.c.inserted_at, _RECORD.c.id)
    # What comes before the page is counted off in an index, see `database`, without the records themselves.
    ids = select(_RECORD.c.id).where(of_dataset).order_by(*in_order).offset(offset).limit(limit).subquery()
    page = select(*RECORD_COLUMNS).join(ids, ids.c.id == _RECORD.c.id).order_by(*in_order)
    records = await read_records(db, page)
    await _add_included(db, records, include)
    total = await db.scalar(select(func.count()).select_from(_RECORD).where(of_dataset))
    return respond({'items': records, 'total': total})


async def search_dataset_records(
    db: Session,
    search_engine: Engine,
    dataset_id: UUID,
    body: SearchRecordsQuery,
    current_user: CurrentUser,
    include: _Include,
    offset: _Offset = 0,
    limit: _Limit = handlers.LIST_DATASET_RECORDS_LIMIT_DEFAULT,
) -> HttpResponse:
    """argilla-server's function of this name, in sets."""
    dataset = await Dataset.get_or_raise(db, dataset_id, options=[selectinload(Dataset.fields)])
    await authorize(current_user, DatasetPolicy.search_records_with_all_responses(dataset))
    return await _search(db, search_engine, dataset, body, include, offset, limit)


async def search_current_user_dataset_records(
    db: Session,
    search_engine: Engine,
    dataset_id: UUID,
    body: SearchRecordsQuery,
    current_user: CurrentUser,
    include: _Include,
    offset: _Offset = 0,
    limit: _Limit = handlers.LIST_DATASET_RECORDS_LIMIT_DEFAULT,
) -> HttpResponse:
    """argilla-server's function of this name, in sets: the answers of others, and what only they may see, left out."""
    options = [selectinload(Dataset.fields), selectinload(Dataset.metadata_properties)]
    dataset = await Dataset.get_or_raise(db, dataset_id, options=options)
    await authorize(current_user, DatasetPolicy.search_records(dataset))
    return await _search(db, search_engine, dataset, body, include, offset, limit, current_user)


async def _search(
    db: AsyncSession,
    search_engine: SearchEngine,
    dataset: Dataset,
    body: SearchRecordsQuery,
    include: RecordIncludeParam | None,
    offset: int,
    limit: int,
    user: User | None = None,
) -> HttpResponse:
    """What is found, in the order in which it was; with a user, what they may see of it."""
    await handlers._validate_search_records_query(db, body, dataset)
    found = await handlers._get_search_responses(db, search_engine, dataset, limit, offset, body, user)
    ids = [item.record_id for item in found.items]
    records = await read_records(db, select(*RECORD_COLUMNS).where(_RECORD.c.id.in_(ids)))
    if user is not None:
        await _leave_visible_metadata(records, dataset, user)
    await _add_included(db, records, include, None if user is None else user.id)
    by_id = {record['id']: record for record in records}
    # One that has been deleted since it was found is no longer there.
    items = [
        {'record': by_id[item.record_id], 'query_score': item.score} for item in found.items if item.record_id in by_id
    ]
    return respond({'items': items, 'total': found.total})


async def _add_included(
    db: AsyncSession, records: Sequence[dict[str, Any]], include: RecordIncludeParam | None, user_id: UUID | None = None
) -> None:
    if not include:
        return
    if include.with_responses:
        await add_responses(db, records, user_id)
    if include.with_suggestions:
        await add_suggestions(db, records)
    if include.with_all_vectors or include.with_some_vector:
        await add_vectors(db, records, None if include.with_all_vectors else include.vectors)


async def _leave_visible_metadata(records: Sequence[dict[str, Any]], dataset: Dataset, user: User) -> None:
    of_dataset: Any = SimpleNamespace(dataset=dataset)  # all that is asked of a record
    for record in records:
        record['metadata'] = decoded(record['metadata'])
    names = {name for record in records for name in record['metadata'] or ()}
    visible = {name for name in names if await is_authorized(user, RecordPolicy.get_metadata(of_dataset, name))}
    for record in records:
        if record['metadata'] is not None:
            record['metadata'] = {name: value for name, value in record['metadata'].items() if name in visible}
