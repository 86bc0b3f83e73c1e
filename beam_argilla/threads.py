"""Work beside Beam's own threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

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
