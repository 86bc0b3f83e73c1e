"""Arrow tables of a user's → canonical tables. Pure Arrow: no Beam, no network.

Rows that cannot be used come back beside the table, each with the reason.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_argilla.columns import Columns
from beam_argilla.errors import InputError
from beam_argilla.failures import FailedRecord, failed_rows
from beam_argilla.generations import (
    MESSAGES,
    METADATA,
    METADATA_PREFIX,
    OPTIONAL,
    SCHEMA,
    SCORE,
    TEXT,
    as_grouped,
    is_grouped,
    repeated_ids,
    repeated_values,
    rows,
    together,
)
from beam_argilla.input.plain import holds_structs, is_list, list_of, plain
from beam_argilla.input.repairable import repairable
from beam_argilla.input.roles import (
    LISTED,
    PER_GENERATION,
    can_mean,
    columns_to_read,
    is_wide,
    misfit,
    resolve,
    rivals,
    roles_of,
)
from beam_argilla.input.values import (
    Meaning,
    Problem,
    as_id,
    as_metadata,
    as_position,
    as_rating,
    as_score,
    as_text,
    as_text_or_null,
    is_blank,
    is_nan,
    says_nothing,
    sha256,
)
from beam_argilla.input.view import view
from beam_argilla.input.wide import explode, list_problems
from beam_argilla.scale import Scale, off_scale


class Formatted(NamedTuple):
    """A canonical table, and what was refused on the way to it."""

    table: pa.Table
    failed: list[FailedRecord]


# What the values of a role mean.
MEANING: Mapping[str, Callable[[pa.Array], Meaning]] = {
    'instruction': as_text,
    'generation': as_text,
    'instruction_id': as_id,
    'model_name': as_text_or_null,
    'rating': as_rating,
    'rationale': as_text_or_null,
    'agent': as_text_or_null,
    'position': as_position,
    MESSAGES: as_text,
    SCORE: as_score,
}


# Indexes → those rows as the user gave them, in what JSON can hold, for refusals.
AsGiven = Callable[[np.ndarray], Sequence[Any]]


class Origin(NamedTuple):
    """Where rows were read from: a file, and which of its rows, counted from 0, each of them is."""

    source: str
    rows: Sequence[int]

    def of(self, index: int) -> tuple[str, int]:
        """Where one of them was read from."""
        return self.source, self.rows[index]

    def only(self, indexes: Sequence[int]) -> Origin:
        """The same of some of them."""
        return Origin(self.source, _Only(self.rows, indexes))


class _Only(Sequence[int]):
    """Some of the numbers, none of which is asked for before it is needed: to count lines takes time."""

    def __init__(self, numbers: Sequence[int], indexes: Sequence[int]):
        self._numbers = numbers
        self._indexes = indexes

    def __len__(self) -> int:
        return len(self._indexes)

    def __getitem__(self, index: Any) -> Any:
        return self._numbers[self._indexes[index]]


def to_canonical(table: pa.Table, columns: Columns, origin: Origin | None = None) -> Formatted:
    """Converts one table of the user's.

    Args:
        table: any chunking, and any of Arrow's ways to hold the same (see `plain`).
        columns: what the columns are called.
        origin: told of what is refused.

    Raises:
        InputError: a column does not exist, exists twice, or has values of a type that cannot mean what they should.
    """
    runs = _runs(table, columns)
    parts = [
        _to_canonical(run, columns, origin and origin.only(range(start, start + run.num_rows))) for start, run in runs
    ]
    if len(parts) == 1:
        return parts[0]
    tables = [part.table for part in parts if part.table.num_rows] or [parts[0].table]
    whole = together(t.replace_schema_metadata() for t in tables)
    if all(map(is_grouped, tables)):
        ids = pa.chunked_array([pc.unique(t.column('instruction_id')) for t in tables])
        whole = as_grouped(whole, [*{*repeated_values(ids), *(i for t in tables for i in repeated_ids(t))}])
    return Formatted(whole, [f for part in parts for f in part.failed])


def _runs(table: pa.Table, columns: Columns) -> list[tuple[int, pa.Table]]:
    """The table, cut so that each piece has those of two usual names that say something in its rows, and where it
    begins: a row means the same in every table."""
    pairs = rivals(table.column_names, columns)
    silent = {first: ~_has_value(table, first) & _has_value(table, second) for first, second in pairs.items()}
    if not any(mask.any() for mask in silent.values()):
        return [(0, table)]
    differ = np.any([np.diff(mask) for mask in silent.values()], axis=0)
    bounds = [0, *(np.flatnonzero(differ) + 1).tolist(), table.num_rows]
    return [
        (start, table.slice(start, end - start).drop_columns([name for name, mask in silent.items() if mask[start]]))
        for start, end in itertools.pairwise(bounds)
    ]


def _has_value(table: pa.Table, name: str) -> np.ndarray:
    array = plain(table.column(name))
    return array.is_valid().to_numpy(zero_copy_only=False) & ~is_nan(array)


def _to_canonical(table: pa.Table, columns: Columns, origin: Origin | None) -> Formatted:
    seen = view(table, columns)
    names = resolve(seen.table.schema, seen.columns)
    cells = _cells(seen.table, names)
    cells |= {METADATA_PREFIX + name: plain(seen.table.column(name)) for name in columns.metadata}
    as_given = _as_given(_played(cells, names)) if seen.table is table else _as_given(_unseen(table, columns))
    if seen.messages is not None:
        cells[MESSAGES] = seen.messages
    return from_cells(cells, names, seen.scale, as_given, origin, seen.problems)


def from_cells(
    cells: dict[str, pa.Array],
    names: Mapping[str, str],
    scale: Scale | None,
    as_given: AsGiven,
    origin: Origin | None = None,
    problems: Sequence[Problem] = (),
) -> Formatted:
    """Converts columns that are known by their roles.

    Args:
        cells: role, or prefixed name of metadata, → plain array; lists of generations make the rows wide.
        names: role → what the column is called, for messages.
        scale: the `Scale` of the ratings, None if they say what they are.
        as_given: see `AsGiven`.
        origin: told of what is refused.
        problems: what is known of the rows already.
    """
    all_rows = np.arange(len(cells['generation']))
    wide = is_list(cells['generation'].type)
    lists = {role: cells.pop(role) for role in LISTED if wide and role in cells and is_list(cells[role].type)}
    if wide:
        cells.pop('position', None)  # theirs is the order of their lists
    out, found = _meanings(cells, names)
    if 'instruction_id' not in out:
        out['instruction_id'] = sha256(out['instruction'])
    found += _row_problems(out, names)
    if wide:
        found += list_problems(lists, names)
    else:
        _rate(out, scale)
    refused, failed = _refusals([*problems, *found], all_rows, as_given, 'input', out, origin)
    if not wide:
        return Formatted(_canonical(out, ~refused), failed)
    exploded = explode(lists, np.flatnonzero(~refused))
    items, found = _meanings(exploded.items, names)
    found += _generation_problems(items, names)
    _rate(items, scale)
    parents = pa.array(exploded.parents, pa.int64())
    long = {**{role: array.take(parents) for role, array in out.items()}, **items, 'position': exploded.positions}
    everything = _canonical(long, np.ones(len(parents), bool))
    # An item is no row of the input, so it is reported in canonical form.
    refused, more = _refusals(
        found, exploded.parents, lambda i: rows(everything.take(pa.array(i))), 'rows', long, origin
    )
    whole = everything.filter(pa.array(~refused)) if refused.any() else everything
    made_of = np.unique(exploded.parents[~refused])  # rows of which something is left
    repeated = repeated_values(out['instruction_id'].take(pa.array(made_of)))
    return Formatted(as_grouped(whole, repeated), [*failed, *more])


def _cells(table: pa.Table, names: Mapping[str, str]) -> dict[str, pa.Array]:
    """Role → plain cells of a type that can mean what they should."""
    cells = {}
    wide = is_wide(table.schema, names)
    for role, name in names.items():
        array = plain(table.column(name))
        problem = misfit(table.schema, names, role)
        if problem is not None:
            if not says_nothing(array):
                raise InputError(problem)
            listed = wide and role in PER_GENERATION and is_list(array.type)
            array = list_of(array, pa.nulls(len(pc.list_flatten(array)))) if listed else pa.nulls(len(array))
        cells[role] = array
    return cells


class _Column(NamedTuple):
    """A column of the user's, and what its cells are read as; None if what is in them is."""

    cells: pa.Array
    meanings: Sequence[Callable[[pa.Array], Meaning]] | None


