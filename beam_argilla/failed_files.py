"""The files of what was refused: where they lie and what they are called, the same for who writes and who reads them.

``<prefix>-<run>-<shard>.jsonl``; a run's name is the time at which it started, so names sort by age.
"""

from __future__ import annotations

import contextlib
import datetime
import glob
import re
import uuid
from typing import NamedTuple

from apache_beam.io.filesystems import FileSystems

from beam_argilla import files

SUFFIX = '.jsonl'
_NAME_IN_FOLDER = 'failed'
_SHARD = re.compile(r'-(?P<run>\d{8}T\d{12})-[0-9a-f]{8}\.jsonl\Z')


class Shard(NamedTuple):
    """A file that a job wrote: the name of its run, and its size."""

    run: str
    num_bytes: int


def prefix_of(place: str) -> str:
    """The prefix of the files at a place: the place itself, or, if that is a folder, one in it.

    A folder is what ends with a slash, a bucket, or a directory of this machine. The end ``.jsonl`` is no part of a
    prefix.

    Raises:
        ValueError: the place is empty.
        InputError: it is one of a file system that is not installed.
    """
    if not place.strip():
        raise ValueError('The place of what is refused is empty: name a prefix of files or a folder.')
    if files.is_folder(place):
        return FileSystems.join(place, _NAME_IN_FOLDER)
    return place.removesuffix(SUFFIX)


def new_run() -> str:
    """The name of a run that starts now."""
    return f'{datetime.datetime.now(datetime.timezone.utc):%Y%m%dT%H%M%S%f}'


def new_shard(prefix: str, run: str) -> str:
    """The path of another file of the run."""
    return f'{prefix}-{run}-{uuid.uuid4().hex[:8]}{SUFFIX}'


def shards(prefix: str) -> dict[str, Shard]:
    """Path → what is known of it, of each file that a job wrote at the prefix; whatever else lies there is not ours."""
    start = len(name_of(prefix))
    found = {path: (_SHARD.fullmatch(name_of(path), start), size) for path, size in _matching(prefix).items()}
    return {path: Shard(match['run'], size) for path, (match, size) in found.items() if match}


def name_of(path: str) -> str:
    """The file's name without its folder, which a file system may give back in another form than it was given."""
    return FileSystems.split(path)[1]


def files_to_read(place: str) -> list[str]:
    """The files with what was refused at a place: those that jobs wrote there.

    They may be of several runs: of jobs side by side, or of one that sent others again and did not come to its end. If
    there are none, it is all JSON lines of that prefix or in that folder.

    Args:
        place: a prefix, a folder, or the name (or pattern) of ``.jsonl`` files.

    Raises:
        ValueError: the place is empty.
    """
    prefix = prefix_of(place)
    named = files.sizes(glob.escape(place)) or files.sizes(place) if place.endswith(SUFFIX) else {}
    ours = named or shards(prefix)
    if ours:
        return sorted(ours)
    in_folder = FileSystems.join(glob.escape(place), f'*{SUFFIX}') if files.is_folder(place) else None
    return sorted(_matching(prefix) if in_folder is None else files.sizes(in_folder))


def check_writable(prefix: str) -> None:
    """Raises JobError if files cannot be written there."""
    files.check_writable(new_shard(prefix, new_run()), *_named(prefix))


def written(prefix: str) -> contextlib.AbstractContextManager[None]:
    """In which it is told, as JobError, that something cannot be written there."""
    return files.written_to(*_named(prefix))


def _named(prefix: str) -> tuple[str, str, str]:
    return f'{prefix}-*{SUFFIX}', 'What is refused', '--failed'


def _matching(prefix: str) -> dict[str, int]:
    return files.sizes(f'{glob.escape(prefix)}-*{SUFFIX}')
