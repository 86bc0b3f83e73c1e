"""The only file that touches the network: one Argilla server over its public REST API.

Every answer is sorted once, in `_result`, into a value or one of the exceptions of `beam_argilla.errors`; transient
ones are retried at one layer, `_retried`. What follows was measured on argilla-server 2.8 (and its PostgreSQL and
SQLite backends): a 500, a time-out or a lost connection can come after the rows were committed, and sending the same
records again repairs all of it; after a 500 the server closes the connection, so the next request may fail to read.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

import httpx
import msgspec
import orjson
from apache_beam.utils.retry import FuzzedExponentialIntervals

from beam_argilla.connection import ArgillaConnection
from beam_argilla.errors import (
    AuthenticationError,
    DatasetDiffersError,
    DatasetNotFoundError,
    InvalidRecordsError,
    NotArgillaError,
    PermissionDeniedError,
    RejectedBatchError,
    RequestError,
    ServerUnavailableError,
    TransientError,
    WorkspaceNotFoundError,
)
from beam_argilla.settings import DatasetSettings, differences

# httpx logs every request at INFO, which on a worker is a line per batch; whoever set a level keeps it.
if logging.getLogger('httpx').level == logging.NOTSET:
    logging.getLogger('httpx').setLevel(logging.WARNING)

# The bulk upsert and the task distribution, as this client uses them, are there from 2.3 on; tested with 2.8.
OLDEST, TOO_NEW = (2, 3), (3,)
MAX_ITEMS = 500  # the server's own limit on records in a request
MAX_LISTED = 1000  # and on records in an answer
_MAX_DELETED = 100  # and on suggestions that one request removes
_TRANSIENT = (408, 425, 429, 500, 502, 503, 504)
# A 500 may be a passing lock, the server's trouble, or the batch itself. After this many in a row, several records are
# tried in smaller batches; a single one is to blame if others get through meanwhile, ...
_SAME_BATCH_500S = 4
# ... or, after so many (about a minute with the default delays), if the server is otherwise well.
_SAME_RECORD_500S = 8


@dataclass(frozen=True)
class RetryPolicy:
    """How long transient errors are retried.

    Args:
        limit: seconds after which a request's retries end and the job fails.
        first_delay: seconds before the first retry; doubled for each further one, then jittered by up to half.
        max_delay: seconds that no delay exceeds, unless the server asks for more (Retry-After).
    """

    limit: float = 600.0
    first_delay: float = 0.5
    max_delay: float = 30.0

    def delays(self) -> Iterable[float]:
        """Seconds to wait before each retry, without end."""
        return FuzzedExponentialIntervals(self.first_delay, 10_000, max_delay_secs=self.max_delay)


class Dataset(NamedTuple):
    """A dataset as it is on the server.

    Attributes:
        id: its UUID.
        url: its web page.
        settings: as they are now.
        question_ids: question name → UUID.
    """

    id: str
    url: str
    settings: DatasetSettings
    question_ids: Mapping[str, str]


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
    id: str | None = None  # once it is on the server


decode_item = msgspec.json.Decoder(Item).decode
_LISTED = msgspec.json.Decoder(msgspec.defstruct('_Listed', [('items', list[Item])])).decode
_WITHOUT = msgspec.json.Decoder(msgspec.defstruct('_Bulk', [('items', list[_Record])])).decode
_WITH = msgspec.json.Decoder(msgspec.defstruct('_Bulk', [('items', list[_RecordWithSuggestions])])).decode


class Answer(NamedTuple):
    """A success: its JSON, None if it has none, and when the server gave it."""

    content: Any
    date: datetime | None


class Attempt(NamedTuple):
    """One request sent, for flow control and metrics.

    Attributes:
        sent: when, by `time.monotonic`.
        seconds: until its answer or failure.
        failure: None if it was answered for good.
        wait: seconds until the next attempt.
    """

    sent: float
    seconds: float
    failure: TransientError | None = None
    wait: float = 0.0


def _ignore(attempt: Attempt) -> None:
    pass


class Client:
    """A connection to one server. Thread-safe.

    Args:
        connection: where, and as whom.
        retry: how long to retry.

    Raises:
        JobError: a secret is not there.
    """

    def __init__(self, connection: ArgillaConnection, retry: RetryPolicy | None = None):
        headers = connection.resolve()
        self._secrets = [v for v in headers.values() if len(v) > 3]
        self._url = connection.api_url
        self._retry = retry or RetryPolicy()
        self._last_upsert = float('-inf')  # when the last one succeeded
        self._stop = threading.Event()
        self._http = httpx.Client(
            base_url=f'{connection.api_url}/api/v1',
            # The server answers a bulk request with all of the records; compressing that takes it a tenth of its time.
            headers={'Accept-Encoding': 'identity', **headers, 'Content-Type': 'application/json'},
            timeout=connection.timeout,
            verify=urlsplit(connection.api_url).scheme
            == 'https',  # loading the certificates takes longer than a small job
            # Retries belong to `_retried`; idle connections are dropped before usual servers drop them (5 s and more).
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=4.0),
        )

    def close(self) -> None:
        self._http.close()

    def stop(self) -> None:
        """Nothing is tried again from now on: the job has failed, and whoever waits for an answer need not."""
        self._stop.set()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # -- the server and its datasets

    def check_server(self) -> str:
        """The name of the user whom the key belongs to.

        Raises:
            NotArgillaError: no Argilla server of a supported version answers there.
            AuthenticationError: the key is wrong.
            ServerUnavailableError: nothing answers within the time limit.
        """
        try:
            version = self._json('GET', '/version').get('version')
            version = version if isinstance(version, str) else ''
        except (RejectedBatchError, AttributeError) as e:
            raise NotArgillaError(f'{self._url} is not an Argilla server: {e}') from e
        number = tuple(int(n) for n in re.findall(r'\d+', version)[:2])
        if not OLDEST <= number < TOO_NEW:
            oldest = '.'.join(map(str, OLDEST))
            raise NotArgillaError(
                f'{self._url} is Argilla {version or "of unknown version"}; versions {oldest} up to 3.0 are supported.'
            )
        return self._json('GET', '/me')['username']

    def find_dataset(self, name: str, workspace: str, create_workspace: bool = False) -> Dataset | None:
        """The published dataset, None if there is none.

        Raises:
            WorkspaceNotFoundError: there is no such workspace, and it shall not be created.
        """
        workspace_id = self._workspace_id(workspace, create=False, may_lack=create_workspace)
        found = self._find(name, workspace_id) if workspace_id else None
        return self.dataset(found['id']) if found and found['status'] == 'ready' else None

    def ensure_dataset(
        self, name: str, workspace: str, settings: DatasetSettings | None, create_workspace: bool = False
    ) -> Dataset:
        """The dataset, created if need be. Several workers may do so at once, and again after half of it was done.

        Args:
            settings: of the dataset to create, and to compare an existing one with. None: it must exist.

        Raises:
            WorkspaceNotFoundError: there is no such workspace, and it shall not be created.
            DatasetNotFoundError: there is no such dataset, and no settings to create it with.
            DatasetDiffersError: the existing dataset would lose or refuse records made for `settings`.
            PermissionDeniedError: the key's user may not.
        """
        workspace_id = self._workspace_id(workspace, create=create_workspace)
        found = self._find(name, workspace_id)
        if found is None:
            if settings is None:
                raise DatasetNotFoundError(f'There is no dataset {name!r} in workspace {workspace!r} of {self._url}.')
            body = {
                'name': name,
                'workspace_id': workspace_id,
                'guidelines': settings.guidelines,
                'allow_extra_metadata': settings.allow_extra_metadata,
                'distribution': {'strategy': 'overlap', 'min_submitted': settings.min_submitted},
            }
            self._create('/datasets', body)
            found = self._find(name, workspace_id)
            if found is None:
                raise PermissionDeniedError(
                    f'Dataset {name!r} exists in workspace {workspace!r} of {self._url}, but the API key cannot see it.'
                )
        if found['status'] != 'ready':
            if settings is None:
                raise DatasetNotFoundError(f'Dataset {name!r} in workspace {workspace!r} is a draft: publish it first.')
            self._complete(found['id'], settings)
        dataset = self.dataset(found['id'])
        check_differences(name, workspace, settings, dataset)
        return dataset

    def _workspace_id(self, name: str, create: bool, may_lack: bool = False) -> str:
        def listed() -> dict[str, str]:
            return {w['name']: w['id'] for w in self._json('GET', '/me/workspaces')['items']}

        workspaces = listed()
        if name not in workspaces and create:
            self._create('/workspaces', {'name': name})
            workspaces = listed()
        if name in workspaces or may_lack:
            return workspaces.get(name, '')
        there = ', '.join(map(repr, sorted(workspaces))) or 'none'
        raise WorkspaceNotFoundError(
            f'There is no workspace {name!r} on {self._url} for this API key. There are: {there}. Name one of them, or '
            'let it be created (create_workspace=True, --create_workspace).'
        )

    def _find(self, name: str, workspace_id: str) -> dict[str, Any] | None:
        params = {'workspace_id': workspace_id, 'name': name}
        items = self._json('GET', '/me/datasets', params=params)['items']
        return next((d for d in items if d['name'] == name), None)

    def _complete(self, dataset_id: str, settings: DatasetSettings) -> None:
        """Gives a draft what it lacks and publishes it. Another worker may be doing the same."""
        path = f'/datasets/{dataset_id}'
        existing = {
            'fields': self._json('GET', f'{path}/fields')['items'],
            'questions': self._json('GET', f'{path}/questions')['items'],
            'metadata-properties': self._json('GET', f'/me{path}/metadata-properties')['items'],
        }
        wanted = {'fields': settings.fields, 'questions': settings.questions, 'metadata-properties': settings.metadata}
        for kind, properties in wanted.items():
            names = {p['name'] for p in existing[kind]}
            for prop in properties:
                if prop['name'] not in names:
                    self._create(f'{path}/{kind}', prop)
        try:
            self._json('PUT', f'{path}/publish')
        except RejectedBatchError:
            if self._json('GET', path)['status'] != 'ready':  # else another worker was first
                raise

    def _create(self, path: str, body: Mapping[str, Any]) -> None:
        """POST. That it is there already is fine: another worker made it, or an answer was lost."""
        try:
            self._json('POST', path, content=orjson.dumps(body))
        except RejectedBatchError as e:
            published = 'published dataset' in str(e)
            if e.status != 409 and not published:
                raise

    def dataset(self, dataset_id: str) -> Dataset:
        """The dataset as it is now."""
        path = f'/datasets/{dataset_id}'
        head = self._json('GET', path)
        questions = self._json('GET', f'{path}/questions')['items']
        settings = DatasetSettings(
            fields=self._json('GET', f'{path}/fields')['items'],
            questions=questions,
            metadata=self._json('GET', f'/me{path}/metadata-properties')['items'],
            guidelines=head.get('guidelines') or None,
            min_submitted=(head.get('distribution') or {}).get('min_submitted', 1),
            allow_extra_metadata=head['allow_extra_metadata'],
        )
        url = f'{self._url}/dataset/{quote(dataset_id)}/annotation-mode'
        return Dataset(dataset_id, url, settings, {q['name']: q['id'] for q in questions})

    # -- records

    def upsert(
        self,
        dataset_id: str,
        items: Sequence[bytes],
        observe: Callable[[Attempt], None] = _ignore,
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
            JobError: no request can succeed.
        """
        started = time.monotonic()
        path = f'/datasets/{dataset_id}/records/bulk'
        body = b'{"items":[' + b','.join(items) + b']}'
        decode = _WITH if with_suggestions else _WITHOUT
        answer = self._retried('PUT', path, observe, batch=len(items), decode=decode, content=body)
        self._last_upsert = time.monotonic()
        # Rows say when they were inserted, by the server's clock; so does the answer's Date, to the second. What was
        # inserted since we first sent the batch is new, also if that answer was lost and this is the second try's.
        sent = (answer.date or datetime.now(timezone.utc)) - timedelta(seconds=time.monotonic() - started + 1)
        threshold = sent.replace(tzinfo=None).isoformat()  # as the server writes it, in UTC

        def suggestions(record: Any) -> Mapping[str, str] | None:
            return {s.question_id: s.id for s in record.suggestions or ()} if with_suggestions else None

        return [Upserted(r.id, r.inserted_at >= threshold, suggestions(r)) for r in answer.content.items]

    def delete_suggestions(
        self, record_id: str, suggestion_ids: Sequence[str], observe: Callable[[Attempt], None] = _ignore
    ) -> None:
        """Removes suggestions of a record; those that are gone already do not matter."""
        for start in range(0, len(suggestion_ids), _MAX_DELETED):
            ids = ','.join(suggestion_ids[start : start + _MAX_DELETED])
            self._retried('DELETE', f'/records/{record_id}/suggestions', observe, params={'ids': ids})

    def count_records(self, dataset_id: str) -> int:
        """How many records the dataset holds."""
        return self._json('GET', f'/datasets/{dataset_id}/records', params={'limit': 1})['total']

    def list_records(self, dataset_id: str, offset: int, limit: int) -> list[Item]:
        """A page of the dataset's records with their suggestions."""
        params = {'offset': offset, 'limit': limit, 'include': 'suggestions'}
        return self._retried('GET', f'/datasets/{dataset_id}/records', decode=_LISTED, params=params).content.items

    # -- requests

    def _json(self, method: str, path: str, **request: Any) -> Any:
        return self._retried(method, path, **request).content

    def _retried(
        self,
        method: str,
        path: str,
        observe: Callable[[Attempt], None] = _ignore,
        batch: int = 0,
        decode: Callable[[bytes], Any] = orjson.loads,
        **request: Any,
    ) -> Answer:
        """Sends the request until it is answered for good: the one layer of retries."""
        started = time.monotonic()
        failures_500 = 0
        for delay in self._retry.delays():
            sent = time.monotonic()
            try:
                answer = self._send(method, path, decode, **request)
            except TransientError as e:
                now = time.monotonic()
                failures_500 = failures_500 + 1 if e.status == 500 else 0
                if batch and self._is_to_blame(batch, failures_500, started):
                    raise RejectedBatchError(f'{e} ({failures_500} times in a row)', 500) from e
                wait = max(delay, e.retry_after or 0.0)
                if now - started + wait > self._retry.limit:
                    raise ServerUnavailableError(
                        f'{self._url} gave no usable answer for {now - started:.0f} seconds. Is the server running, '
                        f'and is the address right? The last failure: {e}'
                    ) from e
                observe(Attempt(sent, now - sent, e, wait))
                if self._stop.wait(wait):
                    raise ServerUnavailableError(f'Given up, for the job has failed. The last failure: {e}') from e
            else:
                observe(Attempt(sent, time.monotonic() - sent))
                return answer
        raise AssertionError('delays have no end')

    def _is_to_blame(self, batch: int, failures: int, started: float) -> bool:
        """Whether so many 500s in a row are due to the batch of so many records, rather than the server's trouble."""
        if failures < _SAME_BATCH_500S:
            return False
        if batch > 1 or self._last_upsert > started:
            return True
        if failures < _SAME_RECORD_500S:
            return False
        try:
            self._send('GET', '/me', orjson.loads)  # asks the database
        except RequestError:
            return False
        return True

    def _send(self, method: str, path: str, decode: Callable[[bytes], Any], **request: Any) -> Answer:
        try:
            response = self._http.request(method, path, **request)
        except httpx.LocalProtocolError:  # such as a header that cannot be sent; its text may hold a secret
            raise NotArgillaError(
                f'No HTTP request can be made to {self._url}: check the address and headers.'
            ) from None
        except (httpx.TransportError, httpx.DecodingError) as e:  # connect, read, write, time-out, protocol, unzip
            cause = type(e).__name__
            raise TransientError(self._clean(f'{method} {self._url}: {cause}: {e}'), cause) from e
        if not response.is_success:
            raise self._error(response)
        return Answer(self._content(response, decode), _http_date(response.headers.get('Date')))

    def _content(self, response: httpx.Response, decode: Callable[[bytes], Any]) -> Any:
        if response.status_code == 204:
            return None
        try:
            return decode(response.content)
        except msgspec.ValidationError as e:
            raise NotArgillaError(
                f'{self._url} gives answers of another form than argilla-server 2.8 ({e}): is it of a newer version?'
            ) from e
        except (ValueError, msgspec.DecodeError) as e:
            if 'html' in response.headers.get('Content-Type', ''):
                raise NotArgillaError(
                    f'{self._url} answers with a web page where Argilla answers with data. Is it the address of the '
                    'server itself (for a Hugging Face Space: https://OWNER-SPACE.hf.space)? A private Space also '
                    'needs the header Authorization.'
                ) from e
            raise TransientError(f'{self._url} gave an answer that is not JSON', 'BadAnswer') from e

    def _error(self, response: httpx.Response) -> Exception:
        """The exception for an answer that is not a success."""
        status = response.status_code
        detail, reasons = _detail(response)
        request_id = response.headers.get('X-Request-ID')
        where = f'{response.request.method} {response.request.url.path}'
        message = self._clean(f'{where}: {status}: {detail}' + (f' (request {request_id})' if request_id else ''))
        if status == 401:
            return AuthenticationError(
                f'{self._url} does not know the API key. Check the key and the address. {message}'
            )
        if status == 403:
            return PermissionDeniedError(
                f"The API key's user may not do this on {self._url}: it must be an owner, or an admin of the "
                f'workspace. {message}'
            )
        if status == 404 and isinstance(detail, str) and 'Dataset' in detail:
            return DatasetNotFoundError(f'The dataset is gone from {self._url}. {message}')
        if status in _TRANSIENT:
            return TransientError(message, str(status), status, _retry_after(response.headers.get('Retry-After')))
        if status == 422 and reasons:
            return InvalidRecordsError(message, {i: self._clean(r) for i, r in reasons.items()})
        if response.is_redirect:
            return NotArgillaError(f'{self._url} redirects to {response.headers.get("Location")}: use that address.')
        return RejectedBatchError(message, status)

    def _clean(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, '***')
        return text


