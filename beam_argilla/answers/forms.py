"""What the forms of training data have in common: texts or messages, what is left out, what is refused."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa

from beam_argilla.answers.aggregate import Aggregate
from beam_argilla.answers.answered import AnsweredRecord
from beam_argilla.answers.judged import Fields, Scores, asked, check_options, judgement, scores
from beam_argilla.conversations import Message, transcript
from beam_argilla.errors import FormError
from beam_argilla.failures import FailedRecord, to_json
from beam_argilla.metrics import count
from beam_argilla.refusing import Fallible, Refused, refuse
from beam_argilla.server.settings import DatasetSettings

TEXTS = ('plain', 'messages')
_MESSAGES = pa.list_(pa.struct([('role', pa.string()), ('content', pa.string())]))
Row = dict[str, Any]


class Made(NamedTuple):
    """Rows of a record, or what they are made of; and why others are left out."""

    rows: list[Any]
    left_out: Sequence[str] = ()


class Unfit(Exception):
    """A record that no row can be made of, while others of its dataset are well.

    Args:
        error: a short, stable name of the reason.
    """

    def __init__(self, error: str, message: str):
        super().__init__(message)
        self.error = error


def check_text(text: str) -> None:
    """Raises ValueError if it is no way to write texts."""
    if text not in TEXTS:
        raise ValueError(f'text={text!r}: use one of {", ".join(map(repr, TEXTS))}')


def check_number(name: str, value: float | None) -> None:
    """Raises ValueError if it is given, and infinite or no number: nothing is less than NaN, and nothing more."""
    if value is not None and not math.isfinite(value):
        raise ValueError(f'{name}={value}: give a number')


def text_type(text: str) -> pa.DataType:
    """Of prompts and completions."""
    return _MESSAGES if text == 'messages' else pa.string()


def prompt_of(record: AnsweredRecord, fields: Fields, text: str) -> Any:
    """The prompt as a text, or as messages.

    Raises:
        Unfit: the record has none.
    """
    value = record.fields.get(fields.prompt)
    if value is None:
        names = ', '.join(map(repr, record.fields))
        raise Unfit(
            'NoPrompt', f'There is no prompt in field {fields.prompt!r}: the record has {names}. Name the one it is in.'
        )
    return said(value, 'user', text)


def said(value: Any, role: str, text: str) -> Any:
    """What a field says, as messages (of what is no chat, one of that role), or as a text.

    A chat of one message is its text; a longer one is a transcript; what a custom field holds is JSON.
    """
    if isinstance(value, list):
        messages = [Message(message['role'], message['content']) for message in value]
    else:
        messages = [Message(role, value if isinstance(value, str) else to_json(value))]
    if text == 'messages':
        return [message._asdict() for message in messages]
    return messages[0].content if len(messages) == 1 else transcript(messages)


def judged(record: AnsweredRecord, rule: Aggregate, fields: Fields, what: str) -> Scores:
    """The record's generations with what the answers say of each.

    Args:
        what: the rows that shall be made, for people.

    Raises:
        FormError: the dataset's questions judge no generations.
        Unfit: the record has no generation.
    """
    if not fields.of(record.fields):
        names = ', '.join(map(repr, record.fields))
        raise Unfit('NoGenerations', f'None of the fields is a generation: the record has {names}. Name which are.')
    found = scores(record, rule, fields)
    if found is None:
        raise FormError(
            f'{what} need ratings of generations, a ranking of them, or a label of a single one: this dataset asks '
            f'{asked(record.questions)}. If one of these does that, name it.'
        )
    return found


class Form(Fallible):
    """Base of the transforms that make rows of `AnsweredRecord`s.

    Their output is a PCollection of dicts, whose columns `WriteTrainingData` knows; they are in `schema` as well. A
    record that no row can be made of is refused (`FailedRecord`, stage ``form``): see `with_error_handler`.

    Args:
        schema: of the rows.
        make: record → its rows, and why others are left out. Raises FormError where the dataset is not for this form.
        fields: which of a dataset's fields and questions the rows are made of.
    """

    def __init__(self, schema: pa.Schema, make: Callable[[AnsweredRecord], Made], fields: Fields):
        super().__init__()
        self.schema = schema
        self.fields = fields
        self._make = make

    def expand(self, records: beam.PCollection) -> beam.PCollection:
        return with_schema(self.made(records, 'training_rows'), self.schema)

    def made(self, records: beam.PCollection, metric: str) -> beam.PCollection:
        """What is made of each record, counted as this."""
        made = records | 'Rows' >> beam.ParDo(Make(self._make, metric)).with_outputs(Refused.TAG, main='rows')
        self.refuse(made[Refused.TAG])
        return made.rows

    def check(self, settings: DatasetSettings) -> None:
        """Sees that rows can be made of a dataset, before anything of it is read.

        Args:
            settings: of the dataset.

        Raises:
            FormError: they cannot.

        Example:
            >>> dataset = ba.check_dataset('ultrafeedback', connection=connection, must_exist=True)
            >>> ba.ToPreferencePairs(margin=1).check(dataset.settings)
        """
        names = [field['name'] for field in settings.fields]
        questions = {question['name']: question['settings']['type'] for question in settings.questions}
        self.fields.check(names)
        blank = AnsweredRecord('', None, 'pending', dict.fromkeys(names, ''), {}, (), (), questions, _THEN, _THEN)
        try:
            self._make(blank)
        except Unfit as e:
            raise FormError(str(e)) from e
        if (how := judgement(questions, self.fields.of(names), self.fields)) is not None:
            options = {q['name']: [o['value'] for o in q['settings'].get('options', ())] for q in settings.questions}
            check_options(how, options, self.fields)


_THEN = datetime(1970, 1, 1, tzinfo=timezone.utc)


def with_schema(rows: beam.PCollection, schema: pa.Schema) -> beam.PCollection:
    """The PCollection, of which is known what its rows look like."""
    rows.element_type = dict
    rows.training_schema = schema
    return rows


class Make(beam.DoFn):
    """Elements → what is made of each; that is counted, as is what is left out, by its reason."""

    def __init__(self, make: Callable[[Any], Made], metric: str):
        self._make = make
        self._metric = metric

    def process(self, element: Any) -> Iterator[Any]:
        try:
            made = self._make(element)
        except Unfit as e:
            data = to_json({'answered': {'record_id': element.record_id, 'fields': element.fields}})
            yield refuse(FailedRecord(element.external_id, 'form', e.error, str(e), None, data))
            return
        for reason in made.left_out:
            count(f'left_out_{reason}')
        count(self._metric, len(made.rows))
        yield from made.rows
