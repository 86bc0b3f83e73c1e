"""What is done with the rows of groups: put in order, duplicates merged, held to the policies. Pure Arrow."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_argilla.failures import FailedRecord, failed_rows
from beam_argilla.generations import METADATA, METADATA_PREFIX, TEXT, differ, group_starts, rows, together
from beam_argilla.grouping.policies import GIVEN, Order, Policies

# A partition that grows beyond this while it is merged is looked through for groups that are too large.
_MERGE_BYTES = 128 << 20
_ROWS_IN_A_FAILURE = 1000  # a group of 100,000 is refused in parts


class Arranged(NamedTuple):
    """Whole groups in order; what the policies refused; and counts by name of metric."""

    table: pa.Table
    failed: list[FailedRecord]
    counts: dict[str, int]


def merge(
    tables: Iterable[pa.Table], policies: Policies, limit: int = _MERGE_BYTES, order: Order = GIVEN
) -> Iterator[Arranged]:
    """Arranges the groups of a partition that comes in slices, in bounded memory however skewed it is.

    What is sure not to get into a record is refused on the way, so a group takes no more than its places.

    Args:
        tables: canonical; together all rows of each instruction id.
        limit: bytes that may be held before they are looked through.
    """
    held: list[pa.Table] = []
    too_large: set[str] = set()  # ids refused as a whole, of which more rows may come
    size = 0
    for table in tables:
        if too_large:
            late = pc.is_in(table.column('instruction_id'), value_set=pa.array(sorted(too_large), table.column(0).type))
            overdue = table.filter(late)
            if overdue.num_rows:
                failed: list[FailedRecord] = []
                for name in pc.unique(overdue.column('instruction_id')).to_pylist():
                    part = overdue.filter(pc.equal(overdue.column('instruction_id'), name))
                    failed += failures_of(part, 'TooManyGenerations', _STILL_MORE, whole=False)
                yield Arranged(table.slice(0, 0), failed, {})
                table = table.filter(pc.invert(late))
        held.append(table)
        size += table.nbytes
        if size > limit and policies.max_generations is not None:
            kept = _cut(together(held), policies, order, too_large)
            yield Arranged(kept.table.slice(0, 0), kept.failed, kept.counts)
            held, size = [kept.table], kept.table.nbytes
            limit = max(limit, 2 * size)  # what is left cannot be cut: do not look again before it has doubled
    if held:
        yield arrange(together(held), policies, order)


def arrange(table: pa.Table, policies: Policies, order: Order = GIVEN) -> Arranged:
    """Orders the rows of whole groups, merges duplicates and applies the policies.

    Args:
        table: canonical; all rows of each instruction id, in any order.
    """
    table, failed, counts = _cut(table, policies, order, set())
    if not table.num_rows:
        return Arranged(table, failed, counts)
    starts = group_starts(table)
    sizes = np.diff(np.append(starts, table.num_rows))
    group = np.repeat(np.arange(len(starts)), sizes)  # each row's group
    keep: np.ndarray = np.ones(len(starts), bool)
    counts['groups'] = counts.get('groups', 0) + len(starts)

    def refuse_groups(chosen: np.ndarray, error: str, message: str) -> None:
        for index in chosen:
            part = table.slice(starts[index], sizes[index])
            failed.extend(failures_of(part, error, message, whole=True, limit=policies.min_generations))
        keep[chosen] = False

    instruction = table.column('instruction')
    first_text = instruction.take(pa.array(starts[group]))
    conflicting = np.unique(group[differ(instruction, first_text)])
    counts['instruction_conflicts'] = len(conflicting)
    if policies.on_conflict == 'fail':
        refuse_groups(conflicting, 'InstructionConflict', _CONFLICT)
    elif len(conflicting):
        counts['conflicts_shown_first'] = len(conflicting)
        table = table.set_column(table.column_names.index('instruction'), table.schema.field('instruction'), first_text)
    refuse_groups(np.flatnonzero((sizes < policies.min_generations) & keep), 'TooFewGenerations', _TOO_FEW)
    return Arranged(table if keep.all() else table.filter(pa.array(keep[group])), failed, counts)


def _cut(table: pa.Table, policies: Policies, order: Order, too_large: set[str]) -> Arranged:
    """In order, without duplicates, and without what is over `max_generations`.

    Right for a part of the rows as well: more rows can only push a generation further back, never forward.
    """
    failed: list[FailedRecord] = []
    counts: dict[str, int] = {}
    # Two texts of one instruction are a conflict, to be seen as one, unless either may stand for both.
    key = ('instruction_id', 'model_name', 'generation', *(['instruction'] if policies.on_conflict == 'fail' else []))
    table = _merge_duplicates(_sorted(table), key, failed, counts)
    if order.name == 'blind':
        table = _shuffled(table, order.seed)
    elif table.column('position').null_count < table.num_rows:
        table = _sorted(table, first='position')
    most = policies.max_generations
    if most is None or not table.num_rows:
        return Arranged(table, failed, counts)
    starts = group_starts(table)
    sizes = np.diff(np.append(starts, table.num_rows))
    many = np.flatnonzero(sizes > most)
    keep: np.ndarray = np.ones(table.num_rows, bool)
    truncate = policies.overflow == 'truncate'
    for index in many:
        start, end = starts[index] + (most if truncate else 0), starts[index] + sizes[index]
        part = table.slice(start, end - start)
        message = _TRUNCATED if truncate else _OVERFLOW
        failed += failures_of(part, 'TooManyGenerations', message, not truncate, int(sizes[index]), most)
        keep[start:end] = False
        if not truncate:
            too_large.add(part.column('instruction_id')[0].as_py())
    if len(many):
        counts['overflowing_groups'] = len(many)
        counts['groups'] = 0 if truncate else len(many)
        table = table.filter(pa.array(keep))
    return Arranged(table, failed, counts)


def failures_of(
    part: pa.Table, error: str, message: str, whole: bool, size: int | None = None, limit: int = 0
) -> Iterator[FailedRecord]:
    """FailedRecords of the rows of one group (or a part of it), in parts that a person can open."""
    external_id = part.column('instruction_id')[0].as_py()
    texts = len(pc.unique(part.column('instruction')))
    text = message.format(id=external_id, size=size or part.num_rows, texts=texts, limit=limit)
    key = 'group' if whole and part.num_rows <= _ROWS_IN_A_FAILURE else 'rows'
    for start in range(0, part.num_rows, _ROWS_IN_A_FAILURE):
        yield failed_rows(rows(part.slice(start, _ROWS_IN_A_FAILURE)), 'group', error, text, external_id, key)


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
_STILL_MORE = 'Instruction id {id!r} has more generations than a record has places for: here are {size} of them.'
_DUPLICATE = (
    'Instruction id {id!r} has the same generation of the same model twice, with different ratings, rationales or '
    'agents. This one is refused in favour of the one that comes first in order. If they are of two models, name the '
    'column that says so (model_name).'
)


def _sorted(table: pa.Table, first: str | None = None) -> pa.Table:
    """Rows by group, and in it by content: the same rows always come in the same order."""
    ids = table.column('instruction_id').combine_chunks().dictionary_encode()
    keys = ['model_name', 'generation', 'instruction', 'rating', 'rationale', 'position', 'agent']
    keys = ([first] if first else []) + [k for k in keys if k != first]
    keys = [k for k in keys if table.column(k).null_count < table.num_rows]  # a column of nulls orders nothing
    by = table.select(keys).append_column('group', ids.indices)
    for name in table.column_names:  # rows that differ in metadata alone: lists cannot be sorted, their texts can
        if name.startswith(METADATA_PREFIX):
            keys.append(name)
            by = by.append_column(name, pc.binary_join(table.column(name).combine_chunks(), pa.scalar('\0', TEXT)))
    order = pc.sort_indices(by, sort_keys=[('group', 'ascending'), *((k, 'ascending') for k in keys)])
    return table.take(order)


def _shuffled(table: pa.Table, seed: int) -> pa.Table:
    """Rows by group, and in it by a hash of what they say: the same rows always come in the same order."""
    names = ('instruction_id', 'model_name', 'generation')
    columns = (table.column(name).fill_null('').cast(pa.large_binary()).to_pylist() for name in names)
    hashes = [_hash(seed, *values) for values in zip(*columns, strict=True)]
    by = pa.table({'group': table.column('instruction_id'), 'hash': pa.array(hashes, pa.uint64())})
    return table.take(pc.sort_indices(by, sort_keys=[('group', 'ascending'), ('hash', 'ascending')]))


def _hash(seed: int, *values: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(b'\0'.join([str(seed).encode(), *values]), digest_size=8).digest(), 'big')


def _merge_duplicates(
    table: pa.Table, key: Sequence[str], failed: list[FailedRecord], counts: dict[str, int]
) -> pa.Table:
    """Keeps one of rows that agree in the key, with the metadata of all; rows with a rating come before those without.

    What a twin says besides that has no place in the one that is kept: then it is refused.
    """
    if table.num_rows < 2:
        return table
    new: np.ndarray = np.zeros(table.num_rows, bool)
    new[0] = True
    for name in key:
        column = table.column(name)
        new[1:] |= differ(column.slice(1), column.slice(0, table.num_rows - 1))
    if new.all():
        return table
    duplicates = np.flatnonzero(~new)
    parents = np.flatnonzero(new)[np.cumsum(new)[duplicates] - 1]
    kept = table.take(pa.array(parents))
    twins = table.take(pa.array(duplicates))
    says_more: np.ndarray = np.zeros(len(duplicates), bool)
    is_valid = {name: twins.column(name).is_valid().to_numpy() for name in ('rating', 'rationale', 'agent')}
    is_valid['agent'] &= is_valid['rating'] | is_valid['rationale']  # of nothing, nobody is the judge
    for name, valid in is_valid.items():
        says_more |= differ(kept.column(name), twins.column(name)) & valid
    for row in rows(twins.filter(pa.array(says_more))):
        group = row['instruction_id']
        failed.append(failed_rows([row], 'group', 'DuplicateGeneration', _DUPLICATE.format(id=group), group))
    counts['duplicate_generations'] = int((~says_more).sum())
    return _with_metadata_of(table, parents[~says_more], duplicates[~says_more]).filter(pa.array(new))


def _with_metadata_of(table: pa.Table, kept: np.ndarray, twins: np.ndarray) -> pa.Table:
    """The table, the metadata of rows together with those of their twins: where they differ, all values, in order."""
    for index, name in enumerate(table.column_names):
        if not name.startswith(METADATA_PREFIX):
            continue
        column = table.column(name).combine_chunks()
        more: dict[int, list[str | None]] = {}
        pairs = zip(column.take(pa.array(kept)).to_pylist(), column.take(pa.array(twins)).to_pylist(), strict=True)
        for row, (own, other) in zip(kept.tolist(), pairs, strict=True):
            known = set(more.get(row, own or ()))
            if not known.issuperset(other or ()):
                more[row] = sorted(known.union(other), key=lambda text: (text is None, text))
        if more:
            places = np.arange(len(column))
            places[list(more)] = len(column) + np.arange(len(more))
            merged = pa.concat_arrays([column, pa.array(list(more.values()), METADATA)]).take(pa.array(places))
            table = table.set_column(index, table.schema.field(index), merged)
    return table