def check_differences(name: str, workspace: str, settings: DatasetSettings | None, dataset: Dataset) -> None:
    """Raises DatasetDiffersError if the dataset would lose or refuse records made for the settings."""
    found = differences(settings, dataset.settings) if settings is not None else []
    if found:
        raise DatasetDiffersError(
            f'Dataset {name!r} in workspace {workspace!r} exists with other settings, so nothing was written:\n  - '
            + '\n  - '.join(found)
            + '\nWrite to a new dataset name, or give the job the settings of the existing one.',
            found,
        )


_POSITION = re.compile(r'Record at position (\d+) is not valid because (.*)', re.DOTALL)


def _detail(response: httpx.Response) -> tuple[str, dict[int, str]]:
    """The server's message, and position → reason where a 422 names records.

    Two forms: ``{"detail": "Record at position 3 is not valid because …"}`` names the first bad record only;
    ``{"detail": {"params": {"errors": [{"loc": ["body", "items", 3, …], "msg": …}]}}}`` names all of them.
    """
    try:
        body = orjson.loads(response.content)
    except ValueError:
        return ' '.join(response.text.split())[:500] or response.reason_phrase, {}
    detail = body.get('detail', body) if isinstance(body, dict) else body
    if isinstance(detail, str):
        named = _POSITION.match(detail)
        return detail, {int(named[1]): named[2]} if named else {}
    reasons: dict[int, str] = {}
    for error in _errors(detail):
        match error:
            case {'loc': ['body', 'items', int(index), *path], 'msg': message}:
                reason = f'{".".join(map(str, path))}: {message}'
                reasons[index] = f'{reasons[index]}; {reason}' if index in reasons else reason
    return orjson.dumps(detail, default=str).decode()[:2000], reasons


def _errors(detail: Any) -> list[Any]:
    match detail:
        case {'params': {'errors': [*errors]}}:
            return errors
    return []


def _retry_after(value: str | None) -> float | None:
    """Seconds of a Retry-After header, in either of its forms."""
    if not value:
        return None
    if value.strip().isascii() and value.strip().isdigit():
        return float(value)
    date = _http_date(value)
    return max(0.0, (date - datetime.now(timezone.utc)).total_seconds()) if date else None


def _http_date(value: str | None) -> datetime | None:
    try:
        date = parsedate_to_datetime(value) if value else None
    except ValueError:
        return None
    return date.replace(tzinfo=timezone.utc) if date is not None and date.tzinfo is None else date
