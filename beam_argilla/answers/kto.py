"""`ToKTO`: answered records → a row a generation that says whether it is good."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import apache_beam as beam
import pyarrow as pa

from beam_argilla.answers.aggregate import Aggregate, judgement
from beam_argilla.answers.answered import AnsweredRecord
from beam_argilla.answers.forms import Row, Rows, check_text, text_type
from beam_argilla.answers.ratings import rating_rows
from beam_argilla.errors import FormError


def schema(text: str) -> pa.Schema:
    """Of the rows."""
    kind = text_type(text)
    names = [('id', pa.string()), ('prompt', kind), ('completion', kind), ('label', pa.bool_())]
    return pa.schema([*names, ('model', pa.string()), ('suggested', pa.bool_())])


def kto_rows(
    record: AnsweredRecord,
    rule: Aggregate,
    text: str,
    prompt: str,
    good: Sequence[str],
    bad: Sequence[str],
    threshold: float | None,
) -> tuple[list[Row], list[str]]:
    """The rows of a record, and why others are left out.

    Raises:
        FormError: the dataset's questions do not judge generations, or they are ratings and nobody says which are good.
    """
    rows, reasons = rating_rows(record, rule, text, prompt, good, bad)
    how = judgement(record)
    if threshold is None and how is not None and how.kind != 'label':
        raise FormError(
            f'KTO rows are good or bad, and this dataset has a {how.kind}: say from which score on one is good, '
            'threshold=..., --threshold N.'
        )
    at_least = 1.0 if threshold is None else threshold
    return [
        {
            **{name: row[name] for name in ('id', 'prompt', 'completion', 'model', 'suggested')},
            'label': row['score'] >= at_least,
        }
        for row in rows
    ], reasons


class ToKTO(beam.PTransform):
    """Makes rows of generations that are good or bad, as TRL's KTO trainer reads.

    Input: PCollection of `AnsweredRecord`. Output: PCollection of dicts: ``id`` (of the instruction), ``prompt``,
    ``completion``, ``label`` (whether it is good), ``model``, ``suggested``.

    Args:
        aggregate, text, prompt, good, bad: see `ToPreferencePairs`.
        threshold: the score from which on a generation is good; needed where people gave ratings or ranks (of these,
            the negative rank: -1 for the best alone). None: what a label says.

    Raises:
        FormError: (while running) the dataset's questions do not judge generations, a record has no prompt, or the
            threshold is missing.

    Example:
        >>> answered | ba.ToKTO(threshold=4) | ba.WriteTrainingData('kto')
    """

    def __init__(
        self,
        aggregate: Aggregate | None = None,
        text: str = 'plain',
        prompt: str = 'instruction',
        good: Sequence[str] = ('good',),
        bad: Sequence[str] = ('bad',),
        threshold: float | None = None,
    ):
        super().__init__()
        check_text(text)
        self.text = text
        self._rows = functools.partial(
            kto_rows,
            rule=aggregate or Aggregate(),
            text=text,
            prompt=prompt,
            good=tuple(good),
            bad=tuple(bad),
            threshold=threshold,
        )

    def expand(self, records: beam.PCollection) -> beam.PCollection:
        return records | Rows(schema(self.text), self._rows)
