"""The way out: `WriteToArgilla` (the whole way), `BuildRecords`, and `WriteRecords`, the sink alone."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.metrics import Metrics
from apache_beam.metrics.metric import Lineage
from apache_beam.transforms.trigger import AccumulationMode

from beam_argilla._client import Client, Dataset, RetryPolicy
from beam_argilla._existing import Distinct, ReadExisting
from beam_argilla._fallible import NAMESPACE, Collect, Fallible, Refused, refuse
from beam_argilla._groups import Policies
from beam_argilla._sink import Bounds, WriteRecordsFn, WrittenRecord
from beam_argilla.connection import ArgillaConnection
from beam_argilla.errors import InputError
from beam_argilla.failures import FailedRecord
from beam_argilla.generations import Columns, metadata_columns
from beam_argilla.grouping import GroupGenerations
from beam_argilla.reading import FormatGenerations
from beam_argilla.records import Record
from beam_argilla.settings import DatasetSettings
from beam_argilla.tasks import Task


class WriteResult:
    """What a write came to.

    If `failed` is never asked for, the pipeline fails on the first failed record: whoever wants to go on says so by
    consuming it (or with an error handler).

    Attributes:
        written: PCollection of `WrittenRecord`.
        failed: PCollection of `FailedRecord`.
    """

    def __init__(self, written: beam.PCollection, failed: beam.PCollection, guard: beam.ParDo | None):
        self.written = written
        self._failed = failed
        self._guard = guard

    @property
    def failed(self) -> beam.PCollection:
        if self._guard is not None:
            self._guard.fn.armed = False
        return self._failed


@beam.typehints.with_output_types(Record)
class BuildRecords(Fallible):
    """Makes records of tables in which every group is whole (`GroupGenerations`)."""

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


class WriteToArgilla(beam.PTransform):
    """Writes generations to a dataset of an Argilla server, grouped into the records of a task.

    Input: what `ReadGenerations` yields; or, with `columns`, `pa.Table`s, `pa.RecordBatch`es, dicts, `beam.Row`s or
    NamedTuples; bounded or windowed.
    Output: a `WriteResult`.

    Args:
        dataset: name of the dataset. It is created if it does not exist; if it does, its settings must be able to hold
            the task's records.
        task: `TextGeneration` or `Preference`.
        connection: the server.
        workspace: name of the workspace.
        columns: what the input calls its columns; needed unless the input comes from `ReadGenerations`.
        on_conflict, overflow, min_generations: see `Policies`.
        num_partitions, spill_location, shuffle: see `GroupGenerations`.
        create_workspace: create the workspace if it does not exist (only owners may).
        sink: options of `WriteRecords` by name.

    Raises:
        ValueError: options that contradict each other, or that the server would refuse.
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
        create_workspace: bool = False,
        **sink: Any,
    ):
        super().__init__()
        if not (hasattr(task, 'records') and hasattr(task, 'settings')):
            raise TypeError(f'task must be a task such as Preference(num_generations=4), not {task!r}')
        if columns is not None:  # the task knows which columns it keeps as metadata
            columns = replace(columns, metadata=list(dict.fromkeys([*columns.metadata, *task.metadata_columns])))
        self.columns = columns
        self.task = task
        policies = Policies(on_conflict, task.max_generations, overflow, min_generations)
        self.group = functools.partial(GroupGenerations, policies, num_partitions, spill_location, shuffle)
        self.write = WriteRecords(
            dataset,
            connection=connection,
            workspace=workspace,
            settings=task.settings(),
            create_workspace=create_workspace,
            **{'distinct': False, **sink},  # grouping has made them unique
        )
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
        records = (
            tables
            | 'Group' >> self.group().with_error_handler(refused)
            | 'Build' >> BuildRecords(self.task).with_error_handler(refused)
        )
        result = records | 'Write' >> self.write.with_error_handler(refused)
        failed = refused.pcollections | 'Failed' >> beam.Flatten()
        return _result(result.written, failed, self._error_handler)


