"""What a value means, whatever its type: text, an id, a rating, a position, metadata.

Each is a function of the value alone, never of the rows beside it, so a value means the same in every file, table and
row: 1, 1.0 and Decimal('1.00') are the text ``1``. These functions take arrays of plain types (`plain`); `cell` makes
one of any Python object.
"""

from __future__ import annotations

import dataclasses
import decimal
import enum
import hashlib
import uuid
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from beam_argilla.failures import to_json
from beam_argilla.generations import METADATA, TEXT
from beam_argilla.input.plain import is_list, list_lengths, list_of, plain, plain_type

# What datasets write where there is no rating.
_NO_RATING = pa.array(['', 'n/a', 'na', 'nan', 'none', 'null', '-'])
# Beyond this a float skips integers, so that two ids could have become one: bits of the significand.
_EXACT = {pa.float32(): 24, pa.float64(): 53}


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
        return Meaning(_time_texts(array))
    if types.is_duration(kind):  # in seconds
        per_second = {'s': 1, 'ms': 10**3, 'us': 10**6, 'ns': 10**9}[kind.unit]
        seconds = array.cast(pa.int64()).to_pylist()
        texts = [None if n is None else _decimal_text(decimal.Decimal(n) / per_second) for n in seconds]
        return Meaning(pa.array(texts, TEXT))
    if types.is_null(kind) or types.is_boolean(kind) or types.is_integer(kind) or types.is_date(kind):
        return Meaning(array.cast(TEXT))
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
    vague: np.ndarray = np.zeros(len(array), bool)
    if pa.types.is_floating(array.type):
        vague = ~(_is_whole(array) | np.isnan(array.to_numpy(zero_copy_only=False)))
    elif pa.types.is_decimal(array.type):
        vague = pc.match_substring(text, '.').fill_null(False).to_numpy(zero_copy_only=False)
    return Meaning(text, [*problems, Problem('NotAnId', _NO_ID, vague)] if vague.any() else problems)


