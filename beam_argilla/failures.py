"""The one shape of everything that is refused, from a row without text to a record the server does not take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import orjson
from apache_beam import coders

STAGES = ('format', 'group', 'build', 'validate', 'write')


class FailedRecord(NamedTuple):
    """A row, group or record that was not written, with the reason and enough to repair it.

    Attributes:
        external_id: the record's external id if there was one yet, else the instruction id, else None.
        stage: where it was refused: ``format`` (rows), ``group`` (rows), ``build`` (rows), ``validate`` or ``write``
            (a record).
        error: a short, stable name of the reason, such as ``NullGeneration``; also the suffix of the metric.
        message: what is wrong and what to do, for people.
        status: the server's HTTP status, None if the server was not asked.
        data: JSON. ``{"record": {...}}``; ``{"group": [...]}``, the canonical rows of a whole group; ``{"rows":
            [...]}``, canonical rows that are not a whole group; or ``{"input": [...]}``, rows as they were read.
    """

    external_id: str | None
    stage: str
    error: str
    message: str
    status: int | None
    data: str

    def to_json(self) -> str:
        """One JSON line, `data` nested as JSON rather than as a string."""
        return to_json({**self._asdict(), 'data': orjson.loads(self.data)})


# A schema'd PCollection: `failed` can go to WriteToJson, BigQuery or SqlTransform as it is.
coders.registry.register_coder(FailedRecord, coders.RowCoder)


def to_json(value: Any) -> str:
    """JSON of anything a row can hold; what JSON has no form for is written as its `str`.

    A lone surrogate, which UTF-8 cannot carry, is replaced, for a refused row must always be reportable.
    """
    try:
        return orjson.dumps(value, default=_text, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY).decode()
    except TypeError:
        return orjson.dumps(_printable(value), default=_text, option=orjson.OPT_NON_STR_KEYS).decode()


def _text(value: Any) -> str:
    return value.decode('utf-8', 'backslashreplace') if isinstance(value, bytes) else str(value)


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode('utf-8', 'backslashreplace').decode()
    if isinstance(value, Mapping):
        return {_printable(str(k)): _printable(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_printable(v) for v in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**64:  # orjson's range
        return str(value)
    return value


def failed_rows(
    rows: Iterable[Mapping[str, Any]],
    stage: str,
    error: str,
    message: str,
    external_id: str | None = None,
    key: str = 'rows',
) -> FailedRecord:
    """A FailedRecord made of rows; `key` says which, see `FailedRecord.data`."""
    return FailedRecord(external_id, stage, error, message, None, to_json({key: list(rows)}))
