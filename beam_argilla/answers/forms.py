"""What the forms of training data have in common: texts or messages, schemas, and what is left out of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.metrics import Metrics

from beam_argilla.answers.answered import AnsweredRecord
from beam_argilla.conversations import Message, transcript
from beam_argilla.errors import FormError
from beam_argilla.metrics import NAMESPACE

TEXTS = ('plain', 'messages')
_MESSAGES = pa.list_(pa.struct([('role', pa.string()), ('content', pa.string())]))
Row = dict[str, Any]


def check_text(text: str) -> None:
    """Raises ValueError if it is no way to write texts."""
    if text not in TEXTS:
        raise ValueError(f'text={text!r}: use one of {", ".join(map(repr, TEXTS))}')


def text_type(text: str) -> pa.DataType:
    """Of prompts and completions."""
    return _MESSAGES if text == 'messages' else pa.string()


def prompt_of(record: AnsweredRecord, field: str, text: str) -> Any:
    """The prompt as a text, or as messages.

    Raises:
        FormError: the record has no such field.
    """
    value = record.fields.get(field)
    if value is None:
        names = ', '.join(map(repr, record.fields))
        raise FormError(
            f'A record has no field {field!r} for the prompt, but {names}: prompt=..., --prompt_field NAME.'
        )
    return said(value, 'user', text)


def said(value: Any, role: str, text: str) -> Any:
    """What a field says, as a text or as messages; of what is no chat, one of that role."""
    messages = value if isinstance(value, list) else [{'role': role, 'content': str(value)}]
    if text == 'messages':
        return [{'role': message['role'], 'content': message['content']} for message in messages]
    if not isinstance(value, list):
        return str(value)
    return transcript([Message(message['role'], message['content']) for message in messages])


def leave_out(reasons: Iterable[str]) -> None:
    """Counts what is left out, by reason."""
    for reason in reasons:
        Metrics.counter(NAMESPACE, f'left_out_{reason}').inc()


class Rows(beam.PTransform):
    """`AnsweredRecord`s → rows of a form, as dicts; the PCollection has their Arrow schema as `training_schema`.

    Args:
        schema: theirs.
        rows: record → its rows, and why others are left out.
    """

    def __init__(self, schema: pa.Schema, rows: Callable[[AnsweredRecord], tuple[list[Row], Sequence[str]]]):
        super().__init__()
        self._schema = schema
        self._rows = rows

    def expand(self, records: beam.PCollection) -> beam.PCollection:
        rows = records | 'Rows' >> beam.FlatMap(_rows_of, self._rows)
        return with_schema(rows, self._schema)


def with_schema(rows: beam.PCollection, schema: pa.Schema) -> beam.PCollection:
    """The PCollection, of which is known what its rows look like."""
    rows.element_type = dict
    rows.training_schema = schema
    return rows


def _rows_of(
    record: AnsweredRecord, rows: Callable[[AnsweredRecord], tuple[list[Row], Sequence[str]]]
) -> Iterator[Row]:
    made, reasons = rows(record)
    leave_out(reasons)
    Metrics.counter(NAMESPACE, 'training_rows').inc(len(made))
    return iter(made)


def unusable(record: AnsweredRecord, what: str, needs: str) -> FormError:
    """What is said of a dataset that a form cannot be made of."""
    questions = ', '.join(f'{name} ({kind})' for name, kind in record.questions.items()) or 'no question'
    return FormError(f'{what} need {needs}: this dataset asks {questions}.')
