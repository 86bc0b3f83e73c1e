"""An Argilla record, whoever made it, and what its ids and its suggestions' agents are called."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from beam_argilla.failures import FailedRecord, digest, finite, to_json

MAX_AGENT_LENGTH = 200  # characters; argilla-server 2.8
_AGENT = re.compile(r'[a-zA-Z0-9\-_:./\s]*[a-zA-Z0-9][a-zA-Z0-9\-_:./\s]*', re.ASCII)


class Suggestion(NamedTuple):
    """A proposed answer to a question.

    Attributes:
        question: name of the question.
        value: an int for a rating, a str for a text or a label, a list for the rest.
        agent: who suggests it; 1 to 200 characters of ``a-zA-Z0-9-_:./`` and white space. See `agent_name`.
        score: 0 to 1.
        type: ``model`` or ``human``.
    """

    question: str
    value: Any
    agent: str | None = None
    score: float | None = None
    type: str | None = None


class Record(NamedTuple):
    """One record to write. Responses are people's: a record has none, so writing it again never touches one.

    Attributes:
        external_id: identifies the record in the dataset: writing the same id again updates the record.
        fields: name → text.
        suggestions: at most one per question.
        metadata: name → value; always complete, for the server replaces what is there.
        warnings: what was left out while building it, for people; not sent.
        vectors: name → numbers, as many as the dataset's vector has dimensions. One that is not given stays what it is
            on the server.
        record_id: the server's UUID of the record to update, whatever the external id of that is. None: the one with
            this external id, or a new one.
    """

    external_id: str
    fields: Mapping[str, Any]
    suggestions: Sequence[Suggestion] = ()
    metadata: Mapping[str, Any] = {}  # a NamedTuple's default, never changed; so is that of vectors
    warnings: Sequence[str] = ()
    vectors: Mapping[str, Sequence[float]] = {}
    record_id: str | None = None


def failed_record(record: Record, stage: str, error: str, message: str, status: int | None = None) -> FailedRecord:
    """A FailedRecord that holds the record."""
    content = _content(record)
    identity = str(record.external_id).encode('utf-8', 'backslashreplace').decode()  # whatever was given as an id
    data = to_json({'record': content})
    return FailedRecord(identity, stage, error, message, status, data, digests=record_digest(record))


def record_digest(record: Record) -> str:
    """See `FailedRecord.digests`. It is the same whichever record of the server's is to be updated."""
    return digest({k: v for k, v in _content(record).items() if k not in ('warnings', 'record_id')})


def _content(record: Record) -> dict[str, Any]:
    """The record as it stands in JSON."""
    suggestions = [Suggestion(*s)._asdict() for s in record.suggestions]
    return finite({**record._asdict(), 'suggestions': suggestions})


def external_id(instruction_id: str, namespace: str | None = None, suffix: str | None = None) -> str:
    """``[namespace/]instruction_id[-suffix]``."""
    prefix = f'{namespace}/' if namespace else ''
    return f'{prefix}{instruction_id}-{suffix}' if suffix else prefix + instruction_id


def is_external_id(text: str, instruction_id: str) -> bool:
    """Whether `external_id` makes this text of the instruction id, with whatever namespace and suffix."""
    return re.fullmatch(f'(.*/)?{re.escape(instruction_id)}(-[0-9a-f]{{12}})?', text, re.DOTALL) is not None


def generation_suffix(model_name: str | None, generation: str) -> str:
    """12 hex digits of the generation's content: what tells a group's generations apart, whatever is added later."""
    return hashlib.sha256(f'{model_name or ""}\0{generation}'.encode()).hexdigest()[:12]


def agent_name(name: str | None) -> str | None:
    """The nearest name that the server takes as an agent; None if nothing of it can stay."""
    if name is None:
        return None
    name = re.sub(r'[^a-zA-Z0-9\-_:./\s]', '-', name, flags=re.ASCII)[:MAX_AGENT_LENGTH]
    return name if is_agent_name(name) else None


def is_agent_name(name: str) -> bool:
    """Whether the server takes the name as an agent."""
    return len(name) <= MAX_AGENT_LENGTH and _AGENT.fullmatch(name) is not None
