"""Files of any kind, with the columns of their paths, and the names of classes that datasets writes as numbers."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import pyarrow as pa

from beam_argilla.failures import FailedRecord
from beam_argilla.input.kind import Part, Piece
from beam_argilla.input.kinds import KINDS, kind_of
from beam_argilla.input.matching import columns_in_path
from beam_argilla.input.roles import Wanted, path_field
from beam_argilla.input.saved import named, with_class_names


def schema_of(path: str, format: str | None = None) -> pa.Schema:
    """The columns of a file, with those that its path has (`columns_in_path`) and it has not; none if it is empty.

    Args:
        format: the kind of the file; None: by its name.

    Raises:
        InputError: it cannot be read.
    """
    schema = with_class_names(kind_of(path, format).schema(path))
    for name in columns_in_path(path) if schema.names else ():
        if name not in schema.names:
            schema = schema.append(path_field(name))
    return schema


def says_nothing(path: str, name: str, format: str | None = None) -> bool:
    """Whether it is known that no row of the file has a value in that column."""
    return kind_of(path, format).says_nothing(path, name)


def is_empty(path: str, format: str | None = None) -> bool:
    """Whether the file has no row, nor anything that should be one: its first bytes are read."""
    kind = kind_of(path, format)
    pieces = (piece for part in kind.parts(path, False) for piece in kind.read(part, lambda names: list(names)[:1]))
    return all(isinstance(piece, Piece) and not len(piece.numbers) for piece in pieces)


def first_values(path: str, name: str, format: str | None = None, most: int = 100) -> list[Any]:
    """Some values of a column, of the first rows of a file."""
    kind = kind_of(path, format)
    pieces = (piece for part in kind.parts(path, False) for piece in kind.read(part, lambda names: [name]))
    for piece in pieces:
        if isinstance(piece, Piece) and len(piece.numbers):
            some = piece.rows[:most]
            return some.column(name).to_pylist() if isinstance(some, pa.Table) else [row.get(name) for row in some]
    return []


def read(part: Part, wanted: Wanted) -> Iterator[Piece | FailedRecord]:
    """The rows of a part of a file, with the columns that it or its path has; and what is no row.

    Raises:
        InputError: it cannot be read; what could be read came before.
    """
    in_path = columns_in_path(part.path)
    kind = KINDS[part.kind]

    def of_file(names: Collection[str]) -> Collection[str]:
        return [name for name in wanted([*names, *in_path]) if name in names]

    for piece in kind.read(part, of_file):
        yield _with_columns(piece, in_path, wanted) if isinstance(piece, Piece) else piece


def _with_columns(piece: Piece, in_path: dict[str, str | None], wanted: Wanted) -> Piece:
    if not isinstance(piece.rows, pa.Table):
        return piece._replace(rows=[{**in_path, **row} for row in piece.rows]) if in_path else piece
    table = named(piece.rows)
    for name in wanted([*table.column_names, *in_path]):
        if name in in_path and name not in table.column_names:
            field = path_field(name)
            table = table.append_column(field, pa.repeat(pa.scalar(in_path[name], field.type), table.num_rows))
    return piece._replace(rows=table)
