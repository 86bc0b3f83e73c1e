"""A table of a user's, whatever its layout → canonical tables, and what was refused on the way."""

from __future__ import annotations

import pyarrow as pa

from beam_argilla.columns import Columns
from beam_argilla.failures import FailedRecord
from beam_argilla.generations import InputFacts, rows
from beam_argilla.input.roles import columns_to_read
from beam_argilla.input.rows import from_rows
from beam_argilla.input.tables import Origin, to_canonical
from beam_argilla.input.view import reads_json


def canonical_tables(
    table: pa.Table, columns: Columns, origin: Origin | None = None
) -> tuple[list[pa.Table], list[FailedRecord]]:
    """Converts a table: in Arrow, or, where a path leads into JSON text, row by row.

    Args:
        columns: what the columns are called.
        origin: where it was read from, told of what is refused.

    Returns:
        Tables that are not empty, and what was refused.

    Raises:
        InputError: see `to_canonical`.
    """
    if not reads_json(table.schema, columns):
        formatted = to_canonical(table, columns, origin)
        return [formatted.table] if formatted.table.num_rows else [], formatted.failed
    names = columns_to_read(columns, table.column_names)
    origins = None if origin is None else [Origin(origin.source, origin.row + i) for i in range(table.num_rows)]
    return from_rows(rows(table.select(names), nulls=True), columns, origins)


def facts_of(columns: Columns) -> InputFacts:
    """What is known of an input by its columns alone."""
    return InputFacts(metadata=tuple(columns.metadata), scores=columns.scale is not None, chat=columns.chat)
