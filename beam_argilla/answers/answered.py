"""A record as people have answered it, and what of it is the instruction, its id, and each generation."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from beam_argilla.failures import to_json
from beam_argilla.records import Suggestion


class Response(NamedTuple):
    """What one person answered to a record.

    Attributes:
        user: who: the name, the id where names may not be listed, or ``annotator-1`` … if people shall not be named.
        status: ``submitted``, ``draft`` or ``discarded``.
        values: question → value: an int for a rating, a str for a text or a label, a list of str for several labels,
            ``[{'value': ..., 'rank': ...}, ...]`` for a ranking, ``[{'label': ..., 'start': ..., 'end': ...}, ...]``
            for spans. Questions that were not answered are not there; a draft or a discarded answer may have none.
        inserted_at, updated_at: when it was made and last changed, by the server's clock; in UTC.
        user_id: the server's UUID of the person; None if people shall not be named.
    """

    user: str
    status: str
    values: Mapping[str, Any]
    inserted_at: datetime
    updated_at: datetime
    user_id: str | None = None


class AnsweredRecord(NamedTuple):
    """A record of any dataset with what people, and models before them, say of it.

    Attributes:
        record_id: the server's UUID.
        external_id: as it was written; None if it has none.
        status: ``completed`` once as many have submitted as the dataset asks for; else ``pending``.
        fields: name → text, messages of a chat (``{'role': ..., 'content': ...}``), an image's URL, or what a custom
            field holds.
        metadata: name → value.
        suggestions: at most one per question; values as those of a `Response`.
        responses: at most one per person, in the order in which they were made.
        questions: all questions of the dataset, in their order → kind: ``rating``, ``ranking``, ``label_selection``,
            ``multi_label_selection``, ``text`` or ``span``.
        inserted_at, updated_at: when the record was made and last changed (not its responses), by the server's clock;
            in UTC.
    """

    record_id: str
    external_id: str | None
    status: str
    fields: Mapping[str, Any]
    metadata: Mapping[str, Any]
    suggestions: Sequence[Suggestion]
    responses: Sequence[Response]
    questions: Mapping[str, str]
    inserted_at: datetime
    updated_at: datetime


class Generation(NamedTuple):
    """One of the answers of models that a record shows.

    Attributes:
        field: the name of its field.
        position: which of the record's generations it is, counted from 0.
        text: the generation; messages if its field is a chat.
        model_name: None if the record does not say it.
    """

    field: str
    position: int
    text: Any
    model_name: str | None


_PLACE = re.compile(r'generations-(\d+)')


def instruction_id(record: AnsweredRecord) -> str:
    """What belongs together has it in common: the field ``id``, else the external id, else the server's."""
    shown = record.fields.get('id')
    return shown if isinstance(shown, str) else record.external_id or record.record_id


def generation_fields(fields: Iterable[str]) -> list[str]:
    """Those in which `Preference` or `TextGeneration` (or distilabel) shows generations, in their order."""
    names = list(fields)
    places = sorted((int(m[1]), name) for name in names if (m := _PLACE.fullmatch(name)))
    return [name for _, name in places] or [name for name in names if name == 'generation']


def generations(record: AnsweredRecord, fields: Sequence[str] | None = None) -> list[Generation]:
    """The generations of a record.

    Args:
        fields: where they are; None: see `generation_fields`.
    """
    names = generation_fields(record.fields) if fields is None else fields
    alone = record.metadata.get('model_name') if len(names) == 1 else None
    return [
        Generation(name, position, record.fields[name], _name(record.metadata.get(f'{name}-model', alone)))
        for position, name in enumerate(names)
        if record.fields.get(name) is not None
    ]


def _name(value: Any) -> str | None:
    """A model's name, which somebody may have kept as a number, or in a list."""
    return value if value is None or isinstance(value, str) else to_json(value)
