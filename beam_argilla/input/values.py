"""Columns of cells, whatever their type → what they mean: text, a rating, metadata. Pure Arrow."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_argilla.generations import TEXT
from beam_argilla.input.layouts import is_list

# What datasets write where there is no rating.
_NO_RATING = pa.array(['', 'n/a', 'na', 'nan', 'none', 'null', '-'])


def as_text(column: pa.ChunkedArray) -> tuple[pa.Array, np.ndarray | None]:
    """The column as TEXT, and a mask of cells that are not UTF-8 (None if all are). Integers are written in decimal."""
    array = one_chunk(column.cast(_large(column.type)))
    if pa.types.is_large_string(array.type):
        array = array.cast(pa.large_binary())  # nobody checks the strings of a Parquet file; casting from bytes does
    try:
        return array.cast(TEXT), None
    except pa.ArrowInvalid:  # bytes that are not UTF-8: find out which
        decoded = [None if v is None else v.decode('utf-8', 'replace') for v in array.to_pylist()]
        invalid = [v is not None and not _valid_utf8(v) for v in array.to_pylist()]
        return pa.array(decoded, TEXT), np.array(invalid, bool)


def as_rating(column: pa.ChunkedArray) -> pa.Array:
    """Ratings as trimmed text; null, NaN and the ways to write 'none' become null."""
    text, _ = as_text(column)
    text = pc.utf8_trim_whitespace(text)
    nothing = pc.is_in(pc.utf8_lower(text), value_set=_NO_RATING.cast(TEXT))
    return pc.if_else(nothing, pa.scalar(None, TEXT), text)


def as_metadata(column: pa.ChunkedArray) -> pa.Array:
    """A metadata column as METADATA. Text whatever it was: then it is the same beside any other table."""
    if is_list(column.type):
        lists = one_chunk(column)
        if not pa.types.is_nested(lists.type.value_type):
            return pa.LargeListArray.from_arrays(*_offsets_and_texts(lists), mask=lists.is_null())
    array = one_chunk(column.cast(_large(column.type)))
    if pa.types.is_floating(array.type):  # NaN is pandas' null
        array = pc.if_else(pc.is_nan(array).fill_null(False), pa.scalar(None, array.type), array)
    texts = _texts(array)
    return pa.LargeListArray.from_arrays(pa.array(np.arange(len(texts) + 1)), texts, mask=texts.is_null())


def sha256(instructions: pa.Array) -> pa.Array:
    """The sha256 hex of each text, hashing each distinct text once: rows of a group share theirs."""
    encoded = instructions.dictionary_encode()
    hashes = [hashlib.sha256(v.encode()).hexdigest() for v in encoded.dictionary.to_pylist()]
    return pa.array(hashes, TEXT).take(encoded.indices)


def is_blank(array: pa.Array) -> np.ndarray:
    """Where the text is empty or white space alone. Null is not blank."""
    first = pc.utf8_slice_codeunits(array, 0, 1)  # most texts are seen not to be blank by their first character
    blank = pc.or_(pc.equal(pc.binary_length(array), 0), pc.utf8_is_space(first)).fill_null(False)
    if pc.any(blank).as_py():
        blank = pc.or_(pc.equal(pc.binary_length(array), 0), pc.utf8_is_space(array)).fill_null(False)
    return blank.to_numpy(zero_copy_only=False)


def null_where_blank(array: pa.Array) -> pa.Array:
    blank = is_blank(array)
    return pc.if_else(pa.array(blank), pa.scalar(None, TEXT), array) if blank.any() else array


def one_chunk(column: pa.ChunkedArray) -> pa.Array:
    array = column.combine_chunks()
    array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


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


def _offsets_and_texts(lists: pa.Array) -> tuple[pa.Array, pa.Array]:
    lengths = pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False)
    return pa.array(np.append(0, np.cumsum(lengths))), _texts(pc.list_flatten(lists))


def _texts(array: pa.Array) -> pa.Array:
    try:
        return array.cast(TEXT)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # what has no text form in Arrow
        return pa.array([None if v is None else str(v) for v in array.to_pylist()], TEXT)
