"""Records over the wire: sent in bulk, listed in pages."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from beam_argilla.errors import RequestError, TransientError
from beam_argilla.server.client import Client
from beam_argilla.server.retries import Attempt, Streak, ignore

MAX_ITEMS = 500  # the server's own limit on records in a request
MAX_LISTED = 1000  # and on records in an answer
_MAX_DELETED = 100  # and on suggestions that one request removes


class Upserted(NamedTuple):
    """A record that the server confirmed.

    Attributes:
        record_id: the server's UUID of it.
        created: True if it was new, False if it was there already.
        suggestions: question id → id of the suggestion, of all that the record has now.
        inserted_at: when it was made, by the server's clock.
    """

    record_id: str
    created: bool
    suggestions: Mapping[str, str]
    inserted_at: str


# The server answers a bulk request with all of the records. Of these msgspec makes what is needed, in a sixth of the
# time that it takes to make all.


class _Stamped(msgspec.Struct, gc=False):
    inserted_at: str
    updated_at: str


class _Suggestion(_Stamped, gc=False):
    id: str
    question_id: str


class _Record(_Stamped):
    id: str
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
    id: str | None = None  # once it is on the server, as all that follows
    inserted_at: str | None = None
    responses: list[Any] | None = None


decode_item = msgspec.json.Decoder(Item).decode


class _Counted(msgspec.Struct):
    total: int


_LISTED = msgspec.json.Decoder(msgspec.defstruct('_Listed', [('items', list[Item])])).decode
_UPSERTED = msgspec.json.Decoder(msgspec.defstruct('_Bulk', [('items', list[_Record])])).decode


class Sent(NamedTuple):
    """When a request was sent.

    Attributes:
        at: by `time.monotonic`.
        after: the latest time of its own that the server had told before.
    """

    at: float
    after: str


class ServerTime:
    """The latest time of its own that a server has told: what it stamped before, it did before all that is sent now.

    So no clock of ours is compared with the server's. Thread-safe; one per server and process.
    """

    def __init__(self) -> None:
        self._latest = ''  # as the server writes it: in UTC, to the microsecond
        self._lock = threading.Lock()

    def told(self, stamp: str | None) -> None:
        with self._lock:
            self._latest = max(self._latest, stamp or '')

    def now(self) -> Sent:
        """For what is sent now."""
        with self._lock:
            return Sent(time.monotonic(), self._latest)


def upsert(
    client: Client,
    dataset_id: str,
    items: Sequence[bytes],
    observe: Callable[[Attempt], None] = ignore,
    server_time: ServerTime | None = None,
    first_sent: Sent | None = None,
    streak: Streak | None = None,
) -> list[Upserted]:
    """Creates or updates records by external id, all or none of them.

    The server (2.8) does not tell which of them it created, but when each record, and each of its suggestions, was made
    and last changed. What was made before the request was sent, or changed since it was made, was there already. A
    doubt is left in two cases only, and then the record counts as created: it was made after the last time of its own
    that the server had told us, and either by somebody else just before our request, which changed nothing in it, or
    while the batch was sent again because an answer was lost; there our own first try made it, if not somebody else in
    the same moments.

    Args:
        items: at most 500 (`MAX_ITEMS`) records as `Encoder` writes them, with different external ids.
        observe: called for each attempt.
        server_time: what the server has told of its clock; learns from the answer.
        first_sent: when these records were sent first, if they were and the server did not say that it wrote nothing.
        streak: how often they have failed until now; learns of more failures.

    Returns:
        What became of each item, in order.

    Raises:
        InvalidRecordsError: the server refused some of them, and says which. Nothing was written.
        RejectedBatchError: the server refused the batch, or keeps failing on it, and does not say why.
        GatewayError: something in between refused the request, or keeps failing on it; see `check_open`.
        JobError: no request can succeed.
    """
    server_time = server_time or ServerTime()
    sent, in_doubt = first_sent or server_time.now(), first_sent is not None

    def see(attempt: Attempt) -> None:
        nonlocal sent, in_doubt
        if attempt.failure is not None and not in_doubt:
            in_doubt = not _wrote_nothing(attempt.failure)
            if not in_doubt:
                if _CLASH in str(attempt.failure):
                    server_time.told(newest_record(client, dataset_id))
                sent = server_time.now()
        observe(attempt)

    def decode(content: bytes) -> list[_Record]:
        answer: Any = _UPSERTED(content)
        if len(answer.items) != len(items):
            raise ValueError('an answer to another request')
        for stamped in _stamped(answer.items[:1]):
            datetime.fromisoformat(stamped.updated_at)  # or it is no time at all
        return answer.items

    path = f'/datasets/{dataset_id}/records/bulk'
    body = b'{"items":[' + b','.join(items) + b']}'
    records = client.request('PUT', path, see, streak or Streak(len(items)), decode=decode, content=body)
    latest = max((stamped.updated_at for stamped in _stamped(records)), default='')
    server_time.told(latest)
    # The server had stamped the latest when its answer came, so its clock showed at least this when it was asked.
    earliest = _earlier(latest, time.monotonic() - sent.at)

    def is_new(record: _Record) -> bool:
        # Of new suggestions, all have the first one's time as that of their last change.
        changed = any(stamped.updated_at > stamped.inserted_at for stamped in _stamped([record]))
        return record.inserted_at > sent.after and record.inserted_at >= earliest and (in_doubt or not changed)

    return [
        Upserted(r.id, is_new(r), {s.question_id: s.id for s in r.suggestions or ()}, r.inserted_at) for r in records
    ]


# What argilla-server calls it when two requests insert the same external ids at the same time: one of them is undone.
_CLASH = 'IntegrityError'


def _wrote_nothing(failure: TransientError) -> bool:
    """Whether the request did surely not write the records."""
    return failure.cause in ('429', 'ConnectError', 'ConnectTimeout') or _CLASH in str(failure)


def _earlier(stamp: str, seconds: float) -> str:
    return (datetime.fromisoformat(stamp) - timedelta(seconds=seconds)).isoformat() if stamp else ''


def _stamped(records: Sequence[_Record]) -> Iterator[_Stamped]:
    """The records and their suggestions."""
    for record in records:
        yield record
        yield from record.suggestions or ()


def check_open(client: Client, dataset_id: str, streak: Streak | None = None) -> None:
    """Whether requests that write records get through to Argilla at all, whatever they hold. Writes nothing.

    Raises:
        GatewayError: they do not.
    """
    with contextlib.suppress(RequestError):  # Argilla itself refuses a request without any record
        client.request('PUT', f'/datasets/{dataset_id}/records/bulk', streak=streak, content=b'{"items":[]}')


def delete_suggestions(
    client: Client, record_id: str, suggestion_ids: Sequence[str], observe: Callable[[Attempt], None] = ignore
) -> None:
    """Removes suggestions of a record; those that are gone already do not matter."""
    for start in range(0, len(suggestion_ids), _MAX_DELETED):
        ids = ','.join(suggestion_ids[start : start + _MAX_DELETED])
        client.request('DELETE', f'/records/{record_id}/suggestions', observe, decode=None, params={'ids': ids})


def count_records(client: Client, dataset_id: str) -> int:
    """How many records the dataset holds."""
    return client.json('GET', f'/datasets/{dataset_id}/records', _Counted, params={'limit': 1})['total']


def newest_record(client: Client, dataset_id: str) -> str | None:
    """When the newest record was made, by the server's clock; None if there is none."""
    count = count_records(client, dataset_id)
    newest = list_records(client, dataset_id, count - 1, 1, ()) if count else []
    return newest[0].inserted_at if newest else None


def list_records(
    client: Client, dataset_id: str, offset: int, limit: int, include: Sequence[str] = ('suggestions',)
) -> list[Item]:
    """A page of the dataset's records, the oldest first.

    Args:
        include: what else of them: ``suggestions``, ``vectors``, ``responses``.
    """
    params = {'offset': offset, 'limit': limit, 'include': list(include)}
    return client.request('GET', f'/datasets/{dataset_id}/records', decode=_LISTED, params=params).items
