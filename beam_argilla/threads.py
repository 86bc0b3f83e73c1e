"""Work beside Beam's own threads."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from typing import Any, Generic, TypeVar

T = TypeVar('T')
_SHARE = 0.05  # of the time, that somebody spends on being asked
_LONGEST_REST = 10.0  # seconds
_MOMENT = 0.45


def in_background(function: Callable[..., T], *args: Any) -> Future[T]:
    """Calls the function in a daemon thread of its own.

    Not in a pool, whose threads Python would wait for when it ends: a job that has failed shall not go on.
    """
    future: Future[T] = Future()

    def call() -> None:
        try:
            future.set_result(function(*args))
        except BaseException as e:
            future.set_exception(e)

    threading.Thread(target=call, daemon=True).start()
    return future


class Merged(Generic[T]):
    """Iterators that are worked off side by side, each in a thread of its own; whatever comes first is next.

    Args:
        most: items that wait to be taken.
    """

    def __init__(self, most: int):
        self._items: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()
        self._room = threading.Semaphore(most)
        self._running = 0
        self._stopped = False

    def add(self, iterator: Iterator[T]) -> None:
        """Starts to work off one more."""

        def work() -> None:
            failure = None
            try:
                for item in iterator:
                    self._room.acquire()
                    if self._stopped:
                        return
                    self._items.put((False, item))
            except BaseException as e:
                failure = e
            self._items.put((True, failure))

        self._running += 1
        in_background(work)

    def take(self, most_running: int) -> Iterator[T]:
        """What comes, until no more than so many are left; raises what one of them raises."""
        while self._running > most_running:
            ended, item = self._items.get()
            if not ended:
                self._room.release()
                yield item
                continue
            self._running -= 1
            if item is not None:
                self.stop()
                raise item

    def stop(self) -> None:
        """Nothing more is taken; each thread ends with the item at hand."""
        self._stopped = True
        self._room.release(self._running + 1)


class Latest(Generic[T]):
    """The latest answer of somebody who may take time for it, or never give it, and is asked seldom enough.

    Args:
        ask: gives it; what it raises is no answer.
    """

    def __init__(self, ask: Callable[[], T | None]):
        self._ask = ask
        self._answer: T | None = None
        self._asked: Future[tuple[T | None, float]] | None = None
        self._next = 0.0
        self._lock = threading.Lock()

    def __call__(self, waiting: bool = False) -> T | None:
        """What was said last, at once; None if nothing was.

        Args:
            waiting: a moment, for what is said now.
        """
        with self._lock:
            if waiting:
                self._take(in_background(self._timed), _MOMENT)
            elif self._asked is not None:
                self._take(self._asked, 0)
            if self._asked is None and time.monotonic() >= self._next:
                self._asked = in_background(self._timed)
            return self._answer

    def _take(self, asked: Future[tuple[T | None, float]], seconds: float) -> None:
        wait([asked], seconds)
        if asked.done():
            answer, took = asked.result()
            self._answer = self._answer if answer is None else answer
            self._asked, self._next = None, time.monotonic() + min(max(1.0, took / _SHARE), _LONGEST_REST)

    def _timed(self) -> tuple[T | None, float]:
        began, answer = time.monotonic(), None
        with contextlib.suppress(Exception):
            answer = self._ask()
        return answer, time.monotonic() - began
