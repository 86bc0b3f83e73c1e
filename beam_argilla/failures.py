"""The one shape of everything that is refused, from a row without text to a record the server does not take."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Set
from typing import Any, NamedTuple

import orjson


class FailedRecord(NamedTuple):
    """A row, group or record that was not written, with the reason and enough to repair it.

    Attributes:
        external_id: the record's external id if there was one yet, else the instruction id, else None.
        stage: where it was refused: ``format`` (rows), ``group`` (rows), ``build`` (rows), ``validate`` or ``write``
            (a record), ``read`` (a response).
        error: a short, stable name of the reason, such as ``NullGeneration``; also the suffix of the metric.
        message: what is wrong and what to do, for people.
        status: the server's HTTP status, None if the server was not asked.
        data: JSON. ``{"record": {...}}``; ``{"group": [...]}``, the canonical rows of a whole group; ``{"rows":
            [...]}``, canonical rows that are not a whole group; or ``{"input": [...]}``, rows as they were read. Of
            those, a wide row (its generations are a list) is a whole group, unless ids come in several rows
            (``shuffle=True``); a long row is a part of one. Their values are written so that they mean the same when
            they are read again; one that cannot mean what it should is ``{"unusable": ...}``, until it is repaired.
            ``{"file": ...}`` could not be read, and ``{"text": ...}`` is no row of its file: repaired, it is an input.
            ``{"response": ...}`` is what somebody answered.
        source: the file that a row was read from, None if it is not known or was no file.
        row: which row of the file, counted from 0.
        digests: of the record, or of each of the canonical rows (with blanks between), as they were when they were
            refused: by them `LeaveOutRetried` knows what of the input they take the place of, however they are edited.
    """

    external_id: str | None
    stage: str
    error: str
    message: str
    status: int | None
    data: str
    source: str | None = None
    row: int | None = None
    digests: str | None = None

    def to_json(self) -> str:
        """One JSON line, `data` nested as JSON rather than as a string."""
        return to_json({**self._asdict(), 'data': orjson.loads(self.data)})

    def shown(self) -> str:
        """What was refused and why, in a line for people."""
        return f'{self.external_id}: {self.error}: {self.message}{where(self)}'


def where(failed: FailedRecord) -> str:
    """The file and row in brackets, for people; nothing if they are not known.

    No method: from another process, Beam brings a tuple of these names that has none.
    """
    return '' if failed.row is None else f' ({failed.source}, row {failed.row} counted from 0)'


def to_json(value: Any) -> str:
    """JSON of anything a row or record can hold; what JSON has no form for is written as its `str`.

    What UTF-8 cannot carry is escaped, and what is nested too deeply cut off, for a refusal must always be reportable.
    """
    option = orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY
    try:
        return orjson.dumps(value, default=_default, option=option).decode()
    except Exception:  # of whatever a user put there
        return orjson.dumps(_printable(value)).decode()


_DEEPEST = 50


def _default(value: Any) -> Any:
    """What orjson does not know."""
    if isinstance(value, Set):
        return list(value)
    return None if type(value).__name__ in ('NAType', 'NaTType') else _text(value)  # pandas' null


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode('utf-8', 'backslashreplace')
    try:
        return str(value).encode('utf-8', 'backslashreplace').decode()
    except Exception:  # of whatever a user put there
        return f'a {_text(type(value).__name__)} that cannot be shown'


def _printable(value: Any, within: tuple[int, ...] = ()) -> Any:
    """The same of what orjson writes for certain; `within` are the ids of what holds it."""
    if value is None or type(value) in (bool, float):
        return value
    if type(value) is int:  # of more than orjson's 64 bits; str has a limit on its length
        return value if -(2**63) <= value < 2**64 else str(value) if value.bit_length() < 10_000 else hex(value)
    if not isinstance(value, (Mapping, list, tuple, Set)):
        default = _default(value)
        return default if default is None else _text(default)
    if id(value) in within or len(within) == _DEEPEST:
        return '...'
    inside = (*within, id(value))
    try:
        if isinstance(value, Mapping):
            return {_text(k): _printable(v, inside) for k, v in value.items()}
        return [_printable(v, inside) for v in value]
    except Exception:  # such as a mapping that has no items
        return _text(value)


def finite(value: Any, depth: int = 0) -> Any:
    """The value with the names of infinity and NaN in their place: JSON would make null of them."""
    if isinstance(value, Mapping) and depth < _DEEPEST:
        return {k: finite(v, depth + 1) for k, v in value.items()}
    if isinstance(value, (list, tuple)) and depth < _DEEPEST:
        return [finite(v, depth + 1) for v in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def digest(content: Mapping[str, Any]) -> str:
    """16 hex digits of what is refused."""
    return hashlib.sha256(to_json(dict(sorted(content.items()))).encode()).hexdigest()[:16]


def failed_rows(
    rows: Iterable[Mapping[str, Any]],
    stage: str,
    error: str,
    message: str,
    external_id: str | None = None,
    key: str = 'rows',
    source: str | None = None,
    row: int | None = None,
) -> FailedRecord:
    """A FailedRecord made of rows; `key` says which, see `FailedRecord.data`."""
    rows = list(rows)
    digests = None if key == 'input' else ' '.join(map(digest, rows))
    return FailedRecord(external_id, stage, error, message, None, to_json({key: rows}), source, row, digests)
