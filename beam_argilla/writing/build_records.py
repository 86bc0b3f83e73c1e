"""`BuildRecords`: tables of whole groups → the records of a task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
import pyarrow as pa

from beam_argilla.errors import InputError
from beam_argilla.failures import FailedRecord
from beam_argilla.generations import InputFacts, metadata_columns
from beam_argilla.metrics import count, timed
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
        InputError: (when it is applied, or, where the columns are not known yet, while running) the task keeps a
            column as metadata that was not read, or shows conversations that were not read; or a column was read as
            metadata that the task does not keep.

    Example:
        >>> records = groups | ba.BuildRecords(ba.Preference(num_generations=4))
    """

    def __init__(self, task: Task):
        super().__init__()
        self.task = task

    def expand(self, tables: beam.PCollection) -> beam.PCollection:
        facts = getattr(tables, 'input_facts', InputFacts())
        carried = facts.metadata
        if carried is not None:
            if getattr(self.task, 'chat', False) and not facts.chat:
                raise InputError(
                    'The task shows instructions as conversations (chat=True), but their messages were not read: say '
                    'so to the input as well, Columns(chat=True).'
                )
            _check_metadata(self.task, carried)
            unkept = [name for name in carried if name not in self.task.metadata_columns]
            if unkept:
                raise InputError(
                    f'Columns(metadata={unkept}) is read, but the task does not keep it: say so to the task as well, '
                    f'{type(self.task).__name__}(metadata={unkept}), or leave it out.'
                )
        built = tables | beam.ParDo(_Build(self.task)).with_outputs(Refused.TAG, main='records')
        self.refuse(built[Refused.TAG])
        return built.records

    def display_data(self) -> dict[str, Any]:
        return {'task': str(self.task)}


def _check_metadata(task: Task, carried: Sequence[str]) -> None:
    lacking = sorted(set(task.metadata_columns).difference(carried))
    if lacking:
        raise InputError(
            f'The task keeps {lacking} as metadata, but these columns were not read: name them in '
            'Columns(metadata=[...]).'
        )


class _Build(beam.DoFn):
    def __init__(self, task: Task):
        self._task = task

    @timed('build')
    def process(self, table: pa.Table) -> Iterator[Any]:
        built = warned = 0
        _check_metadata(self._task, metadata_columns(table))
        for record in self._task.records(table):
            if isinstance(record, FailedRecord):
                yield refuse(record)
                continue
            built += 1
            warned += len(record.warnings)
            yield record
        count('records_built', built)
        count('warnings', warned)
