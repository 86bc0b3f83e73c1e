"""`BuildRecords`: tables of whole groups → the records of a task."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.metrics import Metrics

from beam_argilla.errors import InputError
from beam_argilla.failures import FailedRecord
from beam_argilla.generations import metadata_columns
from beam_argilla.metrics import NAMESPACE
from beam_argilla.records import Record
from beam_argilla.refusing import Fallible, Refused, refuse
from beam_argilla.tasks.task import Task


@beam.typehints.with_output_types(Record)
class BuildRecords(Fallible):
    """Makes records of tables in which every group is whole (`GroupGenerations`).

    Input: PCollection of canonical tables. Output: PCollection of `Record`.

    What the task refuses goes to the error handler of `with_error_handler`; without one the pipeline fails.

    Args:
        task: `Preference`, `TextGeneration` or another `Task`.

    Raises:
        InputError: (while running) the task keeps a column as metadata that was not read.

    Example:
        >>> records = groups | ba.BuildRecords(ba.Preference(num_generations=4))
    """

    def __init__(self, task: Task):
        super().__init__()
        self.task = task

    def expand(self, tables: beam.PCollection) -> beam.PCollection:
        built = tables | beam.ParDo(_Build(self.task)).with_outputs(Refused.TAG, main='records')
        self.refuse(built[Refused.TAG])
        return built.records

    def display_data(self) -> dict[str, Any]:
        return {'task': str(self.task)}


class _Build(beam.DoFn):
    def __init__(self, task: Task):
        self._task = task

    def process(self, table: pa.Table) -> Iterator[Any]:
        built = warned = 0
        lacking = set(self._task.metadata_columns) - set(metadata_columns(table))
        if lacking:
            raise InputError(
                f'The task keeps {sorted(lacking)} as metadata, but these columns were not read: name them in '
                'Columns(metadata=[...]).'
            )
        for record in self._task.records(table):
            if isinstance(record, FailedRecord):
                yield refuse(record)
                continue
            built += 1
            warned += len(record.warnings)
            yield record
        Metrics.counter(NAMESPACE, 'records_built').inc(built)
        if warned:
            Metrics.counter(NAMESPACE, 'warnings').inc(warned)
