"""What a person sees: what came of a job, and one message rather than a stack trace where it did not work."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from typing import TextIO

from beam_argilla import errors


def summary(counts: Mapping[str, int], seconds: float, dry_run: bool) -> str:
    """What was read, written and refused."""
    get = counts.get
    lines = [f'{get("rows_read", 0):,} rows read, {get("groups", 0):,} groups']
    for name, text in (
        ('duplicate_generations', 'rows merged into their duplicates'),
        ('warnings', 'suggestions or metadata left out'),
        ('conflicts_shown_first', 'groups show the first of several instruction texts'),
    ):
        if get(name):
            lines.append(f'{counts[name]:,} {text}')
    if dry_run:
        lines.append(f'{get("records_checked", 0):,} records would be written (dry run: nothing was)')
    else:
        created, updated = get('records_created', 0), get('records_updated', 0)
        lines.append(f'{created + updated:,} records written: {created:,} created, {updated:,} updated')
        if get('records_adopted'):
            lines.append(f'{counts["records_adopted"]:,} records of others were adopted')
        if get('records_unchanged'):
            lines.append(f'{counts["records_unchanged"]:,} unchanged, so not sent')
    refused = refused_counts(counts)
    reasons = ', '.join(f'{name} {n:,}' for name, n in refused.items())
    lines.append(f'{sum(refused.values()):,} refused' + (f': {reasons}' if refused else ''))
    lines.append(f'{seconds:.1f} seconds')
    return '\n'.join(lines)


def refused_counts(counts: Mapping[str, int]) -> dict[str, int]:
    """Reason → how many were refused for it."""
    prefix = 'failed_'
    return {name.removeprefix(prefix): n for name, n in sorted(counts.items()) if name.startswith(prefix)}


_RAISED = re.compile(r'beam_argilla\.errors\.(\w+): (.*?)(?= \[while running|\n\n|\Z)', re.DOTALL)


def explain(error: BaseException) -> tuple[type[BaseException], str] | None:
    """Which of our exceptions it is and its message, None if it is none of ours.

    In one process Beam raises it as it was, with the step's name behind it; from another, its text in another's.
    """
    if isinstance(error, errors.BeamArgillaError):
        return type(error), str(error).split(' [while running')[0]
    found = list(_RAISED.finditer(str(error)))
    return (getattr(errors, found[-1][1], errors.BeamArgillaError), found[-1][2].strip()) if found else None


def is_interrupt(error: BaseException | None) -> bool:
    """Whether it is Ctrl-C. Where a worker is this process, Beam makes another exception of it."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt) or str(error).startswith('KeyboardInterrupt [while running'):
            return True
        error = error.__cause__ or error.__context__
    return False


def quieten() -> None:
    """Warnings alone reach the person, and no stack trace of what is raised on purpose: it is told once, at the end."""
    logging.basicConfig(level=logging.WARNING)
    for handler in logging.getLogger().handlers:
        handler.addFilter(_is_for_people)


def _is_for_people(record: logging.LogRecord) -> bool:
    raised = record.exc_info[1] if record.exc_info else None
    # Beam says the latter on import wherever its Google Cloud extra is not installed, needed or not.
    return explain(raised or RuntimeError(record.getMessage())) is None and 'apitools not found' not in str(record.msg)


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
