"""Work beside Beam's own threads."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

T = TypeVar('T')


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
