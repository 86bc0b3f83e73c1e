"""`LimitGroups`: some of the groups, for a trial."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable, Iterator

import apache_beam as beam
import numpy as np
import pyarrow as pa

from beam_argilla.coding import GenerationTable
from beam_argilla.generations import InputFacts, group_starts
from beam_argilla.metrics import count

# What groups are put in order by: the hash of their instruction id, and the id.
_Key = tuple[bytes, str]


class LimitGroups(beam.PTransform):
    """Keeps the first groups by a hash of their instruction ids: as good as drawn, and the same on every run.

    Input, output: PCollection of canonical tables in which every group is whole (`GroupGenerations`), bounded. What is
    left out is counted as ``groups_left_out``.

    Args:
        limit: how many groups.

    Raises:
        ValueError: `limit` is not positive.

    Example:
        >>> groups | ba.LimitGroups(100) | ba.BuildRecords(task)
    """

    def __init__(self, limit: int):
        super().__init__()
        if limit < 1:
            raise ValueError(f'limit={limit}: it must be at least 1')
        self.limit = limit

    def expand(self, groups: beam.PCollection) -> beam.PCollection:
        last = groups | 'Keys' >> beam.Map(_keys) | 'Last' >> beam.CombineGlobally(_Last(self.limit))
        kept = groups | 'Keep' >> beam.FlatMap(_up_to, beam.pvalue.AsSingleton(last)).with_output_types(GenerationTable)
        kept.input_facts = getattr(groups, 'input_facts', InputFacts())
        return kept

    def display_data(self) -> dict[str, int]:
        return {'limit': self.limit}


def _keys(table: pa.Table) -> list[_Key]:
    ids = table.column('instruction_id').take(pa.array(group_starts(table))).to_pylist()
    return [(hashlib.blake2b(name.encode(), digest_size=8).digest(), name) for name in ids]


class _Last(beam.CombineFn):
    """Lists of keys → the last one that is kept; None if all are."""

    def __init__(self, limit: int):
        self._limit = limit

    def create_accumulator(self) -> list[_Key]:
        return []

    def add_input(self, first: list[_Key], keys: list[_Key]) -> list[_Key]:
        return heapq.nsmallest(self._limit, [*first, *keys])

    def merge_accumulators(self, accumulators: Iterable[list[_Key]]) -> list[_Key]:
        return heapq.nsmallest(self._limit, (key for keys in accumulators for key in keys))

    def extract_output(self, first: list[_Key]) -> _Key | None:
        return first[-1] if len(first) == self._limit else None


def _up_to(table: pa.Table, last: _Key | None) -> Iterator[pa.Table]:
    keep = np.array([last is None or key <= last for key in _keys(table)], bool)
    if not keep.all():
        count('groups_left_out', int((~keep).sum()))
        sizes = np.diff(np.append(group_starts(table), table.num_rows))
        table = table.filter(pa.array(np.repeat(keep, sizes)))
    if table.num_rows:
        yield table
