"""Input layouts people have → canonical tables. Pure Arrow: no Beam, no network.

Long input (a row is a generation) and wide input (a row is an instruction with lists) are told apart by the type of
the generation column. Rows that cannot be used come back beside the table, each with the reason.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_argilla.errors import InputError
from beam_argilla.failures import FailedRecord, failed_rows
from beam_argilla.generations import GROUPED, METADATA, METADATA_PREFIX, SCHEMA, TEXT, USUAL, Columns, rows

# What datasets write where there is no rating.
_NO_RATING = pa.array(['', 'n/a', 'na', 'nan', 'none', 'null', '-'])

# What a wide row may hold a list of, one item per generation.
_PER_GENERATION = ('generation', 'model_name', 'rating', 'rationale', 'agent')
# Where a wide row's list index travels.
_LIST_POSITION = 'position in list'
_LISTS = (list, tuple, np.ndarray)


class Formatted(NamedTuple):
    """A canonical table, and what was refused on the way to it."""

    table: pa.Table
    failed: list[FailedRecord]


def to_canonical(table: pa.Table, columns: Columns) -> Formatted:
    """Converts one table of the user's.

    Args:
        table: any chunking; string, large_string, string_view, binary and dictionary-encoded texts are understood.
        columns: what the columns are called.

    Raises:
        InputError: a column does not exist, or has a type that cannot mean what it should.
    """
    names = _resolve(table.schema, columns)
    table = table.select(list(dict.fromkeys([*names.values(), *columns.metadata])))
    wide = _is_list(table.schema.field(names['generation']).type)
    failed: list[FailedRecord] = []
    if wide:
        table, more = _explode(table, names)
        failed += more
    out, bad = _canonical_columns(table, names)
    for name in columns.metadata:
        out[METADATA_PREFIX + name] = _metadata(table.column(name))
    fields = [SCHEMA.field(n) if n in SCHEMA.names else pa.field(n, METADATA) for n in out]
    canonical = pa.table(out).cast(pa.schema([f.with_nullable(True) for f in fields]))
    refused: np.ndarray = np.zeros(table.num_rows, bool)
    # An item of a wide row is no row of the input any more: it is reported in canonical form.
    reported, key = (canonical, 'rows') if wide else (table, 'input')
    for error, message, mask in bad:
        mask = mask & ~refused  # the first reason is enough
        refused |= mask
        for index, row in zip(np.flatnonzero(mask), rows(reported.filter(pa.array(mask))), strict=True):
            group = out['instruction_id'][int(index)].as_py()
            failed.append(failed_rows([row], 'format', error, message, group, key))
    if refused.any():
        canonical = canonical.filter(pa.array(~refused))
    return Formatted(canonical.cast(pa.schema(fields, metadata={GROUPED: b'wide'} if wide else None)), failed)


def from_rows(elements: Sequence[Any], columns: Columns) -> tuple[list[pa.Table], list[FailedRecord]]:
    """Converts a batch of dicts, `beam.Row`s or NamedTuples.

    Each row is judged by itself, whatever stands beside it: a key that is absent counts as null, and so does NaN.

    Returns:
        A canonical table of the long rows and one of the wide rows, if there are any; and what was refused.

    Raises:
        InputError: an element is no row.
    """
    failed: list[FailedRecord] = []
    layouts: dict[bool, list[dict[str, Any]]] = {}
    for element in elements:
        row = {name: _null_if_nan(value) for name, value in _as_dict(element).items()}
        wide = _is_wide_row(row, columns)
        problem = _row_problem(row, columns, wide)
        if problem is None:
            layouts.setdefault(wide, []).append(row)
        else:
            failed.append(failed_rows([row], 'format', *problem, key='input'))
    formatted = [_from_layout(rows, columns, wide) for wide, rows in layouts.items()]
    tables = [f.table for f in formatted if f.table.num_rows]
    return tables, [*failed, *(refused for f in formatted for refused in f.failed)]


def _from_layout(dicts: list[dict[str, Any]], columns: Columns, wide: bool) -> Formatted:
    present = {name for row in dicts for name in row}
    used = [name for name in columns.to_read() if name in present or name in columns.named()]
    if not present.intersection(_generation_names(columns)):
        used.append(_generation_names(columns)[wide if columns.generation is None else 0])
    arrays = {name: _from_python([row.get(name) for row in dicts]) for name in dict.fromkeys(used)}
    return to_canonical(pa.table(arrays), columns)


def _generation_names(columns: Columns) -> tuple[str, ...]:
    return (columns.generation,) if columns.generation is not None else USUAL['generation']


def _is_wide_row(row: Mapping[str, Any], columns: Columns) -> bool:
    """Whether it has lists where wide rows have them. One without any generations may still be meant to be wide."""
    names = [getattr(columns, role) or usual for role in _PER_GENERATION for usual in USUAL.get(role, ())]
    return any(isinstance(row.get(name), _LISTS) for name in (*names, *_generation_names(columns)))


def _row_problem(row: Mapping[str, Any], columns: Columns, wide: bool) -> tuple[str, str] | None:
    """Why the row cannot be put into a table with others, if it cannot: error and message."""
    if not _encodable(row):
        return 'NotUtf8', 'A text has a lone surrogate (half of a character), which UTF-8 cannot carry: repair the text'
    texts: list[tuple[str, Any]] = [(columns.instruction, row.get(columns.instruction))]
    for role in ('generation', 'model_name', 'rationale', 'agent'):
        named = getattr(columns, role)
        for name in (named,) if named is not None else USUAL.get(role, ()):
            value = row.get(name)
            texts += [(name, v) for v in value] if wide and isinstance(value, _LISTS) else [(name, value)]
    for name, value in texts:
        if not (value is None or isinstance(value, (str, bytes))):
            return 'NotText', f'Column {name!r} holds {type(value).__name__}, where text is needed'
    return None


def _null_if_nan(value: Any) -> Any:
    """None for NaN, which pandas writes for what is missing."""
    if isinstance(value, float) and value != value:
        return None
    return [_null_if_nan(v) for v in value] if isinstance(value, _LISTS) else value


def from_canonical_rows(elements: Sequence[Mapping[str, Any]], metadata: Sequence[str]) -> pa.Table:
    """A canonical table of the rows of a FailedRecord."""
    columns = {f.name: pa.array([row.get(f.name) for row in elements], f.type) for f in SCHEMA}
    for name in (METADATA_PREFIX + m for m in metadata):
        columns[name] = pa.array([row.get(name) for row in elements], METADATA)
    return pa.table(columns)


def instruction_ids(table: pa.Table, columns: Columns) -> pa.Array:
    """The instruction id of each row as it was read; null where there is none."""
    if columns.instruction_id is not None:
        return _text(table.column(columns.instruction_id))[0]
    return _sha256(_text(table.column(columns.instruction))[0])


def check_columns(schema: pa.Schema, columns: Columns) -> None:
    """Raises InputError if a table of this schema lacks a column that `columns` needs, or gives one a wrong type."""
    _resolve(schema, columns)


def is_wide(schema: pa.Schema, columns: Columns) -> bool:
    """Whether a row of this schema is an instruction with all of its generations."""
    return _is_list(schema.field(_resolve(schema, columns)['generation']).type)


def _resolve(schema: pa.Schema, columns: Columns) -> dict[str, str]:
    """Role → name of the column that plays it, of those that are there and wanted."""
    available = schema.names
    generation = [columns.generation] if columns.generation is not None else list(USUAL['generation'])
    found = next((name for name in generation if name in available), None)
    if found is None:
        raise _missing(generation[0], 'generation', available)
    names = {'instruction': columns.instruction, 'generation': found}
    wide = _is_list(schema.field(found).type)
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
        listed = _is_list(kind)
        may_list = wide and role in _PER_GENERATION
        must_list = wide and role in ('generation', 'rating', 'rationale')
        value = _value_type(kind)
        if (listed and not may_list) or (must_list and not listed) or not (good(value) or pa.types.is_null(value)):
            shape = 'a list of ' if must_list else ''
            raise InputError(f'Column {names[role]!r} is {kind}; the {role} must be {shape}{expected}.')

    check('instruction', _is_text, 'text')
    check('generation', _is_text, 'text')
    check('instruction_id', lambda t: _is_text(t) or pa.types.is_integer(t), 'text or integer')
    check('model_name', _is_text, 'text')
    check('rating', lambda t: _is_text(t) or _is_number(t), 'a number or text')
    check('rationale', _is_text, 'text')
    check('agent', _is_text, 'text')
    check('position', pa.types.is_integer, 'integer')


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _value_type(kind: pa.DataType) -> pa.DataType:
    """What the cells (or the list's items) really hold."""
    if _is_list(kind):
        kind = kind.value_type
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_text(kind: pa.DataType) -> bool:
    kind = _value_type(kind)
    return (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or str(kind) in ('string_view', 'binary_view')
    )


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


Bad = tuple[str, str, np.ndarray]


def _canonical_columns(table: pa.Table, names: Mapping[str, str]) -> tuple[dict[str, pa.Array], list[Bad]]:
    """The canonical columns, and (error, message, mask) of the rows that cannot be used."""
    bad: list[Bad] = []

    def text(role: str) -> pa.Array:
        if role not in names:
            return pa.nulls(table.num_rows, TEXT)
        array, invalid = _text(table.column(names[role]))
        if invalid is not None:
            bad.append(
                ('NotUtf8', f'The {role} is not valid UTF-8: repair the encoding of column {names[role]!r}', invalid)
            )
        return array

    def null(array: pa.Array) -> np.ndarray:
        return array.is_null().to_numpy(zero_copy_only=False)

    out = {role: text(role) for role in ('instruction', 'generation', 'model_name', 'rationale', 'agent')}
    bad.append(
        (
            'EmptyInstruction',
            f'The instruction is null or empty (column {names["instruction"]!r}): there is nothing to show or group by',
            null(out['instruction']) | _blank(out['instruction']),
        )
    )
    if 'instruction_id' in names:
        out['instruction_id'] = text('instruction_id')
        no_id = null(out['instruction_id']) | _blank(out['instruction_id'])
        message = f'The instruction id is null or empty (column {names["instruction_id"]!r}): which record is it for?'
        bad.append(('NullInstructionId', message, no_id))
    else:
        out['instruction_id'] = _sha256(out['instruction'])
    message = f'The generation is null (column {names["generation"]!r}): there is nothing to judge'
    bad.append(('NullGeneration', message, null(out['generation'])))
    out['rating'] = _rating(table.column(names['rating'])) if 'rating' in names else pa.nulls(table.num_rows, TEXT)
    if 'position' in names:
        out['position'] = _one_chunk(table.column(names['position'])).cast(pa.int64())
    else:
        out['position'] = pa.nulls(table.num_rows, pa.int64())
    out['rationale'] = _null_where_blank(out['rationale'])
    out['agent'] = _null_where_blank(out['agent'])
    out['model_name'] = _null_where_blank(out['model_name'])
    return {name: out[name] for name in SCHEMA.names}, bad


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    array = column.combine_chunks()
    array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def _text(column: pa.ChunkedArray) -> tuple[pa.Array, np.ndarray | None]:
    """The column as TEXT, and a mask of cells that are not UTF-8 (None if all are). Integers are written in decimal."""
    array = _one_chunk(column.cast(_large(column.type)))
    if pa.types.is_large_string(array.type):
        array = array.cast(pa.large_binary())  # nobody checks the strings of a Parquet file; casting from bytes does
    try:
        return array.cast(TEXT), None
    except pa.ArrowInvalid:  # bytes that are not UTF-8: find out which
        decoded = [None if v is None else v.decode('utf-8', 'replace') for v in array.to_pylist()]
        invalid = [v is not None and not _valid_utf8(v) for v in array.to_pylist()]
        return pa.array(decoded, TEXT), np.array(invalid, bool)


def _large(kind: pa.DataType) -> pa.DataType:
    """The same type with 64-bit offsets, so that chunks of any total size can be joined."""
    if pa.types.is_dictionary(kind):
        return _large(kind.value_type)
    if pa.types.is_string(kind) or str(kind) == 'string_view':
        return TEXT
    if pa.types.is_binary(kind) or str(kind) == 'binary_view':
        return pa.large_binary()
    return kind


def _valid_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _blank(array: pa.Array) -> np.ndarray:
    """Where the text is empty or white space alone. Null is not blank."""
    first = pc.utf8_slice_codeunits(array, 0, 1)  # most texts are seen not to be blank by their first character
    blank = pc.or_(pc.equal(pc.binary_length(array), 0), pc.utf8_is_space(first)).fill_null(False)
    if pc.any(blank).as_py():
        blank = pc.or_(pc.equal(pc.binary_length(array), 0), pc.utf8_is_space(array)).fill_null(False)
    return blank.to_numpy(zero_copy_only=False)


def _null_where_blank(array: pa.Array) -> pa.Array:
    blank = _blank(array)
    return pc.if_else(pa.array(blank), pa.scalar(None, TEXT), array) if blank.any() else array


def _rating(column: pa.ChunkedArray) -> pa.Array:
    """Ratings as trimmed text; null, NaN and the ways to write 'none' become null."""
    text, _ = _text(column)
    text = pc.utf8_trim_whitespace(text)
    nothing = pc.is_in(pc.utf8_lower(text), value_set=_NO_RATING.cast(TEXT))
    return pc.if_else(nothing, pa.scalar(None, TEXT), text)


def _sha256(instructions: pa.Array) -> pa.Array:
    """The sha256 hex of each text, hashing each distinct text once: rows of a group share theirs."""
    encoded = instructions.dictionary_encode()
    hashes = [hashlib.sha256(v.encode()).hexdigest() for v in encoded.dictionary.to_pylist()]
    return pa.array(hashes, TEXT).take(encoded.indices)


def _metadata(column: pa.ChunkedArray) -> pa.Array:
    """A metadata column as METADATA. Text whatever it was: then it is the same beside any other table."""
    if _is_list(column.type):
        lists = _one_chunk(column)
        if not pa.types.is_nested(lists.type.value_type):
            return pa.LargeListArray.from_arrays(*_offsets_and_texts(lists), mask=lists.is_null())
    array = _one_chunk(column.cast(_large(column.type)))
    if pa.types.is_floating(array.type):  # NaN is pandas' null
        array = pc.if_else(pc.is_nan(array).fill_null(False), pa.scalar(None, array.type), array)
    texts = _texts(array)
    return pa.LargeListArray.from_arrays(pa.array(np.arange(len(texts) + 1)), texts, mask=texts.is_null())


def _offsets_and_texts(lists: pa.Array) -> tuple[pa.Array, pa.Array]:
    lengths = pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False)
    return pa.array(np.append(0, np.cumsum(lengths))), _texts(pc.list_flatten(lists))


