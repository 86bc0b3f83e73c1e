"""The layouts people have: which column plays which role, and what type it may have.

Long input (a row is a generation) and wide input (a row is an instruction with lists) are told apart by the type of
the generation column.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import pyarrow as pa

from beam_argilla.columns import Columns
from beam_argilla.errors import InputError

# Names used where none is given: (long input, wide input), as distilabel names them. In wide input a column
# `model_name` is the judge, not the author of the generations, so it is not used there.
USUAL = {
    'generation': ('generation', 'generations'),
    'model_name': ('model_name', 'generation_models'),
    'rating': ('rating', 'ratings'),
    'rationale': ('rationale', 'rationales'),
}


# What a wide row may hold a list of, one item per generation.
PER_GENERATION = ('generation', 'model_name', 'rating', 'rationale', 'agent')


def columns_to_read(columns: Columns) -> list[str]:
    """All columns that either layout could need: what to ask a reader for."""
    names = [columns.instruction, columns.instruction_id, columns.agent, columns.position]
    names += [getattr(columns, role) or usual for role, both in USUAL.items() for usual in both]
    return list(dict.fromkeys([*filter(None, names), *columns.metadata]))


def check_columns(schema: pa.Schema, columns: Columns) -> None:
    """Raises InputError if a table of this schema lacks a column that `columns` needs, or gives one a wrong type."""
    resolve(schema, columns)


def is_wide(schema: pa.Schema, columns: Columns) -> bool:
    """Whether a row of this schema is an instruction with all of its generations."""
    return is_list(schema.field(resolve(schema, columns)['generation']).type)


def resolve(schema: pa.Schema, columns: Columns) -> dict[str, str]:
    """Role → name of the column that plays it, of those that are there and wanted."""
    available = schema.names
    generation = [columns.generation] if columns.generation is not None else list(USUAL['generation'])
    found = next((name for name in generation if name in available), None)
    if found is None:
        raise _missing(generation[0], 'generation', available)
    names = {'instruction': columns.instruction, 'generation': found}
    wide = is_list(schema.field(found).type)
    for role in ('instruction_id', 'model_name', 'rating', 'rationale', 'agent', 'position'):
        named = getattr(columns, role)
        usual = USUAL[role][wide] if role in USUAL else None
        if named is not None:
            names[role] = named
        elif usual is not None and usual in available:
            names[role] = usual
    for role, name in [*names.items(), *(('metadata', name) for name in columns.metadata)]:
        if name not in available:
            raise _missing(name, role, available)
    _check_types(schema, names, wide)
    return names


def generation_names(columns: Columns) -> tuple[str, ...]:
    return (columns.generation,) if columns.generation is not None else USUAL['generation']


def _missing(name: str, role: str, available: Iterable[str]) -> InputError:
    return InputError(
        f'The input has no column {name!r} for the {role}. Its columns are: {", ".join(map(repr, available))}. '
        f'Name the right one with Columns({role}=...) or --{role}_column.'
    )


def _check_types(schema: pa.Schema, names: Mapping[str, str], wide: bool) -> None:
    def check(role: str, good: Callable[[pa.DataType], bool], expected: str) -> None:
        if role not in names or pa.types.is_null(schema.field(names[role]).type):  # nulls may stand for anything
            return
        kind = schema.field(names[role]).type
        listed = is_list(kind)
        may_list = wide and role in PER_GENERATION
        must_list = wide and role in ('generation', 'rating', 'rationale')
        value = value_type(kind)
        if (listed and not may_list) or (must_list and not listed) or not (good(value) or pa.types.is_null(value)):
            shape = 'a list of ' if must_list else ''
            raise InputError(f'Column {names[role]!r} is {kind}; the {role} must be {shape}{expected}.')

    check('instruction', is_text, 'text')
    check('generation', is_text, 'text')
    check('instruction_id', lambda t: is_text(t) or pa.types.is_integer(t), 'text or integer')
    check('model_name', is_text, 'text')
    check('rating', lambda t: is_text(t) or is_number(t), 'a number or text')
    check('rationale', is_text, 'text')
    check('agent', is_text, 'text')
    check('position', pa.types.is_integer, 'integer')


def is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def value_type(kind: pa.DataType) -> pa.DataType:
    """What the cells (or the list's items) really hold."""
    if is_list(kind):
        kind = kind.value_type
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def is_text(kind: pa.DataType) -> bool:
    kind = value_type(kind)
    return (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or str(kind) in ('string_view', 'binary_view')
    )


def is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
