"""Arrow tables of a user's → canonical tables. Pure Arrow: no Beam, no network.

Rows that cannot be used come back beside the table, each with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from beam_argilla.columns import Columns
from beam_argilla.failures import FailedRecord, failed_rows
from beam_argilla.generations import GROUPED, METADATA, METADATA_PREFIX, SCHEMA, TEXT, rows
from beam_argilla.input.layouts import is_list, resolve
from beam_argilla.input.values import as_metadata, as_rating, as_text, is_blank, null_where_blank, one_chunk, sha256
from beam_argilla.input.wide import explode


class Formatted(NamedTuple):
    """A canonical table, and what was refused on the way to it."""

    table: pa.Table
    failed: list[FailedRecord]


def to_canonical(table: pa.Table, columns: Columns) -> Formatted:
    """Converts one table of the user's.

    Args:
        table: any chunking; string, large_string, string_view, binary and dictionary-encoded texts are understood.
        columns: what the columns are called.

    Raises:
        InputError: a column does not exist, or has a type that cannot mean what it should.
    """
    names = resolve(table.schema, columns)
    table = table.select(list(dict.fromkeys([*names.values(), *columns.metadata])))
    wide = is_list(table.schema.field(names['generation']).type)
    failed: list[FailedRecord] = []
    if wide:
        table, more = explode(table, names)
        failed += more
    out, bad = _canonical_columns(table, names)
    for name in columns.metadata:
        out[METADATA_PREFIX + name] = as_metadata(table.column(name))
    fields = [SCHEMA.field(n) if n in SCHEMA.names else pa.field(n, METADATA) for n in out]
    canonical = pa.table(out).cast(pa.schema([f.with_nullable(True) for f in fields]))
    refused: np.ndarray = np.zeros(table.num_rows, bool)
    # An item of a wide row is no row of the input any more: it is reported in canonical form.
    reported, key = (canonical, 'rows') if wide else (table, 'input')
    for error, message, mask in bad:
        mask = mask & ~refused  # the first reason is enough
        refused |= mask
        for index, row in zip(np.flatnonzero(mask), rows(reported.filter(pa.array(mask))), strict=True):
            group = out['instruction_id'][int(index)].as_py()
            failed.append(failed_rows([row], 'format', error, message, group, key))
    if refused.any():
        canonical = canonical.filter(pa.array(~refused))
    return Formatted(canonical.cast(pa.schema(fields, metadata={GROUPED: b'wide'} if wide else None)), failed)


def from_canonical_rows(elements: Sequence[Mapping[str, Any]], metadata: Sequence[str]) -> pa.Table:
    """A canonical table of the rows of a FailedRecord."""
    # The very schema of tables that were read: they meet in one partition.
    schema = pa.schema([*SCHEMA, *(pa.field(METADATA_PREFIX + name, METADATA) for name in metadata)])
    return pa.Table.from_pylist(list(elements), schema)


def instruction_ids(table: pa.Table, columns: Columns) -> pa.Array:
    """The instruction id of each row as it was read; null where there is none."""
    if columns.instruction_id is not None:
        return as_text(table.column(columns.instruction_id))[0]
    return sha256(as_text(table.column(columns.instruction))[0])


Bad = tuple[str, str, np.ndarray]


def _canonical_columns(table: pa.Table, names: Mapping[str, str]) -> tuple[dict[str, pa.Array], list[Bad]]:
    """The canonical columns, and (error, message, mask) of the rows that cannot be used."""
    bad: list[Bad] = []

    def text(role: str) -> pa.Array:
        if role not in names:
            return pa.nulls(table.num_rows, TEXT)
        array, invalid = as_text(table.column(names[role]))
        if invalid is not None:
            bad.append(
                ('NotUtf8', f'The {role} is not valid UTF-8: repair the encoding of column {names[role]!r}', invalid)
            )
        return array

    def null(array: pa.Array) -> np.ndarray:
        return array.is_null().to_numpy(zero_copy_only=False)

    out = {role: text(role) for role in ('instruction', 'generation', 'model_name', 'rationale', 'agent')}
    bad.append(
        (
            'EmptyInstruction',
            f'The instruction is null or empty (column {names["instruction"]!r}): there is nothing to show or group by',
            null(out['instruction']) | is_blank(out['instruction']),
        )
    )
    if 'instruction_id' in names:
        out['instruction_id'] = text('instruction_id')
        no_id = null(out['instruction_id']) | is_blank(out['instruction_id'])
        message = f'The instruction id is null or empty (column {names["instruction_id"]!r}): which record is it for?'
        bad.append(('NullInstructionId', message, no_id))
    else:
        out['instruction_id'] = sha256(out['instruction'])
    message = f'The generation is null (column {names["generation"]!r}): there is nothing to judge'
    bad.append(('NullGeneration', message, null(out['generation'])))
    out['rating'] = as_rating(table.column(names['rating'])) if 'rating' in names else pa.nulls(table.num_rows, TEXT)
    if 'position' in names:
        out['position'] = one_chunk(table.column(names['position'])).cast(pa.int64())
    else:
        out['position'] = pa.nulls(table.num_rows, pa.int64())
    out['rationale'] = null_where_blank(out['rationale'])
    out['agent'] = null_where_blank(out['agent'])
    out['model_name'] = null_where_blank(out['model_name'])
    return {name: out[name] for name in SCHEMA.names}, bad
