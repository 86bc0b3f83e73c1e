"""Paths into what a column holds: ``completions[].annotations.helpfulness.Rating``, ``choices[0].message.content``.

A path is followed in Arrow, a whole column at a time, or in Python, value by value: into rows and into JSON text.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from beam_argilla.input.plain import list_lengths, list_of, plain
from beam_argilla.input.values import as_list, as_mapping, is_missing

# A step is the name of a field, the index of an item (from the end, if negative), or every item.
Step = str | int
EACH = '[]'
_STEP = re.compile(r'\.?([^.\[\]]+)|\[(-?\d+)\]|(\[\])')


class Path(NamedTuple):
    """A column, and the way into what it holds."""

    column: str
    steps: tuple[Step, ...] = ()


class NoSuchPath(LookupError):
    """What is there has no such field or items: what it is instead, for messages."""


def path_to(text: str, names: Collection[str]) -> Path | None:
    """What the text stands for: a column that is called that, else a way into the one with the longest such name.

    Args:
        names: of the columns that are there.
    """
    if text in names:
        return Path(text)
    for column in reversed(possible_columns(text)[1:]):
        if column in names and (steps := _steps(text[len(column) :])) is not None:
            return Path(column, steps)
    return None


def possible_columns(text: str) -> list[str]:
    """The columns that a text may be meant to name or to go into, itself first, then the shorter before the longer."""
    return [text, *(text[: found.start()] for found in re.finditer(r'(?<!^)[.\[]', text))]


def _steps(text: str) -> tuple[Step, ...] | None:
    steps: list[Step] = []
    end = 0
    while end < len(text):
        found = _STEP.match(text, end)
        if found is None:
            return None
        name, index, each = found.groups()
        steps.append(name or each or int(index))
        end = found.end()
    return tuple(steps)


# -- in Arrow


def follow(array: pa.Array, steps: Sequence[Step]) -> pa.Array:
    """What lies at the end of the way in each cell, null where there is nothing; of every item, a list of all.

    Args:
        array: plain; texts on the way are not looked into: see `goes_into_text`.

    Raises:
        NoSuchPath: nothing of this type has that.
    """
    if not steps:
        return array
    step, rest = steps[0], steps[1:]
    types, kind = pa.types, array.type
    if types.is_null(kind):
        return list_of(pa.nulls(len(array), pa.large_list(pa.null())), pa.nulls(0)) if EACH in steps else array
    if step == EACH and types.is_large_list(kind):
        return _of_each(array, follow(plain(pc.list_flatten(array)), rest))
    if isinstance(step, int) and types.is_large_list(kind):
        return follow(_item(array, step), rest)
    if isinstance(step, str) and step != EACH and types.is_map(kind):
        return follow(plain(pc.map_lookup(array, pa.scalar(step, kind.key_type), 'first')), rest)
    if isinstance(step, str) and step != EACH and types.is_struct(kind):
        name, rest = _named([kind.field(i).name for i in range(kind.num_fields)], steps)
        return follow(plain(pc.struct_field(array, [kind.get_field_index(name)])), rest)
    raise NoSuchPath(str(kind))


def goes_into_text(kind: pa.DataType, steps: Sequence[Step]) -> bool:
    """Whether the way leads into text, which must be JSON then."""
    for i in range(len(steps)):
        try:
            here = follow(pa.nulls(0, kind), steps[:i]).type
        except NoSuchPath:
            return False
        if _is_text(here.value_type if EACH in steps[:i] else here):
            return True
    return False


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_large_string(kind) or pa.types.is_large_binary(kind)


def _of_each(lists: pa.Array, items: pa.Array) -> pa.Array:
    """A list of what was found in the items of each list; if that is lists, of all that is in them."""
    if not pa.types.is_large_list(items.type):
        return list_of(lists, items)
    bounds = np.append(0, np.cumsum(list_lengths(items)))[np.append(0, np.cumsum(list_lengths(lists)))]
    mask = lists.is_null() if lists.null_count else None
    return pa.LargeListArray.from_arrays(pa.array(bounds, pa.int64()), plain(pc.list_flatten(items)), mask=mask)


def _item(lists: pa.Array, index: int) -> pa.Array:
    lengths = list_lengths(lists)
    found = lengths > index if index >= 0 else lengths >= -index
    at = np.cumsum(lengths) - lengths + (index if index >= 0 else lengths + index)
    return plain(pc.list_flatten(lists)).take(pa.array(np.where(found, at, 0), pa.int64(), mask=~found))


def _named(names: Collection[str], steps: Sequence[Step]) -> tuple[str, Sequence[Step]]:
    """The field that the way goes into, and the steps behind it; one called like several steps at once goes first."""
    called = ''
    readings = []
    for count, step in enumerate(steps, 1):
        called += f'[{step}]' if isinstance(step, int) else step if step == EACH or not called else f'.{step}'
        readings.append((called, steps[count:]))
    for name, rest in reversed(readings):
        if name in names:
            return name, rest
    raise NoSuchPath(f'a struct of {", ".join(map(repr, names)) or "nothing"}')


# -- in Python


def get(value: Any, steps: Sequence[Step]) -> Any:
    """What lies at the end of the way in a value, None where there is nothing; of every item, a list of all.

    Raises:
        NoSuchPath: a value on the way is of another kind, such as a text that is no JSON.
    """
    if not steps:
        return value
    if isinstance(value, (str, bytes)) and value:
        value = _from_json(value)
    if is_missing(value) or value == '':
        return None
    step, rest = steps[0], steps[1:]
    if step == EACH or isinstance(step, int):
        items = as_list(value)
        if items is None:
            raise NoSuchPath(f'a {type(value).__name__}')
        if isinstance(step, int):
            return get(items[step], rest) if -len(items) <= step < len(items) else None
        found = [get(item, rest) for item in items]
        return list(_flat(found)) if EACH in rest else found
    mapping = as_mapping(value)
    if mapping is None:
        raise NoSuchPath(f'a {type(value).__name__}')
    try:
        name, rest = _named(mapping, steps)
    except NoSuchPath:
        return None  # a key that is absent
    return get(mapping[name], rest)


def _flat(found: Iterable[Any]) -> Iterable[Any]:
    for items in found:
        yield from items or ()


def _from_json(text: str | bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        raise NoSuchPath('a text that is no JSON') from None
