"""Files of any Beam file system, and what is worth doing otherwise with those of this machine."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.io.localfilesystem import LocalFileSystem

from beam_argilla import hub  # with which Beam knows its file system
from beam_argilla.errors import BeamArgillaError, InputError, JobError

# Scheme → the extra of Apache Beam that brings its file system.
_EXTRAS = {'gs': 'gcp', 's3': 'aws', 'azfs': 'azure', 'hdfs': 'hadoop'}


def is_local(path: str) -> bool:
    """Whether the path is one of this machine's own file system.

    Raises:
        InputError: it is one of a file system that is not installed.
    """
    try:
        return isinstance(FileSystems.get_filesystem(path), LocalFileSystem)
    except ValueError as e:
        scheme = path.split('://')[0]
        extra = _EXTRAS.get(scheme)
        hint = f": pip install 'apache-beam[{extra}]' brings it" if extra else ''
        raise InputError(f'{path}: no file system for {scheme}:// is installed{hint}.') from e


def identity(path: str) -> str:
    """The same for every way to write the path of a file of this machine; of others, the path."""
    return os.path.realpath(path) if is_local(path) else path


def pinned(path: str) -> str:
    """The path, or pattern, as it will mean the same later on where there are revisions, on the Hub."""
    return hub.pinned(path) if path.startswith('hf://') else path


def open_file(path: str) -> Any:
    """The file, to read bytes from, and to be closed.

    Raises:
        OSError, BeamIOError: it is not there, or cannot be read.
    """
    if is_local(path):  # Arrow reads it without Python in between, in a third of the time
        return pa.OSFile(path)
    return FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)


def is_folder(place: str) -> bool:
    """Whether files go into the place, which ends with a slash or is there, rather than that their names begin so.

    Raises:
        InputError: it is one of a file system that is not installed.
    """
    if is_local(place) and os.path.isdir(place):
        return True
    _, name = FileSystems.split(place)
    return not name or place.endswith('/')


def write(path: str, data: bytes) -> None:
    """Makes the file, of any Beam file system, with the data; one of this machine that is there is continued."""
    if is_local(path):
        os.makedirs(os.path.dirname(path) or '.', exist_ok=True)
        with open(path, 'ab', buffering=0) as file:
            file.write(data)
    else:
        with FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            file.write(data)


def delete(paths: Iterable[str]) -> None:
    """Removes files, and folders with all that is in them, which end with a slash. What is not there is no trouble.

    Beam's own takes a path of this machine, or of Google's, for a pattern: of ``out[1].jsonl`` it finds nothing, and of
    ``out*.jsonl`` more than that.

    Raises:
        OSError, BeamIOError: something cannot be removed.
    """
    elsewhere = []
    for path in paths:
        if not is_local(path):
            is_pattern = path.startswith('gs://') and not path.endswith('/')
            elsewhere.append(glob.escape(path) if is_pattern else path)
            continue
        with contextlib.suppress(FileNotFoundError):
            if path.endswith('/'):
                shutil.rmtree(path)
            else:
                os.remove(path)
    if elsewhere:
        FileSystems.delete(elsewhere)


@contextlib.contextmanager
def written_to(place: str, what: str, option: str) -> Iterator[None]:
    """What goes wrong in it is told in a line: a full disk, a folder of somebody else's, a cloud that says no.

    Args:
        place: where it is written, as the user says it.
        what: is written, as the beginning of a sentence.
        option: of the program, which names the place.

    Raises:
        JobError: it cannot be written there.

    Example:
        >>> with written_to('gs://bucket/dpo', 'Training data', '--output'):
        ...     file.write(rows)
    """
    try:
        yield
    except BeamArgillaError:  # it has said so itself
        raise
    except Exception as e:  # each cloud's client has exceptions of its own
        raise JobError(
            f'{what} cannot be written to {place}: {reason(e)}. Name another place ({option}), or see to its '
            'permissions and its room.'
        ) from e


def check_writable(path: str, place: str, what: str, option: str) -> None:
    """Tries before a job runs whether a file can be written. None is left there, nor one that is there changed.

    Args:
        path: of the file.
        place, what, option: as of `written_to`.

    Raises:
        JobError: it cannot.
    """
    with written_to(place, what, option):
        if is_local(path) and os.path.exists(path):
            write(path, b'')
        else:  # beside the path: a cloud's file that is there would be lost
            _try_to_write(f'{path}-{uuid.uuid4().hex}.tmp')


def _try_to_write(path: str) -> None:
    """Writes an empty file there and removes it again, with the folders that it took."""
    missing = [f for f in Path(path).absolute().parents if not f.exists()] if is_local(path) else []
    try:
        write(path, b'')
        delete([path])
    finally:
        for folder in missing:
            with contextlib.suppress(OSError):  # it was not made, or another job is at home there by now
                folder.rmdir()


def reason(error: Exception) -> str:
    """What a file system says, for people, in a line."""
    if isinstance(error, BeamIOError) and error.exception_details:  # of several files
        return reason(next(iter(error.exception_details.values())))
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, OSError) and error.args and isinstance(error.args[0], Exception):  # as Beam packs it
        return reason(error.args[0])
    return ' '.join(str(error).split()) or type(error).__name__


def sizes(pattern: str) -> dict[str, int]:
    """Path → bytes of each file that matches."""
    if is_local(pattern):  # Beam would walk through all that lies below, and finds nothing without a folder
        return {path: os.path.getsize(path) for path in glob.glob(pattern) if os.path.isfile(path)}
    return {file.path: file.size_in_bytes for file in FileSystems.match([pattern])[0].metadata_list}
