"""`WriteRecordsFn`, the sink: buffers records, sends them in batches, several at a time, reports each one's outcome.

What belongs to the server rather than to a bundle (connection, threads, flow control) is one `_Sender` per worker
process, shared by all instances of the DoFn in it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.io.components.adaptive_throttler import ThrottlingSignaler
from apache_beam.metrics import Metrics
from apache_beam.utils.shared import Shared
from apache_beam.utils.windowed_value import WindowedValue

from beam_argilla.errors import (
    DatasetDiffersError,
    GatewayError,
    InvalidRecordError,
    InvalidRecordsError,
    RejectedBatchError,
)
from beam_argilla.metrics import NAMESPACE, count
from beam_argilla.records import Record, failed_record
from beam_argilla.refusing import refuse
from beam_argilla.server.bulk import (
    MAX_ITEMS,
    Sent,
    ServerTime,
    Upserted,
    check_open,
    delete_suggestions,
    newest_record,
    upsert,
)
from beam_argilla.server.client import Client
from beam_argilla.server.connection import ArgillaConnection
from beam_argilla.server.datasets import Dataset, read_dataset
from beam_argilla.server.differences import differences
from beam_argilla.server.encoder import Encoder
from beam_argilla.server.retries import Attempt, RetryPolicy, Streak
from beam_argilla.threads import in_background
from beam_argilla.writing.ensured import Ensured, known
from beam_argilla.writing.flow import FlowControl
from beam_argilla.writing.results import WrittenRecord

_LOGGER = logging.getLogger(__name__)
# External ids that are remembered until what was sent is answered, 10 MB of them: a bundle may be a whole job.
_MOST_IDS = 50_000
_SECONDS_BETWEEN_WARNINGS = 30.0
_SECONDS_BETWEEN_LOOKS = 5.0  # at the dataset, where many records are refused one after the other
_MOST_BLOCKED = 10  # records before any has got through


class Bounds(NamedTuple):
    """What a request may hold, and how many there may be at a time per worker; see `WriteRecords`."""

    max_records: int = MAX_ITEMS
    max_bytes: int = 8 << 20
    max_suggestions: int = 2_000
    max_in_flight: int = 32


class _Pending(NamedTuple):
    """A record on its way, with what its outcome is to be stamped with."""

    record: Record
    item: bytes
    stamp: WindowedValue


Outcome = Upserted | tuple[str, str, int | None]  # written; or error, message, HTTP status


@dataclass
class _Report:
    """What came of a batch. Made in a thread; metrics can only be counted in Beam's own."""

    outcomes: list[tuple[_Pending, Outcome]] = field(default_factory=list)
    requests: list[tuple[int, int, float]] = field(default_factory=list)  # records, bytes, seconds
    retries: list[Attempt] = field(default_factory=list)


class _Piece(NamedTuple):
    """Records to be sent in one request.

    Attributes:
        batch: the records.
        streak: how often they failed until now.
        first_sent: when they were sent before, if nobody knows whether the server wrote them.
        again: something in between refused them, and no request without records after that.
    """

    batch: Sequence[_Pending]
    streak: Streak
    first_sent: Sent | None = None
    again: bool = False


