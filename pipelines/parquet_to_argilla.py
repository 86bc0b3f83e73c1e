"""Fills an Argilla dataset from Parquet files of LLM generations.

    parquet-to-argilla --input 'gs://bucket/generations-*.parquet' \\
        --dataset ultrafeedback --num_generations 4 --api_url https://argilla.example

Every Beam pipeline option can follow. Exit status: 0 if everything was written, or what was refused went to --failed;
1 if something was refused and there is no --failed; 2 if the job cannot run as it was described.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
from collections.abc import Sequence

from . import messages, options


def parser() -> argparse.ArgumentParser:
    """The program's options; Beam's own come behind them."""
    p = argparse.ArgumentParser(
        'parquet-to-argilla',
        description=__doc__,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_input(p.add_argument_group('what is read'))
    options.add_task(p.add_argument_group('how rows become records'))
    to = p.add_argument_group('where records go')
    options.add_server(to)
    options.add_writing(to)
    options.add_program(p.add_argument_group('the program itself'))
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program and returns the exit status. A mistake is told in one message rather than a stack trace."""
    with contextlib.ExitStack() as aside:
        return _run(argv, aside)


def _run(argv: Sequence[str] | None, aside: contextlib.ExitStack) -> int:
    try:
        args, beam_args = options.parse(parser(), argv)
    except ValueError as e:
        print(f'error: {e}', file=sys.stderr)
        return 2
    messages.quieten(args.debug)
    from . import load  # Beam and Arrow, once it is known that there is something to do

    return load.load(args, beam_args, aside)


def command() -> None:
    """The program as a process. Ended by a signal, too, it removes its temporary files."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup wants it
            signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        sys.exit(_run(None, _UNTIL_THE_END))
    except Exception:
        with _UNTIL_THE_END:  # shows what was said
            raise


# Closed by a crash alone: what Beam's threads and engines say while the process ends is not for people either.
_UNTIL_THE_END = contextlib.ExitStack()


if __name__ == '__main__':
    command()
