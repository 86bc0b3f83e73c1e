"""Rows of a user's (dicts, `beam.Row`s, NamedTuples, …) → canonical tables; each row is judged by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import pyarrow as pa

from beam_argilla.columns import Columns
from beam_argilla.errors import InputError
from beam_argilla.failures import FailedRecord, failed_rows
from beam_argilla.generations import MESSAGES, METADATA, METADATA_PREFIX, OPTIONAL, SCORE, TEXT
from beam_argilla.input.repairable import Unusable, marked
from beam_argilla.input.roles import EXPECTED, LISTED, PER_GENERATION, USUAL, can_mean, no_such_columns, roles_of
from beam_argilla.input.tables import MEANING, Formatted, Origin, from_cells
from beam_argilla.input.values import (
    LONE_SURROGATE,
    Meaning,
    as_list,
    as_mapping,
    cell,
    common_text,
    is_missing,
    json_text,
    text_of,
)
from beam_argilla.input.view import Misread, is_nested, needs_view, plain_columns, scale_of, view_row

Row = Mapping[str, Any]
Candidates = Mapping[str, tuple[str, ...]]  # role → the columns that may play it
MAX_ROWS = 2_000  # to put into one table
_ONE_VALUE = (str, int, float, bool, type(None))  # as most are
_TEXTS = ('instruction', 'generation', 'rationale')  # which no other thing is made into
_NUMBERS = {'position': pa.int64(), SCORE: OPTIONAL[SCORE]}  # all others are texts
# Roles for which the commonest types need no closer look.
_COMMON = {
    str: (*_TEXTS, 'instruction_id', 'model_name', 'agent', 'rating'),
    int: ('instruction_id', 'model_name', 'agent', 'rating'),
    float: ('model_name', 'agent', 'rating'),
}
_ERRORS = {
    **dict.fromkeys(_TEXTS, 'NotText'),
    'instruction_id': 'NotAnId',
    'model_name': 'NotAName',
    'agent': 'NotAName',
    'rating': 'NotARating',
    'position': 'NotAPosition',
    MESSAGES: 'NotText',
    SCORE: 'NotAScore',
}


class _Unusable(Exception):
    """A value that cannot mean what it should: error and message."""


def from_rows(
    elements: Sequence[Any], columns: Columns, origin: Origin | None = None, also: Mapping[str, str] | None = None
) -> tuple[list[pa.Table], list[FailedRecord]]:
    """Converts a batch of dicts, `beam.Row`s, NamedTuples, data classes or pydantic models.

    Each row is judged by itself, whatever stands beside it: a key that is absent counts as null, and so does NaN.

    Args:
        columns: what the rows call their columns.
        origin: told of what is refused.
        also: those of `OPTIONAL` that the rows may have, as canonical ones do → what they call them.

    Returns:
        A canonical table of the long rows and one of the wide rows, if there are any; and what was refused.

    Raises:
        InputError: an element is no row.
    """
    plainly = plain_columns(columns)
    candidates = {role: _candidates(role, plainly) for role in MEANING if role not in OPTIONAL}
    candidates |= {role: (name,) for role, name in (also or {}).items()}
    failed: list[FailedRecord] = []
    layouts: dict[bool, list[_Read]] = {}
    for index, element in enumerate(elements):
        given = _as_row(element)
        try:
            row, messages = view_row(given, columns) if needs_view(given, columns) else (given, None)
            wide = _is_wide(row, candidates)
            cells = _cells(row, candidates, wide)
            cells |= {METADATA_PREFIX + name: _metadata(name, row.get(name)) for name in columns.metadata}
            if columns.chat:
                cells[MESSAGES] = messages or cells.get(MESSAGES)
        except (_Unusable, Misread) as e:
            error, message = e.args
            shown = _as_given(given, columns)
            failed.append(
                failed_rows([shown], 'format', error, message, None, 'input', *(origin.of(index) if origin else ()))
            )
        else:
            layouts.setdefault(wide, []).append(_Read(given, row, cells, index))
    formatted = [_formatted(rows, candidates, columns, wide, origin) for wide, rows in layouts.items()]
    tables = [f.table for f in formatted if f.table.num_rows]
    return tables, [*failed, *(refused for f in formatted for refused in f.failed)]


class _Read(NamedTuple):
    """A row as it was given, as its columns are meant, what its cells mean, and which of all it is."""

    given: Row
    row: Row
    cells: dict[str, Any]
    number: int


def _as_row(element: Any) -> Row:
    row = as_mapping(element)
    if row is None:
        raise InputError(not_rows(type(element)))
    return row


def not_rows(kind: type) -> str:
    """What is said of elements that are neither rows nor tables."""
    hint = ' (Of a data frame, beam.Create(frame) makes elements of its column names: write beam.Create([frame]).)'
    return (
        'WriteToArgilla takes pyarrow tables, data frames, dicts, beam.Rows, NamedTuples and data classes, not '
        f'{kind.__name__}.' + (hint if kind is str else '')
    )


def _is_wide(row: Row, candidates: Candidates) -> bool:
    """Whether its generations are a list; without any, whether it has other lists where wide rows have them."""
    generation = next((row[name] for name in candidates['generation'] if not _is_absent(row, name)), None)
    if generation is not None:
        return type(generation) not in _ONE_VALUE and as_list(generation) is not None
    return any(
        as_list(row[name]) is not None
        for role in PER_GENERATION
        for name in candidates[role]
        if name in row and type(row[name]) not in _ONE_VALUE
    )


def _candidates(role: str, columns: Columns) -> tuple[str, ...]:
    """The columns that may play the role."""
    named = getattr(columns, role)
    return (named,) if named is not None else USUAL.get(role, ())


def _name(role: str, row: Row, names: tuple[str, ...], wide: bool) -> str | None:
    """The column that plays the role in this row; None if none does."""
    if len(names) < 2:
        return names[0] if names else None
    if role == 'generation':
        return next((name for name in names if not _is_absent(row, name)), names[wide])
    of_long, of_wide = names
    if not wide or (_is_absent(row, of_wide) and as_list(row.get(of_long)) is not None):
        return of_long
    return of_wide


def _is_absent(row: Row, name: str) -> bool:
    return name not in row or is_missing(row[name])


def _cells(row: Row, candidates: Candidates, wide: bool) -> dict[str, Any]:
    """Role → what a canonical column (or a list for it) is made of."""
    needed = {role: candidates[role] for role in ('instruction', 'generation')}
    missing = [(role, names[0]) for role, names in needed.items() if not any(name in row for name in names)]
    if missing:
        error = 'EmptyInstruction' if missing[0][0] == 'instruction' else 'NullGeneration'
        raise _Unusable(error, no_such_columns(missing, [str(name) for name in row], 'row'))
    cells: dict[str, Any] = {}
    for role, names in candidates.items():
        name = _name(role, row, names, wide)
        if name is not None and not (wide and role == 'position'):
            listed = wide and role in LISTED
            value = row.get(name)
            cells[role] = _items(role, name, value, cells) if listed else _cell(role, name, value)
    return cells


def _items(role: str, name: str, value: Any, cells: Row) -> list[Any] | None:
    if is_missing(value):
        return None
    items = as_list(value)
    if items is None and role in ('model_name', 'agent'):  # the same for all
        return [_cell(role, name, value)] * len(cells['generation'] or ())
    if items is None:
        raise _wrong(role, name, value, 'a list of ')
    return [_cell(role, name, item) for item in items]


def _cell(role: str, name: str, value: Any) -> Any:
    """The text (or position) of one value."""
    if value is None or (role == 'position' and type(value) is int and abs(value) < 2**63):
        return value
    text = common_text(value) if role in _COMMON.get(type(value), ()) else None
    if text is not None:
        return _encodable(text)
    if is_missing(value):
        return None
    if role in _TEXTS and not isinstance(value, (str, bytes, bytearray, memoryview, pa.Scalar)):
        raise _wrong(role, name, value)
    mapping = as_mapping(value)
    if mapping is not None and can_mean(role, pa.struct([])):
        return _only(json_text(mapping, exactly=role == 'instruction_id'), role, name)
    if mapping is not None or as_list(value) is not None:
        raise _wrong(role, name, value)
    try:
        array = cell(value)
    except TypeError:
        raise _wrong(role, name, value) from None
    except UnicodeEncodeError:
        raise _Unusable('NotUtf8', LONE_SURROGATE) from None
    if not can_mean(role, array.type):
        raise _wrong(role, name, value)
    return _only(MEANING[role](array), role, name)


def _metadata(name: str, value: Any) -> list[str | None] | None:
    if is_missing(value):
        return None
    items = as_list(value)
    return [_metadata_text(name, item) for item in (items if items is not None else [value])]


def _metadata_text(name: str, value: Any) -> str | None:
    text = common_text(value)
    if text is not None:
        return _encodable(text)
    if is_missing(value):
        return None
    return _only(text_of(value), 'metadata', name)


def _as_given(row: Row, columns: Columns) -> dict[str, Any]:
    """The row in what JSON can hold, and means the same when it is read again."""
    readers: dict[str, Callable[[Any], Any]] = {name: partial(_metadata_text, name) for name in columns.metadata}
    for role in (role for role in MEANING if role not in OPTIONAL):
        usual = USUAL.get(role, ()) if getattr(columns, role) is None else ()
        readers |= {
            name: partial(_cell, role, name) for name in row if name in usual or role in roles_of(name, columns)
        }
    # Conversations, of which the texts are parts, stay what they are.
    whole = {n for n in readers if is_nested(row.get(n)) and set(roles_of(n, columns)) & {'instruction', 'generation'}}
    return {n: _repairable(readers[n], v) if n in readers and n not in whole else v for n, v in row.items()}


def _repairable(read: Callable[[Any], Any], value: Any, items_too: bool = True) -> Any:
    if is_missing(value):
        return None
    if isinstance(value, Unusable):
        return marked(value.shown)
    if type(value) in (bool, int, float) and -(2**63) <= value < 2**63:  # JSON's own
        return value
    items = as_list(value) if items_too else None
    if items is not None:
        return [_repairable(read, item, items_too=False) for item in items]
    try:
        return _encodable(value) if type(value) is str else read(value)
    except _Unusable:
        return marked(str(value) if isinstance(value, float) else value)


def _only(meaning: Meaning, role: str, name: str) -> Any:
    """What the one cell means."""
    if meaning.problems:
        problem = meaning.problems[0].about(role.replace('_', ' '), name)
        raise _Unusable(problem.error, problem.message)
    return _encodable(meaning.values[0].as_py())


def _wrong(role: str, name: str, value: Any, shape: str = '') -> _Unusable:
    kind = type(value).__name__
    return _Unusable(_ERRORS[role], f'Column {name!r} holds a {kind}; the {role} must be {shape}{EXPECTED[role]}.')


def _encodable(value: Any) -> Any:
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise _Unusable('NotUtf8', LONE_SURROGATE) from None
    return value


def _formatted(
    rows: Sequence[_Read], candidates: Candidates, columns: Columns, wide: bool, origin: Origin | None
) -> Formatted:
    """Rows of one layout."""
    roles = list(dict.fromkeys(role for read in rows for role in read.cells))
    arrays = {role: pa.array([read.cells.get(role) for read in rows], _type(role, wide)) for role in roles}
    names = {role: _name(role, rows[0].row, candidates[role], wide) or role for role in roles if role in candidates}
    return from_cells(
        arrays,
        names,
        scale_of(columns),
        lambda indexes: [_as_given(rows[i].given, columns) for i in indexes],
        origin and origin.only([read.number for read in rows]),
    )


def _type(role: str, wide: bool) -> pa.DataType:
    if role.startswith(METADATA_PREFIX):
        return METADATA
    kind = _NUMBERS.get(role, TEXT)
    return pa.large_list(kind) if wide and role in LISTED else kind
