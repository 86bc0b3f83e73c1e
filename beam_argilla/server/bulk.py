"""Records over the wire: sent in bulk, listed in pages."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

import msgspec

from beam_argilla.errors import RequestError
from beam_argilla.server.client import Client
from beam_argilla.server.retries import Attempt, ignore

MAX_ITEMS = 500  # the server's own limit on records in a request
MAX_LISTED = 1000  # and on records in an answer
_MAX_DELETED = 100  # and on suggestions that one request removes


class Upserted(NamedTuple):
    """A record that the server confirmed.

    Attributes:
        record_id: the server's UUID of it.
        created: True if it was new, False if it was there already.
        suggestions: question id → id of the suggestion, of all that the record has now; None if not asked for.
    """

    record_id: str
    created: bool
    suggestions: Mapping[str, str] | None


# The server answers a bulk request with all of the records. Of these msgspec makes what is needed, in a sixth of the
# time that it takes to make all.


class _Suggestion(msgspec.Struct):
    id: str
    question_id: str


class _Record(msgspec.Struct):
    id: str
    inserted_at: str


class _RecordWithSuggestions(_Record):
    suggestions: list[_Suggestion] | None = None


class ItemSuggestion(msgspec.Struct, gc=False):
    """A suggestion of an `Item`."""

    question_id: str
    value: Any
    agent: Any = None
    score: Any = None
    type: Any = None


class Item(msgspec.Struct):
    """A record in the server's JSON form, as it is sent or as it is listed."""

    fields: dict[str, Any]
    external_id: str | None = None
    metadata: dict[str, Any] | None = None
    suggestions: list[ItemSuggestion] | None = None
    vectors: dict[str, list[float]] | None = None
    id: str | None = None  # once it is on the server


decode_item = msgspec.json.Decoder(Item).decode
_LISTED = msgspec.json.Decoder(msgspec.defstruct('_Listed', [('items', list[Item])])).decode
_WITHOUT = msgspec.json.Decoder(msgspec.defstruct('_Bulk', [('items', list[_Record])])).decode
_WITH = msgspec.json.Decoder(msgspec.defstruct('_Bulk', [('items', list[_RecordWithSuggestions])])).decode


def upsert(
    client: Client,
    dataset_id: str,
    items: Sequence[bytes],
    observe: Callable[[Attempt], None] = ignore,
    with_suggestions: bool = False,
) -> list[Upserted]:
    """Creates or updates records by external id, all or none of them.

    Args:
        items: at most 500 (`MAX_ITEMS`) records as `Encoder` writes them, with different external ids.
        observe: called for each attempt.
        with_suggestions: tell which suggestions the records have now.

    Returns:
        What became of each item, in order.

    Raises:
        InvalidRecordsError: the server refused some of them, and says which. Nothing was written.
        RejectedBatchError: the server refused the batch, or keeps failing on it, and does not say why.
        GatewayError: something in between refused the request; see `check_open`.
        JobError: no request can succeed.
    """
    started = time.monotonic()
    path = f'/datasets/{dataset_id}/records/bulk'
    body = b'{"items":[' + b','.join(items) + b']}'
    decode = _WITH if with_suggestions else _WITHOUT
    answer = client.request('PUT', path, observe, batch=len(items), decode=decode, content=body)
    # Rows say when they were inserted, by the server's clock; so does the answer's Date, to the second. What was
    # inserted since we first sent the batch is new, also if that answer was lost and this is the second try's.
    sent = (answer.date or datetime.now(timezone.utc)) - timedelta(seconds=time.monotonic() - started + 1)
    threshold = sent.replace(tzinfo=None).isoformat()  # as the server writes it, in UTC

    def suggestions(record: Any) -> Mapping[str, str] | None:
        return {s.question_id: s.id for s in record.suggestions or ()} if with_suggestions else None

    return [Upserted(r.id, r.inserted_at >= threshold, suggestions(r)) for r in answer.content.items]


def check_open(client: Client, dataset_id: str) -> None:
    """Whether requests that write records get through to Argilla at all, whatever they hold. Writes nothing.

    Raises:
        GatewayError: they do not.
    """
    with contextlib.suppress(RequestError):  # Argilla itself refuses a request without any record
        client.request('PUT', f'/datasets/{dataset_id}/records/bulk', content=b'{"items":[]}')


def delete_suggestions(
    client: Client, record_id: str, suggestion_ids: Sequence[str], observe: Callable[[Attempt], None] = ignore
) -> None:
    """Removes suggestions of a record; those that are gone already do not matter."""
    for start in range(0, len(suggestion_ids), _MAX_DELETED):
        ids = ','.join(suggestion_ids[start : start + _MAX_DELETED])
        client.request('DELETE', f'/records/{record_id}/suggestions', observe, decode=None, params={'ids': ids})


def count_records(client: Client, dataset_id: str) -> int:
    """How many records the dataset holds."""
    return client.json('GET', f'/datasets/{dataset_id}/records', 'total', params={'limit': 1})['total']


def list_records(client: Client, dataset_id: str, offset: int, limit: int, with_vectors: bool = False) -> list[Item]:
    """A page of the dataset's records with their suggestions."""
    include = ['suggestions', 'vectors'] if with_vectors else ['suggestions']
    params = {'offset': offset, 'limit': limit, 'include': include}
    return client.request('GET', f'/datasets/{dataset_id}/records', decode=_LISTED, params=params).content.items
