"""Records as people have answered them, made by hand."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from beam_argilla.answers.answered import AnsweredRecord, Response
from beam_argilla.records import Suggestion

NOON = datetime(2026, 11, 26, 12, tzinfo=timezone.utc)


def answered(
    fields: Mapping[str, Any],
    responses: Mapping[str, Mapping[str, Any]] | None = None,
    questions: Mapping[str, str] | None = None,
    suggestions: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
    external_id: str | None = 'the-id',
    status: str = 'submitted',
) -> AnsweredRecord:
    """A record with `responses`, user → question → value, each a minute after the one before."""
    people = enumerate((responses or {}).items())
    return AnsweredRecord(
        record_id='the-uuid',
        external_id=external_id,
        status='completed' if responses else 'pending',
        fields=fields,
        metadata=metadata or {},
        suggestions=[Suggestion(question, value, agent='judge') for question, value in (suggestions or {}).items()],
        responses=[
            Response(user, status, values, NOON + timedelta(minutes=i), NOON + timedelta(minutes=i), f'uuid-of-{user}')
            for i, (user, values) in people
        ],
        questions=questions or {},
        inserted_at=NOON,
        updated_at=NOON,
    )
