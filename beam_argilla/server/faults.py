"""What went wrong, read from an answer that is not a success: one exception of `beam_argilla.errors` for each kind."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import orjson

from beam_argilla.errors import (
    AuthenticationError,
    DatasetNotFoundError,
    InvalidRecordsError,
    NotArgillaError,
    PermissionDeniedError,
    RejectedBatchError,
    TransientError,
)

_TRANSIENT = (408, 425, 429, 500, 502, 503, 504)
_POSITION = re.compile(r'Record at position (\d+) is not valid because (.*)', re.DOTALL)


def fault(response: httpx.Response, server: str, clean: Callable[[str], str]) -> Exception:
    """The exception for an answer that is not a success.

    Args:
        server: its address, for messages.
        clean: takes secrets out of a text.
    """
    status = response.status_code
    detail, reasons = _detail(response)
    request_id = response.headers.get('X-Request-ID')
    where = f'{response.request.method} {response.request.url.path}'
    message = clean(f'{where}: {status}: {detail}' + (f' (request {request_id})' if request_id else ''))
    if status == 401:
        return AuthenticationError(f'{server} does not know the API key. Check the key and the address. {message}')
    if status == 403:
        return PermissionDeniedError(
            f"The API key's user may not do this on {server}: it must be an owner, or an admin of the "
            f'workspace. {message}'
        )
    if status == 404 and isinstance(detail, str) and 'Dataset' in detail:
        return DatasetNotFoundError(f'The dataset is gone from {server}. {message}')
    if status in _TRANSIENT:
        return TransientError(message, str(status), status, _retry_after(response.headers.get('Retry-After')))
    if status == 422 and reasons:
        return InvalidRecordsError(message, {i: clean(r) for i, r in reasons.items()})
    if response.is_redirect:
        return NotArgillaError(f'{server} redirects to {response.headers.get("Location")}: use that address.')
    return RejectedBatchError(message, status)


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
    date = http_date(value)
    return max(0.0, (date - datetime.now(timezone.utc)).total_seconds()) if date else None


def http_date(value: str | None) -> datetime | None:
    try:
        date = parsedate_to_datetime(value) if value else None
    except ValueError:
        return None
    return date.replace(tzinfo=timezone.utc) if date is not None and date.tzinfo is None else date