def _played(cells: Mapping[str, pa.Array], names: Mapping[str, str]) -> dict[str, _Column]:
    """The columns that are used, of which each plays its roles as it is."""
    columns: dict[str, _Column] = {}
    for role, array in cells.items():
        name = names.get(role) or role.removeprefix(METADATA_PREFIX)
        before = columns[name].meanings if name in columns else None
        columns[name] = _Column(array, [*(before or ()), *([MEANING[role]] if role in MEANING else [])])
    return columns


def _unseen(table: pa.Table, columns: Columns) -> dict[str, _Column]:
    """The columns that are used, of which another view was taken."""
    seen = {}
    for name in columns_to_read(columns, table.column_names):
        cells = plain(table.column(table.column_names.index(name)))
        roles = [role for role in roles_of(name, columns) if can_mean(role, cells.type)]
        as_it_is = roles or name in columns.metadata or not holds_structs(cells.type)
        seen[name] = _Column(cells, [MEANING[role] for role in roles] if as_it_is else None)
    return seen


def _as_given(columns: Mapping[str, _Column]) -> AsGiven:
    """The rows of a table, with the columns that are used."""

    def as_given(indexes: np.ndarray) -> list[Any]:
        values = []
        for cells, meanings in columns.values():
            # Slices: Arrow cannot take from all types.
            chosen = pa.concat_arrays([cells.slice(index, 1) for index in indexes])
            if meanings is None:
                values.append([row['value'] for row in rows(pa.table({'value': chosen}), nulls=True)])
            else:
                values.append(repairable(chosen, meanings))
        return [dict(zip(columns, row, strict=True)) for row in zip(*values, strict=True)]

    return as_given


