"""Files of any Beam file system, and what is worth doing otherwise with those of this machine."""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.io.localfilesystem import LocalFileSystem

from beam_argilla import hub  # with which Beam knows its file system
from beam_argilla.errors import InputError

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
    """Whether files go into the place, which ends with a slash or is there, rather than that their names begin so."""
    _, name = FileSystems.split(place)
    return not name or place.endswith('/') or (is_local(place) and os.path.isdir(place))


def write(path: str, data: bytes) -> None:
    """Makes the file, of any Beam file system, with the data; one of this machine that is there is continued."""
    if is_local(path):
        os.makedirs(os.path.dirname(path) or '.', exist_ok=True)
        with open(path, 'ab', buffering=0) as file:
            file.write(data)
    else:
        with FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            file.write(data)


def try_to_write(path: str) -> None:
    """Writes an empty file there and removes it again, with the folders that it took.

    Raises:
        Exception: whatever the file system raises where that cannot be.
    """
    missing = [f for f in Path(path).absolute().parents if not f.exists()] if is_local(path) else []
    write(path, b'')
    FileSystems.delete([path])
    for folder in missing:
        folder.rmdir()


def reason(error: Exception) -> str:
    """What a file system says, for people."""
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__


def sizes(pattern: str) -> dict[str, int]:
    """Path → bytes of each file that matches."""
    if is_local(pattern):  # Beam would walk through all that lies below, and finds nothing without a folder
        return {path: os.path.getsize(path) for path in glob.glob(pattern) if os.path.isfile(path)}
    return {file.path: file.size_in_bytes for file in FileSystems.match([pattern])[0].metadata_list}
