"""Rows as dicts → an Arrow table, where the cells of each column are so alike that none changes by it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from beam_argilla.generations import TEXT


def as_table(rows: Sequence[Mapping[str, Any]], names: Iterable[str]) -> pa.Table | None:
    """The table with those of the columns that some row has; None if a value would not be there what it is alone.

    That is so of columns with values of several types (but numbers), and of dicts with different keys: in a table, a
    key that is absent in one of them could not be told from one that is null.
    """
    arrays = {name: _array([row.get(name) for row in rows]) for name in names}
    return None if not arrays or any(array is None for array in arrays.values()) else pa.table(arrays)


def _array(values: Sequence[Any]) -> pa.Array | None:
    kinds = set(map(type, values))
    kinds.discard(type(None))
    try:
        if not kinds:
            return pa.nulls(len(values))
        if kinds == {str}:
            return pa.array(values, TEXT)
        if kinds == {bool} or kinds <= {int, float}:
            return pa.array(values)
    except (pa.ArrowException, OverflowError, UnicodeError):  # integers that are too long, half a character
        return None
    mask = pa.array([value is None for value in values])
    if kinds == {list}:
        items = _array(list(itertools.chain.from_iterable(value or () for value in values)))
        offsets = itertools.accumulate((len(value or ()) for value in values), initial=0)
        return None if items is None else pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), items, mask=mask)
    if kinds == {dict}:
        first, *others = {tuple(value): None for value in values if value is not None}
        if others or not first:
            return None
        fields = {key: _array([None if value is None else value[key] for value in values]) for key in first}
        if any(field is None for field in fields.values()):
            return None
        return pa.StructArray.from_arrays(list(fields.values()), list(fields), mask=mask)
    return None
