"""The way out: `WriteToArgilla` (the whole way), `BuildRecords`, and `WriteRecords`, the sink alone."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
from apache_beam import coders
from apache_beam.metrics import Metrics
from apache_beam.metrics.metric import Lineage
from apache_beam.utils.windowed_value import WindowedValue

from beam_argilla._client import MAX_ITEMS, Client, Dataset, RetryPolicy, Upserted
from beam_argilla._fallible import Collect, Fallible, Refused, refuse
from beam_argilla.connection import ArgillaConnection
from beam_argilla.errors import InvalidRecordsError, RejectedBatchError
from beam_argilla.failures import FailedRecord
from beam_argilla.generations import Columns
from beam_argilla.grouping import GroupGenerations, Policies
from beam_argilla.reading import FormatGenerations
from beam_argilla.records import Encoder, InvalidRecordError, Record, failed_record
from beam_argilla.settings import DatasetSettings
from beam_argilla.tasks import Task

NAMESPACE = 'beam_argilla'  # of all metrics


class WrittenRecord(NamedTuple):
    """A record that the server confirmed.

    Attributes:
        external_id: the record's.
        record_id: the server's UUID of it.
        created: True if it was new, False if it was there already.
        warnings: what was left out while building it, such as a rating that is not on the scale.
    """

    external_id: str
    record_id: str
    created: bool
    warnings: Sequence[str]


coders.registry.register_coder(WrittenRecord, coders.RowCoder)


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
        num_partitions, shuffle: see `GroupGenerations`.
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
        num_partitions: int = 64,
        shuffle: bool | None = None,
        create_workspace: bool = False,
        **sink: Any,
    ):
        super().__init__()
        self.columns = columns
        self.task = task
        policies = Policies(on_conflict, task.max_generations, overflow, min_generations)
        self.group = functools.partial(GroupGenerations, policies, num_partitions, shuffle)
        self.write = WriteRecords(
            dataset,
            connection=connection,
            workspace=workspace,
            settings=task.settings(),
            create_workspace=create_workspace,
            **sink,
        )
        self._error_handler: Any = None

    def with_error_handler(self, error_handler: Any) -> WriteToArgilla:
        """Sends what is refused to a Beam `ErrorHandler` as well as to `WriteResult.failed`."""
        self._error_handler = error_handler
        return self

    def expand(self, elements: beam.PCollection) -> WriteResult:
        refused = Collect()
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
    sent and never touched.

    Args:
        dataset: name of the dataset.
        connection: the server.
        workspace: name of the workspace.
        settings: `DatasetSettings` (or an `argilla.Settings`) to create the dataset with if need be, and to compare an
            existing one with. None: the dataset must exist, and is taken as it is.
        create_workspace: create the workspace if it does not exist (only owners may).
        max_records: records in a request; at most 500, the server's limit.
        max_bytes: of JSON in a request, unless one record alone is larger.
        max_suggestions: in a request, unless one record alone has more. PostgreSQL cannot store more than 32,767
            arguments at once, and a suggestion takes 9.
        max_in_flight: requests at a time per worker.
        retry: how long to retry.

    Raises:
        ValueError: a number out of its range.
    """

    def __init__(
        self,
        dataset: str,
        *,
        connection: ArgillaConnection,
        workspace: str = 'default',
        settings: Any = None,
        create_workspace: bool = False,
        max_records: int = 100,
        max_bytes: int = 8 << 20,
        max_suggestions: int = 2_000,
        max_in_flight: int = 4,
        retry: RetryPolicy | None = None,
    ):
        super().__init__()
        if not 1 <= len(dataset) <= 200:
            raise ValueError(f'dataset={dataset!r}: a name has 1 to 200 characters')
        if not workspace:
            raise ValueError('workspace is empty: name the workspace of the dataset')
        self.dataset = dataset
        self.workspace = workspace
        self.ensure = _EnsureDataset(
            dataset,
            workspace,
            None if settings is None else DatasetSettings.of(settings),
            connection,
            create_workspace,
            retry or RetryPolicy(),
        )
        self.fn = WriteRecordsFn(
            connection, max_records, max_bytes, max_suggestions, max_in_flight, retry or RetryPolicy()
        )
        self.api_url = connection.api_url
        self._error_handler: Any = None

    def with_error_handler(self, error_handler: Any) -> WriteRecords:
        """Sends what is refused to a Beam `ErrorHandler` as well as to `WriteResult.failed`."""
        self._error_handler = error_handler
        return self

    def expand(self, records: beam.PCollection) -> WriteResult:
        # A side input is complete before the main input is seen: no record is sent before the dataset is there.
        dataset = (
            records.pipeline
            | 'Once' >> beam.Create([None])
            | 'Ensure dataset' >> beam.ParDo(self.ensure).with_output_types(Any)
        )
        written = records | 'Upsert' >> beam.ParDo(self.fn, beam.pvalue.AsSingleton(dataset)).with_outputs(
            Refused.TAG, main='written'
        )
        written.written.element_type = WrittenRecord
        return _result(written.written, written[Refused.TAG], self._error_handler)

    def display_data(self) -> dict[str, Any]:
        return {'dataset': self.dataset, 'workspace': self.workspace, 'api_url': self.api_url}


def _result(written: beam.PCollection, failed: beam.PCollection, error_handler: Any) -> WriteResult:
    failed.element_type = FailedRecord
    if error_handler is not None:
        error_handler.add_error_pcollection(failed)
        return WriteResult(written, failed, None)
    guard = beam.ParDo(Refused())
    _ = failed | 'Fail unless consumed' >> guard
    return WriteResult(written, failed, guard)


