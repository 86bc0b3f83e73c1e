"""`WriteToArgilla`: the whole way from generations to the records of a dataset."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import apache_beam as beam

from beam_argilla.columns import Columns, as_columns
from beam_argilla.generations import InputFacts
from beam_argilla.grouping.group_generations import GroupGenerations
from beam_argilla.grouping.policies import Policies
from beam_argilla.input.format_generations import FormatGenerations
from beam_argilla.refusing import Collect
from beam_argilla.server.connection import ArgillaConnection
from beam_argilla.server.retries import RetryPolicy
from beam_argilla.tasks.task import Task
from beam_argilla.writing.build_records import BuildRecords
from beam_argilla.writing.results import WriteResult, write_result
from beam_argilla.writing.sink import Bounds
from beam_argilla.writing.write_records import WriteRecords


class WriteToArgilla(beam.PTransform):
    """Writes generations to a dataset of an Argilla server, grouped into the records of a task.

    Input: what `ReadGenerations` yields; or, with `columns`, `pa.Table`s, `pa.RecordBatch`es, dicts, `beam.Row`s or
    NamedTuples; bounded or windowed.
    Output: a `WriteResult`.

    Args:
        dataset: name of the dataset. It is created if it does not exist; if it does, its settings must be able to hold
            the task's records.
        task: `TextGeneration` or `Preference`. Where the input has exact scores (`Scale`), they are kept, whatever
            `Preference.scores` is.
        connection: the server.
        workspace: name of the workspace.
        columns: what the input calls its columns; needed unless the input comes from `ReadGenerations`.
        on_conflict, overflow, min_generations: see `Policies`.
        num_partitions, spill_location, shuffle, spill, order, seed: see `GroupGenerations`.
        create_workspace: create the workspace if it does not exist (only owners may).
        suggestions, skip_unchanged, adopt, max_parallelism, max_records, max_bytes, max_suggestions, max_in_flight,
            retry: see `WriteRecords`.
        distinct: see `WriteRecords`; not needed, for grouping makes external ids unique.

    Raises:
        ValueError: options that contradict each other, or that the server would refuse.
        TypeError: `task` is no task, or `connection` no `ArgillaConnection`.
        InputError, JobError: (while running) see `GroupGenerations` and `WriteRecords`.

    Example:
        >>> tables = p | ba.ReadGenerations('generations-*.parquet')
        >>> tables | ba.WriteToArgilla('answers', task=ba.Preference(num_generations=4), connection=connection)
    """

    def __init__(
        self,
        dataset: str,
        *,
        task: Task,
        connection: ArgillaConnection,
        workspace: str = 'default',
        columns: Columns | None = None,
        on_conflict: str = 'fail',
        overflow: str = 'fail',
        min_generations: int = 1,
        num_partitions: int | None = None,
        spill_location: str | None = None,
        shuffle: bool | None = None,
        spill: bool = True,
        order: str = 'given',
        seed: int = 0,
        create_workspace: bool = False,
        suggestions: str = 'merge',
        skip_unchanged: bool = False,
        adopt: bool = False,
        max_parallelism: int | None = None,
        distinct: bool = False,
        max_records: int = Bounds().max_records,
        max_bytes: int = Bounds().max_bytes,
        max_suggestions: int = Bounds().max_suggestions,
        max_in_flight: int = Bounds().max_in_flight,
        retry: RetryPolicy | None = None,
    ):
        super().__init__()
        if not (hasattr(task, 'records') and hasattr(task, 'settings')):
            raise TypeError(f'task must be a task such as Preference(num_generations=4), not {task!r}')
        self.columns = None if columns is None else with_kept(as_columns(columns), task)
        self.task = task
        policies = Policies(on_conflict, task.max_generations, overflow, min_generations)
        self.group = GroupGenerations(policies, num_partitions, spill_location, shuffle, spill, order, seed)
        self._write = partial(
            WriteRecords,
            dataset,
            connection=connection,
            workspace=workspace,
            create_workspace=create_workspace,
            suggestions=suggestions,
            skip_unchanged=skip_unchanged,
            adopt=adopt,
            max_parallelism=max_parallelism,
            distinct=distinct,
            max_records=max_records,
            max_bytes=max_bytes,
            max_suggestions=max_suggestions,
            max_in_flight=max_in_flight,
            retry=retry,
        )
        self._write(settings=task.settings())  # the former raises on what contradicts itself
        self._error_handler: Any = None

    def with_error_handler(self, error_handler: Any) -> WriteToArgilla:
        """Sends what is refused to a Beam `ErrorHandler` as well as to `WriteResult.failed`."""
        self._error_handler = error_handler
        return self

    def expand(self, elements: beam.PCollection) -> WriteResult:
        refused = Collect()
        refused.take_over(elements)
        tables = elements
        if self.columns is not None:
            tables = elements | 'Format' >> FormatGenerations(self.columns).with_error_handler(refused)
        task: Any = self.task
        if getattr(tables, 'input_facts', InputFacts()).scores and hasattr(task, 'scores'):
            task = replace(task, scores=True)  # what a score was rounded to goes nowhere without the score
        records = (
            tables
            | 'Group' >> self.group.with_error_handler(refused)
            | 'Build' >> BuildRecords(task).with_error_handler(refused)
        )
        result = records | 'Write' >> self._write(settings=task.settings()).with_error_handler(refused)
        failed = refused.pcollections | 'Failed' >> beam.Flatten()
        return write_result(result.written, failed, result.dataset, result.given, self._error_handler)


def with_kept(columns: Columns, task: Task) -> Columns:
    """The columns with those that the task keeps as metadata, and its conversations."""
    metadata = [*columns.metadata, *task.metadata_columns]
    return replace(columns, metadata=metadata, chat=columns.chat or getattr(task, 'chat', False))
