"""Several processes that serve one socket: copies of the first, made once it has imported and prepared everything."""

from __future__ import annotations

import os
import threading

_watching: list[threading.Thread] = []


def fork(count: int) -> int | None:
    """Makes processes like this one, which has no other threads that matter yet.

    If one of them ends with an error, so does this one.

    Args:
      count: How many there are to be, with this one.

    Returns:
      In a new process, a descriptor that reads as ended once the first one is gone. None in the first one.
    """
    reading, writing = os.pipe()
    for _ in range(count - 1):
        pid = os.fork()
        if not pid:
            os.close(writing)
            _watching.clear()
            return reading
        _watching.append(threading.Thread(target=_watch, args=(pid,), daemon=True))
        _watching[-1].start()
    os.close(reading)  # the other end stays open for as long as this process lives
    return None


def wait(seconds: float) -> None:
    """Waits, in the first process, for the others to end, which are told to by those who told this one."""
    for thread in _watching:
        thread.join(seconds)


def _watch(pid: int) -> None:
    _, status = os.waitpid(pid, 0)
    if status:
        os._exit(1)
