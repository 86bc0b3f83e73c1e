"""Records with what people answered, found by ranges of time or counted off; and who these people are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
import orjson

from beam_argilla.errors import PermissionDeniedError
from beam_argilla.server.bulk import ItemSuggestion
from beam_argilla.server.client import Client


class _Value(msgspec.Struct, gc=False):
    value: Any


class ListedResponse(msgspec.Struct):
    """A response as the server lists it; times are in UTC, and do not say so."""

    status: str
    user_id: str
    inserted_at: datetime
    updated_at: datetime
    values: dict[str, _Value] | None = None


class ListedRecord(msgspec.Struct):
    """A record as the server lists it; times are in UTC, and do not say so."""

    id: str
    status: str
    fields: dict[str, Any]
    inserted_at: datetime
    updated_at: datetime
    external_id: str | None = None
    metadata: dict[str, Any] | None = None
    suggestions: list[ItemSuggestion] | None = None
    responses: list[ListedResponse] | None = None


class Page(NamedTuple):
    """Some records.

    Attributes:
        records: in the order in which they were inserted.
        total: how many there are, on this page and on others.
        num_bytes: of the server's answer.
    """

    records: list[ListedRecord]
    total: int
    num_bytes: int


class Wanted(NamedTuple):
    """Which records, and what of them.

    Attributes:
        response_status: records with a response in one of these states; none: with and without responses.
        record_status: ``pending``, ``completed``; none: both.
        include: what else of them: ``suggestions``, ``responses``.
    """

    response_status: Sequence[str] = ()
    record_status: Sequence[str] = ()
    include: Sequence[str] = ()


class _Found(msgspec.Struct):
    record: ListedRecord


_FOUND = msgspec.json.Decoder(msgspec.defstruct('_FoundPage', [('items', list[_Found]), ('total', int)])).decode
_LISTED = msgspec.json.Decoder(msgspec.defstruct('_ListPage', [('items', list[ListedRecord]), ('total', int)])).decode
# Records that were inserted at the same time stand in the same order on each page.
_IN_ORDER = [{'scope': {'entity': 'record', 'property': p}, 'order': 'asc'} for p in ('inserted_at', 'id')]


def search(
    client: Client,
    dataset_id: str,
    wanted: Wanted,
    start: datetime | None,
    end: datetime | None,
    offset: int,
    limit: int,
) -> Page:
    """Records by the server's search engine, which finds a time without counting off what comes before.

    Args:
        start, end: when they were inserted, both inclusive; in UTC. None: no bound.
        offset: how many of them to leave out.
        limit: the most records of a page; at most 1000.
    """
    filters: list[dict[str, Any]] = []
    if start is not None or end is not None:
        bounds = {'ge': start and start.isoformat(), 'le': end and end.isoformat()}
        filters.append({'type': 'range', 'scope': {'entity': 'record', 'property': 'inserted_at'}, **bounds})
    for entity, values in (('response', wanted.response_status), ('record', wanted.record_status)):
        if values:
            filters.append({'type': 'terms', 'scope': {'entity': entity, 'property': 'status'}, 'values': [*values]})
    query = {'sort': _IN_ORDER, **({'filters': {'and': filters}} if filters else {})}

    def decode(content: bytes) -> Page:
        answer: Any = _FOUND(content)
        return Page([item.record for item in answer.items], answer.total, len(content))

    params = {'offset': offset, 'limit': limit, 'include': list(wanted.include)}
    path = f'/datasets/{dataset_id}/records/search'
    return client.request('POST', path, decode=decode, params=params, content=orjson.dumps(query))


def listed(client: Client, dataset_id: str, include: Sequence[str], offset: int, limit: int) -> Page:
    """Records by the database itself, which counts off those before the page."""

    def decode(content: bytes) -> Page:
        answer: Any = _LISTED(content)
        return Page(answer.items, answer.total, len(content))

    params = {'offset': offset, 'limit': limit, 'include': list(include)}
    return client.request('GET', f'/datasets/{dataset_id}/records', decode=decode, params=params)


class _User(msgspec.Struct):
    id: str
    username: str


class _Users(msgspec.Struct):
    items: list[_User]


class _Dataset(msgspec.Struct):
    workspace_id: str
    last_activity_at: datetime


class Activity(NamedTuple):
    """When something of a dataset was changed last, and what the server's clock shows; in UTC, and not said so."""

    changed_at: datetime
    server_time: datetime


def activity(client: Client, dataset_id: str) -> Activity:
    """When a dataset, its records or somebody's answers were changed last."""
    dataset = client.request('GET', f'/datasets/{dataset_id}', decode=_decode(_Dataset))
    return Activity(dataset.last_activity_at, client.server_time())


class _Total(msgspec.Struct):
    total: int


def count_changed(client: Client, dataset_id: str, since: datetime) -> int:
    """How many records were made, changed or answered at this time or later, as far as the search engine knows.

    Args:
        since: in UTC.
    """
    scope = {'entity': 'record', 'property': 'updated_at'}
    query = {'filters': {'and': [{'type': 'range', 'scope': scope, 'ge': since.isoformat()}]}}
    path = f'/datasets/{dataset_id}/records/search'
    return client.json('POST', path, _Total, params={'limit': 1}, content=orjson.dumps(query))['total']


class _Progress(msgspec.Struct):
    completed: dict[str, int] = {}
    pending: dict[str, int] = {}


class _UsersProgress(msgspec.Struct):
    users: list[_Progress]


def count_responses(client: Client, dataset_id: str) -> Counter[str]:
    """By the database's own count: status of a response → how many there are, of all people."""
    answer = client.request('GET', f'/datasets/{dataset_id}/users/progress', decode=_decode(_UsersProgress))
    return sum((Counter(user.completed) + Counter(user.pending) for user in answer.users), Counter())


def people(client: Client, dataset_id: str) -> Mapping[str, str]:
    """UUID → name of whoever may have answered, those who answered first at the beginning.

    Nobody's, where the key may not list them: an owner's may all, an admin's those of the workspace.
    """
    workspace = client.request('GET', f'/datasets/{dataset_id}', decode=_decode(_Dataset)).workspace_id
    for path in ('/users', f'/workspaces/{workspace}/users'):
        try:
            found = client.request('GET', path, decode=_decode(_Users)).items
        except PermissionDeniedError:
            continue
        first = client.request('GET', f'/datasets/{dataset_id}/progress', decode=_decode(_People)).users
        place = {user.username: i for i, user in enumerate(first)}
        return {u.id: u.username for u in sorted(found, key=lambda u: place.get(u.username, len(place)))}
    return {}


class _Name(msgspec.Struct):
    username: str


class _People(msgspec.Struct):
    users: list[_Name] = []


def _decode(form: Any) -> Any:
    return msgspec.json.Decoder(form).decode
