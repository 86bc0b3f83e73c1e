"""`ToSFT`: answered records → the best, or the corrected, answer to each instruction."""

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
    names = [('id', pa.string()), ('prompt', kind), ('completion', kind), ('model', pa.string())]
    return pa.schema([*names, ('score', pa.float64()), ('corrected_by', pa.string())])


def sft_rows(
    record: AnsweredRecord,
    rule: Aggregate,
    text: str,
    prompt: str,
    good: Sequence[str],
    bad: Sequence[str],
    corrected: str | None,
    min_score: float | None,
) -> tuple[list[Row], list[str]]:
    """The row of a record, and why there is none.

    Raises:
        FormError: neither do the dataset's questions judge generations, nor is there a question with corrected texts.
    """
    shared = {'id': instruction_id(record), 'prompt': prompt_of(record, prompt, text)}
    texts = [
        (response.updated_at, response.user, response.values[corrected or ''])
        for response in record.responses
        if response.status == 'submitted'
        and response.values.get(corrected or '')
        and rule.user in (None, response.user)
    ]
    if texts:
        _, user, best = max(texts)
        written = said(best, 'assistant', text)
        return [{**shared, 'completion': written, 'model': None, 'score': None, 'corrected_by': user}], []
    if judgement(record) is None:
        if corrected in record.questions:
            return [], ['unanswered']
        raise unusable(
            record, 'Answers to learn from', 'ratings, a ranking or labels, or corrected=..., a text question'
        )
    people, reasons = scores(record, rule, good, bad)
    rows = []
    for scored in people:
        best_one = max(scored, key=lambda s: (s.score, -s.generation.position))
        if min_score is not None and best_one.score < min_score:
            reasons.append('below_min_score')
            continue
        written = said(best_one.generation.text, 'assistant', text)
        model = best_one.generation.model_name
        rows.append({**shared, 'completion': written, 'model': model, 'score': best_one.score, 'corrected_by': None})
    return rows, reasons


class ToSFT(beam.PTransform):
    """Takes the best generation of each record, or what somebody wrote in its place.

    Input: PCollection of `AnsweredRecord`. Output: PCollection of dicts: ``id`` (of the instruction), ``prompt``,
    ``completion``, ``model`` and ``score`` (null of a corrected answer), ``corrected_by``.

    Args:
        aggregate, text, prompt, good, bad: see `ToPreferencePairs`. Of generations with the same score, the first.
        corrected: the text question in which people write the answer as it should be. Of several people's, the one that
            was changed last is taken; where nobody wrote one, the best generation.
        min_score: generations with less are left out. Of records with a single generation that is labelled good or bad,
            1 takes the good ones.

    Raises:
        FormError: (while running) neither do the dataset's questions judge generations, nor is there such a question;
            or a record has no prompt.

    Example:
        >>> answered | ba.ToSFT(corrected='better-answer', min_score=4) | ba.WriteTrainingData('sft')
    """

    def __init__(
        self,
        aggregate: Aggregate | None = None,
        text: str = 'plain',
        prompt: str = 'instruction',
        good: Sequence[str] = ('good',),
        bad: Sequence[str] = ('bad',),
        corrected: str | None = None,
        min_score: float | None = None,
    ):
        super().__init__()
        check_text(text)
        self.text = text
        self._rows = functools.partial(
            sft_rows,
            rule=aggregate or Aggregate(),
            text=text,
            prompt=prompt,
            good=tuple(good),
            bad=tuple(bad),
            corrected=corrected,
            min_score=min_score,
        )

    def expand(self, records: beam.PCollection) -> beam.PCollection:
        return records | Rows(schema(self.text), self._rows)
