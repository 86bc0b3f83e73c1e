"""What all files of an input have in common, from their footers alone, before anything is read."""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from beam_argilla.columns import Columns
from beam_argilla.errors import InputError
from beam_argilla.input.layouts import column_type, is_wide, misfit, resolve
from beam_argilla.input.parquet import parquet_file, schema_of
from beam_argilla.input.plain import plain, plain_type
from beam_argilla.input.values import says_nothing

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
        is_empty: no file has a row.
    """

    all_wide: bool
    metadata_types: dict[str, str]
    is_empty: bool


class _File(NamedTuple):
    path: str
    schema: pa.Schema
    names: Mapping[str, str]  # role → column
    num_rows: int


def look(paths: Sequence[str], columns: Columns, on_bad_file: str) -> Seen:
    """Looks at the footers, and says once what differs between files, and what seems to have been forgotten.

    Raises:
        InputError: a file cannot be used; with ``on_bad_file='refuse'``, none can.
    """
    chosen = paths[:: -(-len(paths) // MOST_FOOTERS)]
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        looked = list(pool.map(lambda path: _look(path, columns), chosen))
    files = [found for found in looked if isinstance(found, _File)]
    errors = [(path, str(found)) for path, found in zip(chosen, looked, strict=True) if isinstance(found, InputError)]
    if errors and (on_bad_file == 'fail' or not files):
        raise InputError(_told_once(errors))
    wide = [f.path for f in files if is_wide(f.schema, f.names)]
    long = [f.path for f in files if not is_wide(f.schema, f.names)]
    if wide and long:
        _LOGGER.warning(
            'Some files are wide (%s), others long (%s): their rows are grouped together.', wide[0], long[0]
        )
    if not long and len(chosen) < len(paths):
        _LOGGER.warning(
            '%d of %d files were looked at, all of them wide. Others may be long, so the rows of all are grouped by a '
            'shuffle, those of wide files that share an id as well. If all are wide, shuffle=False does without.',
            len(chosen),
            len(paths),
        )
    names = dict.fromkeys(name for f in files for name in f.schema.names)
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        kinds = {name: _kinds(files, name, pool) for name in names}
    used = {*columns.metadata, *(name for f in files for name in f.names.values())}
    for name in sorted(used):
        if len(kinds[name]) > 1 and not _NUMBERS.issuperset(kinds[name]):
            _LOGGER.warning(_differing(name, kinds[name]))
    for role in dict.fromkeys(role for f in files for role in f.names):
        without = [f.path for f in files if role not in f.names]
        if without:
            _LOGGER.warning('There is no column for the %s in %s: it is null there.', role, _listed(without))
    forgotten = _forgotten(kinds, used, {role for f in files for role in f.names})
    if forgotten:
        _LOGGER.warning(forgotten)
    types = {name: _metadata_type(found) for name, found in kinds.items()}
    looked_at_all = len(chosen) == len(paths)
    return Seen(looked_at_all and not long, types, looked_at_all and not any(f.num_rows for f in files))


def _look(path: str, columns: Columns) -> _File | InputError:
    try:
        with parquet_file(path) as parquet:
            schema = schema_of(parquet, path)
            names = resolve(schema, columns)
            for role, name in names.items():
                problem = misfit(schema, names, role)
                if problem is not None and not _says_nothing(parquet, name):
                    raise InputError(problem)
    except InputError as e:
        return e
    return _File(path, schema, names, parquet.metadata.num_rows)


def _says_nothing(parquet: pq.ParquetFile, name: str) -> bool:
    """Whether no row of the file has a value there: by its statistics where they tell, else by its values."""
    footer = parquet.metadata
    leaves = [i for i in range(footer.num_columns) if f'{footer.schema.column(i).path}.'.startswith(f'{name}.')]
    chunks = [footer.row_group(group).column(leaf) for group in range(footer.num_row_groups) for leaf in leaves]
    if chunks and all(c.statistics and c.statistics.has_null_count for c in chunks):
        if all(c.statistics.null_count == c.num_values for c in chunks):
            return True
        if not any(map(_may_be_nan, map(footer.schema.column, leaves))):
            return False
    return bool(chunks) and all(says_nothing(plain(batch.column(0))) for batch in parquet.iter_batches(columns=[name]))


def _may_be_nan(leaf: pq.ColumnSchema) -> bool:
    """Whether its values are floats, among which NaN is no value, though statistics do not count it as null."""
    return leaf.physical_type in ('FLOAT', 'DOUBLE') or leaf.logical_type.type == 'FLOAT16'


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


def _kinds(files: Iterable[_File], name: str, pool: Executor) -> dict[str, list[str]]:
    """Kind of value → the files in which the column is of it; without those in which it has no values."""
    kinds: dict[str, list[str]] = {}
    for file in files:
        if name in file.schema.names:
            kind = _kind(plain_type(column_type(file.schema, name)))
            kinds.setdefault(kind, []).append(file.path)
    kinds.pop('null', None)
    if len(kinds) < 2:
        return kinds
    have_values = {kind: pool.map(lambda path: _has_values(path, name), paths) for kind, paths in kinds.items()}
    kept = {kind: list(itertools.compress(paths, have_values[kind])) for kind, paths in kinds.items()}
    return {kind: paths for kind, paths in kept.items() if paths}


def _has_values(path: str, name: str) -> bool:
    with parquet_file(path) as parquet:
        return name not in parquet.schema_arrow.names or not _says_nothing(parquet, name)


def _kind(kind: pa.DataType) -> str:
    types = pa.types
    if types.is_large_list(kind):
        return f'list of {_kind(plain_type(kind.value_type))}'
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
