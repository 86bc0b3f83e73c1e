"""What is sent again, how often and for how long: the one layer of retries."""

from __future__ import annotations

import copy
import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from apache_beam.utils.retry import FuzzedExponentialIntervals

from beam_argilla.errors import GatewayError, RejectedBatchError, ServerUnavailableError, TransientError
from beam_argilla.server.faults import Verdict, verdict

_LOGGER = logging.getLogger(__name__)
# A 500, a lost connection or a time-out may be a passing lock, the server's trouble, or due to what is sent; a web page
# an outage, or what a firewall has against it. After this many in a row (or sooner, where each takes long), it is asked
# whether the server is otherwise well, and if so, several records are tried in smaller batches.
_SAME_BATCH = 4
_LONG = 0.1  # of the time limit
# A single record is to blame after as many if it was in a batch with which it was so, or the word is Argilla's own and
# others get through meanwhile; else after so many (about a minute with the default delays).
_SAME_RECORD = 8
# What is being waited for is said once it is known to be no refusal; most trouble is over before that.
_SAID_AFTER = _SAME_BATCH + 1

T = TypeVar('T')


@dataclass(frozen=True)
class RetryPolicy:
    """How long transient errors are retried.

    Args:
        limit: seconds after which a request's retries end and the job fails.
        first_delay: seconds before the first retry; doubled for each further one, then jittered by up to half.
        max_delay: seconds that no delay exceeds, unless the server asks for more (Retry-After).

    Raises:
        ValueError: one of them is negative or no number.
    """

    limit: float = 600.0
    first_delay: float = 0.5
    max_delay: float = 30.0

    def __post_init__(self) -> None:
        for name in ('limit', 'first_delay', 'max_delay'):
            if not getattr(self, name) >= 0:  # nor is NaN, of which no time is more
                raise ValueError(f'{name}={getattr(self, name)}: give seconds')

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
        silence: seconds after which it is given up instead, as long as nothing is heard of the server.
        proxied: pages may be those of a proxy, which gives them also where there is no server.
    """

    def __init__(
        self,
        policy: RetryPolicy,
        server: str,
        is_well: Callable[[], bool],
        silence: float | None = None,
        proxied: bool = False,
    ):
        self._policy = policy
        self._proxied = proxied
        self._server = server
        self._is_well = is_well
        self._silence = min(policy.limit if silence is None else silence, policy.limit)
        self._heard = silence is None  # of the server, or of something before it
        self._last_batch = float('-inf')  # when the last one succeeded
        self._told = False  # that it is being waited for
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Nothing is tried again from now on: the job has failed, and whoever waits for an answer need not."""
        self._stopped.set()

    @property
    def patience(self) -> float | None:
        """Seconds that one answer may take at most, as long as nothing is heard; else None."""
        return None if self._heard else self._silence

    @property
    def _limit(self) -> float:
        return self._policy.limit if self._heard else self._silence

    def call(
        self,
        send: Callable[[], T],
        observe: Callable[[Attempt], None] = ignore,
        streak: Streak | None = None,
    ) -> T:
        """What `send` returns in the end.

        Args:
            send: raises TransientError where it is worth another try.
            observe: called for each attempt.
            streak: what the request is, and how often it has failed until now; learns of more failures.

        Raises:
            RejectedBatchError: the server keeps failing on this batch, and on nothing else.
            GatewayError: something in between refuses this request, or keeps failing on this batch and on nothing else.
            ServerUnavailableError: no answer within the policy's limit.
        """
        streak = streak or Streak()
        streak.begins(self._last_batch)
        for delay in self._policy.delays():
            sent = time.monotonic()
            try:
                answer = send()
            except TransientError as e:
                now = time.monotonic()
                streak.add(e)
                if e.status is not None and (e.waking or not (e.foreign and self._proxied)):
                    self._heard = True
                wait = max(delay, e.retry_after or 0.0)
                seconds = now - streak.started
                over = seconds + wait > self._limit
                if self._is_refusal(streak, e, seconds >= self._limit * _LONG, over):
                    raise streak.refusal(e) from e
                if over:
                    # What speaks TLS alone hangs up on whoever does not.
                    plain = not self._heard and e.cause not in _NOTHING_SENT and self._server.startswith('http://')
                    tls = ' (If it speaks TLS, the address begins with https://.)' if plain else ''
                    raise ServerUnavailableError(
                        f'{self._server} gave no usable answer for {seconds:.0f} seconds. Is the server running, '
                        f'and is the address right?{tls} The last failure: {e}'
                    ) from e
                if not streak.batch:
                    self._tell(e, streak)
                observe(Attempt(sent, now - sent, e, wait))
                if self._stopped.wait(min(wait, threading.TIMEOUT_MAX)):
                    raise ServerUnavailableError(f'Given up, for the job has failed. The last failure: {e}') from e
            else:
                now = time.monotonic()
                self._heard = True
                self._told = False
                if streak.batch:
                    self._last_batch = now
                observe(Attempt(sent, now - sent))
                return answer
        raise AssertionError('delays have no end')

    def _tell(self, failure: TransientError, streak: Streak) -> None:
        """Says once what it is that is being waited for. (Those who send records observe, and say so themselves.)"""
        if streak.failures >= _SAID_AFTER and self._heard and not self._told:
            self._told = True
            _LOGGER.warning('Waiting for %s, for up to %.0f seconds: %s', self._server, self._limit, failure)

    def _is_refusal(self, streak: Streak, failure: TransientError, long: bool, over: bool) -> bool:
        """Whether the failures are due to the request itself rather than to passing trouble.

        Args:
            failure: the last one.
            long: they have taken long.
            over: it cannot be tried again.
        """
        match streak.verdict:
            case Verdict.FAILING if streak.batch and (streak.length >= _SAME_BATCH or long):
                if failure.cause in _NOTHING_SENT or not self._stays_well(streak, over):
                    return False
                if streak.batch > 1:
                    return not over
                is_own = failure.status is not None and not failure.foreign
                is_clear = streak.narrowed or (is_own and self._last_batch > streak.started)
                return over or streak.length >= (_SAME_BATCH if is_clear else _SAME_RECORD)
            case Verdict.BLOCKED:
                return streak.batch > 0 or streak.length > 1 or over
            case Verdict.ODD if streak.first:
                return not streak.waking and (streak.length >= _SAME_BATCH or over)
            case Verdict.ODD if streak.length >= _SAME_BATCH:
                return self._stays_well(streak, over)
        return False

    def _stays_well(self, streak: Streak, over: bool) -> bool:
        """Whether the server was otherwise well after each of the last two failures of the request.

        Once is not enough: an outage may have ended between the failure and the question.
        """
        was_well = streak.is_well
        streak.is_well = (was_well or not over) and self._is_well()
        return was_well and streak.is_well


