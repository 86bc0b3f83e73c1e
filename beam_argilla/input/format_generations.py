"""`FormatGenerations`: a user's own elements → canonical tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.utils.windowed_value import WindowedValue

from beam_argilla.coding import GenerationTable
from beam_argilla.columns import Columns
from beam_argilla.input.rows import from_rows
from beam_argilla.input.tables import to_canonical
from beam_argilla.refusing import Fallible, Refused, refuse

_MAX_ROWS = 2_000  # of rows (dicts and the like) in one table


class FormatGenerations(Fallible):
    """Makes canonical tables of a user's elements: `pa.Table`, `pa.RecordBatch`, dict, `beam.Row` or NamedTuple.

    Rows are put into tables bundle by bundle and window by window. Output: PCollection of canonical tables.

    What cannot be used of the rows goes to the error handler of `with_error_handler`; without one the pipeline fails.

    Args:
        columns: what the elements call their columns.

    Raises:
        InputError: (while running) an element is neither a table nor a row, or a table lacks a column or has one of a
            type that cannot mean what it should.

    Example:
        >>> rows = p | beam.Create([{'instruction': 'Say hello.', 'generation': 'Hello!', 'model_name': 'm'}])
        >>> tables = rows | ba.FormatGenerations(ba.Columns())
    """

    def __init__(self, columns: Columns | None = None):
        super().__init__()
        self.columns = columns or Columns()

    def expand(self, elements: beam.PCollection) -> beam.PCollection:
        formatted = elements | beam.ParDo(_Format(self.columns)).with_outputs(Refused.TAG, main='tables')
        self.refuse(formatted[Refused.TAG], formatted.tables)
        formatted.tables.element_type = GenerationTable
        return formatted.tables

    def display_data(self) -> dict[str, Any]:
        return {'columns': str(self.columns)}


class _Format(beam.DoFn):
    """The user's elements → canonical tables; rows are buffered until a table is worth it."""

    def __init__(self, columns: Columns):
        self._columns = columns

    def start_bundle(self) -> None:
        self._rows: dict[Any, list[Any]] = {}
        self._timestamps: dict[Any, Any] = {}

    def process(
        self, element: Any, window: Any = beam.DoFn.WindowParam, timestamp: Any = beam.DoFn.TimestampParam
    ) -> Iterator[Any]:
        if isinstance(element, pa.RecordBatch):
            element = pa.Table.from_batches([element])
        if isinstance(element, pa.Table):
            formatted = to_canonical(element, self._columns)
            yield from map(refuse, formatted.failed)
            if formatted.table.num_rows:
                yield formatted.table
            return
        buffered = self._rows.setdefault(window, [])
        buffered.append(element)
        self._timestamps[window] = max(timestamp, self._timestamps.get(window, timestamp))
        if len(buffered) >= _MAX_ROWS:
            yield from self._flush(window)

    def finish_bundle(self) -> Iterator[Any]:
        for window in list(self._rows):
            yield from self._flush(window)

    def _flush(self, window: Any) -> Iterator[Any]:
        stamp = WindowedValue(None, self._timestamps[window], (window,))
        tables, failed = from_rows(self._rows.pop(window), self._columns)
        yield from (refuse(f, stamp) for f in failed)
        yield from map(stamp.with_value, tables)
