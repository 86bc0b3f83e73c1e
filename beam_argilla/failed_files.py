"""The files of what was refused: where they lie and what they are called, the same for who writes and who reads them.

``<prefix>-<run>-<shard>.jsonl``; a run's name is the time at which it started, so names sort by age.
"""

from __future__ import annotations

import datetime
import glob
import os
import re
import uuid
from pathlib import Path
from typing import NamedTuple

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from beam_argilla.errors import JobError
from beam_argilla.files import is_local

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
    """
    if not place.strip():
        raise ValueError('The place of what is refused is empty: name a prefix of files or a folder.')
    if _is_folder(place):
        return FileSystems.join(place, _NAME_IN_FOLDER)
    return place.removesuffix(SUFFIX)


def _is_folder(place: str) -> bool:
    _, name = FileSystems.split(place)
    return not name or place.endswith('/') or (is_local(place) and os.path.isdir(place))


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
    named = _sizes(place) if place.endswith(SUFFIX) else {}
    ours = named or shards(prefix)
    if ours:
        return sorted(ours)
    in_folder = FileSystems.join(glob.escape(place), f'*{SUFFIX}') if _is_folder(place) else None
    return sorted(_matching(prefix) if in_folder is None else _sizes(in_folder))


def check_writable(prefix: str) -> None:
    """Writes a file and removes it again, with the folders it took.

    Raises:
        JobError: it does not work.
    """
    probe = new_shard(prefix, new_run())
    missing = [] if not is_local(prefix) else [f for f in Path(probe).absolute().parents if not f.exists()]
    try:
        write(probe, b'')
        FileSystems.delete([probe])
        for folder in missing:
            folder.rmdir()
    except Exception as e:  # each cloud's client has exceptions of its own
        raise unwritable(prefix, e) from e


def write(path: str, data: bytes) -> None:
    """Makes the file, of any Beam file system, with the data; one of this machine that is there is continued."""
    if is_local(path):
        os.makedirs(os.path.dirname(path) or '.', exist_ok=True)
        with open(path, 'ab', buffering=0) as file:
            file.write(data)
    else:
        with FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            file.write(data)


def unwritable(prefix: str, error: Exception) -> JobError:
    """What to say where it cannot be written."""
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
    return JobError(
        f'What is refused cannot be written to {prefix}-*{SUFFIX}: {why}. Name another place (--failed), or see to its '
        'permissions and its room.'
    )


def _matching(prefix: str) -> dict[str, int]:
    return _sizes(f'{glob.escape(prefix)}-*{SUFFIX}')


def _sizes(pattern: str) -> dict[str, int]:
    """Path → bytes of each file that matches."""
    if is_local(pattern):  # Beam would walk through all that lies below, and finds nothing without a folder
        return {path: os.path.getsize(path) for path in glob.glob(pattern) if os.path.isfile(path)}
    return {file.path: file.size_in_bytes for file in FileSystems.match([pattern])[0].metadata_list}