def _meanings(cells: Mapping[str, pa.Array], names: Mapping[str, str]) -> tuple[dict[str, pa.Array], list[Problem]]:
    out, problems = {}, []
    for role, array in cells.items():
        if role in MEANING:
            called, column, meaning = role.replace('_', ' '), names.get(role, role), MEANING[role]
        else:
            called, column, meaning = 'metadata', role.removeprefix(METADATA_PREFIX), as_metadata
        out[role], found = meaning(array)
        problems += [problem.about(called, column) for problem in found]
    return out, problems


def _row_problems(out: Mapping[str, pa.Array], names: Mapping[str, str]) -> list[Problem]:
    instruction = f'The instruction is null or empty (column {names["instruction"]!r}): there is nothing to show'
    problems = [Problem('EmptyInstruction', f'{instruction} or group by', _is_empty(out['instruction']))]
    if 'instruction_id' in names:
        message = f'The instruction id is null or empty (column {names["instruction_id"]!r}): which record is it for?'
        problems.append(Problem('NullInstructionId', message, _is_empty(out['instruction_id'])))
    return problems + _generation_problems(out, names)


def _generation_problems(out: Mapping[str, pa.Array], names: Mapping[str, str]) -> list[Problem]:
    if 'generation' not in out:  # in lists yet
        return []
    message = f'The generation is null (column {names["generation"]!r}): there is nothing to judge'
    return [Problem('NullGeneration', message, _is_null(out['generation']))]


def _rate(out: dict[str, pa.Array], scale: Scale | None) -> None:
    """Puts the ratings that scores stand for in their place, and the scores beside them."""
    if scale is None:
        return
    texts = out.get('rating', pa.nulls(len(out['generation']), TEXT)).dictionary_encode()
    different = texts.dictionary.to_pylist()
    rated = [scale.rate(text) for text in different]
    ratings = [str(found[0]) if found else off_scale(text) for found, text in zip(rated, different, strict=True)]
    out['rating'] = pa.array(ratings, TEXT).take(texts.indices)
    out[SCORE] = pa.array([found and found[1] for found in rated], OPTIONAL[SCORE]).take(texts.indices)


def _is_null(array: pa.Array) -> np.ndarray:
    return array.is_null().to_numpy(zero_copy_only=False)


def _is_empty(array: pa.Array) -> np.ndarray:
    return _is_null(array) | is_blank(array)


def _refusals(
    problems: Sequence[Problem],
    parents: np.ndarray,
    shown: AsGiven,
    key: str,
    out: Mapping[str, pa.Array],
    origin: Origin | None,
) -> tuple[np.ndarray, list[FailedRecord]]:
    """A mask of the refused, and each of them with the first thing that is wrong with it."""
    refused: np.ndarray = np.zeros(len(parents), bool)
    failed: list[FailedRecord] = []
    for problem in problems:
        chosen = np.flatnonzero(problem.mask & ~refused)
        if len(chosen):
            refused[chosen] = True
            for index, row in zip(chosen, shown(chosen), strict=True):
                group = out['instruction_id'][int(index)].as_py()
                where = () if origin is None else origin.of(int(parents[index]))
                failed.append(failed_rows([row], 'format', problem.error, problem.message, group, key, *where))
    return refused, failed


def _canonical(out: Mapping[str, pa.Array], kept: np.ndarray) -> pa.Table:
    num_rows = len(kept)
    arrays = {f.name: out[f.name] if f.name in out else pa.nulls(num_rows, f.type) for f in SCHEMA}
    arrays |= {name: array for name, array in out.items() if name not in arrays}
    extra = [name for name in arrays if name not in SCHEMA.names]
    fields = [*SCHEMA, *(pa.field(name, OPTIONAL.get(name, METADATA)) for name in extra)]
    if not kept.all():
        mask = pa.array(kept)
        arrays = {name: array.filter(mask) for name, array in arrays.items()}
    return pa.table(arrays, pa.schema(fields))
