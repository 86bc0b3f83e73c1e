"""What an answer that is no success means: who gave it, and what becomes of the request.

Only a JSON answer in Argilla's own form is Argilla's word. Anything else (a web page, another JSON, nothing), whatever
its status, comes from something between here and the server, which knows nothing of keys, datasets or records.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Container
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from enum import Enum
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
from beam_argilla.server.cleaning import shortened, without_user


class Verdict(Enum):
    """What becomes of a request."""

    PASSING = 'It is tried again until the time limit, and no record is ever to blame.'
    FAILING = (
        'As PASSING; but if it stays while the server is otherwise well, a batch is halved, down to the record that it '
        'comes for.'
    )
    ODD = 'As PASSING; but if it stays while the server is otherwise well, it is a refusal, as BLOCKED is.'
    BLOCKED = (
        'If it comes twice, it is a refusal: it costs the record that it comes for if a request without any got '
        'through meanwhile, and ends the job (`GatewayError`) if that is refused as well, or on any other request.'
    )
    REFUSED = 'It costs the records that Argilla names; a batch is halved, down to the record that it comes for.'
    UNKNOWN_KEY = 'It ends the job: `AuthenticationError`.'
    FORBIDDEN = 'It ends the job: `PermissionDeniedError`.'
    ABSENT = 'It ends the job: `DatasetNotFoundError` if it is the dataset, else `NotArgillaError`.'


_BUSY = {425, 429, 503}
_FAILING = {408, *range(500, 600)} - {501, 505}
_ANY = range(1000)
# The first line with the status counts.
_OF_ARGILLA: tuple[tuple[Container[int], Verdict], ...] = (
    ({401}, Verdict.UNKNOWN_KEY),
    ({403}, Verdict.FORBIDDEN),
    ({404, 405, 501, 505}, Verdict.ABSENT),
    (_BUSY, Verdict.PASSING),
    (_FAILING, Verdict.FAILING),
    (_ANY, Verdict.REFUSED),
)
_OF_OTHERS: tuple[tuple[Container[int], Verdict], ...] = (
    (_BUSY - {503}, Verdict.PASSING),
    (_FAILING, Verdict.FAILING),  # some gateways drop, or answer 502, 503 or 504 for, what one record holds
    ({*range(200, 300), 404}, Verdict.ODD),  # an outage at some gateways, a firewall's page or a wrong address
    (_ANY, Verdict.BLOCKED),
)


def verdict(status: int | None, foreign: bool, waking: bool = False) -> Verdict:
    """What becomes of a request that was answered so.

    Args:
        status: of the answer; None if there was none.
        foreign: it was not in Argilla's own form.
        waking: it said that something is being started.
    """
    if status is None:
        return Verdict.FAILING
    found = next(v for statuses, v in (_OF_OTHERS if foreign else _OF_ARGILLA) if status in statuses)
    if waking and found is Verdict.BLOCKED:
        return Verdict.ODD
    return Verdict.PASSING if waking and found is Verdict.FAILING else found


def fault(response: httpx.Response, server: str, clean: Callable[[str], str]) -> Exception:
    """The exception for an answer that is not a success.

    Args:
        server: its address, for messages.
        clean: takes out of a text what must not be shown.
    """
    own = _own_detail(response)
    if own is None:
        return foreign(response, server, clean)
    status = response.status_code
    detail, reasons = _read_detail(own, clean)
    message = clean(f'{_request(response)}: {status}: {detail}{_logged_as(response)}')
    match verdict(status, foreign=False):
        case Verdict.UNKNOWN_KEY:
            return AuthenticationError(f'{server} does not know the API key. Check the key and the address. {message}')
        case Verdict.FORBIDDEN:
            return PermissionDeniedError(
                f"The API key's user may not do this on {server}: it must be an owner, or an admin of the "
                f'workspace. {message}'
            )
        case Verdict.ABSENT if status == 404 and 'Dataset' in detail:
            return DatasetNotFoundError(f'The dataset is gone from {server}. {message}')
        case Verdict.ABSENT:
            return NotArgillaError(f'{server} knows no such request: is it Argilla, of a supported version? {message}')
        case Verdict.FAILING | Verdict.PASSING:
            return TransientError(message, str(status), status, _retry_after(response.headers.get('Retry-After')))
    if status == 422 and reasons:
        return InvalidRecordsError(message, reasons)
    return RejectedBatchError(message, status)


def foreign(response: httpx.Response, server: str, clean: Callable[[str], str]) -> TransientError:
    """The failure that an answer is which is not Argilla's, of any status; see `fault`."""
    status = response.status_code
    said = _said(response, clean)
    shown = shortened(said, _LONGEST_SAID)
    message = clean(
        f'Something between here and {server} answered {status} to {_request(response)}: {shown}{_logged_as(response)}'
    )
    wait = _retry_after(response.headers.get('Retry-After'))
    waking = _is_waking(said, _text(response)[:_LONGEST_READ])
    return TransientError(message, str(status), status, wait, foreign=True, waking=waking)


def _request(response: httpx.Response) -> str:
    return f'{response.request.method} {response.request.url.path}'