# What is lost before a request is sent is not due to what it holds.
_NOTHING_SENT = ('ConnectError', 'ConnectTimeout', 'PoolTimeout', 'ProxyError')


class Streak:
    """Failures of one request, one after the other; of records, also with others in larger requests before.

    Args:
        batch: how many records are sent; 0 if it is about none.
        first: nothing tells yet that Argilla is there.

    Attributes:
        started: when it was tried first, by `time.monotonic`; later if another batch got through since.
        narrowed: its records failed in a larger batch before.
        failures: how many, of all kinds.
        verdict: of the last ones.
        length: how many of that kind.
        waking: whether the last one said that something is being started.
        is_well: whether the server was otherwise well after the last one.
    """

    def __init__(self, batch: int = 0, first: bool = False):
        self.batch, self.first = batch, first
        self.started = float('-inf')
        self.narrowed = False
        self.failures = self.length = 0
        self.verdict: Verdict | None = None
        self.waking = self.is_well = False

    def of(self, batch: int) -> Streak:
        """That of so many of the records: a few are halved again soon, and one has to fail by itself."""
        streak = copy.copy(self) if batch > 1 else Streak()
        streak.batch, streak.started, streak.narrowed = batch, self.started, True
        return streak

    def begins(self, last_batch: float) -> None:
        """It is tried now. The time limit is that of all that is tried until a batch gets through."""
        if last_batch >= self.started:
            self.started = time.monotonic()

    def add(self, failure: TransientError) -> None:
        """One more."""
        found = verdict(failure.status, failure.foreign, failure.waking)
        self.length = self.length + 1 if found is self.verdict else 1
        self.is_well = self.is_well and self.length > 1
        self.failures += 1
        self.verdict, self.waking = found, failure.waking

    def refusal(self, failure: TransientError) -> RejectedBatchError | GatewayError:
        """What the last of them comes to."""
        well = ', while the server was otherwise well' if self.is_well else ''
        message = f'{failure} ({self.length} times in a row{well})' if self.length > 1 else str(failure)
        if failure.status is not None and not failure.foreign:
            return RejectedBatchError(message, failure.status)
        if not (self.batch or self.first):
            message += '. Whoever runs it (a gateway, firewall, proxy or log-in page) must let such requests through.'
        return GatewayError(message, failure.status)
