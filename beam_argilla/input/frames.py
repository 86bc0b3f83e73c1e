"""Data frames of other libraries → Arrow tables, without importing any of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

import pyarrow as pa

from beam_argilla.errors import InputError
from beam_argilla.input.roles import Wanted, check_once

_TEXTS = (pa.types.is_string, pa.types.is_large_string)


def as_table(element: Any, needed: Wanted | None = None) -> pa.Table | list[dict[str, Any]] | None:
    """The table that an element is, or its rows, where a column has several types; None if it is no table.

    A cell means what it means alone: what Arrow would make of it for what stands beside it (numbers floats, dicts
    dicts with more keys) stays a Python object. The named levels of a pandas index are columns.

    Args:
        element: anything. Known are `pa.Table`, `pa.RecordBatch`, `datasets.Dataset`, the data frames of pandas and
            Polars, and all else that speaks Arrow's stream protocol, as DuckDB's do.
        needed: names → those of the columns that will be looked at; of a data frame, a table has no values in others.
            None: all.

    Raises:
        InputError: it is several tables, one that never ends, or one that has no form in Arrow.
    """
    if isinstance(element, pa.Table):
        return element
    if isinstance(element, pa.RecordBatch):
        return pa.Table.from_batches([element])
    kind = f'{type(element).__module__}.{type(element).__qualname__}'
    if kind.startswith('datasets.') and isinstance(element, Mapping):
        raise InputError(f'A {type(element).__name__} has several splits {list(element)}: give the one that is meant.')
    if kind.startswith('datasets.') and hasattr(element, 'with_format') and hasattr(element, '__len__'):
        return element.with_format('arrow')[:]
    if kind.startswith('datasets.') and hasattr(element, '__iter__'):
        raise InputError(f'A {type(element).__name__} is read row by row: beam.Create(dataset), or its files.')
    if _is(element, 'polars', 'LazyFrame'):
        element = element.collect()
    if _is(element, 'polars', 'DataFrame'):
        return _of_columns([(series.name, series) for series in element.iter_columns()], needed)
    if _is(element, 'pandas', 'DataFrame'):
        return _of_columns(_pandas_columns(element), needed)
    if not (hasattr(element, '__arrow_c_stream__') and hasattr(element, 'columns')):  # a Series is no table
        return None
    try:
        return pa.table(element)
    except (pa.ArrowException, ValueError, TypeError) as e:
        raise InputError(f'A {kind} cannot be made into an Arrow table: {e}') from e


def _is(element: Any, library: str, name: str) -> bool:
    """Whether it is an instance of a class of a library that need not be there."""
    return any(c.__module__.split('.')[0] == library and c.__name__ == name for c in type(element).__mro__)


def _pandas_columns(frame: Any) -> list[tuple[str, Any]]:
    columns = [(str(name), frame.iloc[:, i]) for i, name in enumerate(frame.columns)]
    levels = [(i, name) for i, name in enumerate(frame.index.names) if name is not None and name not in frame.columns]
    return columns + [(str(name), frame.index.get_level_values(i).to_series()) for i, name in levels]


def _of_columns(columns: Sequence[tuple[str, Any]], wanted: Wanted | None) -> pa.Table | list[dict[str, Any]]:
    """Of the Series of pandas or Polars."""
    names = [name for name, _ in columns]
    needed = names if wanted is None else wanted(names)
    arrays = [_arrow(s) if name in needed else pa.nulls(len(s)) for name, s in columns]
    if not any(array is None for array in arrays):
        return pa.Table.from_arrays(arrays, names)
    check_once(names, needed)
    cells = [_objects(s) if array is None else _scalars(array) for array, (_, s) in zip(arrays, columns, strict=True)]
    return [dict(zip(names, row, strict=True)) for row in zip(*cells, strict=True)]


def _arrow(series: Any) -> pa.Array | None:
    """The column in Arrow; None if its cells would not be there what they are alone."""
    of_polars, kind = hasattr(series, 'to_arrow'), str(series.dtype)
    try:
        array = series.to_arrow() if of_polars else pa.array(series, from_pandas=True)
    except Exception:  # of either library: mixtures, and types that Arrow has not
        return None
    if kind.lower() != 'object':
        return array
    return array if not of_polars and _is_of_one_type(array.type, series) else None


def _is_of_one_type(kind: pa.DataType, objects: Iterable[Any]) -> bool:
    """Whether Python objects that came to this type were all of it, and none was changed on the way."""
    if pa.types.is_list(kind) and not any(isinstance(cell, Set) for cell in objects):  # whose order is an accident
        kind = kind.value_type
    return any(is_kind(kind) for is_kind in (*_TEXTS, pa.types.is_int64, pa.types.is_boolean, pa.types.is_null))


def _objects(series: Any) -> list[Any]:
    return list(series.array) if hasattr(series, 'array') else series.to_list()


def _scalars(array: pa.Array) -> list[Any]:
    """Python objects where they say the same, else Arrow's scalars, which know of units and sizes."""
    types = pa.types
    same = (*_TEXTS, types.is_integer, types.is_float64, types.is_boolean, types.is_null)
    return array.to_pylist() if any(is_kind(array.type) for is_kind in same) else list(array)