def _logged_as(response: httpx.Response) -> str:
    request_id = response.headers.get('X-Request-ID')
    return f' (request {request_id})' if request_id and len(request_id) <= _LONGEST_ID else ''


# -- Argilla's own form


def _own_detail(response: httpx.Response) -> Any:
    """What Argilla says is wrong; None if it is not Argilla that says so."""
    if response.status_code == 500 and response.content == b'Internal Server Error':
        return 'Internal Server Error'  # its last resort
    try:
        body = orjson.loads(response.content)
    except ValueError:
        return None
    match body:
        case {'detail': str() | {'code': _} | {'params': _}} if response.is_error and len(body) == 1:
            return body['detail']
        case {'code': str(), 'message': str()} if response.is_error and len(body) == 2:
            return body['message']
    return None


_LONGEST_ID, _LONGEST_DETAIL = 100, 2000  # characters
_POSITION = re.compile(r'Record at position (\d{1,9}) is not valid because (.*)', re.DOTALL)


def _read_detail(detail: Any, clean: Callable[[str], str]) -> tuple[str, dict[int, str]]:
    """The server's message, and position → reason where a 422 names records.

    Two forms: ``{"detail": "Record at position 3 is not valid because …"}`` names the first bad record only;
    ``{"detail": {"params": {"errors": [{"loc": ["body", "items", 3, …], "msg": …}]}}}`` names all of them.
    """
    if isinstance(detail, str):
        detail = clean(detail)
        named = _POSITION.match(detail)
        return detail, {int(named[1]): named[2]} if named else {}
    reasons: dict[int, str] = {}
    for error in _errors(detail):
        match error:
            case {'loc': ['body', 'items', int(index), *path], 'msg': message}:
                reason = clean(f'{".".join(map(str, path))}: {message}')
                reasons[index] = f'{reasons[index]}; {reason}' if index in reasons else reason
    return shortened(clean(orjson.dumps(detail).decode()), _LONGEST_DETAIL), reasons


def _errors(detail: Any) -> list[Any]:
    match detail:
        case {'params': {'errors': [*errors]}}:
            return errors
    return []


# -- what others say

_LONGEST_SAID, _LONGEST_READ = 300, 20_000
# Pages that say that a server is being started are short, and say so in words or, in whatever language, by loading
# themselves anew. Words of theirs that other pages have as well ('getting started', 'building the future', 'starting at
# $5') are not among these.
_LONGEST_NOTICE = 1_500
_WAKING = re.compile(
    r'\b(?:(?:re-?)?starting(?! (?:at|from|point|with|an?)\b)|(?:re)?building(?! (?:the|an?|with|your own|for)\b)'
    r'|booting|waking|wakes? (?:\w+ ){0,2}up|asleep|sleeping|to sleep|hibernat\w+|cold start|preparing|provisioning'
    r'|deploying|initiali[sz]ing|starts? up|(?:warming|spinning) up|not (?:yet )?ready|(?:is|being) (?:re)?started)\b',
    re.IGNORECASE,
)
# Not those that lead elsewhere, such as to a log-in page.
_LOADS_ANEW = re.compile(
    r"""<meta\b(?=[^>]*\bhttp-equiv\s*=\s*["']?refresh\b)[^>]*\bcontent\s*=\s*["']?\s*[0-9.]+\s*["'/>]""", re.IGNORECASE
)
_NOT_SHOWN = re.compile(r'<!--.*?-->|<(script|style|template)\b.*?</\1\s*>|<[^>]*>', re.DOTALL | re.IGNORECASE)


def _is_waking(said: str, page: str) -> bool:
    return len(said) < _LONGEST_NOTICE and any((_WAKING.search(said), _LOADS_ANEW.search(page)))


def _said(response: httpx.Response, clean: Callable[[str], str]) -> str:
    """What a person would read, in a line. Of a redirect: where to."""
    if response.has_redirect_location:
        place = without_user(re.split('[?#]', response.headers['Location'])[0])
        return f'it redirects to {place}: use that address'
    text = clean(_text(response))[:_LONGEST_READ]
    if 'html' in response.headers.get('Content-Type', '') or text.lstrip().startswith('<'):
        text = f'a web page: {clean(html.unescape(_NOT_SHOWN.sub(" ", text)))}'
    return ' '.join(text.split()) or response.reason_phrase or 'nothing'


def _text(response: httpx.Response) -> str:
    try:
        return response.text
    except Exception:  # of a codec that is none of text, which the server says it has written in
        return response.content.decode(errors='replace')


# -- headers


def _retry_after(value: str | None) -> float | None:
    """Seconds of a Retry-After header, in either of its forms."""
    if not value:
        return None
    if value.strip().isascii() and value.strip().isdigit():
        return float(value)
    try:
        date = parsedate_to_datetime(value)
        date = date if date.tzinfo else date.replace(tzinfo=timezone.utc)
        return max(0.0, (date - datetime.now(timezone.utc)).total_seconds())
    except (ValueError, OverflowError):  # no date, or one in a year that Python does not have
        return None
