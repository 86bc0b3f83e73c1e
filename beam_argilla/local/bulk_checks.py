"""What argilla-server asks of each record in a bulk request, asked by its own validators.

They look up the same few settings of the dataset for each of hundreds of records, in models that take their time to
tell. Here they are told by plain objects, which know them from the start.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from argilla_server.contexts.accounts import list_users_by_ids
from argilla_server.errors.future import UnprocessableEntityError
from argilla_server.models import Dataset
from argilla_server.validators.records import RecordUpsertValidator
from argilla_server.validators.responses import ResponseCreateValidator
from msgspec import UNSET
from sqlalchemy.ext.asyncio import AsyncSession

from beam_argilla.local.bulk_items import Item


async def check(
    db: AsyncSession, dataset: Dataset, items: Sequence[Item], found: Sequence[dict[str, Any] | None]
) -> None:
    """Makes sure that all records may be written.

    Args:
      dataset: With its fields, questions, properties of metadata and settings of vectors.
      items: The records as they are sent.
      found: The record that is there already for each of them, or None.

    Raises:
      UnprocessableEntityError: One may not. The message names the first, in the words of argilla-server.
    """
    known = _Known(dataset)
    senders = {response.user_id for item in items for response in item.responses or ()}
    users = {user.id for user in await list_users_by_ids(db, senders)} if senders else set()
    for position, (item, record) in enumerate(zip(items, found, strict=True)):
        try:
            _check_one(known, users, item, record)
        except Exception as error:  # whatever it is, argilla-server does the same
            raise UnprocessableEntityError(f'Record at position {position} is not valid because {error}') from error


class _Known:
    """What the validators ask of a dataset."""

    def __init__(self, dataset: Dataset) -> None:
        self.id = dataset.id
        self.allow_extra_metadata = dataset.allow_extra_metadata
        self.fields = [
            _told(field, 'name', 'required', 'is_text', 'is_image', 'is_chat', 'is_custom') for field in dataset.fields
        ]
        self.questions = [_told(one, 'id', 'name', 'required', 'parsed_settings') for one in dataset.questions]
        self.question_by_id = {question.id: question for question in self.questions}.get
        properties = [_told(one, 'name', 'parsed_settings') for one in dataset.metadata_properties]
        self.metadata_property_by_name = {one.name: one for one in properties}.get
        self.vector_settings_by_name = {one.name: one for one in dataset.vectors_settings}.get


def _told(model: Any, *names: str) -> SimpleNamespace:
    return SimpleNamespace(**{name: getattr(model, name) for name in names})


class _Validator(RecordUpsertValidator):
    """argilla-server's checks, one by one."""

    check_fields = RecordUpsertValidator._validate_fields
    check_metadata = RecordUpsertValidator._validate_metadata
    check_suggestions = RecordUpsertValidator._validate_suggestions
    check_vectors = RecordUpsertValidator._validate_vectors


def _check_one(known: _Known, users: set[Any], item: Item, found: dict[str, Any] | None) -> None:
    # In the order of argilla-server, which ends with the first that fails: another one for what is there already.
    if found is None or item.fields is not UNSET:
        _Validator.check_fields(None if item.fields is UNSET else item.fields, known)
    _Validator.check_metadata(None if item.metadata is UNSET else item.metadata, known)
    # Suggestions and responses are held against the fields that are there already, if they are.
    record = SimpleNamespace(fields=item.fields if found is None else found['fields'], dataset=known)
    if found is None:
        _Validator.check_suggestions(item.suggestions, known, record)
        _Validator.check_vectors(item.vectors, known)
    else:
        _Validator.check_vectors(item.vectors, known)
        _Validator.check_suggestions(item.suggestions, known, record)
    _check_responses(users, item.responses, record)


def _check_responses(users: set[Any], responses: list[Any] | None, record: Any) -> None:
    # argilla-server's own has a query for the users of each record.
    try:
        for response in responses or ():
            if response.user_id not in users:
                raise ValueError(f'user with id {response.user_id} not found')
            ResponseCreateValidator.validate(response, record)
    except (UnprocessableEntityError, ValueError) as error:
        raise UnprocessableEntityError(f'record does not have valid responses: {error}') from error
