"""The canonical form of the input: an Arrow table in which one row is one generation of one instruction.

Everything after `input` works on tables of this schema; `input` makes them from the layouts people have.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from beam_argilla.failures import to_json

# large_string: a partition of long texts may exceed the 2 GiB that string's 32-bit offsets can address.
TEXT = pa.large_string()

SCHEMA = pa.schema(
    [
        # What groups rows into a record. Never null. From the input, or the sha256 hex of the instruction.
        pa.field('instruction_id', TEXT, nullable=False),
        pa.field('instruction', TEXT, nullable=False),  # never null, never empty
        pa.field('generation', TEXT, nullable=False),  # never null; empty is an answer that a model may give
        pa.field('model_name', TEXT),
        pa.field('rating', TEXT),  # as given ('4', '4.0', 'good'): the task knows the scale, so the task judges
        pa.field('rationale', TEXT),
        pa.field('agent', TEXT),  # who gave the rating and rationale
        pa.field('position', pa.int64()),  # order in the group, where the input defines one
    ]
)
COLUMNS = tuple(SCHEMA.names)
# There only where the input is read so: the exact score that a rating stands for (`Columns.scale`), and of instructions
# that are conversations the messages, as JSON (`Columns.chat`).
SCORE, MESSAGES = 'score', 'messages'
OPTIONAL = {SCORE: pa.float64(), MESSAGES: TEXT}
METADATA = pa.large_list(TEXT)  # as text, one or several: the task knows which of them are numbers
# Metadata columns follow the canonical ones under this prefix, so that a user's column called "rating" cannot clash.
METADATA_PREFIX = 'metadata.'
# Set in the metadata of a table whose groups are whole already (wide input), so it needs no shuffle: the ids that
# several of the rows that it was made of had, as JSON.
_GROUPED = b'beam_argilla.grouped'


class InputFacts(NamedTuple):
    """What `ReadGenerations` knows of its files, for what comes after it.

    Attributes:
        groups_are_whole: every group comes in one table.
        clustered: that is the user's word.
        num_bytes: of the files; None if nobody looked.
        ids: PCollection of lists of instruction ids, one for each place where a group is said to be.
        metadata: the columns that are carried along; None if nobody knows.
        scores: there are exact scores beside the ratings.
        chat: there are the messages of conversations.
    """

    groups_are_whole: bool = False
    clustered: bool = False
    num_bytes: int | None = None
    ids: Any = None
    metadata: tuple[str, ...] | None = None
    scores: bool = False
    chat: bool = False


def as_grouped(table: pa.Table, repeated: Sequence[str] = ()) -> pa.Table:
    """The table, of which is known that every group is whole, unless several rows gave their generations to one id.

    Args:
        repeated: the ids of which that is so.
    """
    return table.replace_schema_metadata({_GROUPED: to_json(repeated)})


def is_grouped(table: pa.Table) -> bool:
    """Whether every group of the table is whole already."""
    return _GROUPED in (table.schema.metadata or {})


def repeated_ids(table: pa.Table) -> list[str]:
    """What `as_grouped` was told of."""
    return orjson.loads((table.schema.metadata or {}).get(_GROUPED, b'[]'))


def together(tables: Iterable[pa.Table]) -> pa.Table:
    """Canonical tables as one; of columns that some of them have, null in the others."""
    return pa.concat_tables(tables, promote_options='default')


def metadata_columns(table: pa.Table) -> list[str]:
    """Names (without prefix) of the metadata columns that the canonical table carries."""
    return [n[len(METADATA_PREFIX) :] for n in table.column_names if n.startswith(METADATA_PREFIX)]


def rows(table: pa.Table, nulls: bool = False) -> list[dict]:
    """The table's rows as dicts, for messages and the failed output. What Python cannot hold stays bytes, or is shown.

    Args:
        nulls: keep the names of what is null.
    """
    names = table.column_names
    columns = [_python_values(column) for column in table.columns]
    found = [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]
    return found if nulls else [{k: v for k, v in row.items() if v is not None} for row in found]


def _python_values(column: pa.ChunkedArray) -> list[Any]:
    try:
        return column.to_pylist()
    except (ValueError, OverflowError):  # texts that are not UTF-8, times that Python does not have
        return [_python_value(scalar) for scalar in column]


def _python_value(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py()
    except (ValueError, OverflowError):
        if hasattr(scalar, 'as_buffer'):
            return scalar.as_buffer().to_pybytes()
        if hasattr(scalar, 'values') and not isinstance(scalar, pa.DictionaryScalar):
            return [_python_value(item) for item in scalar.values]
        return str(scalar.cast(pa.string())) if pa.types.is_temporal(scalar.type) else f'a {scalar.type}'


def group_starts(table: pa.Table) -> np.ndarray:
    """Index of the first row of each group of a table whose groups are adjacent."""
    return run_starts(table.column('instruction_id'))


def repeated_values(array: pa.Array) -> list[Any]:
    """The values that stand in it more than once."""
    counts = pc.value_counts(array)
    return counts.filter(pc.greater(counts.field('counts'), 1)).field('values').to_pylist()


def run_starts(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Indexes at which another value begins."""
    if not len(column):
        return np.array([], np.int64)
    return np.flatnonzero(np.append(True, differ(column.slice(1), column.slice(0, len(column) - 1))))


def differ(a: pa.Array | pa.ChunkedArray, b: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Where two columns differ; null equals null and nothing else."""
    equal = pc.equal(a, b)
    if not equal.null_count:
        return ~_numpy(equal)
    both_null = pc.and_(pc.is_null(a), pc.is_null(b))
    return ~_numpy(pc.or_(equal.fill_null(False), both_null))


def _numpy(booleans: pa.Array | pa.ChunkedArray) -> np.ndarray:
    return np.asarray(booleans)
