"""A table of a user's, whatever its layout → canonical tables, and what was refused on the way."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_argilla.columns import Columns
from beam_argilla.errors import InputError
from beam_argilla.failures import FailedRecord
from beam_argilla.generations import TEXT, InputFacts, group_starts, repeated_ids, rows
from beam_argilla.input.paths import possible_columns
from beam_argilla.input.plain import plain
from beam_argilla.input.roles import columns_to_read, without_missing
from beam_argilla.input.rows import from_rows
from beam_argilla.input.tables import Origin, to_canonical
from beam_argilla.input.values import as_id, as_text, is_blank, sha256
from beam_argilla.input.view import reads_json, texts_of_prompts


def canonical_tables(
    given: pa.Table | Sequence[Any], columns: Columns, origin: Origin | None = None
) -> tuple[list[pa.Table], list[FailedRecord]]:
    """Converts a table, or rows: in Arrow, or, rows and where a path leads into JSON text, one by one.

    Args:
        columns: what the columns are called.
        origin: where it was read from, told of what is refused.

    Returns:
        Tables that are not empty, and what was refused.

    Raises:
        InputError: see `to_canonical`.
    """
    if not isinstance(given, pa.Table):
        return from_rows(given, columns, origin)
    columns = without_missing(columns, given.schema)
    if reads_json(given.schema, columns):
        names = columns_to_read(columns, given.column_names)
        return from_rows(rows(given.select(names), nulls=True), columns, origin)
    formatted = to_canonical(given, columns, origin)
    return [formatted.table] if formatted.table.num_rows else [], formatted.failed


def facts_of(columns: Columns) -> InputFacts:
    """What is known of an input by its columns alone."""
    return InputFacts(metadata=tuple(columns.metadata), scores=columns.scale is not None, chat=columns.chat)


def columns_of_ids(columns: Columns, names: Collection[str]) -> list[str]:
    """The columns that instruction ids are made of."""
    source = _column_of_ids(columns)
    return columns_to_read(columns, names) if source is None else [source]


def _column_of_ids(columns: Columns) -> str | None:
    """The one column that says them; None if it takes more to tell."""
    source = columns.instruction if columns.instruction_id is None else columns.instruction_id
    beside = columns.generation if isinstance(columns.generation, tuple) else (columns.generation,)
    more = not isinstance(source, str) or source in beside or columns.spoken
    return None if more or possible_columns(str(source)) != [source] else str(source)


def instruction_ids(table: pa.Table | Sequence[Any], columns: Columns) -> pa.Array:
    """The instruction id of each row as it was read; null, or none, where there is none that could be used.

    Args:
        table: or rows; of `columns_of_ids`, at least.

    Raises:
        InputError: there is no (one) column that says so.
    """
    name = _column_of_ids(columns)
    if name is None or not isinstance(table, pa.Table):
        tables, _ = canonical_tables(table, columns)
        found = [id_ for t in tables for id_ in (*_ids_of_groups(t), *repeated_ids(t))]
        return pa.array(found, TEXT)
    if table.column_names.count(name) != 1:
        raise InputError(f'The input has {table.column_names.count(name)} columns called {name!r}.')
    array = plain(table.column(name))
    if columns.instruction_id is None:
        array = texts_of_prompts(array)
    texts, problems = (as_text if columns.instruction_id is None else as_id)(array)
    unusable = np.logical_or.reduce([is_blank(texts), *(problem.mask for problem in problems)])
    texts = pc.if_else(pa.array(unusable), pa.scalar(None, TEXT), texts)
    return sha256(texts) if columns.instruction_id is None else texts


def _ids_of_groups(table: pa.Table) -> list[str]:
    return table.column('instruction_id').take(pa.array(group_starts(table))).to_pylist()
