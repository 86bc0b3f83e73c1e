"""Files, what a dataset shall hold of them, and what it holds."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pyarrow as pa
import pyarrow.parquet as pq

from tests.writing.test_write import dataset_id, stored


def long_files(folder: Path, elements: list[dict]) -> str:
    """A pattern of files with the rows in no order."""
    shuffled = random.Random(0).sample(elements, len(elements))
    for i in range(3):
        pq.write_table(pa.Table.from_pylist(shuffled[i::3]), folder / f'{i}.parquet', row_group_size=50)
    return str(folder / '*.parquet')


def wide_file(folder: Path, elements: list[dict]) -> str:
    """A file with a row for each instruction."""
    groups: dict[str, dict[str, Any]] = {}
    for row in sorted(elements, key=lambda row: (row['instruction_id'], row['model_name'])):
        same = {name: row[name] for name in ('instruction_id', 'instruction', 'length')}
        group = groups.setdefault(row['instruction_id'], {**same, 'generation': [], 'rating': [], 'rationale': []})
        for name in ('generation', 'rating', 'rationale'):
            group[name].append(row[name])
    pq.write_table(pa.Table.from_pylist(list(groups.values())), folder / 'wide.parquet', row_group_size=7)
    return str(folder / 'wide.parquet')


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