class _Sender:
    """The connection to one server from one worker process."""

    def __init__(self, connection: ArgillaConnection, retry: RetryPolicy, bounds: Bounds):
        self.client = Client(connection, retry)
        self.error: BaseException | None = None  # the first that ends the job
        self.flow = FlowControl(bounds.max_records, bounds.max_in_flight)
        self._server_time = ServerTime()
        self._known: set[str] = set()  # ids of datasets whose newest record was looked at
        self._api_url = connection.api_url
        self._looked = float('-inf')
        self._wrote = False
        self._blocked = 0  # records that something in between refused before any got through
        self._lock = threading.Lock()
        self._first_look = threading.Lock()

    def submit(self, dataset: Dataset, batch: Sequence[_Pending], replace: bool) -> Future[_Report]:
        """Sends the batch as soon as flow control has room for it.

        In a thread that Python does not wait for: a job that has failed shall not go on for as long as a request may be
        retried.
        """
        with self._first_look:  # else what was there right before could be taken for created
            if dataset.id not in self._known:
                self._server_time.told(newest_record(self.client, dataset.id))
                self._known.add(dataset.id)
        self.flow.acquire()
        return in_background(self._write, dataset, batch, replace)

    def _write(self, dataset: Dataset, batch: Sequence[_Pending], replace: bool) -> _Report:
        report = _Report()
        pieces = deque([_Piece(batch, Streak(len(batch)))])
        try:
            while pieces:  # breadth first: what can be written is, before what cannot costs time
                pieces += self._write_piece(dataset, pieces.popleft(), replace, report)
            self._learn_size(batch, report)
        except BaseException as e:
            # Only what ends the job comes here. The others shall not keep its process alive with their retries; if the
            # runner tries again in this process, it does so with another sender.
            with self._lock:
                self.error = self.error or e
            self.client.stop()
            raise self.error from self.error.__cause__
        finally:
            self.flow.release()
        return report

    def _write_piece(self, dataset: Dataset, piece: _Piece, replace: bool, report: _Report) -> list[_Piece]:
        """Writes the records, or says what shall be tried instead. One that is refused costs itself, not the others."""
        batch = piece.batch
        sent = piece.first_sent or self._server_time.now()

        def observe(attempt: Attempt) -> None:
            if attempt.failure is None:
                self.flow.succeeded(len(batch), attempt.seconds)
                report.requests.append((len(batch), sum(len(p.item) for p in batch), attempt.seconds))
            else:
                self.flow.overloaded(attempt.sent)
                report.retries.append(attempt)
                self._warn(attempt)

        try:
            items = [p.item for p in batch]
            written = upsert(self.client, dataset.id, items, observe, self._server_time, piece.first_sent, piece.streak)
        except InvalidRecordsError as e:
            self._check_unchanged(dataset, e)
            rest = [pending for index, pending in enumerate(batch) if index not in e.reasons]
            if len(rest) == len(batch):  # it names records that were not sent
                return _halves(piece, sent, report, e)
            for index, pending in enumerate(batch):
                if index in e.reasons:
                    report.outcomes.append((pending, ('Refused', e.reasons[index], e.status)))
            return [_Piece(rest, Streak(len(rest)), piece.first_sent)] if rest else []
        except RejectedBatchError as e:
            return _halves(piece, sent, report, e)
        except GatewayError as e:
            check_open(self.client, dataset.id, piece.streak.of(0))
            if len(batch) == 1 and not piece.again:  # it may have refused everything until just now
                return [piece._replace(first_sent=sent, again=True)]
            if len(batch) == 1:
                self._check_blocked(e)
            return _halves(piece, sent, report, e)
        self._wrote = True
        if replace:
            for pending, upserted in zip(batch, written, strict=True):
                self._delete_stale(dataset, pending.record, upserted)
        report.outcomes += zip(batch, written, strict=True)
        return []

    def _learn_size(self, batch: Sequence[_Pending], report: _Report) -> None:
        """A batch all of which got through, but only in pieces, was too large."""
        largest = max((records for records, _, _ in report.requests), default=0)
        if largest < len(batch) and all(isinstance(outcome, Upserted) for _, outcome in report.outcomes):
            self.flow.too_large(len(batch), largest)

    def _delete_stale(self, dataset: Dataset, record: Record, upserted: Upserted) -> None:
        sent = {dataset.question_ids[s.question] for s in record.suggestions}
        stale = [id for question, id in upserted.suggestions.items() if question not in sent]
        delete_suggestions(self.client, upserted.record_id, stale)

    def _check_blocked(self, error: GatewayError) -> None:
        """One more record is refused by something in between, which must not be so of all that have any content."""
        with self._lock:
            self._blocked += not self._wrote
            if self._blocked >= _MOST_BLOCKED:
                raise GatewayError(
                    f'{_MOST_BLOCKED} records one after the other were refused, and none got through. {error}',
                    error.status,
                ) from error

    def _check_unchanged(self, dataset: Dataset, error: InvalidRecordsError) -> None:
        """The encoder has checked every record, so a refusal may mean that somebody changed the dataset meanwhile."""
        with self._lock:
            if time.monotonic() - self._looked < _SECONDS_BETWEEN_LOOKS:
                return
            self._looked = time.monotonic()
        now = read_dataset(self.client, dataset.id)
        changes = differences(dataset.settings, now.settings) + differences(now.settings, dataset.settings)
        if now.question_ids != dataset.question_ids or changes:
            raise DatasetDiffersError(
                f"The dataset's settings were changed while the job ran ({error}). Run the job again: what was written "
                'is there, and writing it again changes nothing.',
                changes,
            )

    def _warn(self, attempt: Attempt) -> None:
        if not _may_warn_of(self._api_url):
            return
        _LOGGER.warning(
            'Argilla: %s. Sending it again in %.1f seconds; %d requests of %d records at a time now. '
            '(Such warnings are shown every %d seconds at most; the metrics retries_* count all.)',
            attempt.failure,
            attempt.wait,
            self.flow.limit,
            self.flow.records,
            _SECONDS_BETWEEN_WARNINGS,
        )


