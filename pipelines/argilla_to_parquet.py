"""Makes training data of what people answered in Argilla.

    argilla-to-parquet --dataset ultrafeedback --form pairs --margin 1 --output dpo --api_url https://argilla.example

The files are `OUTPUT-00000-of-00001.parquet` and so on;
`datasets.load_dataset('parquet', data_files='dpo-?????-of-?????.parquet')` opens them. Every Beam pipeline option can
follow. Exit status: 0 if all was read, or what was refused went to --failed; 1 if something was refused and there is no
--failed, or the result could not be printed; 2 if the job cannot run as it was described, or the engine or the server
fails; 130 after Ctrl-C (128 + its number after another signal).
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

    from . import export_options, options

    p = argparse.ArgumentParser(
        'argilla-to-parquet',
        description=__doc__,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    of = p.add_argument_group('whose answers are read')
    options.add_server(of)
    export_options.add_reading(of)
    export_options.add_forming(p.add_argument_group('what becomes of them'))
    export_options.add_writing(p.add_argument_group('where it goes'))
    options.add_progress(p.add_argument_group('what is told of it'))
    options.add_program(p.add_argument_group('the program itself'))
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program and returns the exit status. A mistake is told in one message rather than a stack trace."""
    return program.run(argv, _parse, _start)


def command() -> None:
    """The program as a process."""
    program.command(_parse, _start)


def _parse(argv: Sequence[str] | None) -> tuple[argparse.Namespace, list[str]]:
    from . import export_options

    return export_options.parse(parser(), argv)


def _start(args: argparse.Namespace, beam_args: Sequence[str], aside: contextlib.ExitStack) -> int:
    with program.importing():
        from . import export

    return export.export(args, beam_args, aside)


if __name__ == '__main__':
    command()
