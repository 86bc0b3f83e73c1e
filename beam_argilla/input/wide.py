"""Wide rows (an instruction with lists) → long ones (a generation each)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_argilla.failures import FailedRecord, failed_rows
from beam_argilla.generations import rows
from beam_argilla.input.layouts import PER_GENERATION, is_list
from beam_argilla.input.values import one_chunk

# Where a wide row's list index travels.
LIST_POSITION = 'position in list'


def explode(table: pa.Table, names: Mapping[str, str]) -> tuple[pa.Table, list[FailedRecord]]:
    """Wide → long: a row per list item, `position` being its index. Rows whose lists do not match are refused."""
    generations = one_chunk(table.column(names['generation']))
    lengths = pc.list_value_length(generations).fill_null(0).to_numpy(zero_copy_only=False)
    refused: np.ndarray = np.zeros(table.num_rows, bool)
    failed: list[FailedRecord] = []

    def refuse(mask: np.ndarray, error: str, message: str) -> None:
        mask = mask & ~refused
        for row in rows(table.filter(pa.array(mask))):
            given_id = row.get(names['instruction_id']) if 'instruction_id' in names else None
            group = None if given_id is None else str(given_id)
            failed.append(failed_rows([row], 'format', error, message, group, key='input'))
        refused[:] |= mask

    refuse(
        lengths == 0, 'NoGenerations', f'The list {names["generation"]!r} is null or empty: there is nothing to judge'
    )
    listed = [r for r in PER_GENERATION[1:] if r in names and is_list(table.schema.field(names[r]).type)]
    for role in listed:
        counts = pc.list_value_length(one_chunk(table.column(names[role]))).fill_null(-1).to_numpy(zero_copy_only=False)
        message = f'{names[role]!r} has another number of items than {names["generation"]!r}: which belongs to which?'
        refuse((counts != lengths) & (counts > 0), 'UnequalLists', message)
    table = table.filter(pa.array(~refused))
    lengths = lengths[~refused]
    parents = np.repeat(np.arange(table.num_rows), lengths)
    starts = np.repeat(np.cumsum(lengths) - lengths, lengths)
    out = {}
    for name in table.column_names:
        column = one_chunk(table.column(name))
        if name == names['generation'] or name in [names[r] for r in listed]:
            # Null or empty beside generations means nothing is known of any: one null per generation.
            known = pc.list_value_length(column).fill_null(0).to_numpy(zero_copy_only=False) > 0
            taken = np.where(np.repeat(known, lengths), np.cumsum(np.repeat(known, lengths)) - 1, -1)
            out[name] = pc.list_flatten(column).take(pa.array(taken, mask=taken < 0))
        else:
            out[name] = column.take(pa.array(parents))
    position = pa.array(np.arange(len(parents)) - starts, pa.int64())
    exploded = pa.table(out)
    names['position'] = LIST_POSITION  # type: ignore[index]  # also before a position of the row's own
    exploded = exploded.append_column(LIST_POSITION, position)
    return exploded, failed