class WriteRecords(beam.PTransform):
    """Writes `Record`s to a dataset: the sink alone.

    Input: PCollection of `Record`. Output: a `WriteResult`.

    Every write is an upsert by external id, so a bundle that a runner repeats changes nothing. Human answers are never
    sent and never touched. Of a bounded (or windowed) input, equal records with one external id are written once, and
    different ones are refused.

    How much is sent at a time follows from how the server answers; the bounds need not be set.

    Args:
        dataset: name of the dataset.
        connection: the server.
        workspace: name of the workspace.
        settings: `DatasetSettings` (or an `argilla.Settings`) to create the dataset with if need be, and to compare an
            existing one with. None: the dataset must exist, and is taken as it is.
        create_workspace: create the workspace if it does not exist (only owners may).
        suggestions: ``merge`` leaves suggestions that the server has and the new record has not; ``replace`` removes
            them.
        skip_unchanged: read what the dataset holds first, and send only what differs or is missing. Needs bounded
            input without windows.
        max_parallelism: the most workers that write side by side, for small servers. None: as many as there are.
        distinct: False if external ids are unique already; saves a shuffle.
        max_records: bound on records in a request; at most 500, the server's limit.
        max_bytes: bound on bytes of JSON in a request, unless one record alone is larger.
        max_suggestions: bound on suggestions in a request, unless one record alone has more. PostgreSQL cannot take
            more than 32,767 arguments at once; 4,000 suggestions (of 500 preference records) need more.
        max_in_flight: bound on requests at a time per worker.
        retry: how long to retry.

    Raises:
        ValueError: a number out of its range, or `skip_unchanged` with windows.
    """

    def __init__(
        self,
        dataset: str,
        *,
        connection: ArgillaConnection,
        workspace: str = 'default',
        settings: Any = None,
        create_workspace: bool = False,
        suggestions: str = 'merge',
        skip_unchanged: bool = False,
        max_parallelism: int | None = None,
        distinct: bool = True,
        max_records: int = Bounds().max_records,
        max_bytes: int = Bounds().max_bytes,
        max_suggestions: int = Bounds().max_suggestions,
        max_in_flight: int = Bounds().max_in_flight,
        retry: RetryPolicy | None = None,
    ):
        super().__init__()
        if not isinstance(connection, ArgillaConnection):
            raise TypeError(f'connection must be an ArgillaConnection, not {type(connection).__name__}')
        if not 1 <= len(dataset) <= 200:
            raise ValueError(f'dataset={dataset!r}: a name has 1 to 200 characters')
        if not workspace:
            raise ValueError('workspace is empty: name the workspace of the dataset')
        if suggestions not in ('merge', 'replace'):
            raise ValueError(f"suggestions={suggestions!r}: use 'merge' or 'replace'")
        if max_parallelism is not None and max_parallelism < 1:
            raise ValueError(f'max_parallelism={max_parallelism}: it must be at least 1')
        retry = retry or RetryPolicy()
        self.dataset = dataset
        self.workspace = workspace
        self.settings = None if settings is None else DatasetSettings.of(settings)
        self.connection = connection
        self.create_workspace = create_workspace
        self.replace = suggestions == 'replace'
        self.skip_unchanged = skip_unchanged
        self.max_parallelism = max_parallelism
        self.distinct = distinct
        self.retry = retry
        bounds = Bounds(max_records, max_bytes, max_suggestions, max_in_flight)
        self.fn = WriteRecordsFn(connection, bounds, retry, self.replace)
        self._error_handler: Any = None

    def with_error_handler(self, error_handler: Any) -> WriteRecords:
        """Sends what is refused to a Beam `ErrorHandler` as well as to `WriteResult.failed`."""
        self._error_handler = error_handler
        return self

    def expand(self, records: beam.PCollection) -> WriteResult:
        # A side input is complete before the main input is seen: no record is sent before the dataset is there.
        dataset = (
            records.pipeline | 'Once' >> beam.Create([None]) | 'Ensure dataset' >> beam.ParDo(_EnsureDataset(self))
        )
        one_window = records.windowing.is_default()
        if self.skip_unchanged and not (one_window and records.is_bounded):
            raise ValueError('skip_unchanged=True needs bounded input without windows: leave it out, or write in batch')
        unchanged, refused = [], []
        # An unbounded input in one window never ends, so nothing could be grouped; and where triggers accumulate, the
        # same record comes again to be updated. There the sink alone sees to ids, bundle by bundle.
        accumulates = records.windowing.accumulation_mode == AccumulationMode.ACCUMULATING
        can_group = (records.is_bounded or not one_window) and not accumulates
        if self.skip_unchanged or (self.distinct and can_group):
            existing = dataset | ReadExisting(self.connection, self.retry) if self.skip_unchanged else None
            chosen = records | 'Distinct' >> Distinct(dataset, existing, self.replace)
            records, unchanged, refused = chosen.records, [chosen.unchanged], [chosen[Refused.TAG]]
        if self.max_parallelism is not None:
            records |= 'Few writers' >> beam.Reshuffle(num_buckets=self.max_parallelism)
        written = records | 'Upsert' >> beam.ParDo(self.fn, beam.pvalue.AsSingleton(dataset)).with_outputs(
            Refused.TAG, main='written'
        )
        return _result(
            _flatten('Written', [written.written, *unchanged]),
            _flatten('Refused', [written[Refused.TAG], *refused]),
            self._error_handler,
        )

    def display_data(self) -> dict[str, Any]:
        return {'dataset': self.dataset, 'workspace': self.workspace, 'api_url': self.connection.api_url}


def _flatten(label: str, pcollections: list[beam.PCollection]) -> beam.PCollection:
    return pcollections[0] if len(pcollections) == 1 else pcollections | label >> beam.Flatten()


def _result(written: beam.PCollection, failed: beam.PCollection, error_handler: Any) -> WriteResult:
    written.element_type = WrittenRecord
    failed.element_type = FailedRecord
    if error_handler is not None:
        error_handler.add_error_pcollection(failed)
        return WriteResult(written, failed, None)
    guard = beam.ParDo(Refused())
    _ = failed | 'Fail unless consumed' >> guard
    return WriteResult(written, failed, guard)


class _EnsureDataset(beam.DoFn):
    """→ the `Dataset`, made if need be."""

    def __init__(self, write: WriteRecords):
        self._name = write.dataset
        self._workspace = write.workspace
        self._settings = write.settings
        self._connection = write.connection
        self._create_workspace = write.create_workspace
        self._retry = write.retry

    def process(self, _: None) -> Iterator[Dataset]:
        with Client(self._connection, self._retry) as client:
            client.check_server()
            dataset = client.ensure_dataset(self._name, self._workspace, self._settings, self._create_workspace)
        Lineage.sinks().add('argilla', self._workspace, self._name)
        yield dataset
