"""``argilla-local --home DIR`` (or ``python -m beam_argilla.local``): runs an Argilla server until Ctrl-C.

Exit status: 0 when the server was stopped by Ctrl-C or SIGTERM, or something else is done; 1 when a process has died,
or somebody said no; 2 when it cannot be done as asked; 130 when something else than the server was stopped.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from types import FrameType

from beam_argilla.local.errors import LocalServerError

# What else is needed is imported once a signal can be answered.

INTERRUPTED = 130  # as of a shell's own commands
STOPPING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """A signal asks to end."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Does what the command line says: without more, runs the server until a signal asks to end.

    Args:
      arguments: The command line without the name of the program; None takes it from `sys.argv`.

    Returns:
      The exit status.
    """
    for number in STOPPING_SIGNALS:
        # nohup, and a shell that starts a job in the background, want some of them ignored.
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, stop)
    stopped = 0
    try:
        from beam_argilla.local import commands

        options = commands.read(arguments)
        if options.action is not commands.run:
            stopped = INTERRUPTED
        options.action(options)
        return 0
    except Stopped:
        return stopped
    except LocalServerError as error:
        print(f'beam_argilla.local: {error}', file=sys.stderr)
        return error.exit_status


def stop(_number: int, _frame: FrameType | None) -> None:
    """Handles the first signal; ending takes seconds, and is not interrupted by another one."""
    for number in STOPPING_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise Stopped


def command() -> None:
    """The program as a process."""
    sys.exit(main())


if __name__ == '__main__':
    command()
