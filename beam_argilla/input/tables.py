"""Arrow tables of a user's → canonical tables. Pure Arrow: no Beam, no network.

Rows that cannot be used come back beside the table, each with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_argilla.columns import Columns
from beam_argilla.errors import InputError
from beam_argilla.failures import FailedRecord, failed_rows
from beam_argilla.generations import METADATA, METADATA_PREFIX, SCHEMA, TEXT, as_grouped, repeated_values, rows
from beam_argilla.input.layouts import PER_GENERATION, is_wide, misfit, resolve
from beam_argilla.input.plain import is_list, list_of, plain
from beam_argilla.input.repairable import repairable
from beam_argilla.input.values import (
    Meaning,
    Problem,
    as_id,
    as_metadata,
    as_position,
    as_rating,
    as_text,
    as_text_or_null,
    is_blank,
    says_nothing,
    sha256,
)
from beam_argilla.input.wide import explode, list_problems


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
}


# Indexes → those rows as the user gave them, in what JSON can hold, for refusals.
AsGiven = Callable[[np.ndarray], Sequence[Any]]


class Origin(NamedTuple):
    """Where a table was read from: a file, and which of its rows the table's first one is."""

    source: str
    row: int


def to_canonical(table: pa.Table, columns: Columns, origin: Origin | None = None) -> Formatted:
    """Converts one table of the user's.

    Args:
        table: any chunking, and any of Arrow's ways to hold the same (see `plain`).
        columns: what the columns are called.
        origin: told of what is refused.

    Raises:
        InputError: a column does not exist, exists twice, or has values of a type that cannot mean what they should.
    """
    names = resolve(table.schema, columns)
    cells = _cells(table, names)
    cells |= {METADATA_PREFIX + name: plain(table.column(name)) for name in columns.metadata}
    return from_cells(cells, names, _as_given({**cells}, names), origin)


def from_cells(
    cells: dict[str, pa.Array], names: Mapping[str, str], as_given: AsGiven, origin: Origin | None = None
) -> Formatted:
    """Converts columns that are known by their roles.

    Args:
        cells: role, or prefixed name of metadata, → plain array; lists of generations make the rows wide.
        names: role → what the column is called, for messages.
        as_given: see `AsGiven`.
        origin: told of what is refused.
    """
    all_rows = np.arange(len(cells['generation']))
    wide = is_list(cells['generation'].type)
    lists = {role: cells.pop(role) for role in PER_GENERATION if wide and role in cells and is_list(cells[role].type)}
    if wide:
        cells.pop('position', None)  # theirs is the order of their lists
    out, problems = _meanings(cells, names)
    if 'instruction_id' not in out:
        out['instruction_id'] = sha256(out['instruction'])
    problems += _row_problems(out, names)
    if wide:
        problems += list_problems(lists, names)
    refused, failed = _refusals(problems, all_rows, as_given, 'input', out, origin)
    if not wide:
        return Formatted(_canonical(out, ~refused), failed)
    exploded = explode(lists, np.flatnonzero(~refused))
    items, problems = _meanings(exploded.items, names)
    problems += _generation_problems(items, names)
    parents = pa.array(exploded.parents, pa.int64())
    long = {**{role: array.take(parents) for role, array in out.items()}, **items, 'position': exploded.positions}
    everything = _canonical(long, np.ones(len(parents), bool))
    # An item is no row of the input, so it is reported in canonical form.
    refused, more = _refusals(
        problems, exploded.parents, lambda i: rows(everything.take(pa.array(i))), 'rows', long, origin
    )
    whole = everything.filter(pa.array(~refused)) if refused.any() else everything
    made_of = np.unique(exploded.parents[~refused])  # rows of which something is left
    repeated = repeated_values(out['instruction_id'].take(pa.array(made_of)))
    return Formatted(as_grouped(whole, repeated), [*failed, *more])


def instruction_ids(table: pa.Table, columns: Columns) -> pa.Array:
    """The instruction id of each row as it was read; null where there is none that could be used.

    Raises:
        InputError: there is no (one) column that says so.
    """
    name = columns.instruction_id or columns.instruction
    if table.column_names.count(name) != 1:
        raise InputError(f'The input has {table.column_names.count(name)} columns called {name!r}.')
    meaning = as_text if columns.instruction_id is None else as_id
    texts, problems = meaning(plain(table.column(name)))
    unusable = np.logical_or.reduce([is_blank(texts), *(problem.mask for problem in problems)])
    texts = pc.if_else(pa.array(unusable), pa.scalar(None, TEXT), texts)
    return sha256(texts) if columns.instruction_id is None else texts


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


def _as_given(cells: Mapping[str, pa.Array], names: Mapping[str, str]) -> AsGiven:
    """The rows of a table, with the columns that are used."""
    roles: dict[str, list[str]] = {}  # of each column
    for role in cells:
        roles.setdefault(names.get(role) or role.removeprefix(METADATA_PREFIX), []).append(role)

    def as_given(indexes: np.ndarray) -> list[Any]:
        columns = []
        for played in roles.values():
            # Slices: Arrow cannot take from all types.
            chosen = pa.concat_arrays([cells[played[0]].slice(index, 1) for index in indexes])
            columns.append(repairable(chosen, [MEANING[role] for role in played if role in MEANING]))
        return [dict(zip(roles, values, strict=True)) for values in zip(*columns, strict=True)]

    return as_given


def _meanings(cells: Mapping[str, pa.Array], names: Mapping[str, str]) -> tuple[dict[str, pa.Array], list[Problem]]:
    out, problems = {}, []
    for role, array in cells.items():
        if role in MEANING:
            called, column, meaning = role.replace('_', ' '), names[role], MEANING[role]
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
                where = () if origin is None else (origin.source, origin.row + int(parents[index]))
                failed.append(failed_rows([row], 'format', problem.error, problem.message, group, key, *where))
    return refused, failed


def _canonical(out: Mapping[str, pa.Array], kept: np.ndarray) -> pa.Table:
    num_rows = len(kept)
    arrays = {f.name: out[f.name] if f.name in out else pa.nulls(num_rows, f.type) for f in SCHEMA}
    arrays |= {name: array for name, array in out.items() if name not in arrays}
    fields = [*SCHEMA, *(pa.field(name, METADATA) for name in arrays if name not in SCHEMA.names)]
    if not kept.all():
        mask = pa.array(kept)
        arrays = {name: array.filter(mask) for name, array in arrays.items()}
    return pa.table(arrays, pa.schema(fields))
