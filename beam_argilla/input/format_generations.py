"""`FormatGenerations`: a user's own elements → canonical tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.typehints.row_type import RowTypeConstraint
from apache_beam.utils.windowed_value import WindowedValue

from beam_argilla.coding import GenerationTable
from beam_argilla.columns import Columns, as_columns
from beam_argilla.errors import InputError
from beam_argilla.generations import SCORE
from beam_argilla.input.canonical import canonical_tables, facts_of
from beam_argilla.input.frames import as_table
from beam_argilla.input.kind import pieces
from beam_argilla.input.roles import check_columns, columns_to_read
from beam_argilla.input.rows import MAX_ROWS, from_rows, not_rows
from beam_argilla.metrics import count, timed
from beam_argilla.refusing import Fallible, Refused, refuse
from beam_argilla.runners import settled


class FormatGenerations(Fallible):
    """Makes canonical tables of a user's elements.

    Input: PCollection of tables (`pa.Table`, `pa.RecordBatch`, pandas or Polars data frame, `datasets.Dataset`) or of
    rows (dict, `beam.Row`, NamedTuple, data class, pydantic model). Rows are put into tables bundle by bundle and
    window by window. Output: PCollection of canonical tables.

    What cannot be used of the rows goes to the error handler of `with_error_handler`; without one the pipeline fails.

    Args:
        columns: what the elements call their columns.
        score: of rows, the column of the exact score that each rating stands for (see `Scale`), if there is one.

    Raises:
        InputError: (when it is applied, where that can be seen of `beam.Create` or of a schema; else while running)
            an element is neither a table nor a row, no row has a column that was named, a table lacks a column or
            has one of a type that cannot mean what it should.

    Example:
        >>> rows = p | beam.Create([{'instruction': 'Say hello.', 'generation': 'Hello!', 'model_name': 'm'}])
        >>> tables = rows | ba.FormatGenerations(ba.Columns())
    """

    def __init__(self, columns: Columns | None = None, score: str | None = None):
        super().__init__()
        self.columns = as_columns(columns)
        self.score = score

    def expand(self, elements: beam.PCollection) -> beam.PCollection:
        _check_element_type(elements.element_type)
        names = _names_of(elements)
        if names is not None:
            check_columns(names, self.columns)
        formatted = elements | beam.ParDo(_Format(self.columns, self.score)).with_outputs(Refused.TAG, main='tables')
        tables = settled('Tables', formatted.tables)
        self.refuse(formatted[Refused.TAG], tables)
        tables.element_type = GenerationTable
        facts = facts_of(self.columns)
        tables.input_facts = facts._replace(scores=facts.scores or self.score is not None)
        return tables

    def display_data(self) -> dict[str, Any]:
        return {'columns': str(self.columns)}


def _check_element_type(kind: Any) -> None:
    """Raises InputError on what is known to be no row, such as the column names that are a data frame's elements."""
    is_one_value = isinstance(kind, type) and (issubclass(kind, (str, bytes, int, float)) or kind.__name__ == 'Series')
    if is_one_value:
        raise InputError(not_rows(kind))


def _names_of(elements: beam.PCollection) -> list[str] | None:
    """The columns of the rows, where they are known while the pipeline is built: of a schema, or all that rows have."""
    kind = elements.element_type
    if isinstance(kind, RowTypeConstraint):
        return [name for name, _ in kind._fields]
    if isinstance(kind, type) and hasattr(kind, '_fields'):
        return list(kind._fields)
    step = elements.producer
    while step is not None and not isinstance(step.transform, beam.Create):
        step = step.parent  # Create is made of other steps
    rows = [] if step is None else step.transform.values
    if rows and all(isinstance(row, Mapping) for row in rows):
        return list(dict.fromkeys(str(name) for row in rows for name in row))
    return None


class _Format(beam.DoFn):
    """The user's elements → canonical tables; rows are buffered until a table is worth it."""

    def __init__(self, columns: Columns, score: str | None):
        self._columns = columns
        self._also = None if score is None else {SCORE: score}
        self._needed = partial(columns_to_read, columns)

    def start_bundle(self) -> None:
        self._rows: dict[Any, list[Any]] = {}
        self._timestamps: dict[Any, Any] = {}

    def process(
        self, element: Any, window: Any = beam.DoFn.WindowParam, timestamp: Any = beam.DoFn.TimestampParam
    ) -> Iterator[Any]:
        table = as_table(element, self._needed)
        if isinstance(table, pa.Table):
            yield from self._of_table(table)
            return
        if table is not None:
            check_columns(list(table[0]), self._columns)
        self._timestamps[window] = max(timestamp, self._timestamps.get(window, timestamp))
        for row in [element] if table is None else table:
            self._rows.setdefault(window, []).append(row)
            if len(self._rows[window]) >= MAX_ROWS:
                yield from self._flush(window)

    def finish_bundle(self) -> Iterator[Any]:
        for window in list(self._rows):
            yield from self._flush(window)

    @timed('read')
    def _of_table(self, table: pa.Table) -> Iterator[Any]:
        for piece in pieces(table):
            count('rows_read', piece.num_rows)
            tables, failed = canonical_tables(piece, self._columns)
            yield from map(refuse, failed)
            yield from tables

    @timed('read')
    def _flush(self, window: Any) -> Iterator[Any]:
        stamp = WindowedValue(None, self._timestamps[window], (window,))
        rows = self._rows.pop(window)
        count('rows_read', len(rows))
        tables, failed = from_rows(rows, self._columns, also=self._also)
        yield from (refuse(f, stamp) for f in failed)
        yield from map(stamp.with_value, tables)