_NO_ID = (
    'The {role} is a number with a fraction, or so large that its type cannot tell it from the next (column '
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
    row_of_item = np.repeat(np.arange(len(array)), list_lengths(array))
    spread = []
    for problem in problems:
        mask: np.ndarray = np.zeros(len(array), bool)
        mask[row_of_item[problem.mask]] = True
        spread.append(problem._replace(mask=mask))
    return Meaning(list_of(array, texts).cast(METADATA), spread)


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
    return pa.types.is_floating(array.type) and bool(np.isnan(array.to_numpy(zero_copy_only=False)).all())


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
        return not value.is_valid or is_missing(value.as_py())
    return type(value).__name__ in ('NAType', 'NaTType')  # pandas', which need not be there


def as_mapping(value: Any) -> dict[Any, Any] | None:
    """The value as a dict, if it is a mapping, a `beam.Row`, a NamedTuple, a data class or a pydantic model."""
    if isinstance(value, Mapping):
        return dict(value)
    for as_dict in ('_asdict', 'as_dict', 'model_dump'):
        if hasattr(value, as_dict) and not isinstance(value, type):
            return dict(getattr(value, as_dict)())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return None


def as_list(value: Any) -> list[Any] | None:
    """The items, if it is a list of any kind (tuple, array, Series, set, ...); None if it is one value."""
    if isinstance(value, (str, bytes, bytearray, memoryview)) or as_mapping(value) is not None:
        return None
    if isinstance(value, pa.Scalar):
        return as_list(value.as_py())
    if isinstance(value, Set):  # which has no order of its own
        return sorted(value, key=lambda item: (type(item).__name__, str(item)))
    if isinstance(value, Sequence):
        return list(value)
    if hasattr(value, '__array__') and hasattr(value, '__len__'):  # numpy's, pandas', Arrow's, Polars'
        return list(value) if getattr(value, 'ndim', 1) else None
    return None


def cell(value: Any) -> pa.Array:
    """A plain array of this one value, which is neither missing nor a list nor a mapping.

    Raises:
        TypeError: it has no text.
    """
    if isinstance(value, pa.Scalar):
        return plain(pa.array([value.as_py()], value.type))
    if isinstance(value, enum.Enum):
        return cell(value.value)
    if isinstance(value, uuid.UUID):
        return pa.array([str(value)], TEXT)
    if isinstance(value, (bytearray, memoryview)):
        value = bytes(value)
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**63:
        value = decimal.Decimal(value)
    if hasattr(value, 'to_datetime64'):  # pandas' Timestamp, whose nanoseconds Arrow does not see
        moments = pa.array([value.to_datetime64()])
        return moments if value.tz is None else moments.cast(pa.timestamp(moments.type.unit, 'UTC'))
    if isinstance(value, np.datetime64) and np.datetime_data(value)[0] not in ('D', 's', 'ms', 'us', 'ns'):
        value = value.astype('datetime64[s]')
    try:
        return plain(pa.array([value]))
    except (pa.ArrowException, OverflowError, ValueError, TypeError):
        return pa.array([_own_text(value)], TEXT)


def _own_text(value: Any) -> str:
    """What an object says of itself, but for where it lies in memory, which is another text each time."""
    try:
        text = str(value)
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
    if kind is float and value.is_integer() and abs(value) <= 2.0**53:
        return str(int(value))
    return repr(value) if kind is float and 1e-4 <= abs(value) < 1e10 else None


def json_text(value: Any) -> str:
    """JSON with sorted keys: mappings that are equal are the same text."""
    return orjson.dumps(orjson.loads(to_json(value)), option=orjson.OPT_SORT_KEYS).decode()


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
        return (numbers == np.floor(numbers)) & (np.abs(numbers) <= 2.0 ** _EXACT[array.type])


def _float_texts(array: pa.Array) -> pa.Array:
    """Whole numbers as integers are written, others in as few digits as tell them apart."""
    numbers = array.to_numpy(zero_copy_only=False)
    whole = _is_whole(array)
    integers = pa.array(np.where(whole, numbers, 0).astype(np.int64)).cast(TEXT)
    texts = pc.if_else(pa.array(whole), integers, array.cast(TEXT)) if not whole.all() else integers
    return pc.if_else(pa.array(np.isnan(numbers)), pa.scalar(None, TEXT), texts)


def _decimal_text(value: decimal.Decimal) -> str:
    return f'{value.normalize(_WIDE):f}' if value else '0'


_WIDE = decimal.Context(prec=100)  # of more digits than any Arrow decimal


def _time_texts(array: pa.Array) -> pa.Array:
    """ISO 8601, without the zeros that a finer unit adds."""
    texts = pc.replace_substring_regex(array.cast(TEXT), r'^(-?\d+-\d\d-\d\d) ', r'\1T')
    return pc.replace_substring_regex(texts, r'\.0+(Z?)$|(\.\d*?[1-9])0+(Z?)$', r'\1\2\3')


def _of_each(array: pa.Array, text: Callable[[Any], str]) -> pa.Array:
    return pa.array([None if value is None else text(value) for value in array.to_pylist()], TEXT)


def _json_texts(array: pa.Array) -> Meaning:
    texts: list[str | None] = []
    broken: np.ndarray = np.zeros(len(array), bool)
    for index, scalar in enumerate(array):
        try:
            value = _without_pairs(scalar.as_py(), array.type)
            texts.append(None if value is None else json_text(value))
        except (ValueError, OverflowError):  # a text that is not UTF-8, a time that Python has not
            texts.append(None)
            broken[index] = True
    message = 'The {role} has no form in JSON (column {column!r})'
    return Meaning(pa.array(texts, TEXT), [Problem('NotJson', message, broken)] if broken.any() else [])


def _without_pairs(value: Any, kind: pa.DataType) -> Any:
    """Maps as dicts, at any depth; Arrow makes lists of pairs of them."""
    if value is None:
        return None
    if pa.types.is_map(kind):
        return {str(k): _without_pairs(v, kind.item_type) for k, v in value}
    if pa.types.is_struct(kind):
        return {field.name: _without_pairs(value[field.name], field.type) for field in kind}
    if is_list(kind):
        return [_without_pairs(item, plain_type(kind).value_type) for item in value]
    return value
