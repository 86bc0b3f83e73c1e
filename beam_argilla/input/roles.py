"""Which column plays which role, and what type it may have.

Long input (a row is a generation) and wide input (a row is an instruction with lists) are told apart by the type of
the generation column.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from beam_argilla.columns import NUMBER, Columns
from beam_argilla.errors import InputError
from beam_argilla.generations import MESSAGES, SCORE
from beam_argilla.input.paths import NoSuchPath, follow, goes_into_text, path_to, possible_columns
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
# The same of rows that were canonical before.
LISTED = (*PER_GENERATION, SCORE)
_OPTIONAL = ('instruction_id', 'model_name', 'rating', 'rationale', 'agent', 'position')


# Names of columns that are there → those of them that are wanted.
Wanted = Callable[[Collection[str]], Collection[str]]


def columns_to_read(columns: Columns, names: Collection[str]) -> list[str]:
    """Of the columns that are there, those that either layout could need."""
    wanted = [source for sources in _named(columns).values() for source in sources]
    wanted += [usual for role, both in USUAL.items() if getattr(columns, role) is None for usual in both]
    found = [name for source in wanted for name in possible_columns(source) if name in names]
    for source in wanted:
        found += numbered(source, names).values()
    return list(dict.fromkeys(found))


def roles_of(name: str, columns: Columns) -> list[str]:
    """The roles that a column of this name plays as it is, alone or beside others."""
    return [role for role, sources in _named(columns).items() if name in sources and role != 'metadata']


def _named(columns: Columns) -> dict[str, list[str]]:
    """Role → the names, paths and patterns that are given for it."""
    roles = ('instruction', 'generation', *_OPTIONAL)
    given = {role: _as_tuple(getattr(columns, role)) for role in roles} | {'metadata': tuple(columns.metadata)}
    return {role: [source for source in sources if isinstance(source, str)] for role, sources in given.items()}


def _as_tuple(sources: Any) -> tuple[Any, ...]:
    return sources if isinstance(sources, tuple) else (sources,)


def numbered(pattern: str, names: Iterable[str]) -> dict[str, str]:
    """Number → name of the numbered columns that a pattern stands for, by their numbers."""
    before, number, after = pattern.partition(NUMBER)
    if not number:
        return {}
    like = re.compile(f'{re.escape(before)}([0-9]+){re.escape(after)}')
    found = {m[1]: name for name in names if (m := like.fullmatch(name))}
    return {number: found[number] for number in sorted(found, key=lambda number: (int(number), number))}


def generation_names(columns: Columns) -> tuple[str, ...]:
    """What the column of the generations may be called; it is one column."""
    return (columns.generation,) if isinstance(columns.generation, str) else USUAL['generation']


def rivals(names: Sequence[str], columns: Columns) -> dict[str, str]:
    """Usual name → the other one of its role, where both are there and the former goes before; where it says nothing,
    the latter counts."""
    pairs = {role: both if role == 'generation' else both[::-1] for role, both in USUAL.items()}
    return {
        first: second
        for role, (first, second) in pairs.items()
        if getattr(columns, role) is None and names.count(first) == names.count(second) == 1
    }


_IN_PATH = b'beam_argilla.in_path'


def path_field(name: str) -> pa.Field:
    """The field of a column that the file has not, but its path (see `columns_in_path`)."""
    return pa.field(name, pa.string(), metadata={_IN_PATH: b''})


def _first(schema: pa.Schema, names: Sequence[str]) -> str | None:
    """The first of the names that the file has a column of, else the first that its path has; one of nulls last."""
    own = [f for f in schema if _IN_PATH not in (f.metadata or {})]
    say_something = [f.name for f in own if not pa.types.is_null(f.type)]
    places = (say_something, [f.name for f in own], schema.names)
    return next((name for has in places for name in names if name in has), None)


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
    names = {
        'instruction': str(columns.instruction),
        'generation': str(_first(schema, generation_names(columns))),
    }
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
        return _first(schema, [of_long])
    listed = of_long in schema.names and is_list(column_type(schema, of_long))
    return _first(schema, [of_wide, of_long] if listed else [of_wide])


def check_columns(available: Sequence[str], columns: Columns) -> None:
    """Raises InputError if a column that must be there is not."""
    missing = missing_columns(available, columns)
    if missing:
        raise InputError(no_such_columns(missing, available))


def missing_columns(available: Collection[str], columns: Columns) -> list[tuple[str, str]]:
    """(role, name) of each column that must be there and is not: those that were named, and those of the texts."""
    named = _named(columns)
    if columns.generation is None and not set(generation_names(columns)).intersection(available):
        named['generation'] = [generation_names(columns)[0]]
    return [
        (role, name)
        for role, sources in named.items()
        for name in sources
        if path_to(name, available) is None and not numbered(name, available)
        if not (columns.lenient and role == 'metadata')
    ]


def without_missing(columns: Columns, schema: pa.Schema) -> Columns:
    """The same for one schema: lenient columns without what it does not have, but for the texts."""
    if not columns.lenient:
        return columns

    def is_there(source: Any) -> bool:
        if not isinstance(source, str):
            return source is not None
        return bool(numbered(source, schema.names)) or type_at(schema, source) is not None

    there: dict[str, Any] = {}
    for role in _OPTIONAL:
        given = getattr(columns, role)
        found = [source if is_there(source) else None for source in _as_tuple(given)]
        there[role] = None if not any(found) else tuple(found) if isinstance(given, tuple) else found[0]
    if there['rating'] is None:
        there['scale'] = None
    return replace(columns, **there)


def type_at(schema: pa.Schema, source: str) -> pa.DataType | None:
    """The plain type of what a column or path is of; None if it is not there. Within text anything may be: null."""
    path = path_to(source, schema.names)
    if path is None:
        return None
    kind = plain_type(column_type(schema, path.column))
    if goes_into_text(kind, path.steps):
        return pa.null()
    try:
        return plain_type(follow(pa.nulls(0, kind), path.steps).type)
    except NoSuchPath:
        return None


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
    'position': (*_TEXT, *_NUMBER),
    'instruction_id': _NAME,
    'model_name': _NAME,
    'agent': _NAME,
    SCORE: (*_TEXT, *_NUMBER),
    MESSAGES: _TEXT,
}

_MAKE_TEXT = 'text: make it text first (numbers with str(value), astype(str) in pandas or cast(pl.String) in Polars)'
EXPECTED = {  # for messages
    **dict.fromkeys(('instruction', 'generation', 'rationale'), _MAKE_TEXT),
    'rating': 'a number or text',
    'position': 'a whole number, or text of one',
    'instruction_id': 'text, a whole number, a UUID or a date',
    'model_name': 'text or a number',
    'agent': 'text or a number',
    SCORE: 'a number',
    MESSAGES: 'text',
}
