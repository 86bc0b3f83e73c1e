"""Arrow types that are others in disguise → what they hold. Pure Arrow.

Whatever an engine writes (dictionaries, views, fixed sizes, run ends, extension types), what comes after this knows
large_string, large_binary, numbers, times, large_list, struct and map.
"""

from __future__ import annotations

import functools
import uuid

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_argilla.generations import TEXT


def plain(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """The column in one piece, of a plain type. Texts are not checked to be UTF-8."""
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    if len(chunks) == 1:
        return _plain(chunks[0])
    return pa.concat_arrays([_plain(chunk) for chunk in chunks]) if chunks else _plain(pa.nulls(0, column.type))


@functools.lru_cache(maxsize=1024)
def plain_type(kind: pa.DataType) -> pa.DataType:
    """The type that a column of this one comes to."""
    return _plain(pa.nulls(0, kind)).type


def is_list(kind: pa.DataType) -> bool:
    """Whether each cell is a list, of whatever kind."""
    return pa.types.is_large_list(plain_type(kind))


def holds_structs(kind: pa.DataType) -> bool:
    """Whether cells of this type have fields, or items that have some."""
    if is_list(kind):
        return holds_structs(plain_type(kind).value_type)
    return pa.types.is_struct(kind) or pa.types.is_map(kind)


def list_lengths(lists: pa.Array) -> np.ndarray:
    """Items in each list; 0 for null."""
    return pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False)


def list_of(lists: pa.Array, items: pa.Array) -> pa.Array:
    """The lists with other items in the place of theirs."""
    offsets = pa.array(np.append(0, np.cumsum(list_lengths(lists))), pa.int64())
    return pa.LargeListArray.from_arrays(offsets, items, mask=lists.is_null() if lists.null_count else None)


def _plain(array: pa.Array) -> pa.Array:
    kind, types = array.type, pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return _of_extension(array)
    if types.is_dictionary(kind):  # by hand, both: Arrow decodes not all types
        return _plain(array.dictionary).take(array.indices)
    if types.is_run_end_encoded(kind):
        runs = np.searchsorted(array.run_ends, np.arange(len(array)) + array.offset, side='right')
        return _plain(array.values).take(pa.array(runs, pa.int64()))
    if types.is_string(kind) or types.is_string_view(kind):
        return array.cast(TEXT)
    if types.is_binary(kind) or types.is_binary_view(kind) or types.is_fixed_size_binary(kind):
        return array.cast(pa.large_binary())
    if _is_any_list(kind):
        return list_of(array, _plain(pc.list_flatten(array)))
    return array


def _of_extension(array: pa.ExtensionArray) -> pa.Array:
    name = getattr(array.type, 'extension_name', '')
    storage = array.storage
    if name == 'arrow.uuid':
        return pa.array([None if b is None else str(uuid.UUID(bytes=b)) for b in storage.to_pylist()], TEXT)
    if name.startswith('pandas.'):  # periods and intervals, which it stores as numbers
        return pa.array([str(v) if v == v else None for v in array.to_pandas()], TEXT)
    return storage.cast(pa.bool_()) if name == 'arrow.bool8' else _plain(storage)


def _is_any_list(kind: pa.DataType) -> bool:
    types = pa.types
    kinds = (types.is_list, types.is_large_list, types.is_fixed_size_list, types.is_list_view, types.is_large_list_view)
    return any(is_kind(kind) for is_kind in kinds)
