"""Answers as they are given: a dataset that is looked at again and again, each new state of an answer once."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any

import apache_beam as beam
import msgspec
from apache_beam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.transforms.core import RestrictionProvider
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import MAX_TIMESTAMP, Duration, Timestamp

from beam_argilla.answers.answered import AnsweredRecord
from beam_argilla.answers.names import called
from beam_argilla.answers.slices import Slice, by_search
from beam_argilla.answers.source import Asking, Selection, Source, answered
from beam_argilla.metrics import count
from beam_argilla.refusing import refuse
from beam_argilla.server.connection import ArgillaConnection
from beam_argilla.server.listing import activity, search
from beam_argilla.server.retries import RetryPolicy

# What was stamped so long ago has been committed, and has reached the search engine.
_SETTLED = timedelta(seconds=5)
_EPOCH = datetime(1970, 1, 1)
_MICROSECOND = timedelta(microseconds=1)
_FOREVER = int(MAX_TIMESTAMP.micros)
Change = tuple[int, AnsweredRecord]  # when, in microseconds since 1970; the record with the response alone


_TRACKER = beam.DoFn.RestrictionParam()
_WATERMARK = beam.DoFn.WatermarkEstimatorParam(ManualWatermarkEstimator.default_provider())


class Watch(Asking, RestrictionProvider):
    """`Source` → an `AnsweredRecord` for each response that is new or has changed, with that response alone.

    It is stamped with the time at which the response changed, by the server's clock, which is the watermark, too. The
    restriction is the times of which some answers may still come: where a job that is restarted goes on.

    Args:
        connection, retry: the server, and how long to retry.
        selection: which responses.
        seconds: between one look and the next.
        until: when to end, by the server's clock; None: never.
    """

    def __init__(
        self,
        connection: ArgillaConnection,
        retry: RetryPolicy,
        selection: Selection,
        seconds: float,
        until: datetime | None,
    ):
        super().__init__(connection, retry)
        self._selection = selection
        self._seconds = seconds
        self._start = 0 if selection.since is None else _micros(selection.since)
        self._stop = _FOREVER if until is None else max(_micros(until), self._start)

    def setup(self) -> None:
        super().setup()
        self._quiet: datetime | None = None  # when the dataset was changed last, as of a look that saw all of it

    def initial_restriction(self, source: Source) -> OffsetRange:
        return OffsetRange(self._start, self._stop)

    def create_tracker(self, restriction: OffsetRange) -> OffsetRestrictionTracker:
        return OffsetRestrictionTracker(restriction)

    def restriction_size(self, source: Source, restriction: OffsetRange) -> int:
        return restriction.size()

    def truncate(self, source: Source, restriction: OffsetRange) -> None:
        """A pipeline that is drained waits for no more."""

    @beam.DoFn.unbounded_per_element()
    def process(
        self,
        source: Source,
        tracker: Any = _TRACKER,
        watermark: Any = _WATERMARK,
    ) -> Iterator[Any]:
        now = activity(self._client, source.id)
        settled = _micros(now.server_time - _SETTLED)
        changes: list[Change] = []
        if now.changed_at != self._quiet:
            since = tracker.current_restriction().start
            for output in self._changes(source, since, settled):
                if isinstance(output, beam.pvalue.TaggedOutput):
                    yield output
                else:
                    changes.append(output)
        for micros, at_once in itertools.groupby(sorted(changes, key=itemgetter(0)), itemgetter(0)):
            if not tracker.try_claim(micros):
                return
            for _, record in at_once:
                count('responses_read')
                yield TimestampedValue(record, Timestamp(micros=micros))
        if now.server_time - _SETTLED > now.changed_at:
            self._quiet = now.changed_at
        if settled >= self._stop:
            tracker.try_claim(self._stop)  # which is after the end
            return
        _advance(watermark, Timestamp(micros=settled))
        tracker.defer_remainder(Duration(self._seconds))

    def _changes(self, source: Source, since: int, settled: int) -> Iterator[Any]:
        """What was answered from `since` to `settled`, in microseconds; and what is refused of it."""
        everything = Slice(_EPOCH, _EPOCH + _MICROSECOND * (settled + 1))
        wanted = self._selection.wanted()
        people = dict(source.people)
        for page in by_search(functools.partial(search, self._client, source.id, wanted), everything):
            for listed in page:
                responses = [r for r in listed.responses or () if since <= _micros(r.updated_at) <= settled]
                if not {r.user_id for r in responses} <= people.keys():  # somebody new
                    people |= called(self._client, source.id, self._selection.anonymous)
                for response in responses:
                    alone = msgspec.structs.replace(listed, responses=[response])
                    record, refused = answered(alone, source._replace(people=people), self._selection)
                    yield from map(refuse, refused)
                    if record is not None:
                        yield _micros(response.updated_at), record


def _micros(time: datetime) -> int:
    return (time - _EPOCH) // _MICROSECOND


def _advance(watermark: Any, time: Timestamp) -> None:
    """Never back: the estimator refuses that."""
    if watermark.current_watermark() is None or watermark.current_watermark() < time:
        watermark.set_watermark(time)
