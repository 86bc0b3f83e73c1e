"""Rows of a user's (dicts, `beam.Row`s, NamedTuples) → canonical tables; each row is judged by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from beam_argilla.columns import Columns
from beam_argilla.errors import InputError
from beam_argilla.failures import FailedRecord, failed_rows
from beam_argilla.generations import TEXT
from beam_argilla.input.layouts import PER_GENERATION, USUAL, columns_to_read, generation_names
from beam_argilla.input.tables import Formatted, to_canonical

_LISTS = (list, tuple, np.ndarray)


def from_rows(elements: Sequence[Any], columns: Columns) -> tuple[list[pa.Table], list[FailedRecord]]:
    """Converts a batch of dicts, `beam.Row`s or NamedTuples.

    Each row is judged by itself, whatever stands beside it: a key that is absent counts as null, and so does NaN.

    Returns:
        A canonical table of the long rows and one of the wide rows, if there are any; and what was refused.

    Raises:
        InputError: an element is no row.
    """
    failed: list[FailedRecord] = []
    layouts: dict[bool, list[dict[str, Any]]] = {}
    for element in elements:
        row = {name: _null_if_nan(value) for name, value in _as_dict(element).items()}
        wide = _is_wide_row(row, columns)
        problem = _row_problem(row, columns, wide)
        if problem is None:
            layouts.setdefault(wide, []).append(row)
        else:
            failed.append(failed_rows([row], 'format', *problem, key='input'))
    formatted = [_from_layout(rows, columns, wide) for wide, rows in layouts.items()]
    tables = [f.table for f in formatted if f.table.num_rows]
    return tables, [*failed, *(refused for f in formatted for refused in f.failed)]


def _from_layout(dicts: list[dict[str, Any]], columns: Columns, wide: bool) -> Formatted:
    present = {name for row in dicts for name in row}
    used = [name for name in columns_to_read(columns) if name in present or name in columns.named()]
    if not present.intersection(generation_names(columns)):
        used.append(generation_names(columns)[wide if columns.generation is None else 0])
    arrays = {name: _from_python([row.get(name) for row in dicts]) for name in dict.fromkeys(used)}
    return to_canonical(pa.table(arrays), columns)


def _is_wide_row(row: Mapping[str, Any], columns: Columns) -> bool:
    """Whether it has lists where wide rows have them. One without any generations may still be meant to be wide."""
    names = [getattr(columns, role) or usual for role in PER_GENERATION for usual in USUAL.get(role, ())]
    return any(isinstance(row.get(name), _LISTS) for name in (*names, *generation_names(columns)))


def _row_problem(row: Mapping[str, Any], columns: Columns, wide: bool) -> tuple[str, str] | None:
    """Why the row cannot be put into a table with others, if it cannot: error and message."""
    if not _encodable(row):
        return 'NotUtf8', 'A text has a lone surrogate (half of a character), which UTF-8 cannot carry: repair the text'
    texts: list[tuple[str, Any]] = [(columns.instruction, row.get(columns.instruction))]
    for role in ('generation', 'model_name', 'rationale', 'agent'):
        named = getattr(columns, role)
        for name in (named,) if named is not None else USUAL.get(role, ()):
            value = row.get(name)
            texts += [(name, v) for v in value] if wide and isinstance(value, _LISTS) else [(name, value)]
    for name, value in texts:
        if not (value is None or isinstance(value, (str, bytes))):
            return 'NotText', f'Column {name!r} holds {type(value).__name__}, where text is needed'
    return None


def _null_if_nan(value: Any) -> Any:
    """None for NaN, which pandas writes for what is missing."""
    if isinstance(value, float) and value != value:
        return None
    return [_null_if_nan(v) for v in value] if isinstance(value, _LISTS) else value


def _as_dict(element: Any) -> dict[str, Any]:
    if isinstance(element, Mapping):
        return dict(element)
    for as_dict in ('_asdict', 'as_dict'):  # NamedTuple; beam.Row
        if hasattr(element, as_dict):
            return dict(getattr(element, as_dict)())
    raise InputError(
        f'WriteToArgilla takes pyarrow tables, dicts, beam.Rows and NamedTuples, not {type(element).__name__}.'
    )


def _from_python(values: list[Any]) -> pa.Array:
    """Values of one column of rows. Where types are mixed (4, '4.0', None), all are written as text."""
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        return pa.array([v if v is None or isinstance(v, str) else str(v) for v in values], TEXT)


def _encodable(value: Any) -> bool:
    """Whether all texts in it can be written in UTF-8, which Arrow and JSON need; a lone surrogate cannot."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return False
        return True
    if isinstance(value, Mapping):
        return all(map(_encodable, value.values()))
    if isinstance(value, (list, tuple)):
        return all(map(_encodable, value))
    return True
