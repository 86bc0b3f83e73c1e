"""Parquet files of any Beam file system: looked at, and read in pieces. No Beam pipeline here."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io.filesystem import BeamIOError

from beam_argilla.errors import InputError
from beam_argilla.files import open_file
from beam_argilla.input.matching import columns_in_path
from beam_argilla.input.roles import Wanted, path_field

# Uncompressed bytes that one worker reads in one go, and that one table holds. A footer read per 64 MB does not
# count; a few tables of 16 MB fit any worker.
SPLIT_BYTES = 64 << 20
BATCH_BYTES = 16 << 20
_READ_BUFFER_BYTES = 4 << 20  # a column chunk is streamed: one giant row group need not fit in memory
_MAX_BATCH_ROWS = 1 << 13  # dictionary-encoded, many rows of a long prompt look small


class RowGroups(NamedTuple):
    """A part of a file: of its row groups, those from `first` to before `end`, of which `row` is the first row."""

    path: str
    first: int
    end: int
    row: int = 0


def schema_of(parquet: pq.ParquetFile, path: str) -> pa.Schema:
    """The schema of a file, with the columns that its path has (`columns_in_path`) and it has not."""
    schema = parquet.schema_arrow
    for name in columns_in_path(path):
        if name not in schema.names:
            schema = schema.append(path_field(name))
    return schema


def batches(path: str, first: int, end: int, wanted: Wanted) -> Iterator[pa.Table]:
    """The row groups in pieces of about BATCH_BYTES as encoded.

    Args:
        wanted: names of the columns that are there → those to read.

    Raises:
        InputError: they cannot be read.
    """
    with parquet_file(path) as parquet:
        groups = [parquet.metadata.row_group(i) for i in range(first, end)]
        row_bytes = sum(g.total_byte_size for g in groups) / max(sum(g.num_rows for g in groups), 1)
        batch_size = int(min(max(BATCH_BYTES / max(row_bytes, 1), 1), _MAX_BATCH_ROWS))
        names = schema_of(parquet, path).names
        columns = list(wanted(names))
        present = [name for name in columns if name in parquet.schema_arrow.names]
        in_path = {n: v for n, v in columns_in_path(path).items() if n in columns and n not in present}
        present = present or parquet.schema_arrow.names[:1]  # to know how many rows there are
        batches = parquet.iter_batches(batch_size, row_groups=range(first, end), columns=present)
        while True:
            try:
                batch = next(batches)
            except StopIteration:
                return
            except (pa.ArrowException, OSError) as e:
                raise InputError(f'{path} cannot be read as Parquet (row groups {first} to {end - 1}): {e}') from e
            table = pa.Table.from_batches([batch])
            for name, value in in_path.items():
                field = path_field(name)
                table = table.append_column(field, pa.repeat(pa.scalar(value, field.type), table.num_rows))
            yield table


def pieces(table: pa.Table) -> Iterator[pa.Table]:
    """The table in pieces of about BATCH_BYTES; an empty one as it is."""
    step = max(1, int(table.num_rows * BATCH_BYTES / max(table.nbytes, 1)))
    for start in range(0, max(table.num_rows, 1), step):
        yield table.slice(start, step)


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
        raise InputError(f'{path} cannot be read as Parquet, which is what is read here: {e}') from e
    with file:
        yield parquet
