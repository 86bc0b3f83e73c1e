"""Rows and small helpers that several tests use."""

from __future__ import annotations

import contextlib
import itertools
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

import beam_argilla as ba
from beam_argilla.input.tables import to_canonical

MODELS = ('alpha', 'beta', 'gamma', 'delta')


def rows(groups: int, generations: int = 4) -> list[dict[str, Any]]:
    """Long rows, group by group."""
    return [
        {
            'instruction_id': f'i{g:04d}',
            'instruction': f'What is {g} plus one?',
            'generation': f'{MODELS[m]} says {g + 1}.',
            'model_name': MODELS[m],
            'rating': 1 + (g + m) % 5,
            'rationale': f'Because of {g} and {m}.',
            'topic': ('sums', 'counting')[g % 2],
            'length': g,
            'share': g / 8,
        }
        for g, m in itertools.product(range(groups), range(generations))
    ]


COLUMNS = ba.Columns(instruction_id='instruction_id')


def canonical(elements: list[dict[str, Any]], columns: ba.Columns = COLUMNS) -> pa.Table:
    return to_canonical(pa.Table.from_pylist(elements), columns).table


def unique(name: str) -> str:
    """A dataset name that no other test uses."""
    return f'{name}-{uuid.uuid4().hex[:8]}'


@contextlib.contextmanager
def pipeline() -> Iterator[beam.Pipeline]:
    """A pipeline on a runner that downloads nothing."""
    with beam.Pipeline(runner=FnApiRunner()) as p:
        yield p


def counters(result: Any) -> Counter[str]:
    """The package's counters by name, over all steps; 0 for those that nothing was counted in."""
    return Counter(ba.counters(result))


def write(folder: Path, elements: list[dict], files: int, row_group_size: int = 1000) -> str:
    for i in range(files):
        pq.write_table(pa.Table.from_pylist(elements[i::files]), folder / f'{i}.parquet', row_group_size=row_group_size)
    return str(folder / '*.parquet')


def content(table: pa.Table) -> list[tuple]:
    return [(r['instruction_id'], r['model_name'], r['generation'], r['rating']) for r in table.to_pylist()]
