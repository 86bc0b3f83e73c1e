"""What a dataset shall hold, and what it holds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import httpx

from tests.writing.test_write import dataset_id, stored


class Content(NamedTuple):
    """What a record says; suggestions are question → value."""

    fields: dict[str, Any]
    suggestions: dict[str, Any]
    metadata: dict[str, Any]


def expected(elements: Iterable[dict[str, Any]]) -> dict[str, Content]:
    """External id → what the preference record of long rows holds, side by side in the order of the models' names."""
    made: dict[str, Content] = {}
    for row in sorted(elements, key=lambda row: (row['instruction_id'], row['model_name'])):
        fresh = Content({'id': row['instruction_id'], 'instruction': row['instruction']}, {}, {'length': row['length']})
        fields, suggestions, _ = made.setdefault(row['instruction_id'], fresh)
        place = f'generations-{len(fields) - 2}'
        fields[place] = row['generation']
        suggestions |= {f'{place}-rating': row['rating'], f'{place}-rationale': row['rationale']}
    return made


def held(api: httpx.Client, name: str) -> dict[str, Content]:
    """The same of what the server holds."""
    questions = api.get(f'/datasets/{dataset_id(api, name)}/questions').json()['items']
    names = {question['id']: question['name'] for question in questions}
    return {
        id: Content(
            record['fields'],
            {names[suggestion['question_id']]: suggestion['value'] for suggestion in record['suggestions']},
            record['metadata'] or {},
        )
        for id, record in stored(api, name).items()
    }