def _texts(array: pa.Array) -> pa.Array:
    try:
        return array.cast(TEXT)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # what has no text form in Arrow
        return pa.array([None if v is None else str(v) for v in array.to_pylist()], TEXT)


def _explode(table: pa.Table, names: Mapping[str, str]) -> tuple[pa.Table, list[FailedRecord]]:
    """Wide → long: a row per list item, `position` being its index. Rows whose lists do not match are refused."""
    generations = _one_chunk(table.column(names['generation']))
    lengths = pc.list_value_length(generations).fill_null(0).to_numpy(zero_copy_only=False)
    refused: np.ndarray = np.zeros(table.num_rows, bool)
    failed: list[FailedRecord] = []

    def refuse(mask: np.ndarray, error: str, message: str) -> None:
        mask = mask & ~refused
        for row in rows(table.filter(pa.array(mask))):
            given_id = row.get(names['instruction_id']) if 'instruction_id' in names else None
            group = None if given_id is None else str(given_id)
            failed.append(failed_rows([row], 'format', error, message, group, key='input'))
        refused[:] |= mask

    refuse(
        lengths == 0, 'NoGenerations', f'The list {names["generation"]!r} is null or empty: there is nothing to judge'
    )
    listed = [r for r in _PER_GENERATION[1:] if r in names and _is_list(table.schema.field(names[r]).type)]
    for role in listed:
        counts = (
            pc.list_value_length(_one_chunk(table.column(names[role]))).fill_null(-1).to_numpy(zero_copy_only=False)
        )
        message = f'{names[role]!r} has another number of items than {names["generation"]!r}: which belongs to which?'
        refuse((counts != lengths) & (counts > 0), 'UnequalLists', message)
    table = table.filter(pa.array(~refused))
    lengths = lengths[~refused]
    parents = np.repeat(np.arange(table.num_rows), lengths)
    starts = np.repeat(np.cumsum(lengths) - lengths, lengths)
    out = {}
    for name in table.column_names:
        column = _one_chunk(table.column(name))
        if name == names['generation'] or name in [names[r] for r in listed]:
            # Null or empty beside generations means nothing is known of any: one null per generation.
            known = pc.list_value_length(column).fill_null(0).to_numpy(zero_copy_only=False) > 0
            taken = np.where(np.repeat(known, lengths), np.cumsum(np.repeat(known, lengths)) - 1, -1)
            out[name] = pc.list_flatten(column).take(pa.array(taken, mask=taken < 0))
        else:
            out[name] = column.take(pa.array(parents))
    position = pa.array(np.arange(len(parents)) - starts, pa.int64())
    exploded = pa.table(out)
    names['position'] = _LIST_POSITION  # type: ignore[index]  # also before a position of the row's own
    exploded = exploded.append_column(_LIST_POSITION, position)
    return exploded, failed


def _as_dict(element: Any) -> dict[str, Any]:
    if isinstance(element, Mapping):
        return dict(element)
    for as_dict in ('_asdict', 'as_dict'):  # NamedTuple; beam.Row
        if hasattr(element, as_dict):
            return dict(getattr(element, as_dict)())
    raise InputError(
        f'WriteToArgilla takes pyarrow tables, dicts, beam.Rows and NamedTuples, not {type(element).__name__}.'
    )


def _from_python(values: list[Any]) -> pa.Array:
    """Values of one column of rows. Where types are mixed (4, '4.0', None), all are written as text."""
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        return pa.array([v if v is None or isinstance(v, str) else str(v) for v in values], TEXT)


def _encodable(value: Any) -> bool:
    """Whether all texts in it can be written in UTF-8, which Arrow and JSON need; a lone surrogate cannot."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return False
        return True
    if isinstance(value, Mapping):
        return all(map(_encodable, value.values()))
    if isinstance(value, (list, tuple)):
        return all(map(_encodable, value))
    return True
