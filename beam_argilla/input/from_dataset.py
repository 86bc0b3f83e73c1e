"""`FromDataset`: a dataset of Hugging Face's datasets that is open in Python → canonical tables."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import apache_beam as beam

from beam_argilla.coding import GenerationTable
from beam_argilla.columns import Columns, as_columns
from beam_argilla.errors import InputError
from beam_argilla.generations import is_grouped
from beam_argilla.input.canonical import canonical_tables, facts_of
from beam_argilla.input.kind import MAX_BATCH_ROWS, pieces
from beam_argilla.input.roles import check_columns, columns_to_read
from beam_argilla.input.rows import MAX_ROWS
from beam_argilla.input.saved import named
from beam_argilla.metrics import count, timed
from beam_argilla.refusing import Fallible, Refused, refuse

_PART_ROWS = 16 * MAX_BATCH_ROWS  # that one worker reads in one go


class FromDataset(Fallible):
    """Reads a `datasets.Dataset` or `datasets.IterableDataset`, in parts side by side.

    A dataset that was loaded from files travels to workers as their paths, so workers have to see them; one that was
    made in memory travels with its rows. Classes (`ClassLabel`) are their names.

    Output: PCollection of canonical tables. What cannot be used of the rows goes to the error handler of
    `with_error_handler`; without one the pipeline fails.

    Args:
        dataset: one split.
        columns: what it calls its columns.

    Raises:
        InputError: it is several splits or no dataset, or it has no such column.

    Example:
        >>> train = datasets.load_from_disk('saved')['train']
        >>> tables = p | ba.FromDataset(train, ba.Columns(instruction='prompt', generation=['chosen', 'rejected']))
    """

    def __init__(self, dataset: Any, columns: Columns | None = None):
        super().__init__()
        kind = type(dataset).__name__
        if hasattr(dataset, 'keys'):
            raise InputError(f'A {kind} has several splits ({", ".join(dataset.keys())}): give the one that is meant.')
        if not (hasattr(dataset, 'features') and hasattr(dataset, 'shard')):
            raise InputError(f'FromDataset takes a datasets.Dataset or IterableDataset, not a {kind}.')
        self.dataset = dataset
        self.columns = as_columns(columns)
        if dataset.column_names is not None:
            check_columns(dataset.column_names, self.columns)

    def expand(self, pbegin: beam.pvalue.PBegin) -> beam.PCollection:
        read = (
            pbegin
            | 'Parts' >> beam.Create(_parts(self.dataset))
            | 'Spread' >> beam.Reshuffle()
            | 'Read' >> beam.ParDo(_Read(self.dataset, self.columns)).with_outputs(Refused.TAG, main='tables')
        )
        self.refuse(read[Refused.TAG], read.tables)
        read.tables.element_type = GenerationTable
        read.tables.input_facts = facts_of(self.columns)
        return read.tables

    def display_data(self) -> dict[str, Any]:
        return {'columns': str(self.columns)}


def _parts(dataset: Any) -> list[tuple[int, int]]:
    """(first, end) of rows; of a dataset of which the length is not known, of shards."""
    if hasattr(dataset, '__len__'):
        return [(i, min(i + _PART_ROWS, len(dataset))) for i in range(0, len(dataset), _PART_ROWS)]
    return [(i, i + 1) for i in range(max(dataset.num_shards, 1))]


class _Read(beam.DoFn):
    def __init__(self, dataset: Any, columns: Columns):
        self._dataset = dataset
        self._columns = columns

    @timed('read')
    def process(self, part: tuple[int, int]) -> Iterator[Any]:
        for rows in self._rows(*part):
            count('rows_read', len(rows))
            tables, failed = canonical_tables(rows, self._columns)
            yield from map(refuse, failed)
            for table in tables:
                yield from [table] if is_grouped(table) else pieces(table)

    def _rows(self, first: int, end: int) -> Iterator[Any]:
        if hasattr(self._dataset, '__len__'):
            names = columns_to_read(self._columns, self._dataset.column_names)
            arrow = self._dataset.select_columns(names).with_format('arrow')
            for start in range(first, end, MAX_BATCH_ROWS):
                yield named(arrow[start : min(start + MAX_BATCH_ROWS, end)])
            return
        shard = self._dataset.shard(max(self._dataset.num_shards, 1), first)
        classes = {name: feature for name, feature in (shard.features or {}).items() if hasattr(feature, 'int2str')}
        rows = iter(shard)
        while some := list(itertools.islice(rows, MAX_ROWS)):
            yield [{name: _value(classes.get(name), value) for name, value in row.items()} for row in some]


def _value(classes: Any, value: Any) -> Any:
    """The name of a class; of no class, what it is."""
    if classes is None or not isinstance(value, int):
        return value
    return classes.int2str(value) if value >= 0 else None
