"""Has a person see how far a job is, beside it: it is neither slower for that, nor can it fail of it."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from typing import TextIO

from beam_argilla.threads import in_background

from . import stopping
from .progress import Progress
from .screen import screen_for

_SECONDS_BETWEEN_LOOKS = 0.5


@contextlib.contextmanager
def watched(look: Callable[[], Progress], file: TextIO | None, wanted: bool = True) -> Iterator[Callable[[str], None]]:
    """Shows how far a job is for as long as this is open, if that is long enough for somebody to wonder.

    Args:
        look: says how far it is, in no time.
        file: where to; None: nowhere.
        wanted: whether anybody wants it.

    Yields:
        What prints a line meanwhile, to standard output.
    """
    if file is None or not wanted:
        yield functools.partial(print, flush=True)
        return
    screen, ended = screen_for(file), threading.Event()

    def watch() -> None:
        wait = screen.patience
        while not ended.wait(wait):
            screen.show(look())
            wait = _SECONDS_BETWEEN_LOOKS

    def end() -> None:
        ended.set()
        screen.close()

    in_background(watch)
    with stopping.promptly(end):
        try:
            yield screen.say
        finally:
            end()
