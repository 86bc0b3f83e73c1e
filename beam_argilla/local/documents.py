"""Records as argilla-server's search engines take them: with what these ask models for, and no model."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from argilla_server.models import Dataset
from msgspec import structs

from beam_argilla.local.record_json import decoded


def as_documents(dataset: Dataset, records: Sequence[dict[str, Any]]) -> list[Any]:
    """Makes them of whole records, as `record_json` does.

    Args:
      dataset: With its fields, questions, properties of metadata and settings of vectors.
      records: With responses, suggestions and vectors.
    """
    questions = {str(question.id): question for question in dataset.questions}
    vectors_settings = {settings.name: settings for settings in dataset.vectors_settings}
    return [
        SimpleNamespace(
            id=record['id'],
            external_id=record['external_id'],
            # A copy: the engines write into it what they make of some.
            fields=dict(record['fields']),
            metadata_=record['metadata'],
            status=record['status'],
            inserted_at=record['inserted_at'],
            updated_at=record['updated_at'],
            dataset=dataset,
            responses=[
                SimpleNamespace(**response | {'values': response['values'] or {}}) for response in record['responses']
            ],
            suggestions=[
                SimpleNamespace(
                    **structs.asdict(suggestion) | {'value': decoded(suggestion.value)},
                    question=questions[suggestion.question_id],
                )
                for suggestion in record['suggestions']
            ],
            vectors=[
                SimpleNamespace(value=value, vector_settings=vectors_settings[name])
                for name, value in record['vectors'].items()
            ],
        )
        for record in records
    ]
