"""The layouts people have: which column plays which role, and what type it may have.

Long input (a row is a generation) and wide input (a row is an instruction with lists) are told apart by the type of
the generation column.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import pyarrow as pa

from beam_argilla.columns import Columns
from beam_argilla.errors import InputError
from beam_argilla.input.plain import is_list, plain_type

# Names used where none is given: (long input, wide input), as distilabel names them. Wide input may use the former as
# well, where it has lists under them; in it, a column `model_name` of texts is the judge, not the author.
USUAL = {
    'generation': ('generation', 'generations'),
    'model_name': ('model_name', 'generation_models'),
    'rating': ('rating', 'ratings'),
    'rationale': ('rationale', 'rationales'),
}
# What a wide row may hold a list of, one item per generation.
PER_GENERATION = ('generation', 'model_name', 'rating', 'rationale', 'agent')
_OPTIONAL = ('instruction_id', 'model_name', 'rating', 'rationale', 'agent', 'position')


def columns_to_read(columns: Columns) -> list[str]:
    """All columns that either layout could need: what to ask a reader for."""
    names = [columns.instruction, columns.instruction_id, columns.agent, columns.position]
    names += [getattr(columns, role) or usual for role, both in USUAL.items() for usual in both]
    return list(dict.fromkeys([*filter(None, names), *columns.metadata]))


def generation_names(columns: Columns) -> tuple[str, ...]:
    return (columns.generation,) if columns.generation is not None else USUAL['generation']


def column_type(schema: pa.Schema, name: str) -> pa.DataType:
    """The type of the (first) column of that name; Arrow's own look-up finds none where there are several."""
    return schema.field(schema.names.index(name)).type


def is_wide(schema: pa.Schema, names: Mapping[str, str]) -> bool:
    """Whether a row of this schema is an instruction with all of its generations.

    Args:
        names: role → name of the column.
    """
    return names['generation'] in schema.names and is_list(column_type(schema, names['generation']))


def resolve(schema: pa.Schema, columns: Columns) -> dict[str, str]:
    """Role → name of the column that plays it, of those that are there and wanted.

    Raises:
        InputError: a column that must be there is not, or is there twice.
    """
    available = schema.names
    check_columns(available, columns)
    generation = next(name for name in generation_names(columns) if name in available)
    names = {'instruction': columns.instruction, 'generation': generation}
    wide = is_wide(schema, names)
    for role in _OPTIONAL:
        named = getattr(columns, role)
        name = named if named is not None else _usual(schema, role, wide)
        if name is not None:
            names[role] = name
    check_once(available, (*names.values(), *columns.metadata))
    return names


def check_once(available: Sequence[str], needed: Iterable[str]) -> None:
    """Raises InputError if a column that is needed is there twice."""
    twice = next((name for name in needed if available.count(name) > 1), None)
    if twice is not None:
        raise InputError(f'The input has {available.count(twice)} columns called {twice!r}: give each its own name.')


def _usual(schema: pa.Schema, role: str, wide: bool) -> str | None:
    if role not in USUAL:
        return None
    of_long, of_wide = USUAL[role]
    if not wide:
        return of_long if of_long in schema.names else None
    if of_wide in schema.names:
        return of_wide
    return of_long if of_long in schema.names and is_list(column_type(schema, of_long)) else None


def check_columns(available: Sequence[str], columns: Columns) -> None:
    """Raises InputError if a column that must be there is not."""
    missing = _missing_columns(available, columns)
    if missing:
        raise InputError(no_such_columns(missing, available))


def _missing_columns(available: Collection[str], columns: Columns) -> list[tuple[str, str]]:
    """(role, name) of each column that must be there and is not: those that were named, and those of the texts."""
    generation = generation_names(columns)
    needed = [('instruction', columns.instruction)]
    needed += [('generation', generation[0])] if not set(generation).intersection(available) else []
    needed += [(role, name) for role in _OPTIONAL if (name := getattr(columns, role)) is not None]
    needed += [('metadata', name) for name in columns.metadata]
    return [(role, name) for role, name in needed if name not in available]


def no_such_columns(missing: Sequence[tuple[str, str]], available: Sequence[str], where: str = 'input') -> str:
    """What is said of columns that are not there, given as (role, name)."""
    lacking = ' and '.join(f'{name!r} for the {role}' for role, name in missing)
    python = ', '.join(f'{role}=...' for role, _ in missing)
    options = ', '.join(dict.fromkeys(f'--{role}_column' for role, _ in missing))
    return (
        f'The {where} has no column {lacking}. Its columns are: {", ".join(map(repr, available)) or "none"}. '
        f'Name the right {"one" if len(missing) == 1 else "ones"} with Columns({python}) or {options}.'
    )


def misfit(schema: pa.Schema, names: Mapping[str, str], role: str) -> str | None:
    """What is wrong with the type of the column that plays a role; None if its values can mean what they should.

    A column without values has its type by accident, so whoever finds a misfit looks whether there are any.
    """
    kind = column_type(schema, names[role])
    wide = is_wide(schema, names)
    may_list = wide and role in PER_GENERATION
    must_list = wide and role in ('generation', 'rating', 'rationale')
    listed = is_list(kind)
    if wide and role == 'position':  # theirs is that of their lists
        return None
    if (not listed or may_list) and (listed or not must_list) and can_mean(role, _item_type(kind)):
        return None
    if pa.types.is_null(kind):
        return None
    return f'Column {names[role]!r} is {kind}; the {role} must be {"a list of " if must_list else ""}{EXPECTED[role]}.'


def _item_type(kind: pa.DataType) -> pa.DataType:
    """Of a list, the type of its items; else the type itself; both plain."""
    kind = plain_type(kind)
    return kind.value_type if pa.types.is_large_list(kind) else kind


def can_mean(role: str, kind: pa.DataType) -> bool:
    """Whether values of this plain type can be what the role needs."""
    return pa.types.is_null(kind) or any(fits(kind) for fits in _FITTING[role])


_TEXT = (pa.types.is_large_string, pa.types.is_large_binary)
_NUMBER = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)
_NAME = (*_TEXT, *_NUMBER, pa.types.is_date, pa.types.is_timestamp, pa.types.is_struct, pa.types.is_map)
_FITTING: dict[str, tuple[Callable[[pa.DataType], bool], ...]] = {
    'instruction': _TEXT,
    'generation': _TEXT,
    'rationale': _TEXT,
    'rating': (*_TEXT, *_NUMBER),
    'position': _NUMBER,
    'instruction_id': _NAME,
    'model_name': _NAME,
    'agent': _NAME,
}

_MAKE_TEXT = (
    'text: make it text first (numbers with str(value), astype(str) in pandas or cast(pl.String) in Polars; of chat '
    'messages, take the content of the one that is meant)'
)
EXPECTED = {  # for messages
    **dict.fromkeys(('instruction', 'generation', 'rationale'), _MAKE_TEXT),
    'rating': 'a number or text',
    'position': 'integer',
    'instruction_id': 'text, a whole number, a UUID or a date',
    'model_name': 'text or a number',
    'agent': 'text or a number',
}
