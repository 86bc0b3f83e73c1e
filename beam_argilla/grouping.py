"""`GroupGenerations`: from rows in any order over any number of files to tables in which every group is whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.metrics import Metrics
from apache_beam.utils.windowed_value import WindowedValue

from beam_argilla import _shuffle
from beam_argilla._fallible import Fallible, Refused, refuse
from beam_argilla.errors import InputError
from beam_argilla.failures import FailedRecord, failed_rows
from beam_argilla.generations import METADATA_PREFIX, GenerationTable, differ, group_starts, is_grouped, rows

# A bundle's rows are partitioned in slices of this size: large enough that a slice's IPC header (1 kB) does not
# count beside its share of rows, small enough for several bundles side by side in a worker.
_BUFFER_BYTES = 64 << 20


@dataclass(frozen=True)
class Policies:
    """What to do with groups that do not fit. The defaults lose nothing: what does not fit is refused with a reason.

    Args:
        on_conflict: one instruction id has different instruction texts. ``fail`` refuses the group; ``first`` shows
            the first text (in the group's order) with all generations.
        max_generations: how many generations a group may have; None: any number.
        overflow: a group has more. ``fail`` refuses the group; ``truncate`` keeps the first `max_generations` (in the
            group's order) and refuses the rest.
        min_generations: groups with fewer are refused.

    Raises:
        ValueError: an unknown policy, or numbers that no group can satisfy.
    """

    on_conflict: str = 'fail'
    max_generations: int | None = None
    overflow: str = 'fail'
    min_generations: int = 1

    def __post_init__(self) -> None:
        for name, value, known in (
            ('on_conflict', self.on_conflict, ('fail', 'first')),
            ('overflow', self.overflow, ('fail', 'truncate')),
        ):
            if value not in known:
                raise ValueError(f'{name}={value!r}: use one of {", ".join(map(repr, known))}')
        if self.min_generations < 1:
            raise ValueError(f'min_generations={self.min_generations}: it must be at least 1')
        if self.max_generations is not None and self.max_generations < self.min_generations:
            raise ValueError(
                f'min_generations={self.min_generations} is more than the {self.max_generations} generations that a '
                'record has places for: no group could ever be written'
            )


class GroupGenerations(Fallible):
    """Shuffles canonical tables by instruction id.

    Input: PCollection of canonical tables (of `ReadGenerations` or `FormatGenerations`), bounded or windowed.
    Output: PCollection of canonical tables in which every group is whole, its rows adjacent and in an order that
    depends on the data alone: by `position` if there is one, then (model_name, generation). Exact duplicates of
    (model_name, generation) are merged; a duplicate that carries another rating or rationale is refused.

    What the policies refuse goes to the error handler of `with_error_handler`; without one the pipeline fails.

    Args:
        policies: see `Policies`.
        num_partitions: number of keys in the shuffle: the most workers that can group side by side. A worker holds
            one partition in memory.
        shuffle: False if groups are whole already, as in wide input. Default: shuffle, unless `ReadGenerations` saw
            that its files are wide.

    Raises:
        ValueError: `num_partitions` is not positive.
        InputError: (while running) `shuffle=False` with tables of long input.
    """

    def __init__(self, policies: Policies | None = None, num_partitions: int = 64, shuffle: bool | None = None):
        super().__init__()
        if num_partitions < 1:
            raise ValueError(f'num_partitions={num_partitions}: it must be at least 1')
        self.policies = policies or Policies()
        self.num_partitions = num_partitions
        self.shuffle = shuffle

    def expand(self, tables: beam.PCollection) -> beam.PCollection:
        shuffle = not getattr(tables, 'groups_are_whole', False) if self.shuffle is None else self.shuffle
        if shuffle:
            grouped = (
                tables
                | 'Partition' >> beam.ParDo(_Partition(self.num_partitions)).with_output_types(tuple[int, bytes])
                | 'Shuffle' >> beam.GroupByKey()
                | 'Merge' >> beam.ParDo(_Merge(self.policies)).with_outputs(Refused.TAG, main='groups')
            )
        else:
            grouped = tables | 'Check' >> beam.ParDo(_Whole(self.policies)).with_outputs(Refused.TAG, main='groups')
        self.refuse(grouped[Refused.TAG])
        grouped.groups.element_type = GenerationTable
        return grouped.groups

    def display_data(self) -> dict[str, Any]:
        return {'num_partitions': self.num_partitions, **vars(self.policies)}


class _Partition(beam.DoFn):
    """canonical table → (partition, Arrow IPC) of buffered tables, kept apart by window."""

    def __init__(self, num_partitions: int):
        self._num_partitions = num_partitions

    def start_bundle(self) -> None:
        self._buffers: dict[Any, list[pa.Table]] = {}
        self._timestamps: dict[Any, Any] = {}
        self._bytes = 0

    def process(self, table: pa.Table, window=beam.DoFn.WindowParam, timestamp=beam.DoFn.TimestampParam):
        if not table.num_rows:
            return
        Metrics.counter('beam_argilla', 'rows').inc(table.num_rows)
        self._buffers.setdefault(window, []).append(table)
        self._timestamps[window] = max(timestamp, self._timestamps.get(window, timestamp))
        self._bytes += table.nbytes
        if self._bytes >= _BUFFER_BYTES:
            yield from self.finish_bundle()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for window, tables in self._buffers.items():
            for partition, part in _shuffle.split(_shuffle.concat(tables), 'instruction_id', self._num_partitions):
                element = (partition, _shuffle.to_ipc(part))
                yield WindowedValue(element, self._timestamps[window], (window,))
        self.start_bundle()


class _Merge(beam.DoFn):
    """(partition, slices) → a table of whole groups."""

    def __init__(self, policies: Policies):
        self._policies = policies

    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[Any]:
        _, slices = element
        yield from _emit(_shuffle.concat(map(_shuffle.from_ipc, slices)), self._policies)


class _Whole(beam.DoFn):
    """A table whose groups are whole already → the same in order, held to the policies."""

    def __init__(self, policies: Policies):
        self._policies = policies

    def process(self, table: pa.Table) -> Iterator[Any]:
        if not table.num_rows:
            return
        if not is_grouped(table):
            raise InputError('The input is long (a row is a generation), so its groups need the shuffle: shuffle=True.')
        Metrics.counter('beam_argilla', 'rows').inc(table.num_rows)
        yield from _emit(table, self._policies)


def _emit(table: pa.Table, policies: Policies) -> Iterator[Any]:
    arranged = arrange(table, policies)
    for name, count in arranged.counts.items():
        if count:
            Metrics.counter('beam_argilla', name).inc(count)
    yield from map(refuse, arranged.failed)
    if arranged.table.num_rows:
        yield arranged.table


class Arranged(NamedTuple):
    """Whole groups in order; what the policies refused; and counts by name of metric."""

    table: pa.Table
    failed: list[FailedRecord]
    counts: dict[str, int]


def arrange(table: pa.Table, policies: Policies) -> Arranged:
    """Orders the rows of whole groups, merges duplicates and applies the policies.

    Args:
        table: canonical; all rows of each instruction id, in any order.
    """
    failed: list[FailedRecord] = []
    counts = {'groups': 0, 'duplicate_generations': 0, 'instruction_conflicts': 0, 'overflowing_groups': 0}
    table = _merge_duplicates(_sorted(table), failed, counts)
    if table.column('position').null_count < table.num_rows:
        table = _sorted(table, first='position')
    starts = group_starts(table)
    sizes = np.diff(np.append(starts, table.num_rows))
    group = np.repeat(np.arange(len(starts)), sizes)  # each row's group
    counts['groups'] = len(starts)

    alive: np.ndarray = np.ones(len(starts), bool)  # groups not refused as a whole
    keep: np.ndarray = np.ones(table.num_rows, bool)

    def refuse(groups: np.ndarray, error: str, message: str, limit: int = 0, first: int = 0) -> None:
        """Refuses each group's rows from `first` (an index in the group) on, as one FailedRecord per group."""
        for index in groups:
            start, end = starts[index] + first, starts[index] + sizes[index]
            part = table.slice(start, end - start)
            external_id = part.column('instruction_id')[0].as_py()
            texts = len(pc.unique(part.column('instruction')))
            text = message.format(id=external_id, size=sizes[index], texts=texts, limit=limit)
            whole = 'rows' if first else 'group'
            failed.append(failed_rows(rows(part), 'group', error, text, external_id, whole))
            keep[start:end] = False
            alive[index] = first > 0

    instruction = table.column('instruction')
    first_text = instruction.take(pa.array(starts[group]))
    conflicting = np.unique(group[differ(instruction, first_text)])
    counts['instruction_conflicts'] = len(conflicting)
    if policies.on_conflict == 'fail':
        refuse(conflicting, 'InstructionConflict', _CONFLICT)
    elif len(conflicting):
        table = table.set_column(table.column_names.index('instruction'), table.schema.field('instruction'), first_text)

    least, most = policies.min_generations, policies.max_generations
    refuse(np.flatnonzero((sizes < least) & alive), 'TooFewGenerations', _TOO_FEW, least)
    if most is not None:
        many = np.flatnonzero((sizes > most) & alive)
        counts['overflowing_groups'] = len(many)
        if policies.overflow == 'truncate':
            refuse(many, 'TooManyGenerations', _TRUNCATED, most, first=most)
        else:
            refuse(many, 'TooManyGenerations', _OVERFLOW, most)
    return Arranged(table if keep.all() else table.filter(pa.array(keep)), failed, counts)


_CONFLICT = (
    'Instruction id {id!r} has {texts} different instruction texts. Two ways out: show the first text with all of the '
    "generations (on_conflict='first', --on_conflict first), or group by the text itself by naming no id column."
)
_TOO_FEW = 'Instruction id {id!r} has {size} generations, fewer than min_generations={limit}.'
_OVERFLOW = (
    'Instruction id {id!r} has {size} generations, but a record has places for {limit}. Either raise num_generations, '
    "or keep the first {limit} (overflow='truncate', --overflow truncate)."
)
_TRUNCATED = 'Cut off: instruction id {id!r} has {size} generations, but a record has places for {limit}.'
_DUPLICATE = (
    'Instruction id {id!r} has the same generation of the same model twice, with different ratings or rationales: '
    'the one that comes first in order was kept. Keep one in the input.'
)


def _sorted(table: pa.Table, first: str | None = None) -> pa.Table:
    """Rows by group, and in it by content: the same rows always come in the same order."""
    ids = table.column('instruction_id').combine_chunks().dictionary_encode()
    keys = ['model_name', 'generation', 'rating', 'rationale', 'position', 'instruction', 'agent']
    keys = ([first] if first else []) + [k for k in keys if k != first]
    keys += [n for n in table.column_names if n.startswith(METADATA_PREFIX) and not _nested(table, n)]
    keys = [k for k in keys if table.column(k).null_count < table.num_rows]  # a column of nulls orders nothing
    by = table.select(keys).append_column('group', ids.indices)
    order = pc.sort_indices(by, sort_keys=[('group', 'ascending'), *((k, 'ascending') for k in keys)])
    return table.take(order)


def _nested(table: pa.Table, name: str) -> bool:
    return pa.types.is_nested(table.column(name).type)


def _merge_duplicates(table: pa.Table, failed: list[FailedRecord], counts: dict[str, int]) -> pa.Table:
    """Keeps one of rows with the same id, model and generation; rows with a rating come before those without."""
    if table.num_rows < 2:
        return table
    new: np.ndarray = np.zeros(table.num_rows, bool)
    new[0] = True
    for name in ('instruction_id', 'model_name', 'generation'):
        column = table.column(name)
        new[1:] |= differ(column.slice(1), column.slice(0, table.num_rows - 1))
    if new.all():
        return table
    duplicates = np.flatnonzero(~new)
    kept = table.take(pa.array(np.flatnonzero(new)[np.cumsum(new)[duplicates] - 1]))
    twins = table.take(pa.array(duplicates))
    says_more: np.ndarray = np.zeros(len(duplicates), bool)
    for name in ('rating', 'rationale', 'instruction'):
        says_more |= differ(kept.column(name), twins.column(name)) & twins.column(name).is_valid().to_numpy()
    for row in rows(twins.filter(pa.array(says_more))):
        group = row['instruction_id']
        failed.append(failed_rows([row], 'group', 'DuplicateGeneration', _DUPLICATE.format(id=group), group))
    counts['duplicate_generations'] = int((~says_more).sum())
    return table.filter(pa.array(new))
