"""What a value means, whatever its type: text, an id, a rating, a position, metadata.

Each is a function of the value alone, never of the rows beside it, so a value means the same in every file, table and
row: 1, 1.0 and Decimal('1.00') are the text ``1``. These functions take arrays of plain types (`plain`); `cell` makes
one of any Python object. What is nested is JSON whose numbers and times are written as they are alone.
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import hashlib
import itertools
import math
import uuid
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from beam_argilla.generations import METADATA, TEXT
from beam_argilla.input.plain import list_lengths, list_of, plain

# What datasets write where there is no rating.
_NO_RATING = pa.array(['', 'n/a', 'na', 'nan', 'none', 'null', '-'])
# From this on a float skips integers, so that two ids could have become one: bits of the significand.
_EXACT = {pa.float16(): 11, pa.float32(): 24, pa.float64(): 53}
_DEEPEST = 100  # lists and dicts in each other; orjson ends at 254


class Problem(NamedTuple):
    """Cells that cannot mean what they should.

    Attributes:
        error: a short, stable name.
        message: what is wrong, with ``{role}`` and ``{column}`` to fill in.
        mask: which cells.
    """

    error: str
    message: str
    mask: np.ndarray

    def about(self, role: str, column: str) -> Problem:
        """The same with its message filled in."""
        return self._replace(message=self.message.format(role=role, column=column))


class Meaning(NamedTuple):
    """What the cells of a column mean; those with a problem mean nothing."""

    values: pa.Array
    problems: Sequence[Problem] = ()


def as_text(array: pa.Array) -> Meaning:
    """The text of each cell. Lists and structs are JSON; NaN is null, as pandas writes it."""
    kind, types = array.type, pa.types
    if types.is_large_string(kind):
        array = array.cast(pa.large_binary())  # nobody checks the strings of a Parquet file; casting from bytes does
    if types.is_large_string(kind) or types.is_large_binary(kind):
        return _decoded(array)
    if types.is_floating(kind):
        return Meaning(_float_texts(array))
    if types.is_decimal(kind):
        return Meaning(_of_each(array, _decimal_text))
    if types.is_timestamp(kind) and kind.tz is not None:  # the same moment is the same text
        array = array.cast(pa.timestamp(kind.unit, 'UTC'))
    if types.is_timestamp(kind) or types.is_time(kind):
        return _time_texts(array)
    if types.is_duration(kind):  # in seconds
        per_second = {'s': 1, 'ms': 10**3, 'us': 10**6, 'ns': 10**9}[kind.unit]
        seconds = array.cast(pa.int64()).to_pylist()
        texts = [None if n is None else _decimal_text(decimal.Decimal(n) / per_second) for n in seconds]
        return Meaning(pa.array(texts, TEXT))
    if types.is_null(kind) or types.is_boolean(kind) or types.is_integer(kind) or types.is_date(kind):
        return Meaning(array.cast(TEXT))
    if types.is_union(kind):  # each is what it holds
        return _of_cells([as_text(cell(scalar)) for scalar in array])
    if types.is_nested(kind):
        return _json_texts(array)
    return Meaning(_of_each(array, str))  # such as an interval


def as_text_or_null(array: pa.Array) -> Meaning:
    """Text, where what is empty or white space alone says nothing."""
    text, problems = as_text(array)
    return Meaning(null_where_blank(text), problems)


def as_id(array: pa.Array) -> Meaning:
    """The text of each cell. A number must be whole, and one that its type can tell from the next."""
    text, problems = as_text(array)
    vague = _is_vague(array)
    if pa.types.is_floating(array.type):
        vague = ~(_is_whole(array) | np.isnan(array.to_numpy(zero_copy_only=False)))
    elif pa.types.is_decimal(array.type):
        vague = pc.match_substring(text, '.').fill_null(False).to_numpy(zero_copy_only=False)
    return Meaning(text, [*problems, Problem('NotAnId', _NO_ID, vague)] if vague.any() else problems)


_NO_ID = (
    'The {role} is (or holds) a number with a fraction, or so large that its type cannot tell it from the next (column '
    '{column!r}): write ids as text or integers'
)


def as_rating(array: pa.Array) -> Meaning:
    """Ratings as trimmed text; null, NaN and the ways to write 'none' become null."""
    text, problems = as_text(array)
    text = pc.utf8_trim_whitespace(text)
    nothing = pc.is_in(pc.utf8_lower(text), value_set=_NO_RATING.cast(TEXT))
    return Meaning(pc.if_else(nothing, pa.scalar(None, TEXT), text), problems)


def as_position(array: pa.Array) -> Meaning:
    """Whole numbers of any type as int64."""
    if pa.types.is_signed_integer(array.type):
        return Meaning(array.cast(pa.int64()))
    text, problems = as_text(array)
    values = pa.array([_position(t) for t in text.to_pylist()], pa.int64())
    lost = pc.and_(values.is_null(), text.is_valid()).to_numpy(zero_copy_only=False)
    message = 'The {role} is not a whole number of 64 bits (column {column!r})'
    return Meaning(values, [*problems, Problem('NotAPosition', message, lost)] if lost.any() else problems)


def as_score(array: pa.Array) -> Meaning:
    """Floats, as they were written once for a rating."""
    text, problems = as_text(array)
    values = pa.array([_score(t) for t in text.to_pylist()], pa.float64())
    lost = pc.and_(values.is_null(), text.is_valid()).to_numpy(zero_copy_only=False)
    message = 'The {role} is not a number (column {column!r})'
    return Meaning(values, [*problems, Problem('NotAScore', message, lost)] if lost.any() else problems)


def _score(text: str | None) -> float | None:
    try:
        score = float(text or '')
    except ValueError:
        return None
    return score if math.isfinite(score) else None


def _position(text: str | None) -> int | None:
    try:
        number = int(text or '')
    except ValueError:
        return None
    return number if -(2**63) <= number < 2**63 else None


def as_metadata(array: pa.Array) -> Meaning:
    """A metadata column as METADATA: one text or several, whatever they were."""
    if not pa.types.is_large_list(array.type):
        text, problems = as_text(array)
        ones = pa.LargeListArray.from_arrays(pa.array(np.arange(len(text) + 1)), text, mask=text.is_null())
        return Meaning(ones, problems)
    texts, problems = as_text(pc.list_flatten(array))
    rows_of_items = np.repeat(np.arange(len(array)), list_lengths(array))
    in_rows = [p._replace(mask=_in_rows(p.mask, rows_of_items, len(array))) for p in problems]
    return Meaning(list_of(array, texts).cast(METADATA), in_rows)


def null_where_blank(array: pa.Array) -> pa.Array:
    blank = is_blank(array)
    return pc.if_else(pa.array(blank), pa.scalar(None, TEXT), array) if blank.any() else array


def is_blank(array: pa.Array) -> np.ndarray:
    """Where the text is empty or white space alone. Null is not blank."""
    first = pc.utf8_slice_codeunits(array, 0, 1)  # most texts are seen not to be blank by their first character
    blank = pc.or_(pc.equal(pc.binary_length(array), 0), pc.utf8_is_space(first)).fill_null(False)
    if pc.any(blank).as_py():
        blank = pc.or_(pc.equal(pc.binary_length(array), 0), pc.utf8_is_space(array)).fill_null(False)
    return blank.to_numpy(zero_copy_only=False)


def says_nothing(array: pa.Array) -> bool:
    """Whether no cell, or item of a cell, has a value: then its type is an accident."""
    if array.null_count == len(array):
        return True
    if pa.types.is_large_list(array.type):
        return says_nothing(pc.list_flatten(array))
    return bool(is_nan(array).all())


def is_nan(array: pa.Array) -> np.ndarray:
    """Where there is NaN (or null, among floats), which is no value."""
    is_float = pa.types.is_floating(array.type)
    return np.isnan(array.to_numpy(zero_copy_only=False)) if is_float else np.zeros(len(array), bool)


def sha256(instructions: pa.Array) -> pa.Array:
    """The sha256 hex of each text, hashing each distinct text once: rows of a group share theirs."""
    encoded = instructions.dictionary_encode()
    hashes = [hashlib.sha256(v.encode()).hexdigest() for v in encoded.dictionary.to_pylist()]
    return pa.array(hashes, TEXT).take(encoded.indices)


# -- of single Python objects


def is_missing(value: Any) -> bool:
    """Whether it stands for no value: None, and what pandas, numpy and Decimal write for it."""
    if value is None:
        return True
    if isinstance(value, (float, np.floating, np.datetime64, np.timedelta64)):
        return bool(value != value)
    if isinstance(value, decimal.Decimal):
        return value.is_nan()
    if isinstance(value, pa.Scalar):
        return not value.is_valid or (pa.types.is_floating(value.type) and is_missing(value.as_py()))
    return type(value).__name__ in ('NAType', 'NaTType')  # pandas', which need not be there


def as_mapping(value: Any) -> dict[Any, Any] | None:
    """The value as a dict, if it is a mapping, a `beam.Row`, a NamedTuple, a data class or a pydantic model."""
    try:
        if isinstance(value, Mapping):
            return dict(value)
        for as_dict in ('_asdict', 'as_dict', 'model_dump'):
            if hasattr(value, as_dict) and not isinstance(value, type):
                return dict(getattr(value, as_dict)())
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    except Exception:  # of whatever a user put there: it has no items that could be had
        return None
    return None


def as_list(value: Any) -> list[Any] | None:
    """The items, if it is a list of any kind (tuple, array, Series, set, ...); None if it is one value."""
    items = _items_of(value)
    return sorted(items, key=_order) if items is not None and isinstance(value, Set) else items


def _items_of(value: Any) -> list[Any] | None:
    """Those of a set are in an order of their own, another in each process."""
    if isinstance(value, (str, bytes, bytearray, memoryview)) or as_mapping(value) is not None:
        return None
    if isinstance(value, pa.Scalar):
        array = cell(value)
        return list(array.values) if pa.types.is_large_list(array.type) else None
    try:
        if isinstance(value, (Sequence, Set)):
            return list(value)
        if hasattr(value, '__array__') and hasattr(value, '__len__'):  # numpy's, pandas', Arrow's, Polars'
            return list(value) if getattr(value, 'ndim', 1) else None
    except Exception:  # of whatever a user put there
        return None
    return None


def _order(item: Any) -> tuple[str, str]:
    """The same for equal items, in every process."""
    return type(item).__name__, json_text(item).values[0].as_py() or ''


def cell(value: Any) -> pa.Array:
    """A plain array of this one value, which is neither missing nor (but as an Arrow scalar) a list or a mapping.

    Raises:
        TypeError: it has no text.
        UnicodeEncodeError: it has one that UTF-8 cannot carry.
    """
    if isinstance(value, pa.UnionScalar):
        return cell(value.value) if value.is_valid else pa.nulls(1)
    if isinstance(value, pa.Scalar):
        return plain(pa.repeat(value, 1))
    if isinstance(value, enum.Enum):
        return cell(value.value)
    if isinstance(value, uuid.UUID):
        return pa.array([str(value)], TEXT)
    if isinstance(value, (bytearray, memoryview)):
        value = bytes(value)
    if isinstance(value, np.longdouble) and not isinstance(value, float):  # which Arrow does not know
        value = decimal.Decimal(str(value))
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**63:
        value = decimal.Decimal(value)
    if isinstance(value, decimal.Decimal) and value.is_infinite():
        value = float(value)
    if hasattr(value, 'to_datetime64'):  # pandas' Timestamp, whose nanoseconds Arrow does not see
        moments = pa.array([value.to_datetime64()])
        return moments if value.tz is None else moments.cast(pa.timestamp(moments.type.unit, 'UTC'))
    if hasattr(value, 'to_timedelta64'):  # nor those of its Timedelta
        value = value.to_timedelta64()
    if isinstance(value, np.datetime64) and np.datetime_data(value)[0] in ('Y', 'M', 'W', 'h', 'm'):
        value = value.astype('datetime64[s]')
    if isinstance(value, np.timedelta64) and np.datetime_data(value)[0] in ('W', 'D', 'h', 'm'):
        value = value.astype('timedelta64[s]')
    if isinstance(value, datetime.time) and value.tzinfo is not None:  # which Arrow forgets
        return pa.array([value.isoformat()], TEXT)
    try:
        return plain(pa.array([value]))
    except (pa.ArrowException, OverflowError, ValueError, TypeError):
        return pa.array([_own_text(value)], TEXT)


def _own_text(value: Any) -> str:
    """What an object says of itself, but for where it lies in memory, which is another text each time."""
    try:
        text = _decimal_text(value) if isinstance(value, decimal.Decimal) else str(value)
    except Exception:
        text = ' at 0x'
    if ' at 0x' in text:
        raise TypeError(f'a {type(value).__name__}')
    return text


def common_text(value: Any) -> str | None:
    """The text of the commonest kinds of value at once, the same that `as_text` makes of a `cell`; None for others."""
    kind = type(value)
    if kind is str:
        return value
    if kind is int and -(2**63) <= value < 2**63:
        return str(value)
    if kind is float and value.is_integer() and abs(value) < 2.0**53:
        return str(int(value))
    return repr(value) if kind is float and 1e-4 <= abs(value) < 1e10 else None


def text_of(value: Any) -> Meaning:
    """The text of one Python object, as `as_text` makes it of a column."""
    if as_mapping(value) is not None or as_list(value) is not None:
        return json_text(value)
    try:
        return as_text(cell(value))
    except TypeError as e:
        return _nothing('NotText', f'Column {{column!r}} holds {_literal(e)}, which has no text')
    except UnicodeEncodeError:
        return _nothing('NotUtf8', LONE_SURROGATE)


def json_text(value: Any, exactly: bool = False) -> Meaning:
    """One Python object as JSON, as `as_text` writes it of a struct: what is equal is the same text.

    Args:
        exactly: a number that its type cannot tell from the next is a problem, as it is of an id.
    """
    try:
        return Meaning(pa.array([_dumps(_json_value(value, exactly))], TEXT))
    except _NotJson as e:
        return _nothing(*e.args)
    except (UnicodeEncodeError, orjson.JSONEncodeError):
        return _nothing('NotUtf8', LONE_SURROGATE)


LONE_SURROGATE = 'A text has a lone surrogate (half of a character), which UTF-8 cannot carry: repair the text'
_NO_JSON = 'The {role} has no form in JSON (column {column!r})'


class _NotJson(Exception):
    """A value that JSON cannot hold: error and message."""


def _json_value(value: Any, exactly: bool, within: tuple[int, ...] = ()) -> Any:
    """What orjson writes for an object, its leaves as `as_text` has them; `within` are the ids of what holds it."""
    if type(value) is str or is_missing(value):
        return value if type(value) is str else None
    if len(within) > _DEEPEST or id(value) in within:
        raise _NotJson(
            'NotJson', f'The {{role}} holds itself, or more than {_DEEPEST} lists in each other (column {{column!r}})'
        )
    inside = (*within, id(value))
    mapping = as_mapping(value)
    if mapping is not None:
        members = {_json_key(key): _json_value(item, exactly, inside) for key, item in mapping.items()}
        if len(members) < len(mapping):
            raise _NotJson('NotJson', f'{_NO_JSON}: two of its keys are the same text')
        return members
    items = _items_of(value)
    if items is not None:
        values = [_json_value(item, exactly, inside) for item in items]
        return sorted(values, key=_dumps) if isinstance(value, Set) else values
    try:
        array = cell(value)
    except TypeError as e:
        raise _NotJson('NotText', f'Column {{column!r}} holds {_literal(e)}, which has no text') from None
    if exactly and _is_vague(array).any():
        raise _NotJson('NotAnId', _NO_ID)
    values, broken = _json_values(array)
    if broken.any():
        raise _NotJson('NotJson', _NO_JSON)
    return values[0]


def _json_key(key: Any) -> str:
    if type(key) is str:
        return key
    if is_missing(key):
        return 'null'
    text, problems = text_of(key)
    if problems:
        raise _NotJson(problems[0].error, problems[0].message)
    return text[0].as_py()


def _dumps(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _nothing(error: str, message: str) -> Meaning:
    """Of one cell, which has a problem."""
    return Meaning(pa.nulls(1, TEXT), [Problem(error, message, np.ones(1, bool))])


def _literal(text: object) -> str:
    """In a message that is still to be filled in."""
    return str(text).replace('{', '{{').replace('}', '}}')


# -- texts by type


def _decoded(array: pa.Array) -> Meaning:
    try:
        return Meaning(array.cast(TEXT))
    except pa.ArrowInvalid:  # bytes that are not UTF-8: find out which
        texts = [None if v is None else v.decode('utf-8', 'replace') for v in array.to_pylist()]
        broken = [v is not None and not _is_utf8(v) for v in array.to_pylist()]
        return Meaning(pa.array(texts, TEXT), [Problem('NotUtf8', _NOT_UTF8, np.array(broken, bool))])


_NOT_UTF8 = 'The {role} is not valid UTF-8: repair the encoding of column {column!r}'


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_whole(array: pa.Array) -> np.ndarray:
    numbers = array.to_numpy(zero_copy_only=False)
    with np.errstate(invalid='ignore'):  # NaN
        return (numbers == np.floor(numbers)) & (np.abs(numbers) < 2.0 ** _EXACT[array.type])


def _is_vague(array: pa.Array) -> np.ndarray:
    """Where there is a float, at any depth, that its type cannot tell from the next whole number."""
    vague: np.ndarray = np.zeros(len(array), bool)
    if pa.types.is_floating(array.type):
        return np.abs(array.to_numpy(zero_copy_only=False)) >= 2.0 ** _EXACT[array.type]
    for child, rows in _children(array):
        vague |= _in_rows(_is_vague(child), rows, len(array))
    return vague


def _in_rows(mask: np.ndarray, rows: np.ndarray, num_rows: int) -> np.ndarray:
    """Which rows have a marked item, told the row of each."""
    out: np.ndarray = np.zeros(num_rows, bool)
    out[rows[mask]] = True
    return out


def _children(array: pa.Array) -> list[tuple[pa.Array, np.ndarray]]:
    """What structs, maps and lists hold: plain arrays, and of which row each of their items is."""
    if pa.types.is_struct(array.type):
        return [(plain(child), np.arange(len(array))) for child in array.flatten()]
    if pa.types.is_map(array.type):
        parts = [array.keys, array.items]
    elif pa.types.is_large_list(array.type):
        parts = [array.values]
    else:
        return []
    offsets = array.offsets.to_numpy()  # of the whole of which this may be a slice
    rows = np.repeat(np.arange(len(array)), np.diff(offsets))
    return [(plain(part.slice(offsets[0], len(rows))), rows) for part in parts]


def _float_texts(array: pa.Array) -> pa.Array:
    """Whole numbers as integers are written, others in as few digits as tell them apart."""
    numbers = array.to_numpy(zero_copy_only=False)
    whole = _is_whole(array)
    integers = pa.array(np.where(whole, numbers, 0).astype(np.int64)).cast(TEXT)
    texts = pc.if_else(pa.array(whole), integers, array.cast(TEXT)) if not whole.all() else integers
    return pc.if_else(pa.array(np.isnan(numbers)), pa.scalar(None, TEXT), texts)


def _decimal_text(value: decimal.Decimal) -> str:
    if abs(value.adjusted()) > _MOST_ZEROS:  # for 1E+999999999, a gigabyte of them
        return str(value.normalize(_WIDEST))
    text = f'{value:f}'
    text = text.rstrip('0').rstrip('.') if '.' in text else text
    return text if value else '0'


_MOST_ZEROS = 10_000
_WIDEST = decimal.Context(prec=decimal.MAX_PREC, Emin=decimal.MIN_EMIN, Emax=decimal.MAX_EMAX)


def _time_texts(array: pa.Array) -> Meaning:
    """ISO 8601, without the zeros that a finer unit adds."""
    texts = pc.replace_substring_regex(array.cast(TEXT), r'^(-?\d+-\d\d-\d\d) ', r'\1T')
    texts = pc.replace_substring_regex(texts, r'\.0+(Z?)$|(\.\d*?[1-9])0+(Z?)$', r'\1\2\3')
    beyond = pc.starts_with(texts, '<value out of range').fill_null(False).to_numpy(zero_copy_only=False)
    message = 'The {role} is a time beyond those that have a text (column {column!r})'
    return Meaning(texts, [Problem('OutOfRange', message, beyond)] if beyond.any() else [])


def _of_each(array: pa.Array, text: Callable[[Any], str]) -> pa.Array:
    return pa.array([None if value is None else text(value) for value in array.to_pylist()], TEXT)


def _of_cells(cells: Sequence[Meaning]) -> Meaning:
    """What cells mean that were looked at one by one."""
    texts = pa.array([values[0].as_py() for values, _ in cells], TEXT)
    first = [(problems[0], np.arange(len(cells)) == i) for i, (_, problems) in enumerate(cells) if problems]
    return Meaning(texts, [problem._replace(mask=mask) for problem, mask in first])


def _json_texts(array: pa.Array) -> Meaning:
    values, broken = _json_values(array)
    texts = [None if value is None or lost else _dumps(value) for value, lost in zip(values, broken, strict=True)]
    return Meaning(pa.array(texts, TEXT), [Problem('NotJson', _NO_JSON, broken)] if broken.any() else [])


def _json_values(array: pa.Array) -> tuple[list[Any], np.ndarray]:
    """What orjson writes for each cell of a plain array, and which have no form in JSON."""
    kind, types = array.type, pa.types
    if types.is_boolean(kind) or types.is_null(kind):
        return array.to_pylist(), np.zeros(len(array), bool)
    if not (types.is_struct(kind) or types.is_map(kind) or types.is_large_list(kind)):
        texts, problems = as_text(array)
        broken = np.any([problem.mask for problem in problems], axis=0) if problems else np.zeros(len(array), bool)
        is_number = types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)
        return [_json_number(t) if is_number else t for t in texts.to_pylist()], broken
    broken = np.zeros(len(array), bool)
    columns = []
    for child, rows in _children(array):
        cells, mask = _json_values(child)
        columns.append(cells)
        broken |= _in_rows(mask, rows, len(array))
    if types.is_struct(kind):
        names = [field.name for field in kind]
        broken |= len(set(names)) < len(names)
        values: list[Any] = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
        values = values or [{}] * len(array)  # a struct of nothing
    else:
        offsets = array.offsets.to_numpy() - array.offsets[0].as_py() if len(array) else np.zeros(1, int)
        bounds = list(itertools.pairwise(offsets.tolist()))
        if types.is_map(kind):
            keys = as_text(_children(array)[0][0]).values.to_pylist()
            values = [dict(zip(keys[a:b], columns[1][a:b], strict=True)) for a, b in bounds]
            broken |= np.array([len(value) < b - a for value, (a, b) in zip(values, bounds, strict=True)], bool)
        else:
            values = [columns[0][a:b] for a, b in bounds]
    valid = array.is_valid().to_pylist()
    return [value if there else None for value, there in zip(values, valid, strict=True)], broken


def _json_number(text: str | None) -> Any:
    """The number as it is written alone; infinity, for which JSON has none, is text."""
    return text if text is None or text.endswith('inf') else orjson.Fragment(text)
