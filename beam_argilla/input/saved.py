"""Folders that datasets' `save_to_disk` writes, of a `Dataset`, a `DatasetDict` or distilabel's `Distiset`."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.io.filesystem import BeamIOError
from apache_beam.io.filesystems import FileSystems

from beam_argilla.errors import InputError

_DATASET, _SPLITS = 'dataset_info.json', 'dataset_dict.json'
_FEATURES = b'huggingface'  # in the metadata of schemas


def data_folder(folder: str, config: str | None, split: str | None) -> str | None:
    """The folder with the Arrow files of one split; None if datasets did not save it.

    Args:
        config: which configuration, if there are several.
        split: which split, if there are several.

    Raises:
        InputError: there is no such configuration or split, or it is not said which.
    """
    configs = sorted({path.split('/')[-2] for path in _found(f'{folder}/*/{_SPLITS}')})
    if configs:
        folder = f'{folder}/{_chosen("configuration", config, configs, folder)}'
    if _found(f'{folder}/{_SPLITS}'):
        with FileSystems.open(f'{folder}/{_SPLITS}') as file:
            splits = json.loads(file.read())['splits']
        folder = f'{folder}/{_chosen("split", split, splits, folder)}'
    return folder if _found(f'{folder}/{_DATASET}') else None


def _found(pattern: str) -> list[str]:
    try:
        (result,) = FileSystems.match([pattern])
    except BeamIOError:
        return []
    return [file.path for file in result.metadata_list]


def _chosen(kind: str, wanted: str | None, names: list[str], folder: str) -> str:
    option = 'config' if kind == 'configuration' else kind
    listed = ', '.join(map(repr, names))
    if wanted is None and len(names) > 1:
        raise InputError(f'{folder} has several {kind}s ({listed}): say which ({option}=..., --{option}).')
    if wanted is not None and wanted not in names:
        raise InputError(f'{folder} has no {kind} {wanted!r}; it has {listed}.')
    return names[0] if wanted is None else wanted


def with_class_names(schema: pa.Schema) -> pa.Schema:
    """The schema with text in the place of datasets' `ClassLabel`s."""
    for name in class_names(schema):
        index = schema.get_field_index(name)
        schema = schema.set(index, pa.field(name, pa.string()))
    return schema


def named(table: pa.Table) -> pa.Table:
    """The table with the names of datasets' `ClassLabel`s in the place of their numbers."""
    for name, texts in class_names(table.schema).items():
        numbers = table.column(name)
        known = pc.and_(pc.greater_equal(numbers, 0), pc.less(numbers, len(texts)))
        indexes = pc.if_else(known, numbers, pa.scalar(None, numbers.type))  # -1 is of what has no label
        values = pa.chunked_array([pa.array(texts, pa.string()).take(chunk) for chunk in indexes.chunks], pa.string())
        table = table.set_column(table.schema.get_field_index(name), pa.field(name, pa.string()), values)
    return table


def class_names(schema: pa.Schema) -> dict[str, list[str]]:
    """Column → the names of its classes, by what datasets writes into a schema."""
    try:
        features = json.loads((schema.metadata or {})[_FEATURES])['info']['features']
    except (KeyError, ValueError, TypeError):
        return {}
    return {
        name: feature['names']
        for name, feature in features.items()
        if _is_class_label(feature) and schema.names.count(name) == 1
        if pa.types.is_integer(schema.field(name).type)
    }


def _is_class_label(feature: Any) -> bool:
    return isinstance(feature, dict) and feature.get('_type') == 'ClassLabel' and isinstance(feature.get('names'), list)
