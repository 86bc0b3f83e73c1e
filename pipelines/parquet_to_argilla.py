"""Fills an Argilla dataset from Parquet files of LLM generations.

    parquet-to-argilla --input 'gs://bucket/generations-*.parquet' \\
        --dataset ultrafeedback --num_generations 4 --api_url https://argilla.example

Every Beam pipeline option can follow. Exit status: 0 if everything was written, or what was refused went to --failed;
1 if something was refused and there is no --failed, or the result could not be printed; 2 if the job cannot run as it
was described, or the engine or the server fails; 130 after Ctrl-C (128 + its number after another signal), when what
was written until then is there. Running it again goes on from there and changes nothing that is written already.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from . import stopping

if TYPE_CHECKING:
    import argparse

# What else is needed is imported once a signal, and a mistake, can be answered.


def parser() -> argparse.ArgumentParser:
    """The program's options; Beam's own come behind them."""
    import argparse

    from . import options

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
    from . import output

    with output.forgiving() as printed:
        status = _answer(argv, aside)
    return status if printed is None or printed.error is None else status or 1


def _answer(argv: Sequence[str] | None, aside: contextlib.ExitStack) -> int:
    from . import messages, options

    try:
        args, beam_args = options.parse(parser(), argv)
    except ValueError as e:
        print(f'error: {e}', file=sys.stderr)
        return 2
    except SystemExit:  # --help, --version
        return 0
    messages.quieten(args.debug)
    from . import load  # Beam and Arrow, once it is known that there is something to do

    return load.load(args, beam_args, aside)


def command() -> None:
    """The program as a process. Ended by a signal, too, it removes its temporary files."""
    stopping.listen()
    try:
        stopping.leave(_run(None, _UNTIL_THE_END))
    except Exception:
        with _UNTIL_THE_END:  # shows what was said
            raise


# Closed by a crash alone: what Beam's threads and engines say while the process ends is not for people either.
_UNTIL_THE_END = contextlib.ExitStack()


if __name__ == '__main__':
    command()
