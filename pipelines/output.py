"""Standard output, whatever becomes of it: a job goes on where nobody reads it, and says so at the end."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TextIO


@dataclass
class Output:
    """A text stream that keeps its first error instead of raising it, and writes nothing more from then on."""

    stream: TextIO
    error: OSError | None = None

    def write(self, text: str) -> int:
        self._attempt(self.stream.write, text)
        return len(text)

    def flush(self) -> None:
        self._attempt(self.stream.flush)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def _attempt(self, function: Any, *args: Any) -> None:
        if self.error is not None:
            return
        try:
            function(*args)
        except OSError as e:
            self.error = e


@contextlib.contextmanager
def forgiving() -> Iterator[Output | None]:
    """Takes the place of standard output; None if that is closed. An error is told on standard error as it was."""
    if sys.stdout is None:
        yield None
        return
    output = Output(sys.stdout)
    with os.fdopen(os.dup(2), 'w') if sys.stderr is not None else contextlib.nullcontext() as person:
        try:
            with contextlib.redirect_stdout(output):
                yield output
        finally:
            output.flush()
            if output.error is not None:
                print(f'error: Standard output cannot be written: {output.error.strerror}.', file=person)
                with contextlib.suppress(OSError, ValueError):  # Python writes what is left once more as it ends
                    os.dup2(os.open(os.devnull, os.O_WRONLY), output.stream.fileno())
