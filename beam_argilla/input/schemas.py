"""What all files of an input have in common, from their footers or beginnings alone, before anything is read."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from typing import NamedTuple

import orjson
import pyarrow as pa

from beam_argilla.columns import Columns
from beam_argilla.errors import InputError
from beam_argilla.input.layouts import AUTO, Layout, columns_for
from beam_argilla.input.plain import plain_type
from beam_argilla.input.roles import (
    check_columns,
    column_type,
    columns_to_read,
    is_wide,
    misfit,
    missing_columns,
    no_such_columns,
    resolve,
    rivals,
    without_missing,
)
from beam_argilla.input.sources import first_values, is_empty, says_nothing, schema_of
from beam_argilla.input.view import called, path_is_wide, reads_json, view

_LOGGER = logging.getLogger(__name__)
# Of an object store, a footer takes 50 to 100 ms, and 32 at a time are no burden to it: 2,000 are looked at in seconds.
MOST_FOOTERS = 2_000
_AT_A_TIME = 32
_SHOWN = 5  # names in a message
_RESEMBLING = {
    'rating': re.compile(r'rating|score|stars|grade|reward', re.IGNORECASE),
    'rationale': re.compile(r'rationale|critique|feedback|explanation|justification|reasoning', re.IGNORECASE),
    'model_name': re.compile(r'model|generator|author', re.IGNORECASE),
}


class Seen(NamedTuple):
    """What the footers say.

    Attributes:
        all_wide: every file is known to be wide.
        metadata_types: column → the type of metadata that can hold its values in every file.
        lists: the columns that hold lists in some file.
        columns: what the columns mean, those that the layout names among them.
        layout: of which the files are, if that counts.
        names: role → what plays it in the first file that could be looked at.
        is_empty: no file has a row.
    """

    all_wide: bool
    metadata_types: dict[str, str]
    lists: frozenset[str]
    columns: Columns
    layout: Layout | None
    names: Mapping[str, str]
    is_empty: bool


class _File(NamedTuple):
    path: str
    schema: pa.Schema  # as its columns are meant
    names: Mapping[str, str]  # role → column
    wide: bool


def look(
    paths: Sequence[str], columns: Columns, on_bad_file: str, layout: str = AUTO, format: str | None = None
) -> Seen:
    """Looks at the footers, and says once what differs between files, and what seems to have been forgotten.

    Args:
        layout: the name of the files' layout; ``auto``: the one that fits.
        format: the kind of the files; None: by their names.

    Raises:
        InputError: a file cannot be used; with ``on_bad_file='refuse'``, none can.
    """
    chosen = paths[:: -(-len(paths) // MOST_FOOTERS)]
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        schemas = list(pool.map(lambda path: _schema(path, format), chosen))
        # One without any columns is of a file of text without a row.
        readable = [schema for schema in schemas if isinstance(schema, pa.Schema) and schema.names]
        columns, found_layout = columns_for(readable, columns, layout) if readable else (columns, None)
        looked = list(pool.map(lambda path, schema: _look(path, schema, columns, format), chosen, schemas))
    files = [found for found in looked if isinstance(found, _File)]
    _check_metadata(columns, readable)
    errors = [(path, str(found)) for path, found in zip(chosen, looked, strict=True) if isinstance(found, InputError)]
    if errors and (on_bad_file == 'fail' or len(errors) == len(chosen)):
        raise InputError(_told_once(errors))
    wide = [f.path for f in files if f.wide]
    long = [f.path for f in files if not f.wide]
    if wide and long:
        _LOGGER.warning(
            'Some files are wide (%s), others long (%s): their rows are grouped together.', wide[0], long[0]
        )
    if wide and not long and len(chosen) < len(paths):
        _LOGGER.warning(
            '%d of %d files were looked at, all of them wide. Others may be long, so the rows of all are grouped by a '
            'shuffle, those of wide files that share an id as well. If all are wide, shuffle=False does without.',
            len(chosen),
            len(paths),
        )
    names = dict.fromkeys(name for f in files for name in f.schema.names)
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        kinds = {name: _kinds(files, name, pool, format) for name in names}
    used = {*columns.metadata, *(name for f in files for name in f.names.values())}
    used.update(columns_to_read(columns, list(names)))
    for name in sorted(used & kinds.keys()):
        if len(kinds[name]) > 1 and not _NUMBERS.issuperset(kinds[name]):
            _LOGGER.warning(_differing(name, kinds[name]))
    for role in dict.fromkeys(role for f in files for role in f.names):
        without = [f.path for f in files if role not in f.names]
        if without:
            _LOGGER.warning('There is no column for the %s in %s: it is null there.', role, _listed(without))
    forgotten = _forgotten(kinds, used, {role for f in files for role in f.names})
    if forgotten:
        _LOGGER.warning(forgotten)
    if files:
        at = chosen.index(files[0].path)
        _warn_of_lists(files[0], getattr(schemas[at], 'names', ()), format)
    whole = bool(wide) and not long and len(chosen) == len(paths) and not (found_layout and found_layout.repeated)
    types = {name: _metadata_type(found) for name, found in kinds.items()}
    lists = frozenset(name for name, found in kinds.items() if any(kind.startswith(_LIST) for kind in found))
    empty = len(chosen) == len(paths) and not errors and all(is_empty(path, format) for path in paths)
    return Seen(whole, types, lists, columns, found_layout, files[0].names if files else {}, empty)


def _warn_of_lists(file: _File, names: Sequence[str], format: str | None) -> None:
    """Says so if the generations are texts that all are lists in JSON, and stay so, for nobody has asked for more."""
    name = file.names.get('generation', '')
    if name not in names or _kind(plain_type(column_type(file.schema, name))) != 'text':
        return
    values = [value for value in first_values(file.path, name, format) if value is not None]
    if values and all(map(_is_list, values)):
        _LOGGER.warning(
            'Each value of column %r that was looked at is a list in JSON, and taken as one text. If its items are the '
            "generations, say so with brackets: Columns(generation='%s[]'), --generation_column '%s[]'.",
            name,
            name,
            name,
        )


def _is_list(text: str | bytes) -> bool:
    try:
        return isinstance(orjson.loads(text), list)
    except ValueError:
        return False


def _check_metadata(columns: Columns, schemas: Sequence[pa.Schema]) -> None:
    """Raises InputError if no file has a column that is to be kept; with a layout, one of them need not have it."""
    names = list(dict.fromkeys(name for schema in schemas for name in schema.names))
    missing = missing_columns(names, replace(columns, lenient=False)) if names else []
    if missing := [(role, name) for role, name in missing if role == 'metadata']:
        raise InputError(no_such_columns(missing, names))


def _schema(path: str, format: str | None) -> pa.Schema | InputError:
    try:
        return schema_of(path, format)
    except InputError as e:
        return e


def _look(path: str, schema: pa.Schema | InputError, columns: Columns, format: str | None) -> _File | InputError | None:
    if isinstance(schema, InputError):
        return schema
    if not schema.names:
        return None
    try:
        columns = without_missing(columns, schema)
        check_columns(schema.names, columns)
        if reads_json(schema, columns):  # whose values alone tell
            return _File(path, schema, called(columns), path_is_wide(columns, schema.names))
        table = schema.empty_table()
        silent = [name for name in rivals(schema.names, columns) if says_nothing(path, name, format)]
        seen = view(table.drop_columns(silent), columns)
        names = resolve(seen.table.schema, seen.columns)
        for role, name in names.items():
            problem = misfit(seen.table.schema, names, role)
            if problem is not None and not (name in schema.names and says_nothing(path, name, format)):
                raise InputError(problem)
    except InputError as e:
        return e
    return _File(path, seen.table.schema, names, is_wide(seen.table.schema, names))


def _told_once(errors: Sequence[tuple[str, str]]) -> str:
    """The errors of files, those of several files said once."""
    by_message: dict[str, list[str]] = {}
    for path, message in errors:
        by_message.setdefault(message, []).append(path)
    return '\n'.join(
        message if message.startswith(paths[0]) else f'{_listed(paths)}: {message}'
        for message, paths in by_message.items()
    )


def _listed(paths: Sequence[str]) -> str:
    return paths[0] if len(paths) == 1 else f'{paths[0]} and {len(paths) - 1:,} more'


_NUMBERS = {'integer', 'float'}
_LIST = 'list of '


def _kinds(files: Iterable[_File], name: str, pool: Executor, format: str | None) -> dict[str, list[str]]:
    """Kind of value → the files in which the column is of it; without those in which it has no values."""
    kinds: dict[str, list[str]] = {}
    for file in files:
        if name in file.schema.names:
            kind = _kind(plain_type(column_type(file.schema, name)))
            kinds.setdefault(kind, []).append(file.path)
    kinds.pop('null', None)
    if len(kinds) < 2:
        return kinds
    nothing = {k: pool.map(lambda path: says_nothing(path, name, format), paths) for k, paths in kinds.items()}
    kept = {k: [p for p, is_so in zip(paths, nothing[k], strict=True) if not is_so] for k, paths in kinds.items()}
    return {kind: paths for kind, paths in kept.items() if paths}


def _kind(kind: pa.DataType) -> str:
    types = pa.types
    if types.is_large_list(kind):
        return f'{_LIST}{_kind(plain_type(kind.value_type))}'
    if types.is_integer(kind) or (types.is_decimal(kind) and kind.scale <= 0):
        return 'integer'
    if types.is_floating(kind) or types.is_decimal(kind):
        return 'float'
    if types.is_large_string(kind) or types.is_large_binary(kind):
        return 'text'
    if types.is_null(kind):
        return 'null'
    return 'time' if types.is_temporal(kind) else str(kind).split('<')[0]  # struct<...>


def _differing(name: str, kinds: Mapping[str, Sequence[str]]) -> str:
    where = ', '.join(f'{kind} in {_listed(paths)}' for kind, paths in kinds.items())
    return f'Column {name!r} is not the same in all files: {where}. Its values are taken as text.'


def _metadata_type(kinds: Mapping[str, Sequence[str]]) -> str:
    if not kinds or not _NUMBERS.issuperset(kinds):
        return 'terms'
    return 'float' if 'float' in kinds else 'integer'


def _forgotten(kinds: Mapping[str, object], used: set[str], roles: set[str]) -> str | None:
    """One line about columns that are not used, if some of them look like what nobody has named."""
    unused = [name for name in kinds if name not in used]
    asked = [
        role for role, like in _RESEMBLING.items() if role not in roles and any(like.search(name) for name in unused)
    ]
    if not asked:
        return None
    shown = ', '.join(map(repr, unused[:_SHOWN])) + (', …' if len(unused) > _SHOWN else '')
    columns = f'{len(unused)} column{"" if len(unused) == 1 else "s"} {"is" if len(unused) == 1 else "are"} not used'
    named = ' or '.join(f'the {role} (Columns({role}=...), --{role}_column)' for role in asked)
    return f'{columns}: {shown}. If one is {named}, name it.'
