"""Parquet files of any Beam file system: found, looked at, and read in pieces. No Beam pipeline here."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io.filesystem import BeamIOError
from apache_beam.io.filesystems import FileSystems

from beam_argilla.columns import Columns
from beam_argilla.errors import InputError
from beam_argilla.files import open_file
from beam_argilla.input.layouts import check_columns

# Uncompressed bytes that one worker reads in one go, and that one table holds. A footer read per 64 MB does not
# count; a few tables of 16 MB fit any worker.
SPLIT_BYTES = 64 << 20
BATCH_BYTES = 16 << 20
_READ_BUFFER_BYTES = 4 << 20  # a column chunk is streamed: one giant row group need not fit in memory
_MAX_BATCH_ROWS = 1 << 13  # dictionary-encoded, many rows of a long prompt look small


class RowGroups(NamedTuple):
    """A part of a file."""

    path: str
    first: int
    end: int


def findable(pattern: str) -> str:
    """The pattern as Beam finds files by it: it finds none for one without any folder, such as ``*.parquet``."""
    return pattern if os.path.dirname(pattern) else os.path.join('.', pattern)


def matching_files(patterns: Sequence[str]) -> list[Any]:
    """Metadata of the files; every pattern must match some."""
    matched = FileSystems.match(patterns)
    for pattern, result in zip(patterns, matched, strict=True):
        if not result.metadata_list:
            hint = '' if '*' in pattern else ' To read the files of a folder, write FOLDER/*.parquet.'
            raise InputError(f'No file matches {pattern!r}.{hint}')
    return [file for result in matched for file in result.metadata_list]


def first_schema(paths: Sequence[str], columns: Columns, on_bad_file: str) -> pa.Schema:
    """The schema of the first file, or of the first that can be read if bad ones are to be refused."""
    for path in paths:
        try:
            return _checked_schema(path, columns)
        except InputError:
            if on_bad_file == 'fail' or path == paths[-1]:
                raise
    raise AssertionError('a pattern matches at least one file')


def _checked_schema(path: str, columns: Columns) -> pa.Schema:
    with parquet_file(path) as parquet:
        schema = parquet.schema_arrow
    try:
        check_columns(schema, columns)
    except InputError as e:
        raise InputError(f'{path}: {e}') from None
    return schema


def batches(path: str, first: int, end: int, columns: Sequence[str]) -> Iterator[pa.Table]:
    """The row groups in pieces of about BATCH_BYTES as encoded, of those of the columns that are there.

    Raises:
        InputError: they cannot be read.
    """
    with parquet_file(path) as parquet:
        groups = [parquet.metadata.row_group(i) for i in range(first, end)]
        row_bytes = sum(g.total_byte_size for g in groups) / max(sum(g.num_rows for g in groups), 1)
        batch_size = int(min(max(BATCH_BYTES / max(row_bytes, 1), 1), _MAX_BATCH_ROWS))
        present = [name for name in columns if name in parquet.schema_arrow.names]
        batches = parquet.iter_batches(batch_size, row_groups=range(first, end), columns=present)
        while True:
            try:
                batch = next(batches)
            except StopIteration:
                return
            except (pa.ArrowException, OSError) as e:
                raise InputError(f'{path} cannot be read as Parquet (row groups {first} to {end - 1}): {e}') from e
            yield pa.Table.from_batches([batch])


@contextlib.contextmanager
def parquet_file(path: str) -> Iterator[pq.ParquetFile]:
    """An open Parquet file of any Beam file system.

    Raises:
        InputError: it is not there, or not Parquet.
    """
    try:
        file = open_file(path)
        parquet = pq.ParquetFile(file, buffer_size=_READ_BUFFER_BYTES)
    except (pa.ArrowException, OSError, BeamIOError) as e:
        raise InputError(f'{path} cannot be read as Parquet: {e}') from e
    with file:
        yield parquet
