"""How a program ends when it is told to: in order, and in any case, with nothing left behind."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from types import FrameType
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Beam's threads may wait for what never comes any more, and Python waits for its threads.
_PATIENCE_SECONDS = 10.0


class _State:
    """Of this process."""

    kept: set[int] | None = None  # children from before there was something to undo; None: there is nothing yet
    status: int | None = None  # what a signal calls for
    result: int | None = None  # what the program came to


def listen() -> None:
    """Has signals end this process, from now on; those that it was started to ignore, as by nohup or `&`, do not."""
    atexit.register(_leave)  # the first to be registered is the last to be called
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _stop)


def begin() -> None:
    """From now on, there is something to undo: a signal raises KeyboardInterrupt, and ends the children made since."""
    _State.kept = set(_descendants())


def status() -> int | None:
    """The exit status that a signal calls for; None if there was none."""
    return _State.status


def leave(result: int) -> NoReturn:
    """Ends this process with the exit status."""
    _State.result = result
    sys.exit(result)


def _leave() -> None:
    """What threads of Beam and gRPC do while Python takes itself apart can crash it; all is done by now."""
    if _State.result is not None:
        os._exit(_State.result)


def _stop(number: int, _: FrameType | None) -> None:
    _State.status = 128 + number
    if _State.kept is None:  # an exception could be lost in what is being imported
        os.write(2, b'Stopped.\n')
        os._exit(_State.status)
    watchdog = threading.Timer(_PATIENCE_SECONDS, os._exit, [_State.status])
    watchdog.daemon = True
    watchdog.start()
    # Worker processes and job servers end by themselves only if their parent does in order.
    for child in set(_descendants()) - _State.kept:
        try:
            os.kill(child, signal.SIGTERM)
        except (ProcessLookupError, PermissionError):
            continue
    raise KeyboardInterrupt


def _descendants() -> list[int]:
    """The processes that this one has started, and theirs."""
    children: dict[int, list[int]] = {}
    for child, parent in _processes():
        children.setdefault(parent, []).append(child)
    found = [os.getpid()]
    for process in found:
        found += children.get(process, [])
    return found[1:]


def _processes() -> list[tuple[int, int]]:
    """(process, its parent) of all that are there."""
    if not os.path.exists('/proc/self/stat'):  # macOS
        import subprocess

        listed = subprocess.run(['ps', '-A', '-o', 'pid=,ppid='], capture_output=True, text=True).stdout
        return [(int(child), int(parent)) for child, parent in map(str.split, listed.splitlines())]
    found = []
    for process in filter(str.isdigit, os.listdir('/proc')):
        try:
            with open(f'/proc/{process}/stat', encoding='utf-8', errors='replace') as stat:
                _, _, after_name = stat.read().rpartition(')')
        except OSError:  # it has ended
            continue
        found.append((int(process), int(after_name.split()[1])))
    return found
