"""Rows of training data, which are dicts elsewhere, as Beam YAML has them, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.portability.api import schema_pb2
from apache_beam.typehints import schemas
from apache_beam.typehints.arrow_type_compatibility import arrow_schema_from_beam_schema, beam_schema_from_arrow_schema

from beam_argilla.errors import InputError


def row_type(schema: pa.Schema) -> Any:
    """Of rows with this Arrow schema."""
    return schemas.named_tuple_from_schema(beam_schema_from_arrow_schema(schema))


def schema_of(kind: Any) -> pa.Schema:
    """The Arrow schema of rows of this type.

    Raises:
        InputError: it does not say what its columns are, or Arrow has nothing like one of them.
    """
    try:
        fields = schemas.schema_from_element_type(kind).fields
    except TypeError as e:
        raise InputError('It is not known what columns the rows have: say so with MapToFields.') from e
    return pa.schema([_arrow_field(field) for field in fields])


def _arrow_field(field: schema_pb2.Field) -> pa.Field:
    try:
        return _plain(arrow_schema_from_beam_schema(schema_pb2.Schema(fields=[field])).field(0))
    except (NotImplementedError, TypeError, ValueError) as e:
        raise InputError(
            f'It is not known what type of values the column {field.name!r} has: say so with MapToFields, '
            f'{field.name}: {{expression: ..., output_type: ...}}.'
        ) from e


def _plain(field: pa.Field) -> pa.Field:
    """The field without what Beam notes beside it, which is another one on each run."""
    kind = field.type
    if pa.types.is_list(kind):
        kind = pa.list_(_plain(kind.value_field))
    elif pa.types.is_struct(kind):
        kind = pa.struct([_plain(kind.field(i)) for i in range(kind.num_fields)])
    return pa.field(field.name, kind, field.nullable)


def as_row(value: Any) -> Any:
    """Dicts, wherever they stand, as rows."""
    if isinstance(value, Mapping):
        return beam.Row(**{name: as_row(item) for name, item in value.items()})
    return [as_row(item) for item in value] if isinstance(value, list) else value


def as_dict(value: Any) -> Any:
    """Rows, wherever they stand, as dicts."""
    if hasattr(value, '_asdict'):
        return {name: as_dict(item) for name, item in value._asdict().items()}
    return [as_dict(item) for item in value] if isinstance(value, (list, tuple)) else value
