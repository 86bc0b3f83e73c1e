"""Records as argilla-server's answers have them, from rows instead of from models.

What a column of JSON holds goes into the answer as the text that it is, and so do ids and times in SQLite. The numbers
in the answer are those that argilla-server sends, if not always spelt alike: 1e16 is 1e+16 there.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

import msgspec
from argilla_server.models import Record, Response, Suggestion, Vector, VectorSettings
from fastapi import Response as HttpResponse
from sqlalchemy import Row, Select, String, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from beam_argilla.local import many_rows

_RECORD = Record.__table__
_RESPONSE = Response.__table__
_SUGGESTION = Suggestion.__table__
_VECTOR = Vector.__table__

_decode = msgspec.json.Decoder().decode


class SuggestionJson(msgspec.Struct):
    """A suggestion in an answer.

    There are far more of them than of all else: a dictionary for each would take twice as long.
    """

    question_id: str
    type: str | None
    value: Any
    agent: str | None
    score: float | list[float] | None
    id: str
    inserted_at: str | datetime
    updated_at: str | datetime


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
    return [_record_of(row) for row in (await db.execute(query)).all()]


def _record_of(row: Row[Any]) -> dict[str, Any]:
    id, status, fields, metadata, external_id, dataset_id, inserted_at, updated_at = row
    return {
        'id': id,
        'status': status,
        'fields': _json(fields),
        'metadata': _json(metadata),
        'external_id': external_id,
        'dataset_id': dataset_id,
        'inserted_at': inserted_at,
        'updated_at': updated_at,
    }


async def add_responses(db: AsyncSession, records: Sequence[dict[str, Any]], user_id: UUID | None = None) -> None:
    """Adds to records what people answered to them, or what one of them did."""
    c = _RESPONSE.c
    columns = (c.record_id, c.id, c.user_id, JsonText(c['values']), c.status, c.inserted_at, c.updated_at)
    query = select(*columns).where(c.record_id.in_(_ids(records))).order_by(c.inserted_at)
    if user_id is not None:
        query = query.where(c.user_id == user_id)
    rows = await many_rows.read(db, query)
    responses = (
        (
            record,
            {
                'id': _id(id),
                'values': values and {name: {'value': answer['value']} for name, answer in values.items()},
                'status': status,
                'record_id': _id(record),
                'user_id': _id(user),
                'inserted_at': _time(inserted),
                'updated_at': _time(updated),
            },
        )
        for record, id, user, text, status, inserted, updated in rows
        for values in (decoded(text),)
    )
    _add(records, 'responses', responses)


async def add_suggestions(db: AsyncSession, records: Sequence[dict[str, Any]]) -> None:
    """Adds to records their suggestions."""
    c = _SUGGESTION.c
    texts = (JsonText(c.value), c.agent, JsonText(c.score))
    columns = (c.record_id, c.question_id, c.id, c.type, *texts, c.inserted_at, c.updated_at)
    query = select(*columns).where(c.record_id.in_(_ids(records))).order_by(c.inserted_at)
    rows = await many_rows.read(db, query)
    question_id = cache(_id)
    suggestions = (
        (
            record,
            SuggestionJson(
                question_id(question),
                type_,
                _json(value),
                agent,
                _score(score),
                _id(id),
                _time(inserted),
                _time(updated),
            ),
        )
        for record, question, id, type_, value, agent, score, inserted, updated in rows
    )
    _add(records, 'suggestions', suggestions)


async def add_vectors(
    db: AsyncSession, records: Sequence[dict[str, Any]], names: Collection[str] | None = None
) -> None:
    """Adds to records their vectors, or those of some names."""
    c = _VECTOR.c
    query = (
        select(c.record_id, VectorSettings.name, JsonText(c.value))
        .join(VectorSettings, VectorSettings.id == c.vector_settings_id)
        .where(c.record_id.in_(_ids(records)))
    )
    if names is not None:
        query = query.where(VectorSettings.name.in_(names))
    rows = await many_rows.read(db, query)
    vectors = ((record, (name, [float(x) for x in decoded(value)])) for record, name, value in rows)
    _add(records, 'vectors', vectors)
    for record in records:
        record['vectors'] = dict(record['vectors'])


def respond(content: Any) -> HttpResponse:
    """The answer that holds some records."""
    # As it is: argilla-server would compress it as far as it goes, which takes as long as all the rest, and within one
    # machine saves nothing.
    headers = {'Content-Encoding': 'identity'}
    return HttpResponse(msgspec.json.encode(content), headers=headers, media_type='application/json')


def _ids(records: Iterable[dict[str, Any]]) -> list[UUID]:
    return [record['id'] for record in records]


def _add(records: Iterable[dict[str, Any]], name: str, of_records: Iterable[tuple[Any, Any]]) -> None:
    by_stored_id: defaultdict[Any, list[Any]] = defaultdict(list)
    for record_id, value in of_records:
        by_stored_id[record_id].append(value)
    by_id = {_id(stored): values for stored, values in by_stored_id.items()}
    for record in records:
        record[name] = by_id.get(str(record['id']), [])


def _id(stored: Any) -> str:
    # A text of its digits in SQLite. To make a UUID of each would take as long as all the rest.
    if isinstance(stored, str):
        return f'{stored[:8]}-{stored[8:12]}-{stored[12:16]}-{stored[16:20]}-{stored[20:]}'
    return str(stored)


def _json(stored: str | float | None) -> Any:
    """What a column of JSON holds, for an answer."""
    # SQLite makes a number of a text that is one.
    if not isinstance(stored, str):
        return stored
    # Python writes and reads these, JSON does not know them, and argilla-server answers with null.
    if 'NaN' in stored or 'Infinity' in stored:
        return msgspec.Raw(msgspec.json.encode(json.loads(stored)))
    return msgspec.Raw(stored)


def decoded(stored: Any) -> Any:
    """What a column of JSON holds: of its text, or of what `_json` makes of it."""
    if not isinstance(stored, str | msgspec.Raw):
        return stored
    try:
        return _decode(stored)
    except msgspec.DecodeError:  # It has numbers that only Python knows, see `_json`.
        return json.loads(bytes(stored) if isinstance(stored, msgspec.Raw) else stored)


def _time(stored: Any) -> Any:
    # A text in SQLite, too.
    if isinstance(stored, str):
        return stored.replace(' ', 'T').removesuffix('.000000')
    return stored


def _score(stored: Any) -> Any:
    score = None if stored == 'null' else decoded(stored)
    if isinstance(score, list):
        return [float(one) for one in score]
    return None if score is None else float(score)
