"""`ToKTO`: answered records → a row a generation that says whether it is good."""

from __future__ import annotations

import functools

import pyarrow as pa

from beam_argilla.answers.aggregate import Aggregate
from beam_argilla.answers.answered import AnsweredRecord
from beam_argilla.answers.forms import Form, Made, check_number, check_text, judged, text_type
from beam_argilla.answers.judged import Fields
from beam_argilla.answers.ratings import rating_rows
from beam_argilla.errors import FormError


def schema(text: str) -> pa.Schema:
    """Of the rows."""
    kind = text_type(text)
    names = [('id', pa.string()), ('prompt', kind), ('completion', kind), ('label', pa.bool_())]
    return pa.schema([*names, ('model', pa.string()), ('suggested', pa.bool_())])


def kto_rows(record: AnsweredRecord, rule: Aggregate, fields: Fields, text: str, threshold: float | None) -> Made:
    """The rows of a record, and why others are left out.

    Raises:
        FormError, Unfit: as of `judged`; or these are no labels, and nobody says which scores are good.
    """
    found = judged(record, rule, fields, 'KTO rows')
    if threshold is None and found.kind != 'label':
        raise FormError(
            f'KTO rows are good or bad, and this dataset has a {found.kind}: say from which score on one is good, '
            'threshold=..., --threshold N.'
        )
    at_least = 1.0 if threshold is None else threshold
    made = rating_rows(record, rule, fields, text)
    return made._replace(
        rows=[
            {
                **{name: row[name] for name in ('id', 'prompt', 'completion', 'model', 'suggested')},
                'label': row['score'] >= at_least,
            }
            for row in made.rows
        ]
    )


class ToKTO(Form):
    """Makes rows of generations that are good or bad, as TRL's KTO trainer reads.

    Input: PCollection of `AnsweredRecord`. Output: PCollection of dicts: ``id`` (of the instruction), ``prompt``,
    ``completion``, ``label`` (whether it is good), ``model``, ``suggested``. A record without prompt or generation is
    refused: see `with_error_handler`.

    Args:
        aggregate: how several people's answers become one; with ``all``, there is a row of each person.
        threshold: the score from which on a generation is good; needed where people gave ratings or ranks (of these,
            the negative rank: -1 for the best alone). None: what a label says.
        text: ``plain`` texts, or ``messages`` with ``role`` and ``content``.
        fields: which of the dataset's fields and questions they are made of.

    Raises:
        ValueError: a threshold that is no number.
        FormError: (while running) the dataset's questions judge no generations, or the threshold is missing.

    Example:
        >>> answered | ba.ToKTO(threshold=4) | ba.WriteTrainingData('kto')
    """

    def __init__(
        self,
        aggregate: Aggregate | None = None,
        threshold: float | None = None,
        text: str = 'plain',
        fields: Fields | None = None,
    ):
        check_text(text)
        check_number('threshold', threshold)
        rule, fields = aggregate or Aggregate(), fields or Fields()
        make = functools.partial(kto_rows, rule=rule, fields=fields, text=text, threshold=threshold)
        super().__init__(schema(text), make, fields)
