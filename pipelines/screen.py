"""Where a person sees how far a job is: a bar on a terminal, a line once in a while elsewhere."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, TextIO

from .progress import Progress

if TYPE_CHECKING:
    from tqdm import tqdm

_NOTHING = '{desc} [{elapsed}]'  # is known
_UNKNOWN = '{desc}: {n:,}{unit} [{elapsed}, {rate_noinv_fmt}{postfix}]'  # is how many there will be
_KNOWN = '{desc}: {percentage:3.0f}% {bar} {n:,}/{total:,}{unit} [{elapsed}<{remaining}, {rate_noinv_fmt}{postfix}]'
_NARROW = '{desc}: {percentage:3.0f}% {bar} {n:,}/{total:,} [{elapsed}<{remaining}{postfix}]'
_WIDE = 80  # columns
_USUAL_COLUMNS = 80  # of a terminal that does not say
_ECHO = 4  # columns in which a terminal shows that Ctrl-C was pressed
_SMOOTHING = 0.1  # of the rate: records arrive by the batch


def screen_for(file: TextIO) -> Bar | Lines:
    """The one that is right for a file."""
    is_terminal = file.isatty() and os.environ.get('TERM') != 'dumb'
    return Bar(file) if is_terminal else Lines(file)


class Bar:
    """A bar on a terminal, of tqdm: what is installed already since datasets and huggingface_hub show theirs by it.

    Attributes:
        patience: seconds until the first look.
    """

    patience = 1.0

    def __init__(self, file: TextIO):
        self._file = file
        self._began = time.time()  # by the clock of tqdm
        self._bar: tqdm | None = None
        self._handlers: list[logging.StreamHandler] = []
        self._lock = threading.Lock()
        self._closed = False

    def show(self, progress: Progress) -> None:
        """Draws it anew."""
        with self._lock:
            if self._closed:
                return
            if self._bar is None:
                self._share_the_terminal()
            if self._bar is None or self._bar.desc != progress.doing:
                self._bar = self._new_bar(progress)
            bar = self._bar
            bar.ncols = self._columns() - _ECHO
            bar.total, bar.bar_format = progress.of, _format(progress, bar.ncols)
            bar.set_postfix_str(progress.besides, refresh=False)
            if progress.done > bar.n:
                bar.update(progress.done - bar.n)
            else:
                bar.refresh()  # an update without anything would be taken for a rate

    def say(self, text: str) -> None:
        """Prints a line to standard output, above the bar if that is the same terminal."""
        from tqdm import tqdm

        tqdm.write(text)
        sys.stdout.flush()

    def close(self) -> None:
        """Leaves nothing of it on the terminal."""
        with self._lock:
            self._closed = True
            if self._bar is not None:
                self._bar.close()
                self._file.write('\r' + ' ' * (self._columns() - 1) + '\r')  # with what was typed behind it
                self._file.flush()
            for handler in self._handlers:
                handler.setStream(self._file)

    def _new_bar(self, progress: Progress) -> tqdm:
        from tqdm import tqdm

        if self._bar is not None:
            self._bar.close()
        bar = tqdm(
            desc=progress.doing,
            total=progress.of,
            unit=f' {progress.unit}',
            initial=progress.done,
            file=self._file,
            leave=False,
            ncols=self._columns() - _ECHO,
            delay=1e-9,  # it is drawn once it is known when it began
            mininterval=0,
            miniters=0,
            smoothing=_SMOOTHING,
            bar_format=_format(progress, self._columns()),
        )
        bar.start_t = self._began
        return bar

    def _columns(self) -> int:
        return os.get_terminal_size(self._file.fileno()).columns or _USUAL_COLUMNS

    def _share_the_terminal(self) -> None:
        """Has what is logged to it stand above the bar."""
        from tqdm.contrib import DummyTqdmFile

        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler) and handler.stream is self._file:
                handler.setStream(DummyTqdmFile(self._file))
                self._handlers.append(handler)


def _format(progress: Progress, columns: int) -> str:
    if not progress.unit:
        return _NOTHING
    return _UNKNOWN if progress.of is None else _KNOWN if columns >= _WIDE else _NARROW


class Lines:
    """A line once in a while: what is written to a file shall not grow by much, and a short job has none.

    Attributes:
        patience: seconds until the first look.
    """

    patience = 30.0
    _SECONDS = 60.0  # between two lines

    def __init__(self, file: TextIO):
        self._file = file
        self._began = time.monotonic()
        self._next = self._began + self._SECONDS
        self._last: tuple[float, int] | None = None  # when, and how many were done
        self._lock = threading.Lock()
        self._closed = False

    def show(self, progress: Progress) -> None:
        """Writes it if it is time to."""
        with self._lock:
            now = time.monotonic()
            at, done = self._last = self._last or (now, progress.done)
            if self._closed or now < self._next:
                return
            rate = max(progress.done - done, 0) / max(now - at, 1e-9)
            print(line(progress, now - self._began, rate), file=self._file, flush=True)
            self._next, self._last = now + self._SECONDS, (now, progress.done)

    def say(self, text: str) -> None:
        """Prints a line to standard output."""
        print(text, flush=True)

    def close(self) -> None:
        """Nothing more is written."""
        with self._lock:
            self._closed = True


def line(progress: Progress, seconds: float, rate: float) -> str:
    """How far a job is, in a line.

    Args:
        seconds: since it began.
        rate: how many a second were done lately.
    """
    if not progress.unit:
        return f'{progress.doing} for {_clock(seconds)}'
    number = f'{progress.done:,}' if progress.of is None else f'{progress.done:,} of about {progress.of:,}'
    said = [f'{progress.doing}: {number} {progress.unit} in {_clock(seconds)}', f'{rate:,.1f} a second']
    if progress.of is not None and rate > 0:
        said.append(f'about {_clock((progress.of - progress.done) / rate)} left')
    return ', '.join([*said, *([progress.besides] if progress.besides else [])])


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f'{hours}:{minutes:02}:{seconds:02}' if hours else f'{minutes}:{seconds:02}'
