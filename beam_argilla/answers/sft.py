"""`ToSFT`: answered records → the best, or the corrected, answer to each instruction."""

from __future__ import annotations

import functools

import pyarrow as pa

from beam_argilla.answers.aggregate import Aggregate, given
from beam_argilla.answers.answered import AnsweredRecord, Response, instruction_id
from beam_argilla.answers.forms import Form, Made, check_number, check_text, judged, prompt_of, said, text_type
from beam_argilla.answers.judged import Fields, asked, scores
from beam_argilla.errors import FormError


def schema(text: str) -> pa.Schema:
    """Of the rows."""
    kind = text_type(text)
    names = [('id', pa.string()), ('prompt', kind), ('completion', kind), ('model', pa.string())]
    return pa.schema([*names, ('score', pa.float64()), ('corrected_by', pa.string())])


def sft_rows(
    record: AnsweredRecord,
    rule: Aggregate,
    fields: Fields,
    text: str,
    corrected: str | None,
    min_score: float | None,
) -> Made:
    """The row of a record, or of each person, and why there is none.

    Raises:
        FormError: `corrected` is no text question; or without it, the dataset's questions judge no generations.
        Unfit: the record has no prompt, or no generation.
    """
    if corrected is not None and record.questions.get(corrected) != 'text':
        raise FormError(f'There is no text question {corrected!r}: this dataset asks {asked(record.questions)}.')
    shared = {'id': instruction_id(record), 'prompt': prompt_of(record, fields, text)}
    if corrected is not None:
        texts = _written(record, corrected, rule)
        if len(texts) >= rule.min_answers:
            last = max(texts, key=lambda response: (response.updated_at, response.user))
            completion = said(last.values[corrected], 'assistant', text)
            return Made([{**shared, 'completion': completion, 'model': None, 'score': None, 'corrected_by': last.user}])
        if not _judges(record, rule, fields):
            return Made([], ['too_few_answers' if texts else 'unanswered'])
    found = judged(record, rule, fields, 'Answers to learn from')
    rows, left_out = [], [*found.reasons]
    for scored in found.people:
        best = max(scored, key=lambda s: (s.score, -s.generation.position))
        if min_score is not None and best.score < min_score:
            left_out.append('below_min_score')
            continue
        completion = said(best.generation.text, 'assistant', text)
        model = best.generation.model_name
        rows.append({**shared, 'completion': completion, 'model': model, 'score': best.score, 'corrected_by': None})
    return Made(rows, left_out)


def _written(record: AnsweredRecord, question: str, rule: Aggregate) -> list[Response]:
    """The responses in which somebody wrote a text."""
    texts = given(record, question, rule)
    return [r for r in record.responses if r.status == 'submitted' and texts.get(r.user)]


def _judges(record: AnsweredRecord, rule: Aggregate, fields: Fields) -> bool:
    return bool(fields.of(record.fields)) and scores(record, rule, fields) is not None


class ToSFT(Form):
    """Takes the best generation of each record, or what somebody wrote in its place.

    Input: PCollection of `AnsweredRecord`. Output: PCollection of dicts: ``id`` (of the instruction), ``prompt``,
    ``completion``, ``model`` and ``score`` (null of a corrected answer), ``corrected_by``. A record without prompt or
    generation is refused: see `with_error_handler`.

    Args:
        aggregate: how several people's answers become one; with ``all``, there is a row of each person's best. Of
            generations with the same score, the first.
        corrected: the text question in which people write the answer as it should be. Of several people's, the one that
            was changed last is taken; where fewer wrote one than ``min_answers`` of `aggregate`, the best generation.
        min_score: generations with less are left out. Of records with a single generation that is labelled good or bad,
            1 takes the good ones.
        text: ``plain`` texts, or ``messages`` with ``role`` and ``content``.
        fields: which of the dataset's fields and questions they are made of.

    Raises:
        ValueError: a score that is no number.
        FormError: (while running) there is no such text question; or without it, the dataset's questions judge no
            generations.

    Example:
        >>> answered | ba.ToSFT(corrected='better-answer', min_score=4) | ba.WriteTrainingData('sft')
    """

    def __init__(
        self,
        aggregate: Aggregate | None = None,
        corrected: str | None = None,
        min_score: float | None = None,
        text: str = 'plain',
        fields: Fields | None = None,
    ):
        check_text(text)
        check_number('min_score', min_score)
        rule, fields = aggregate or Aggregate(), fields or Fields()
        make = functools.partial(
            sft_rows, rule=rule, fields=fields, text=text, corrected=corrected, min_score=min_score
        )
        super().__init__(schema(text), make, fields)
