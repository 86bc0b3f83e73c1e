"""What a person sees: what came of a job, and one message rather than a stack trace where it did not work."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, TextIO

import beam_argilla as ba
from beam_argilla import errors
from beam_argilla.server.cleaning import printable

from . import stopping

if TYPE_CHECKING:
    from .progress import Progress  # which imports Beam, and Beam warns of something


def sources(names: Mapping[str, str]) -> str:
    """Which column each part of a record came from.

    Args:
        names: role → what is called so in the input.
    """
    return 'From the input: ' + ', '.join(f'{role.replace("_", " ")} ← {name}' for role, name in names.items())


def stopped(progress: Progress, skips: bool, elsewhere: bool) -> str:
    """What to say of a load that was interrupted.

    Args:
        skips: it leaves alone what is there already.
        elsewhere: on an engine that was told to cancel it. Flink, for one, says that it has, and goes on.
    """
    engine = ' See on its engine whether it goes on there, and cancel it.' if elsewhere else ''
    if progress.doing != 'Writing' or not progress.done:
        return f'Stopped. No record had been written yet.{engine}'
    of = '' if progress.of is None else f' of about {progress.of:,}'
    again = 'running it again' if skips else 'running it again with --skip_unchanged'
    return f'Stopped. {progress.done:,}{of} records had been written; {again} goes on from there.{engine}'


_RAISED = re.compile(r'beam_argilla\.errors\.(\w+): (.*?)(?= \[while running|\n\n|\Z)', re.DOTALL)
_OURS = ('beam_argilla', 'pipelines')
# A line of a stack trace that a worker sent as text, of a file of ours.
_FRAME_OF_OURS = re.compile(rf'File "[^"]*[/\\](?:{"|".join(_OURS)})[/\\][^"]*\.py", line \d+')
_LONGEST = 500  # characters of what an engine says


def explain(error: BaseException, stopped: Callable[[], str]) -> tuple[int, str] | None:
    """The exit status and what to say of it, None if it is a bug of ours.

    A user or a server can cause what this package raises on purpose, an interrupt, what options make Beam refuse,
    trouble of the operating system, and whatever an engine raises with nothing of ours below it.

    Args:
        stopped: says what to say of an interrupt.
    """
    if is_interrupt(error):
        return stopping.status() or 130, stopped()
    if found := raised_on_purpose(error):
        kind, message = found
        return 1 if issubclass(kind, errors.RefusedError) else 2, printable(f'error: {message}')
    if isinstance(error, OSError):
        return 2, printable(f'error: {error}')
    if advice := _advice(error):
        return 2, printable(f'error: {advice}')
    if _is_bug(error):
        return None
    return 2, printable(f'error: The runner failed: {_last_words(error)} (--debug shows all that was said.)')


# What an engine says, among much else, where something has to be set → what to do about it.
_ADVICE = {
    r"No module named '(beam_argilla(?:\.\w+)*)'": (
        'The workers have no module {0!r}. Send them this package: --setup_file ./setup.py in a checkout, or '
        '--extra_package dist/beam_argilla-{version}.tar.gz, which `python -m build --sdist` makes there.'
    ),
    r"No module named '([\w.]+)'": (
        'The workers have no module {0!r}. Send it along (--setup_file or --extra_package of Beam), or start workers '
        'that have it.'
    ),
    r'Insufficient number of network buffers': (
        'Flink has too few network buffers for this job. Give its task managers more '
        '(taskmanager.memory.network.max: 256m and taskmanager.memory.network.min: 256m in its configuration; 128m or '
        'less is its default), or run the job with a smaller --parallelism.'
    ),
}


def _advice(error: BaseException) -> str | None:
    """What to do about what an engine says; None if it is nothing known, or was said by this process itself."""
    if isinstance(error, ImportError):
        return None
    for pattern, advice in _ADVICE.items():
        if found := re.search(pattern, str(error)):
            return advice.format(*found.groups(), version=ba.__version__)
    return None


def raised_on_purpose(error: BaseException) -> tuple[type[BaseException], str] | None:
    """Which of our exceptions it is and its message, None if it is none of ours.

    In one process Beam raises it as it was, with the step's name behind it; from another, its text in another's.
    """
    if isinstance(error, errors.BeamArgillaError):
        return type(error), str(error).split(' [while running')[0]
    found = list(_RAISED.finditer(str(error)))
    return (getattr(errors, found[-1][1], errors.BeamArgillaError), found[-1][2].strip()) if found else None


def is_interrupt(error: BaseException | None) -> bool:
    """Whether it is Ctrl-C. Where a worker is this process, Beam makes another exception of it."""
    if stopping.status() is not None:
        return True
    while error is not None:
        if isinstance(error, KeyboardInterrupt) or str(error).startswith('KeyboardInterrupt [while running'):
            return True
        error = error.__cause__ or error.__context__
    return False


def _is_bug(error: BaseException) -> bool:
    """Whether it comes from code of ours, rather than from what Beam does on our behalf."""
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    packages = [frame.f_globals.get('__name__', '').split('.')[0] for frame in frames]
    in_beam = packages[packages.index('apache_beam') :] if 'apache_beam' in packages else packages
    return bool(set(in_beam) & set(_OURS)) or bool(_FRAME_OF_OURS.search(str(error)))


def _last_words(error: BaseException) -> str:
    """What an engine says of its end, without the stack traces above it."""
    details = getattr(error, 'details', None)  # of gRPC
    said = details() if callable(details) else str(error)
    lines = [line.strip() for line in (said or '').splitlines() if line.strip()]
    name = type(error).__name__
    if not lines and 'Timeout' in name:
        return 'nothing answered in time. Is its job server there, and is --job_endpoint right?'
    return f'{name}: {lines[-1][:_LONGEST]}' if lines else name


def quieten(debug: bool = False) -> None:
    """Warnings alone reach the person, and no stack trace of what is raised on purpose: it is told once, at the end.

    Args:
        debug: all reaches them.
    """
    logging.basicConfig(level=logging.INFO if debug else logging.WARNING)
    if debug:
        return
    for handler in logging.getLogger().handlers:
        handler.addFilter(_is_for_people)


def _is_for_people(record: logging.LogRecord) -> bool:
    raised = record.exc_info[1] if record.exc_info else None
    # Beam says the latter on import wherever its Google Cloud extra is not installed, needed or not.
    text = record.getMessage()
    return raised_on_purpose(raised or RuntimeError(text)) is None and 'apitools not found' not in text


@contextlib.contextmanager
def beam_aside() -> Iterator[TextIO | None]:
    """Keeps what Beam, an engine and worker processes of this machine say of themselves away from the person.

    They log, print stack traces from threads of their own, and write from other processes, so it is the descriptor of
    standard error that is taken from them. Warnings of this package go on to the person, those of its worker processes
    as well. If there is an exception that nobody expected, all that was said is shown.

    Yields:
        Standard error as it was; None if it is closed.
    """
    before = sys.stderr
    if before is None:  # closed; its descriptor may be another file's by now
        yield before
        return
    before.flush()
    with tempfile.TemporaryFile() as said, os.fdopen(os.dup(2), 'w', buffering=1, errors='backslashreplace') as kept:
        screen = kept if _descriptor(before) == 2 else before  # a notebook's, or a caller's own
        handler = _own_warnings(screen)
        logging.getLogger().addHandler(handler)
        os.dup2(said.fileno(), 2)
        try:
            with contextlib.redirect_stderr(os.fdopen(os.dup(2), 'w', buffering=1, errors='backslashreplace')):
                yield screen
        except Exception:
            # Not by reading on: others write to the same file where they and we stand.
            screen.write(os.pread(said.fileno(), os.fstat(said.fileno()).st_size, 0).decode(errors='replace'))
            raise
        finally:
            screen.flush()
            os.dup2(kept.fileno(), 2)
            logging.getLogger().removeHandler(handler)


def _descriptor(file: TextIO) -> int | None:
    try:
        return file.fileno()
    except (OSError, ValueError):
        return None


def _own_warnings(screen: TextIO) -> logging.Handler:
    """Shows this package's warnings, and those that worker processes send, without what Beam wraps them in."""

    def is_own(record: logging.LogRecord) -> bool:
        text = record.getMessage()
        record.shown = text
        if record.name != 'apache_beam.runners.portability.local_job_service':
            return record.name.split('.')[0] == _PACKAGE
        from apache_beam.portability.api import beam_fn_api_pb2
        from google.protobuf import text_format

        try:
            entry = text_format.Parse(text.removeprefix('Worker: '), beam_fn_api_pb2.LogEntry())
        except text_format.ParseError:
            return False
        record.shown = entry.message
        return f'{os.sep}{_PACKAGE}{os.sep}' in entry.log_location

    handler = logging.StreamHandler(screen)
    handler.setLevel(logging.WARNING)
    handler.addFilter(is_own)
    handler.setFormatter(logging.Formatter('%(shown)s'))
    return handler


_PACKAGE = 'beam_argilla'