# Server → when it was warned of, in this process: a runner may try a job again, each time with another sender.
_WARNED: dict[str, float] = {}
_WARNING = threading.Lock()


def _may_warn_of(api_url: str) -> bool:
    """Whether the last warning of a server is long enough ago. If so, the next one is about to be given."""
    with _WARNING:
        now = time.monotonic()
        if now - _WARNED.get(api_url, float('-inf')) < _SECONDS_BETWEEN_WARNINGS:
            return False
        _WARNED[api_url] = now
        return True


def _halves(
    piece: _Piece, sent: Sent, report: _Report, error: RejectedBatchError | InvalidRecordsError | GatewayError
) -> list[_Piece]:
    """Which record it is, or whether they are too many, only trying can tell."""
    batch = piece.batch
    if len(batch) == 1:
        name = 'Blocked' if isinstance(error, GatewayError) else 'Rejected'
        report.outcomes.append((batch[0], (name, str(error), error.status)))
        return []
    half = len(batch) // 2
    return [_Piece(part, piece.streak.of(len(part)), sent) for part in (batch[:half], batch[half:])]


class WriteRecordsFn(beam.DoFn):
    """Writes `Record`s to a dataset, which it is given as a side input, or asks for itself (`ensured.given`).

    Main output: `WrittenRecord`; output ``refused``: `FailedRecord`. Each keeps its record's timestamp and window.

    Args:
        connection: the server.
        bounds: what a request may hold.
        retry: how long to retry.
        replace: remove suggestions that a record has on the server and not here.

    Raises:
        ValueError: a bound out of its range.
    """

    def __init__(
        self,
        connection: ArgillaConnection,
        bounds: Bounds | None = None,
        retry: RetryPolicy | None = None,
        replace: bool = False,
    ):
        super().__init__()
        bounds = bounds or Bounds()
        for name, value in bounds._asdict().items():
            most = MAX_ITEMS if name == 'max_records' else value
            if not 1 <= value <= most:
                expected = f'from 1 to {most}' if name == 'max_records' else 'at least 1'
                raise ValueError(f'{name}={value}: it must be {expected}')
        self._connection = connection
        self._bounds = bounds
        self._retry = retry or RetryPolicy()
        self._replace = replace
        self._shared = Shared()

    def setup(self) -> None:
        self._sender = self._acquire()
        self._encoder_of: tuple[str, Encoder] | None = None
        self._throttled = ThrottlingSignaler(NAMESPACE)
        self._unreported = 0.0  # seconds of throttling; Beam takes whole ones

    def _acquire(self, tag: Any = None) -> _Sender:
        return self._shared.acquire(lambda: _Sender(self._connection, self._retry, self._bounds), tag)

    def start_bundle(self) -> None:
        if self._sender.error is not None:
            self._sender = self._acquire(tag=id(self._sender))
        self._batch: list[_Pending] = []
        self._ids: set[str] = set()  # sent since the last flush
        self._bytes = self._suggestions = 0
        self._in_flight: set[Future[_Report]] = set()

    def process(
        self,
        record: Record,
        dataset: Dataset | Ensured,
        window: Any = beam.DoFn.WindowParam,
        timestamp: Any = beam.DoFn.TimestampParam,
    ) -> Iterator[Any]:
        self._dataset = known(dataset)
        try:
            item = self._encoder(self._dataset).encode(record)
        except InvalidRecordError as e:
            yield refuse(failed_record(record, 'validate', e.error, str(e)))
            return
        # Two records with one id in a request would cost the whole of it, and in two requests could overtake another.
        if record.external_id in self._ids or len(self._ids) >= _MOST_IDS:
            yield from self._flush()
        self._ids.add(record.external_id)
        if (
            len(self._batch) >= self._sender.flow.records
            or self._bytes + len(item) > self._bounds.max_bytes
            or self._suggestions + len(record.suggestions) > self._bounds.max_suggestions
        ):
            yield from self._submit()
        self._batch.append(_Pending(record, item, WindowedValue(None, timestamp, (window,))))
        self._bytes += len(item)
        self._suggestions += len(record.suggestions)

    def finish_bundle(self) -> Iterator[Any]:
        yield from self._flush()

    def _encoder(self, dataset: Dataset) -> Encoder:
        if self._encoder_of is None or self._encoder_of[0] != dataset.id:
            self._encoder_of = dataset.id, Encoder(dataset.settings, dataset.question_ids)
        return self._encoder_of[1]

    def _flush(self) -> Iterator[Any]:
        """Sends what is buffered and waits until all of it is answered."""
        yield from self._submit()
        while self._in_flight:
            yield from self._collect('FIRST_COMPLETED')
        self._ids.clear()

    def _submit(self) -> Iterator[Any]:
        """Sends the batch, and yields what came of earlier ones."""
        if not self._batch:
            return
        self._in_flight.add(self._sender.submit(self._dataset, self._batch, self._replace))
        Metrics.distribution(NAMESPACE, 'in_flight_limit').update(self._sender.flow.limit)
        self._batch = []
        self._bytes = self._suggestions = 0
        if any(future.done() for future in self._in_flight):
            yield from self._collect('FIRST_COMPLETED')

    def _collect(self, when: str) -> Iterator[Any]:
        done, self._in_flight = wait_for(self._in_flight, return_when=when)
        for future in done:
            report = future.result()
            self._count(report)
            for pending, outcome in report.outcomes:
                yield self._output(pending, outcome)

    def _output(self, pending: _Pending, outcome: Outcome) -> Any:
        record = pending.record
        if not isinstance(outcome, Upserted):
            return refuse(failed_record(record, 'write', *outcome), pending.stamp)
        what = 'created' if outcome.created else 'updated'
        written = WrittenRecord(record.external_id, outcome.record_id, what, record.warnings)
        return pending.stamp.with_value(written)

    def _count(self, report: _Report) -> None:
        upserted = [outcome for _, outcome in report.outcomes if isinstance(outcome, Upserted)]
        created = sum(outcome.created for outcome in upserted)
        count('records_created', created)
        count('records_updated', len(upserted) - created)
        # A runner that loses a worker, or an answer of it, has what it did done again by another.
        again = sum(not outcome.created and outcome.inserted_at > self._dataset.newest for outcome in upserted)
        count('records_repeated', again)
        for records, size, seconds in report.requests:
            count('requests')
            count('microseconds_write', int(seconds * 1e6))
            Metrics.distribution(NAMESPACE, 'records_per_request').update(records)
            Metrics.distribution(NAMESPACE, 'bytes_per_request').update(size)
            Metrics.distribution(NAMESPACE, 'request_milliseconds').update(int(seconds * 1000))
        for attempt in report.retries:
            assert attempt.failure is not None
            count(f'retries_{attempt.failure.cause}')
            self._unreported += attempt.wait / self._sender.flow.limit  # others may have gone on meanwhile
        if self._unreported >= 1:
            self._throttled.signal_throttled(int(self._unreported))
            self._unreported %= 1
