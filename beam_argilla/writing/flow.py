"""How much to ask of a server at a time, learnt from how it answers: nobody has to tune a number.

Two quantities adapt: requests in flight (per worker process) and records per request. Both grow additively while the
server keeps up and shrink multiplicatively when it says it is overloaded, like TCP's congestion window.
"""

from __future__ import annotations

import threading
import time

# A request of this many seconds is long enough for its fixed costs not to count, and short enough that a lost answer
# costs little: from 100 to 500 preference records a request, argilla-server 2.8 takes 0.3 to 1.5 s alone, and its
# records/s do not change.
_AIM_LOW, _AIM_HIGH = 0.5, 3.0
# Requests that wait in the server's queue on top of those it works on. One keeps it busy while an answer travels; more
# only add to everybody's latency.
_QUEUE_LOW, _QUEUE_HIGH = 1.0, 3.0
_FIRST_RECORDS, _FIRST_IN_FLIGHT = 100, 1.0  # the first answer tells what one request alone takes
_FEWEST_RECORDS = 10
_STEP = 25  # records
_BELOW_FOR = 200  # requests for which a size that did not get through is not tried again


class FlowControl:
    """The two limits. Thread-safe; one per server and worker process.

    Args:
        max_records: bound on records per request.
        max_in_flight: bound on requests in flight.
    """

    def __init__(self, max_records: int, max_in_flight: int):
        self._max_records = max_records
        self._max_in_flight = max_in_flight
        self._records = float(min(_FIRST_RECORDS, max_records))
        self._fits = max_records  # what no request has more of
        self._below_for = 0  # requests from now on for which that is less than `max_records`
        self._limit = _FIRST_IN_FLIGHT
        self._best = float('inf')  # seconds per record when the server was least busy
        self._decreased = float('-inf')
        self._in_flight = 0
        self._free = threading.Condition()

    @property
    def records(self) -> int:
        """Records to put into a request now."""
        return int(self._records)

    @property
    def limit(self) -> int:
        """Requests to have in flight now."""
        return int(self._limit)

    def acquire(self) -> None:
        """Waits until one more request may be in flight."""
        with self._free:
            self._free.wait_for(lambda: self._in_flight < self.limit)
            self._in_flight += 1

    def release(self) -> None:
        """A request is done, or given up."""
        with self._free:
            self._in_flight -= 1
            self._free.notify_all()

    def succeeded(self, records: int, seconds: float) -> None:
        """A request of so many records was answered in so many seconds."""
        with self._free:
            per_record = max(seconds, 1e-4) / records
            # Forgets within thousands of requests, for the server may have become slower for good.
            self._best = min(self._best * 1.0005, per_record)
            queued = self._limit * (1 - self._best / per_record)
            if queued < _QUEUE_LOW:
                self._limit = min(self._limit + 1 / self._limit, self._max_in_flight)
            elif queued > _QUEUE_HIGH:
                self._limit = max(self._limit - 1 / self._limit, 1.0)
            if seconds > _AIM_HIGH:
                self._records = max(self._records * 0.75, min(_FEWEST_RECORDS, self._fits))
            elif seconds < _AIM_LOW and records >= self.records:  # a smaller one says nothing about larger ones
                self._records = min(self._records + _STEP, self._fits)
            self._below_for -= 1
            if self._below_for <= 0 and self._fits < self._max_records:
                self._fits, self._below_for = min(2 * self._fits, self._max_records), _BELOW_FOR
            self._free.notify_all()

    def overloaded(self, sent: float) -> None:
        """A request sent at `sent` (`time.monotonic`) was refused or lost. Several at once count as one sign."""
        with self._free:
            if sent > self._decreased:
                self._limit = max(self._limit / 2, 1.0)
                self._records = max(self._records * 0.75, min(_FEWEST_RECORDS, self._fits))
                self._decreased = time.monotonic()

    def too_large(self, records: int, fits: int) -> None:
        """A request of so many records did not get through, but in pieces, the largest of which had `fits` records."""
        with self._free:
            if fits < records <= self._fits:
                self._fits, self._below_for = max(fits, 1), _BELOW_FOR
                self._records = min(self._records, float(self._fits))
