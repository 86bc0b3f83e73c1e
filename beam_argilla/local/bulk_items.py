"""The body of a bulk request, read in a tenth of the time that argilla-server's models take.

What is read here means to those models just what it says here. Everything else, be it wrong or only unusual (a number
for a text, a key that nobody knows), is theirs to read, to convert or to refuse.
"""

from __future__ import annotations

import functools
import re
from typing import Any
from uuid import UUID

import msgspec
from argilla_server.api.schemas.v1.chat import ChatFieldValue
from argilla_server.api.schemas.v1.records import CHAT_FIELDS_MAX_MESSAGES
from argilla_server.api.schemas.v1.records_bulk import RECORDS_BULK_UPSERT_MAX_ITEMS, RECORDS_BULK_UPSERT_MIN_ITEMS
from argilla_server.api.schemas.v1.responses import UserResponseCreate
from argilla_server.api.schemas.v1.suggestions import AGENT_MAX_LENGTH, SuggestionCreate
from argilla_server.enums import SuggestionType
from msgspec import UNSET, UnsetType
from pydantic import TypeAdapter, ValidationError

from beam_argilla.local.routes import ServersOwnWay

# argilla-server's own pattern takes any white space; what that is differs between engines of patterns.
_AGENT = re.compile('[a-zA-Z0-9-_:./ ]*[a-zA-Z0-9][a-zA-Z0-9-_:./ ]*')
_VALUE = TypeAdapter[Any](SuggestionCreate.model_fields['value'].annotation)
_RESPONSES = TypeAdapter(list[UserResponseCreate])


class Suggestion(msgspec.Struct, forbid_unknown_fields=True):
    """A suggestion; the lists of spans and of ranks in its value are argilla-server's models."""

    question_id: UUID
    value: Any
    agent: str | None = None
    score: float | list[float] | None = None
    type: SuggestionType | None = None


class Item(msgspec.Struct, forbid_unknown_fields=True):
    """A record; the messages in its fields, and its responses, are argilla-server's models."""

    id: UUID | None = None
    fields: dict[str, Any] | UnsetType | None = UNSET
    metadata: dict[str, Any] | UnsetType | None = UNSET
    external_id: str | None = None
    responses: list[Any] | None = None
    suggestions: list[Suggestion] | None = None
    vectors: dict[str, list[float]] | None = None


class _Bulk(msgspec.Struct, forbid_unknown_fields=True):
    items: list[Item]


_decode = msgspec.json.Decoder(_Bulk).decode


def read_items(body: bytes) -> list[Item]:
    """Reads the body of a bulk request.

    Raises:
      ServersOwnWay: It is for argilla-server's models to read.
    """
    try:
        items = _decode(body).items
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        # What is no such body, no JSON to msgspec such as NaN, nested too deep, or no UTF-8.
        raise ServersOwnWay from None
    _demand(RECORDS_BULK_UPSERT_MIN_ITEMS <= len(items) <= RECORDS_BULK_UPSERT_MAX_ITEMS)
    external_ids = [item.external_id for item in items if item.external_id is not None]
    _demand(len(set(external_ids)) == len(external_ids))
    try:
        for item in items:
            if item.fields:
                item.fields = {name: _field(value) for name, value in item.fields.items()}
            for suggestion in item.suggestions or ():
                suggestion.value = _value(suggestion.value)
                _demand(suggestion.agent is None or _is_plain_agent(suggestion.agent))
                _demand(suggestion.score is None or _is_score(suggestion.score))
            if item.responses:
                item.responses = _RESPONSES.validate_python(item.responses)
                _demand(len({response.user_id for response in item.responses}) == len(item.responses))
    except (TypeError, ValidationError):
        raise ServersOwnWay from None
    return items


def _demand(condition: bool) -> None:
    if not condition:
        raise ServersOwnWay


def _field(value: Any) -> Any:
    if isinstance(value, list):
        _demand(len(value) <= CHAT_FIELDS_MAX_MESSAGES)
        return [ChatFieldValue(**message) for message in value]
    _demand(value is None or isinstance(value, str | dict))
    return value


def _value(value: Any) -> Any:
    if type(value) in (str, int):
        return value
    _demand(isinstance(value, list))
    return value if all(isinstance(element, str) for element in value) else _VALUE.validate_python(value)


@functools.lru_cache
def _is_plain_agent(agent: str) -> bool:
    return len(agent) <= AGENT_MAX_LENGTH and _AGENT.fullmatch(agent) is not None


def _is_score(score: float | list[float]) -> bool:
    scores = score if isinstance(score, list) else [score]
    return bool(scores) and all(0 <= one <= 1 for one in scores)
