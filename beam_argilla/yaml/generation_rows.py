"""Canonical tables → rows, as every step of Beam YAML takes and gives them; and what rows call their columns."""

from __future__ import annotations

import collections.abc
import typing
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Optional

import apache_beam as beam
import orjson
import pyarrow as pa
from apache_beam.typehints import schemas
from apache_beam.typehints.row_type import RowTypeConstraint

from beam_argilla.columns import Columns
from beam_argilla.errors import InputError
from beam_argilla.generations import MESSAGES, METADATA_PREFIX, SCORE, group_starts, rows
from beam_argilla.input.roles import USUAL

# Role → its column in rows of a generation each, and in rows of an instruction each, which have lists there.
_NAMES = {**USUAL, 'agent': ('agent', 'agents'), SCORE: ('rating_score', 'rating_scores')}
_KNOWN = {'instruction_id', 'instruction', 'position', *(name for names in _NAMES.values() for name in names)}


def _or_null(kind: Any) -> Any:
    return Optional[kind]  # noqa: UP045, for Beam knows nothing of what is in `kind | None`


def _list_of(kind: Any) -> Any:
    return collections.abc.Sequence[kind]


_TEXT, _NUMBER = _or_null(str), _or_null(float)
_TEXTS = _list_of(str)
_CHAT = _list_of(RowTypeConstraint.from_fields([('role', str), ('content', str)]))


class Shape(NamedTuple):
    """What rows of generations have besides what all of them have.

    Attributes:
        metadata: names of the columns that are kept.
        lists: those of them that hold lists.
        scores: there are exact scores beside the ratings.
        chat: instructions are messages.
    """

    metadata: tuple[str, ...] = ()
    lists: Collection[str] = ()
    scores: bool = False
    chat: bool = False


def generation_type(shape: Shape) -> RowTypeConstraint:
    """Of rows of a generation each.

    Raises:
        InputError: a column that is kept cannot be called so in a row.
    """
    fields = {
        'instruction_id': str,
        'instruction': _CHAT if shape.chat else str,
        'generation': str,
        **dict.fromkeys(('model_name', 'rating', 'rationale', 'agent'), _TEXT),
        'position': _or_null(int),
        **({'rating_score': _NUMBER} if shape.scores else {}),
    }
    return _row_type(fields, {name: _or_null(_TEXTS) if name in shape.lists else _TEXT for name in shape.metadata})


def group_type(shape: Shape) -> RowTypeConstraint:
    """Of rows of an instruction each.

    Raises:
        InputError: a column that is kept cannot be called so in a row.
    """
    fields = {
        'instruction_id': str,
        'instruction': _CHAT if shape.chat else str,
        'generations': _TEXTS,
        **dict.fromkeys(('generation_models', 'ratings', 'rationales', 'agents'), _list_of(_TEXT)),
        **({'rating_scores': _list_of(_NUMBER)} if shape.scores else {}),
    }
    return _row_type(fields, dict.fromkeys(shape.metadata, _or_null(_TEXTS)))


def _row_type(fields: Mapping[str, Any], metadata: Mapping[str, Any]) -> RowTypeConstraint:
    for name in metadata:
        if name in _KNOWN:
            raise InputError(f'Rows have a column {name!r} anyway: leave it out of columns.metadata.')
        if not name.isidentifier():
            raise InputError(
                f'Metadata {name!r} cannot be a column of rows, whose names are of letters, digits and underscores. '
                'Call it so in the files, or read them with a step of Beam YAML, such as ReadFromParquet.'
            )
    return RowTypeConstraint.from_fields([*fields.items(), *metadata.items()])


def generation_rows(table: pa.Table, shape: Shape) -> Iterator[beam.Row]:
    """Rows of a generation each of a canonical table."""
    for row in rows(table, nulls=True):
        shown = {name: row[name] for name in ('generation', 'model_name', 'rating', 'rationale', 'agent', 'position')}
        scores = {'rating_score': row.get(SCORE)} if shape.scores else {}
        kept = {name: _cell(row.get(METADATA_PREFIX + name), name in shape.lists) for name in shape.metadata}
        yield beam.Row(**_instruction(row, shape), **shown, **scores, **kept)


def group_rows(table: pa.Table, shape: Shape) -> Iterator[beam.Row]:
    """Rows of an instruction each of a canonical table of whole groups."""
    starts = group_starts(table).tolist()
    all_rows = rows(table, nulls=True)
    names = {role: of_group for role, (_, of_group) in _NAMES.items() if role != SCORE or shape.scores}
    for start, end in zip(starts, [*starts[1:], table.num_rows], strict=True):
        group = all_rows[start:end]
        lists = {name: [row.get(role) for row in group] for role, name in names.items()}
        kept = {name: _together(row.get(METADATA_PREFIX + name) for row in group) for name in shape.metadata}
        yield beam.Row(**_instruction(group[0], shape), **lists, **kept)


def _instruction(row: Mapping[str, Any], shape: Shape) -> dict[str, Any]:
    asked = row['instruction']
    if shape.chat:
        said = row.get(MESSAGES)
        messages = [{'role': 'user', 'content': asked}] if said is None else orjson.loads(said)
        asked = [beam.Row(role=message['role'], content=message['content']) for message in messages]
    return {'instruction_id': row['instruction_id'], 'instruction': asked}


def _cell(texts: list[str | None] | None, listed: bool) -> Any:
    """Metadata of one row; where no list was expected, several values are JSON."""
    if texts is None:
        return None
    if listed:
        return [text for text in texts if text is not None]
    return texts[0] if len(texts) == 1 else orjson.dumps(texts).decode()


def _together(cells: Iterable[list[str | None] | None]) -> list[str] | None:
    """The values of a group, each once."""
    found = list(dict.fromkeys(text for cell in cells for text in cell or () if text is not None))
    return found or None


def fields_of(kind: Any) -> dict[str, Any] | None:
    """Name → type of the columns of rows of this type; None if it does not say."""
    if isinstance(kind, RowTypeConstraint) or (isinstance(kind, type) and hasattr(kind, '_fields')):
        return dict(schemas.named_fields_from_element_type(kind))
    return None


def usual_columns(fields: Mapping[str, Any], metadata: Sequence[str] = ()) -> Columns:
    """What rows call their columns if nobody says otherwise: as those of `generation_type` and `group_type` do.

    Args:
        fields: name → type of the columns of the rows.
        metadata: those of them that are kept as metadata.
    """
    named = {name: name for name in ('instruction_id', 'position') if name in fields}
    agent = next((name for name in _NAMES['agent'] if name in fields), None)
    chat = _is_list(fields.get('instruction'))
    return Columns(**named, agent=agent, metadata=metadata, chat=chat)  # type: ignore[arg-type]


def further_columns(fields: Iterable[str]) -> list[str]:
    """The columns of such rows that mean nothing by their names."""
    return [name for name in fields if name not in _KNOWN]


def score_in(fields: Collection[str]) -> str | None:
    """The column of the exact scores that ratings stand for, if there is one."""
    return next((name for name in _NAMES[SCORE] if name in fields), None)


def _is_list(kind: Any) -> bool:
    options = typing.get_args(kind) if typing.get_origin(kind) is typing.Union else (kind,)
    return any(typing.get_origin(option) in (collections.abc.Sequence, list) for option in options)
