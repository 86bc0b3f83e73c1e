"""How a program ends when it is told to: in order, and in any case, with nothing left behind."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import ClassVar, NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Beam's threads may wait for what never comes any more, and Python waits for its threads.
_PATIENCE_SECONDS = 10.0
# A person who has pressed Ctrl-C waits for two: so long for what is done in order, and so long for the last words.
_PROMPT_SECONDS = 0.8
_LAST_SECONDS = 1.1
_CANCEL_SECONDS = 0.4


class _State:
    """Of this process."""

    kept: set[int] | None = None  # children from before there was something to undo; None: there is nothing yet
    status: int | None = None  # what a signal calls for
    result: int | None = None  # what the program came to
    listening = False
    farewells: ClassVar[list[Callable[[], object]]] = []
    cancel: Callable[[], object] | None = None


def listen() -> None:
    """Has signals end this process, from now on; those that it was started to ignore, as by nohup or `&`, do not."""
    atexit.register(_leave)  # the first to be registered is the last to be called
    _State.listening = True
    _listen()


def listen_again() -> None:
    """Has them do so again where Beam, which would take its time first, has come in between."""
    if _State.listening:
        _listen()


def _listen() -> None:
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _stop)


def begin() -> None:
    """From now on, there is something to undo: a signal raises KeyboardInterrupt, and ends the children made since."""
    _State.kept = set(_descendants())


def status() -> int | None:
    """The exit status that a signal calls for; None if there was none."""
    return _State.status


@contextlib.contextmanager
def promptly(farewell: Callable[[], object]) -> Iterator[None]:
    """As long as this is open, a signal ends this process within two seconds, whatever Beam is waiting for.

    Args:
        farewell: what is left to be done and said then; called in another thread, the last ones that are open first.
    """
    _State.farewells.append(farewell)
    try:
        yield
    finally:
        _State.farewells.remove(farewell)


@contextlib.contextmanager
def cancelling(cancel: Callable[[], object]) -> Iterator[None]:
    """As long as this is open, a signal calls back, to end what is not of this process; it is waited for a moment."""
    _State.cancel = cancel
    try:
        yield
    finally:
        _State.cancel = None


def leave(result: int) -> NoReturn:
    """Ends this process with the exit status."""
    _State.result = result
    if _State.status is not None:
        _end()
    sys.exit(result)


def _end() -> None:
    """Ends this process as Python does, but for waiting for Beam's threads."""
    with contextlib.suppress(Exception):  # it is closed, or nobody reads it
        sys.stdout.flush()
    atexit._run_exitfuncs()


def _leave() -> None:
    """What threads of Beam and gRPC do while Python takes itself apart can crash it; all is done by now."""
    if _State.result is not None:
        os._exit(_State.result)


def _stop(number: int, _: FrameType | None) -> None:
    _State.status = 128 + number
    if _State.kept is None:  # an exception could be lost in what is being imported
        os.write(2, b'Stopped.\n')
        os._exit(_State.status)
    _later(_PATIENCE_SECONDS, os._exit, _State.status)
    if _State.farewells:
        _later(_PROMPT_SECONDS, _take_leave, _State.status)
    if _State.cancel is not None:  # which takes the job servers that are ended next
        cancelling = threading.Thread(target=_quietly, args=[_State.cancel], daemon=True)
        cancelling.start()
        cancelling.join(_CANCEL_SECONDS)
    # Worker processes and job servers end by themselves only if their parent does in order.
    for child in set(_descendants()) - _State.kept:
        try:
            os.kill(child, signal.SIGTERM)
        except (ProcessLookupError, PermissionError):
            continue
    raise KeyboardInterrupt


def _take_leave(status: int) -> None:
    """Ends this process, unless that is being done in order."""
    if not _State.farewells:
        return
    _later(_LAST_SECONDS, os._exit, status)
    _State.result = status
    for farewell in reversed(list(_State.farewells)):
        farewell()
    _end()


def _quietly(function: Callable[[], object]) -> None:
    with contextlib.suppress(Exception):
        function()


def _later(seconds: float, function: Callable[[int], object], status: int) -> None:
    timer = threading.Timer(seconds, function, [status])
    timer.daemon = True
    timer.start()


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
