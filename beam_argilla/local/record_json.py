"""Records as argilla-server's answers have them, from rows instead of from models.

Made of the texts of the JSON columns, as they are. The numbers in the answer are those that argilla-server sends, if
not always spelt alike: 1e16 is 1e+16 there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Any
from uuid import UUID

import msgspec
from argilla_server.models import Record, Response, Suggestion, Vector, VectorSettings
from fastapi import Response as HttpResponse
from sqlalchemy import ColumnElement, Row, Select, String, select, type_coerce
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

_RECORD = Record.__table__
_RESPONSE = Response.__table__
_SUGGESTION = Suggestion.__table__
_VECTOR = Vector.__table__

_decode = msgspec.json.Decoder().decode


class JsonText(FunctionElement[str]):
    """A column of JSON as the text that it holds."""

    inherit_cache = True
    name = 'json_text'
    type = String()


@compiles(JsonText)
def _as_it_is(element: JsonText, compiler: Any, **options: Any) -> str:
    return compiler.process(element.clauses.clauses[0], **options)


@compiles(JsonText, 'postgresql')
def _as_text(element: JsonText, compiler: Any, **options: Any) -> str:
    # Its driver would decode it, whatever type it is to be of.
    return f'CAST({_as_it_is(element, compiler, **options)} AS TEXT)'


def stored_id(column: Any) -> ColumnElement[Any]:
    """A column of ids as the driver gives it, for `_id`."""
    return type_coerce(column, String)


# To be read by `read_records`.
RECORD_COLUMNS = (
    _RECORD.c.id,
    _RECORD.c.status,
    JsonText(_RECORD.c.fields).label('fields'),
    JsonText(_RECORD.c.metadata).label('metadata'),
    _RECORD.c.external_id,
    _RECORD.c.dataset_id,
    _RECORD.c.inserted_at,
    _RECORD.c.updated_at,
)


async def read_records(db: AsyncSession, query: Select[Any]) -> list[dict[str, Any]]:
    """The records that a query of `RECORD_COLUMNS` finds, without what other tables hold of them."""
    return [_record_of(row) for row in await _rows_of(db, query)]


def _record_of(row: Row[Any]) -> dict[str, Any]:
    id, status, fields, metadata, external_id, dataset_id, inserted_at, updated_at = row
    return {
        'id': id,
        'status': status,
        'fields': _decoded(fields),
        'metadata': _decoded(metadata),
        'external_id': external_id,
        'dataset_id': dataset_id,
        'inserted_at': inserted_at,
        'updated_at': updated_at,
    }


async def add_responses(db: AsyncSession, records: Sequence[dict[str, Any]], user_id: UUID | None = None) -> None:
    """Adds to records what people answered to them, or what one of them did."""
    c = _RESPONSE.c
    ids = map(stored_id, (c.record_id, c.id, c.user_id))
    columns = (*ids, JsonText(c['values']), c.status, c.inserted_at, c.updated_at)
    query = select(*columns).where(c.record_id.in_(_ids(records))).order_by(c.inserted_at)
    if user_id is not None:
        query = query.where(c.user_id == user_id)
    responses = [
        {
            'id': _id(id),
            'values': values and {name: {'value': answer['value']} for name, answer in values.items()},
            'status': status,
            'record_id': _id(record_id),
            'user_id': _id(user),
            'inserted_at': inserted_at,
            'updated_at': updated_at,
        }
        for record_id, id, user, text, status, inserted_at, updated_at in await _rows_of(db, query)
        for values in (_decoded(text),)
    ]
    _add(records, 'responses', ((response['record_id'], response) for response in responses))


async def add_suggestions(db: AsyncSession, records: Sequence[dict[str, Any]]) -> None:
    """Adds to records their suggestions."""
    c = _SUGGESTION.c
    ids = map(stored_id, (c.record_id, c.question_id, c.id))
    columns = (*ids, JsonText(c.value), JsonText(c.score), c.type, c.agent, c.inserted_at, c.updated_at)
    query = select(*columns).where(c.record_id.in_(_ids(records))).order_by(c.inserted_at)
    suggestions = (
        (
            _id(record_id),
            {
                'question_id': _id(question_id),
                'type': type_,
                'value': _decoded(value),
                'agent': agent,
                'score': _score(_decoded(score)),
                'id': _id(id),
                'inserted_at': inserted_at,
                'updated_at': updated_at,
            },
        )
        for record_id, question_id, id, value, score, type_, agent, inserted_at, updated_at in await _rows_of(db, query)
    )
    _add(records, 'suggestions', suggestions)


async def add_vectors(
    db: AsyncSession, records: Sequence[dict[str, Any]], names: Collection[str] | None = None
) -> None:
    """Adds to records their vectors, or those of some names."""
    c = _VECTOR.c
    query = (
        select(stored_id(c.record_id), VectorSettings.name, JsonText(c.value))
        .join(VectorSettings, VectorSettings.id == c.vector_settings_id)
        .where(c.record_id.in_(_ids(records)))
    )
    if names is not None:
        query = query.where(VectorSettings.name.in_(names))
    vectors = ((_id(id), (name, [float(x) for x in _decoded(value)])) for id, name, value in await _rows_of(db, query))
    _add(records, 'vectors', vectors)
    for record in records:
        record['vectors'] = dict(record['vectors'])


async def _rows_of(db: AsyncSession, query: Select[Any]) -> Sequence[Row[Any]]:
    """All rows at once, which takes two thirds of what they take one by one."""
    return (await db.execute(query)).all()


def respond(content: Any) -> HttpResponse:
    """The answer that holds some records."""
    # As it is: argilla-server would compress it as far as it goes, which takes as long as all the rest, and within one
    # machine saves nothing.
    headers = {'Content-Encoding': 'identity'}
    return HttpResponse(msgspec.json.encode(content), headers=headers, media_type='application/json')


def _ids(records: Iterable[dict[str, Any]]) -> list[UUID]:
    return [record['id'] for record in records]


def _add(records: Iterable[dict[str, Any]], name: str, of_records: Iterable[tuple[str, Any]]) -> None:
    by_record: defaultdict[str, list[Any]] = defaultdict(list)
    for record_id, value in of_records:
        by_record[record_id].append(value)
    for record in records:
        record[name] = by_record[str(record['id'])]


def _id(stored: Any) -> str:
    # A text of its digits in SQLite. To make a UUID of each would take as long as all the rest.
    if isinstance(stored, str):
        return f'{stored[:8]}-{stored[8:12]}-{stored[12:16]}-{stored[16:20]}-{stored[20:]}'
    return str(stored)


def _decoded(text: str | float | None) -> Any:
    # SQLite makes a number of a text that is one.
    return _decode(text) if isinstance(text, str) else text


def _score(score: Any) -> Any:
    if isinstance(score, list):
        return [float(one) for one in score]
    return None if score is None else float(score)
