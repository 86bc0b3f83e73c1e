"""A program as a process: options, then Beam, one message rather than a stack trace, an exit status."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NoReturn

from . import stopping

if TYPE_CHECKING:
    import argparse

# What else is needed is imported once a signal, and a mistake, can be answered.

Parse = Callable[['Sequence[str] | None'], 'tuple[argparse.Namespace, list[str]]']
Start = Callable[['argparse.Namespace', 'Sequence[str]', contextlib.ExitStack], int]


def run(argv: Sequence[str] | None, parse: Parse, start: Start, aside: contextlib.ExitStack | None = None) -> int:
    """Runs a program and returns its exit status. A mistake is told in one message rather than a stack trace.

    Args:
        parse: makes the program's options, and Beam's, of the command line.
        start: does it all; the last argument is `aside`.
        aside: what is kept from the person is kept as long as this is open; None: until the end of the run.
    """
    from . import output

    with contextlib.ExitStack() as until_the_end, output.forgiving() as printed:
        status = _answer(argv, parse, start, until_the_end if aside is None else aside)
    return status if printed is None or printed.error is None else status or 1


def _answer(argv: Sequence[str] | None, parse: Parse, start: Start, aside: contextlib.ExitStack) -> int:
    from . import messages

    try:
        args, beam_args = parse(argv)
    except ValueError as e:
        print(f'error: {e}', file=sys.stderr)
        return 2
    except SystemExit:  # --help, --version
        return 0
    messages.quieten(args.debug)
    return start(args, beam_args, aside)


def command(parse: Parse, start: Start) -> NoReturn:
    """The program as a process. Ended by a signal, too, it removes its temporary files."""
    stopping.listen()
    try:
        stopping.leave(run(None, parse, start, _UNTIL_THE_END))
    except Exception:
        with _UNTIL_THE_END:  # shows what was said
            raise


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Imports in it take a tenth less: what Beam's 1,700 modules make stays, and is never looked through for garbage.

    Source: benchmarks/README.md, "Start-up".
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if collects:
            gc.enable()


# Closed by a crash alone: what Beam's threads and engines say while the process ends is not for people either.
_UNTIL_THE_END = contextlib.ExitStack()
