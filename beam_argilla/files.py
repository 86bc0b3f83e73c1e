"""Files of any Beam file system, and what is worth doing otherwise with those of this machine."""

from __future__ import annotations

import os
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
