"""Data frames of other libraries → Arrow tables, without importing any of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from beam_argilla.errors import InputError


def as_table(element: Any) -> pa.Table | list[Any] | None:
    """The table that an element is, or its rows, where a column has several types; None if it is no table.

    Args:
        element: anything. Known are `pa.Table`, `pa.RecordBatch`, `datasets.Dataset`, and all that speak Arrow's stream
            protocol, as the data frames of pandas, Polars, DuckDB and others do.

    Raises:
        InputError: it is several tables, or one that never ends.
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
    if kind.startswith('polars.') and hasattr(element, 'collect'):  # a LazyFrame
        element = element.collect()
    if not (hasattr(element, '__arrow_c_stream__') and hasattr(element, 'columns')):  # a Series is no table
        return None
    try:
        return pa.table(element)
    except (pa.ArrowInvalid, pa.ArrowTypeError):  # pandas' columns of objects
        return element.to_dict('records')
