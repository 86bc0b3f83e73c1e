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
from collections.abc import Sequence
from typing import TYPE_CHECKING

from . import program

if TYPE_CHECKING:
    import argparse


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
    options.add_watching(p.add_argument_group('what is told of it'))
    options.add_program(p.add_argument_group('the program itself'))
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program and returns the exit status. A mistake is told in one message rather than a stack trace."""
    return program.run(argv, _parse, _start)


def command() -> None:
    """The program as a process."""
    program.command(_parse, _start)


def _parse(argv: Sequence[str] | None) -> tuple[argparse.Namespace, list[str]]:
    from . import options

    return options.parse(parser(), argv)


def _start(args: argparse.Namespace, beam_args: Sequence[str], aside: contextlib.ExitStack) -> int:
    with program.importing():
        from . import load  # Beam and Arrow, once it is known that there is something to do

    return load.load(args, beam_args, aside)


if __name__ == '__main__':
    command()
