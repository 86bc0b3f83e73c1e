"""`WriteRecords`: records → a dataset of an Argilla server."""

from __future__ import annotations

import contextlib
import functools
import uuid
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import TimeoutError
from dataclasses import replace
from typing import Any

import apache_beam as beam
from apache_beam.transforms.trigger import AccumulationMode

from beam_argilla.records import Record
from beam_argilla.refusing import Refused
from beam_argilla.runners import when_failed, workers_run_here
from beam_argilla.server.address import check_names
from beam_argilla.server.client import Client
from beam_argilla.server.connection import ArgillaConnection, check_connection, check_sent
from beam_argilla.server.datasets import Dataset, remove_if_unused
from beam_argilla.server.retries import RetryPolicy
from beam_argilla.server.settings import DatasetSettings
from beam_argilla.threads import in_background
from beam_argilla.writing.as_record import as_record
from beam_argilla.writing.distinct import Distinct
from beam_argilla.writing.ensured import Ensured, EnsureDataset, given, known
from beam_argilla.writing.existing import ReadExisting
from beam_argilla.writing.results import WriteResult, write_result
from beam_argilla.writing.sink import Bounds, WriteRecordsFn


class WriteRecords(beam.PTransform):
    """Writes `Record`s to a dataset: the sink alone.

    Input: PCollection of `Record`, or of `argilla.Record`s (with what the SDK's own ``records.log`` would send of them;
    give them ids, for the SDK makes up another one each time a record without one is made). Output: a `WriteResult`.

    Every write is an upsert by external id, so a bundle that a runner repeats changes nothing. Human answers are never
    sent and never touched: an `argilla.Record` with responses is refused, for writing them would overwrite what people
    answered. Of a bounded (or windowed) input, equal records with one external id are written once, and
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
        adopt: read what the dataset holds first, and let a record of which it has none with that external id take over
            one that something else wrote on the same subject (with the same text in the field ``instruction``, and in
            ``generation`` if there is one). That is for datasets which distilabel filled: it gives random external ids.
            The record that is there keeps its external id and what people have answered; the rest becomes
            this one's, but for the places of generations: those of the record that is there stay, and what belongs to
            each goes along. Where people have answered other texts (drafts count), the new record is refused as
            ``AnsweredRecord``. Of several the answered one is taken, then the oldest. Needs bounded input without
            windows.
        max_parallelism: the most workers that write side by side, for small servers. None: as many as there are.
        distinct: False if external ids are unique already; saves a shuffle.
        max_records: bound on records in a request; at most 500, the server's limit.
        max_bytes: bound on bytes of JSON in a request, unless one record alone is larger.
        max_suggestions: bound on suggestions in a request, unless one record alone has more. PostgreSQL cannot take
            more than 32,767 arguments at once; 4,000 suggestions (of 500 preference records) need more.
        max_in_flight: bound on requests at a time per worker.
        retry: how long to retry.

    Raises:
        ValueError: a number out of its range, a name that nothing should be given, or `skip_unchanged` or `adopt` with
            windows.
        TypeError: `connection` is no `ArgillaConnection`.
        InputError: (while running) an element is no record.
        JobError: (as it is applied) the key is in an environment variable, and workers run elsewhere.
        JobError: (while running) the server, the key, the workspace or the dataset is not as it must be.

    Example:
        >>> record = ba.Record('r-1', {'text': 'Hello!'})
        >>> result = p | beam.Create([record]) | ba.WriteRecords('greetings', connection=connection)
        >>> result.failed | ba.WriteFailed('failed')
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
        adopt: bool = False,
        max_parallelism: int | None = None,
        distinct: bool = True,
        max_records: int = Bounds().max_records,
        max_bytes: int = Bounds().max_bytes,
        max_suggestions: int = Bounds().max_suggestions,
        max_in_flight: int = Bounds().max_in_flight,
        retry: RetryPolicy | None = None,
    ):
        super().__init__()
        check_connection(connection)
        check_names(dataset, workspace, settings is not None, create_workspace)
        if suggestions not in ('merge', 'replace'):
            raise ValueError(f"suggestions={suggestions!r}: use 'merge' or 'replace'")
        if max_parallelism is not None and max_parallelism < 1:
            raise ValueError(f'max_parallelism={max_parallelism}: it must be at least 1')
        retry = retry or RetryPolicy()
        self.dataset = dataset
        self.workspace = workspace
        self.settings = None if settings is None else DatasetSettings.of(settings)
        if self.settings is not None:
            self.settings.check_names()
        self.connection = connection
        self.create_workspace = create_workspace
        self.replace = suggestions == 'replace'
        self.skip_unchanged = skip_unchanged
        self.adopt = adopt
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
        here = workers_run_here(records.pipeline)
        if not here:
            check_sent(self.connection)
        job = _job_of(records.pipeline)
        if self.settings is not None:
            remove = functools.partial(_remove_if_unused, self.connection, self.dataset, self.workspace, job)
            when_failed(records.pipeline, remove if here else functools.partial(_try, remove))
        ensured = Ensured(
            self.connection,
            self.retry,
            self.dataset,
            self.workspace,
            self.settings,
            self.create_workspace,
            self.adopt,
            job,
        )
        dataset = (
            records.pipeline | 'Once' >> beam.Create([None]) | 'Ensure dataset' >> beam.ParDo(EnsureDataset(ensured))
        )
        to = given(dataset, ensured, records)
        one_window = records.windowing.is_default()
        reads = [f'{name}=True' for name in ('skip_unchanged', 'adopt') if getattr(self, name)]
        if reads and not (one_window and records.is_bounded):
            raise ValueError(f'{reads[0]} needs bounded input without windows: leave it out, or write in batch')
        unchanged, refused = [], []
        if records.element_type is not Record:
            ours = records | 'As records' >> beam.ParDo(_AsRecord(), to).with_outputs(Refused.TAG, main='records')
            records, refused = ours.records, [ours[Refused.TAG]]
        # An unbounded input in one window never ends, so nothing could be grouped; and where triggers accumulate, the
        # same record comes again to be updated. There the sink alone sees to ids, bundle by bundle.
        accumulates = records.windowing.accumulation_mode == AccumulationMode.ACCUMULATING
        can_group = (records.is_bounded or not one_window) and not accumulates
        if reads or (self.distinct and can_group):
            existing = dataset | ReadExisting(self.connection, self.retry, self.adopt) if reads else None
            distinct = Distinct(to, existing, self.skip_unchanged, self.adopt, self.replace)
            chosen = records | 'Distinct' >> distinct
            records, unchanged = chosen['records'], [chosen['unchanged']]
            refused.append(chosen[Refused.TAG])
        if self.max_parallelism is not None:
            records |= 'Few writers' >> beam.Reshuffle(num_buckets=self.max_parallelism)
        written = records | 'Upsert' >> beam.ParDo(self.fn, to).with_outputs(Refused.TAG, main='written')
        return write_result(
            _flatten('Written', [written.written, *unchanged]),
            _flatten('Refused', [written[Refused.TAG], *refused]),
            dataset,
            to,
            self._error_handler,
        )

    def display_data(self) -> dict[str, Any]:
        return {'dataset': self.dataset, 'workspace': self.workspace, 'api_url': self.connection.api_url}


def _flatten(label: str, pcollections: list[beam.PCollection]) -> beam.PCollection:
    # Of a single one as well: Beam drops what a bundle yields at its end (operations.DoOperation.finish) if a DoFn that
    # takes batches comes directly after it, as those of WriteToJson and of data frames do.
    return pcollections | label >> beam.Flatten()


class _AsRecord(beam.DoFn):
    def process(self, element: Any, dataset: Dataset | Ensured) -> Iterator[Any]:
        return as_record(element, known(dataset).settings)


# A name for all that is written by one pipeline, by which the datasets that it makes are known.
_JOBS: weakref.WeakKeyDictionary[beam.Pipeline, str] = weakref.WeakKeyDictionary()


def _job_of(pipeline: beam.Pipeline) -> str:
    return _JOBS.setdefault(pipeline, uuid.uuid4().hex)


# Seconds for tidying up behind a job that failed, maybe since the server is gone, or cannot be reached from here.
_PATIENCE = 5.0


def _try(tidy: Callable[[], object]) -> None:
    """Does it in a few seconds or leaves it: a secret may be beyond the reach of this machine."""
    with contextlib.suppress(TimeoutError):
        in_background(tidy).result(2 * _PATIENCE)


def _remove_if_unused(connection: ArgillaConnection, dataset: str, workspace: str, job: str) -> None:
    with contextlib.suppress(Exception):
        quick = replace(connection, timeout=min(connection.timeout, _PATIENCE))
        with Client(quick, RetryPolicy(limit=_PATIENCE)) as client:
            remove_if_unused(client, dataset, workspace, job)
