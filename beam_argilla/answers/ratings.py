"""`ToRatings`: answered records → a row a generation with its score, for reward models."""

from __future__ import annotations

import functools

import pyarrow as pa

from beam_argilla.answers.aggregate import Aggregate
from beam_argilla.answers.answered import AnsweredRecord, instruction_id
from beam_argilla.answers.forms import Form, Made, check_text, judged, prompt_of, said, text_type
from beam_argilla.answers.judged import Fields


def schema(text: str) -> pa.Schema:
    """Of the rows."""
    kind = text_type(text)
    names = [('id', pa.string()), ('prompt', kind), ('completion', kind), ('score', pa.float64())]
    return pa.schema([*names, ('model', pa.string()), ('user', pa.string()), ('suggested', pa.bool_())])


def rating_rows(record: AnsweredRecord, rule: Aggregate, fields: Fields, text: str) -> Made:
    """The rows of a record, and why others are left out.

    Raises:
        FormError, Unfit: as of `judged`.
    """
    found = judged(record, rule, fields, 'Scores')
    shared = {'id': instruction_id(record), 'prompt': prompt_of(record, fields, text)}
    rows = [
        {
            **shared,
            'completion': said(scored.generation.text, 'assistant', text),
            'score': scored.score,
            'model': scored.generation.model_name,
            'user': scored.user,
            'suggested': scored.suggested,
        }
        for person in found.people
        for scored in person
    ]
    return Made(rows, found.reasons)


class ToRatings(Form):
    """Makes a row of each generation that people judged.

    Input: PCollection of `AnsweredRecord`. Output: PCollection of dicts: ``id`` (of the instruction), ``prompt``,
    ``completion``, ``score`` (see `ToPreferencePairs`), ``model``, ``user`` (with ``all``, whose score it is; else
    null), ``suggested``. A record without prompt or generation is refused: see `with_error_handler`.

    Args:
        aggregate: how several people's answers become one; with ``all``, there is a row of each person.
        text: ``plain`` texts, or ``messages`` with ``role`` and ``content``.
        fields: which of the dataset's fields and questions they are made of.

    Raises:
        FormError: (while running) the dataset's questions judge no generations.

    Example:
        >>> answered | ba.ToRatings(ba.Aggregate('all')) | ba.WriteTrainingData('ratings')
    """

    def __init__(self, aggregate: Aggregate | None = None, text: str = 'plain', fields: Fields | None = None):
        check_text(text)
        rule, fields = aggregate or Aggregate(), fields or Fields()
        super().__init__(schema(text), functools.partial(rating_rows, rule=rule, fields=fields, text=text), fields)
