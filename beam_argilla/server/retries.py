"""What is sent again, how often and for how long: the one layer of retries."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from apache_beam.utils.retry import FuzzedExponentialIntervals

from beam_argilla.errors import RejectedBatchError, ServerUnavailableError, TransientError

# A 500 may be a passing lock, the server's trouble, or the batch itself. After this many in a row, several records are
# tried in smaller batches; a single one is to blame if others get through meanwhile, ...
_SAME_BATCH_500S = 4
# ... or, after so many (about a minute with the default delays), if the server is otherwise well.
_SAME_RECORD_500S = 8

T = TypeVar('T')


@dataclass(frozen=True)
class RetryPolicy:
    """How long transient errors are retried.

    Args:
        limit: seconds after which a request's retries end and the job fails.
        first_delay: seconds before the first retry; doubled for each further one, then jittered by up to half.
        max_delay: seconds that no delay exceeds, unless the server asks for more (Retry-After).
    """

    limit: float = 600.0
    first_delay: float = 0.5
    max_delay: float = 30.0

    def delays(self) -> Iterable[float]:
        """Seconds to wait before each retry, without end."""
        return FuzzedExponentialIntervals(self.first_delay, 10_000, max_delay_secs=self.max_delay)


class Attempt(NamedTuple):
    """One request sent, for flow control and metrics.

    Attributes:
        sent: when, by `time.monotonic`.
        seconds: until its answer or failure.
        failure: None if it was answered for good.
        wait: seconds until the next attempt.
    """

    sent: float
    seconds: float
    failure: TransientError | None = None
    wait: float = 0.0


def ignore(attempt: Attempt) -> None:
    """Observes nothing."""


class Retries:
    """Tries until there is an answer for good. Thread-safe.

    Args:
        policy: how long.
        server: its address, for messages.
        is_well: asks the server for something small; whether it answers.
    """

    def __init__(self, policy: RetryPolicy, server: str, is_well: Callable[[], bool]):
        self._policy = policy
        self._server = server
        self._is_well = is_well
        self._last_batch = float('-inf')  # when the last one succeeded
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Nothing is tried again from now on: the job has failed, and whoever waits for an answer need not."""
        self._stopped.set()

    def call(self, send: Callable[[], T], observe: Callable[[Attempt], None] = ignore, batch: int = 0) -> T:
        """What `send` returns in the end.

        Args:
            send: raises TransientError where it is worth another try.
            observe: called for each attempt.
            batch: how many records are sent; 0 if it is about none.

        Raises:
            RejectedBatchError: the server keeps failing on this batch, and on nothing else.
            ServerUnavailableError: no answer within the policy's limit.
        """
        started = time.monotonic()
        failures_500 = 0
        for delay in self._policy.delays():
            sent = time.monotonic()
            try:
                answer = send()
            except TransientError as e:
                now = time.monotonic()
                failures_500 = failures_500 + 1 if e.status == 500 else 0
                if batch and self._is_to_blame(batch, failures_500, started):
                    raise RejectedBatchError(f'{e} ({failures_500} times in a row)', 500) from e
                wait = max(delay, e.retry_after or 0.0)
                if now - started + wait > self._policy.limit:
                    raise ServerUnavailableError(
                        f'{self._server} gave no usable answer for {now - started:.0f} seconds. Is the server running, '
                        f'and is the address right? The last failure: {e}'
                    ) from e
                observe(Attempt(sent, now - sent, e, wait))
                if self._stopped.wait(wait):
                    raise ServerUnavailableError(f'Given up, for the job has failed. The last failure: {e}') from e
            else:
                now = time.monotonic()
                if batch:
                    self._last_batch = now
                observe(Attempt(sent, now - sent))
                return answer
        raise AssertionError('delays have no end')

    def _is_to_blame(self, batch: int, failures: int, started: float) -> bool:
        """Whether so many 500s in a row are due to the batch of so many records, rather than the server's trouble."""
        if failures < _SAME_BATCH_500S:
            return False
        if batch > 1 or self._last_batch > started:
            return True
        return failures >= _SAME_RECORD_500S and self._is_well()
