"""`ToRatings`: answered records → a row a generation with its score, for reward models."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import apache_beam as beam
import pyarrow as pa

from beam_argilla.answers.aggregate import Aggregate, judgement, scores
from beam_argilla.answers.answered import AnsweredRecord, instruction_id
from beam_argilla.answers.forms import Row, Rows, check_text, prompt_of, said, text_type, unusable


def schema(text: str) -> pa.Schema:
    """Of the rows."""
    kind = text_type(text)
    names = [('id', pa.string()), ('prompt', kind), ('completion', kind), ('score', pa.float64())]
    return pa.schema([*names, ('model', pa.string()), ('user', pa.string()), ('suggested', pa.bool_())])


def rating_rows(
    record: AnsweredRecord, rule: Aggregate, text: str, prompt: str, good: Sequence[str], bad: Sequence[str]
) -> tuple[list[Row], list[str]]:
    """The rows of a record, and why others are left out.

    Raises:
        FormError: the dataset's questions do not judge generations, or the record has no prompt.
    """
    if judgement(record) is None:
        raise unusable(record, 'Scores', 'ratings of generations, a ranking of them, or a label of a single one')
    people, reasons = scores(record, rule, good, bad)
    shared = {'id': instruction_id(record), 'prompt': prompt_of(record, prompt, text)}
    return [
        {
            **shared,
            'completion': said(scored.generation.text, 'assistant', text),
            'score': scored.score,
            'model': scored.generation.model_name,
            'user': scored.user,
            'suggested': scored.suggested,
        }
        for person in people
        for scored in person
    ], reasons


class ToRatings(beam.PTransform):
    """Makes a row of each generation that people judged.

    Input: PCollection of `AnsweredRecord`. Output: PCollection of dicts: ``id`` (of the instruction), ``prompt``,
    ``completion``, ``score`` (see `ToPreferencePairs`), ``model``, ``user`` (with ``all``, whose score it is; else
    null), ``suggested``.

    Args:
        aggregate, text, prompt, good, bad: see `ToPreferencePairs`.

    Raises:
        FormError: (while running) the dataset's questions do not judge generations, or a record has no prompt.

    Example:
        >>> answered | ba.ToRatings(ba.Aggregate('all')) | ba.WriteTrainingData('ratings')
    """

    def __init__(
        self,
        aggregate: Aggregate | None = None,
        text: str = 'plain',
        prompt: str = 'instruction',
        good: Sequence[str] = ('good',),
        bad: Sequence[str] = ('bad',),
    ):
        super().__init__()
        check_text(text)
        self.text = text
        self._rows = functools.partial(
            rating_rows, rule=aggregate or Aggregate(), text=text, prompt=prompt, good=tuple(good), bad=tuple(bad)
        )

    def expand(self, records: beam.PCollection) -> beam.PCollection:
        return records | Rows(schema(self.text), self._rows)
