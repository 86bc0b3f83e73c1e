"""Terminals that a test looks at."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import struct
import termios
import threading
from collections.abc import Iterator


class Terminal:
    """A terminal that somebody draws on.

    Attributes:
        descriptor: to draw on; closed by `close`.
    """

    def __init__(self, columns: int):
        self._screen, self.descriptor = pty.openpty()
        fcntl.ioctl(self.descriptor, termios.TIOCSWINSZ, struct.pack('HHHH', 24, columns, 0, 0))
        self._drawn: list[bytes] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # nobody draws any more
            while data := os.read(self._screen, 10_000):
                self._drawn.append(data)
        os.close(self._screen)

    @property
    def drawings(self) -> list[str]:
        """What was drawn until now, each line and each state of one."""
        return re.split('[\r\n]+', b''.join(self._drawn).decode(errors='replace'))

    def close(self) -> list[str]:
        """Draws nothing more, and gives all that was drawn, as soon as others that draw have ended."""
        with contextlib.suppress(OSError):  # it was a file's, and closed with it
            os.close(self.descriptor)
        self._reader.join(10)
        return self.drawings


@contextlib.contextmanager
def terminal(columns: int = 100) -> Iterator[Terminal]:
    """A terminal of so many columns."""
    opened = Terminal(columns)
    try:
        yield opened
    finally:
        opened.close()