class _EnsureDataset(beam.DoFn):
    def __init__(
        self,
        dataset: str,
        workspace: str,
        settings: DatasetSettings | None,
        connection: ArgillaConnection,
        create_workspace: bool,
        retry: RetryPolicy,
    ):
        self._dataset = dataset
        self._workspace = workspace
        self._settings = settings
        self._connection = connection
        self._create_workspace = create_workspace
        self._retry = retry

    def process(self, _: None) -> Iterator[Dataset]:
        with Client(self._connection, self._retry) as client:
            client.check_server()
            dataset = client.ensure_dataset(self._dataset, self._workspace, self._settings, self._create_workspace)
        Lineage.sinks().add('argilla', self._workspace, self._dataset)
        yield dataset


class _Pending(NamedTuple):
    """A record on its way, with what its outcome is to be stamped with."""

    record: Record
    item: bytes
    stamp: WindowedValue


class WriteRecordsFn(beam.DoFn):
    """The sink: buffers records, sends them in bounded batches, several at a time, and reports each one's outcome.

    Main output: `WrittenRecord`; output ``refused``: `FailedRecord`. Each keeps its record's timestamp and window.
    """

    def __init__(
        self,
        connection: ArgillaConnection,
        max_records: int,
        max_bytes: int,
        max_suggestions: int,
        max_in_flight: int,
        retry: RetryPolicy,
    ):
        super().__init__()
        if not 1 <= max_records <= MAX_ITEMS:
            raise ValueError(f'max_records={max_records}: it must be from 1 to {MAX_ITEMS}')
        for name, value in (
            ('max_bytes', max_bytes),
            ('max_suggestions', max_suggestions),
            ('max_in_flight', max_in_flight),
        ):
            if value < 1:
                raise ValueError(f'{name}={value}: it must be at least 1')
        self._connection = connection
        self._max_records = max_records
        self._max_bytes = max_bytes
        self._max_suggestions = max_suggestions
        self._max_in_flight = max_in_flight
        self._retry = retry

    def setup(self) -> None:
        self._client = Client(self._connection, self._retry)
        self._pool = ThreadPoolExecutor(self._max_in_flight, 'argilla')
        self._encoder_of: tuple[str, Encoder] | None = None

    def teardown(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._client.close()

    def start_bundle(self) -> None:
        self._batch: list[_Pending] = []
        self._bytes = self._suggestions = 0
        self._in_flight: set[Future] = set()

    def process(
        self,
        record: Record,
        dataset: Dataset,
        window: Any = beam.DoFn.WindowParam,
        timestamp: Any = beam.DoFn.TimestampParam,
    ) -> Iterator[Any]:
        self._dataset = dataset
        try:
            item = self._encoder(dataset).encode(record)
        except InvalidRecordError as e:
            yield refuse(failed_record(record, 'validate', e.error, str(e)))
            return
        if (
            len(self._batch) >= self._max_records
            or self._bytes + len(item) > self._max_bytes
            or self._suggestions + len(record.suggestions) > self._max_suggestions
        ):
            yield from self._submit()
        self._batch.append(_Pending(record, item, WindowedValue(None, timestamp, (window,))))
        self._bytes += len(item)
        self._suggestions += len(record.suggestions)

    def finish_bundle(self) -> Iterator[Any]:
        yield from self._submit()
        while self._in_flight:
            yield from self._collect()

    def _encoder(self, dataset: Dataset) -> Encoder:
        if self._encoder_of is None or self._encoder_of[0] != dataset.id:
            self._encoder_of = dataset.id, Encoder(dataset.settings, dataset.question_ids)
        return self._encoder_of[1]

    def _submit(self) -> Iterator[Any]:
        """Sends the batch as soon as there is room for it."""
        if not self._batch:
            return
        while len(self._in_flight) >= self._max_in_flight:
            yield from self._collect()
        self._in_flight.add(self._pool.submit(write_batch, self._client, self._dataset.id, self._batch))
        self._batch = []
        self._bytes = self._suggestions = 0

    def _collect(self) -> Iterator[Any]:
        """Waits for a request and yields what came of it."""
        done, self._in_flight = wait_for(self._in_flight, return_when='FIRST_COMPLETED')
        for future in done:
            for pending, outcome in future.result():
                if isinstance(outcome, Upserted):
                    name = 'records_created' if outcome.created else 'records_updated'
                    Metrics.counter(NAMESPACE, name).inc()
                    yield pending.stamp.with_value(
                        WrittenRecord(
                            pending.record.external_id, outcome.record_id, outcome.created, pending.record.warnings
                        )
                    )
                else:
                    yield refuse(failed_record(pending.record, 'write', *outcome), pending.stamp)


Outcome = Upserted | tuple[str, str, int | None]  # written; or error, message, HTTP status


def write_batch(client: Client, dataset_id: str, batch: Sequence[_Pending]) -> list[tuple[_Pending, Outcome]]:
    """Writes what can be written of the batch. A record that the server refuses costs itself, not the batch."""
    if not batch:
        return []
    try:
        return list(zip(batch, client.upsert(dataset_id, [p.item for p in batch]), strict=True))
    except InvalidRecordsError as e:
        refused: list[tuple[_Pending, Outcome]] = []
        rest = []
        for index, pending in enumerate(batch):
            if index in e.reasons:
                refused.append((pending, ('Refused', e.reasons[index], e.status)))
            else:
                rest.append(pending)
        return refused + write_batch(client, dataset_id, rest)
    except RejectedBatchError as e:
        if len(batch) == 1:
            return [(batch[0], ('Rejected', str(e), e.status))]
        half = len(batch) // 2  # which record it is, or whether they are too many, only trying can tell
        return write_batch(client, dataset_id, batch[:half]) + write_batch(client, dataset_id, batch[half:])
