"""Rows as they were read → what JSON can hold of them, and means the same when it is read again, perhaps repaired."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_argilla.generations import rows
from beam_argilla.input.plain import is_list, list_lengths
from beam_argilla.input.values import Meaning, as_position, as_text

# What stands in the place of a value that cannot mean what it should: ``{"unusable": ...}``, until it is repaired.
_MARK = 'unusable'


class Unusable:
    """A value that was marked, and is not repaired: whoever makes something of it finds that it has no text."""

    def __init__(self, shown: Any):
        self.shown = shown


Unusable.__name__ = 'value that is marked as unusable'  # for messages: "Column 'k' holds a value that is …"


def marked(shown: Any) -> dict[str, Any]:
    """What stands in JSON for a value that cannot be used."""
    return {_MARK: shown}


def unmarked(value: Any) -> Any:
    """A value of a row as it was read from JSON, where what was marked, also in a list, is `Unusable`."""
    if isinstance(value, list):
        return [unmarked(item) for item in value]
    return Unusable(value[_MARK]) if isinstance(value, dict) and value.keys() == {_MARK} else value


def repairable(array: pa.Array, meanings: Sequence[Callable[[pa.Array], Meaning]]) -> list[Any]:
    """What stands in JSON for each cell of a plain array.

    Args:
        meanings: what the cells, or the items of their lists, are read as.
    """
    if not is_list(array.type):
        return _values(array, meanings)
    items = iter(_values(pc.list_flatten(array), meanings))
    lists = [list(itertools.islice(items, int(length))) for length in list_lengths(array)]
    return [items if valid else None for items, valid in zip(lists, array.is_valid().to_pylist(), strict=True)]


def _values(array: pa.Array, meanings: Sequence[Callable[[pa.Array], Meaning]]) -> list[Any]:
    """Whole numbers and booleans as they are; all else as the text that it means, which means the same as text."""
    text, problems = as_text(array)
    values = text.to_pylist()
    kind = array.type
    if pa.types.is_null(kind) or pa.types.is_boolean(kind) or pa.types.is_integer(kind):
        values = array.to_pylist()
    elif pa.types.is_float64(kind):  # infinity alone has no form in JSON
        numbers = array.to_pylist()
        values = [t if n is None or not math.isfinite(n) else n for n, t in zip(numbers, values, strict=True)]
    elif as_position in meanings:  # which text is not
        values = as_position(array).values.to_pylist()
    bad: np.ndarray = np.zeros(len(array), bool)
    for problem in [*problems, *(problem for meaning in meanings for problem in meaning(array).problems)]:
        bad |= problem.mask
    for index in np.flatnonzero(bad):
        (row,) = rows(pa.table({'value': array.slice(index, 1)}), nulls=True)
        values[index] = marked(str(row['value']) if isinstance(row['value'], float) else row['value'])
    return values
