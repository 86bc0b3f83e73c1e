"""`ToPreferencePairs`: answered records → pairs of a chosen and a rejected generation, for DPO and reward models."""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa

from beam_argilla.answers.aggregate import Aggregate
from beam_argilla.answers.answered import AnsweredRecord, instruction_id
from beam_argilla.answers.forms import (
    Form,
    Made,
    Make,
    Row,
    check_number,
    check_text,
    judged,
    prompt_of,
    said,
    text_type,
    with_schema,
)
from beam_argilla.answers.judged import Fields, Scored
from beam_argilla.errors import FormError

PAIRS = ('best_worst', 'best_each', 'all')


def schema(text: str) -> pa.Schema:
    """Of the rows."""
    kind = text_type(text)
    return pa.schema(
        [
            ('id', pa.string()),
            ('prompt', kind),
            ('chosen', kind),
            ('rejected', kind),
            ('chosen_score', pa.float64()),
            ('rejected_score', pa.float64()),
            ('chosen_model', pa.string()),
            ('rejected_model', pa.string()),
            ('suggested', pa.bool_()),
        ]
    )


def pairs_of(scored: Sequence[Scored], pairs: str, margin: float) -> tuple[list[tuple[Scored, Scored]], list[str]]:
    """(chosen, rejected) of generations with scores, and why others are left out.

    Of those with the same score, the one that stands before is taken. Left out is ``single`` (there is no second one),
    the ``same_text`` on both sides, a ``tie``, or what differs by less than the ``margin``.

    Args:
        pairs: see `ToPreferencePairs`.
        margin: how much scores must differ at least; 0: at all.
    """
    ordered = sorted(scored, key=_order)
    if len(ordered) < 2:
        return [], ['single'] * len(ordered)
    if pairs == 'best_worst':
        # Of several that are the worst, the first.
        worst = next(s for s in ordered if s.score == ordered[-1].score and s is not ordered[0])
        candidates: Iterable[tuple[Scored, Scored]] = [(ordered[0], worst)]
    elif pairs == 'best_each':
        candidates = ((ordered[0], other) for other in ordered[1:])
    else:
        candidates = itertools.combinations(ordered, 2)
    found, reasons = [], []
    for chosen, rejected in candidates:
        difference = chosen.score - rejected.score
        if chosen.generation.text == rejected.generation.text:
            reasons.append('same_text')
        elif difference == 0:
            reasons.append('tie')
        elif difference < margin:
            reasons.append('margin')
        else:
            found.append((chosen, rejected))
    return found, reasons


def _order(scored: Scored) -> tuple[Any, ...]:
    generation = scored.generation
    return -scored.score, generation.position, str(generation.text), generation.model_name or ''


class ToPreferencePairs(Form):
    """Makes pairs of generations out of what people answered.

    Input: PCollection of `AnsweredRecord`. Output: PCollection of dicts: ``id`` (of the instruction), ``prompt``,
    ``chosen``, ``rejected``, ``chosen_score``, ``rejected_score``, ``chosen_model``, ``rejected_model``, and
    ``suggested``: whether a score is a suggestion that nobody has confirmed. That is what TRL's and LLaMA-Factory's DPO
    and reward trainers read. Within an instruction they are in a stable order.

    Scores are ratings of generations, ranks (negative, so that more is better), labels that say good (1) or bad (0) of
    the one generation of a record, or 1 for the generation that was chosen from several, else 0.

    A record without prompt or generation is refused: see `with_error_handler`.

    Metrics (namespace ``beam_argilla``): ``training_rows``, ``left_out_tie``, ``left_out_margin``, ``left_out_single``,
    ``left_out_same_text``, ``left_out_unanswered``, ``left_out_too_few_answers``, ``left_out_unranked``,
    ``left_out_other_label``.

    Args:
        aggregate: how several people's answers become one; with ``all``, each person's make pairs of their own.
        pairs: ``best_worst``: the best with the worst of an instruction; ``best_each``: the best with each other;
            ``all``: each with each.
        margin: how much two scores must differ at least; 0: at all.
        text: ``plain`` texts, or ``messages`` with ``role`` and ``content``, as TRL's conversational form.
        fields: which of the dataset's fields and questions they are made of.
        across_records: brings the records of one instruction (by the field ``id``, and the prompt) together by a
            shuffle: for datasets whose records show a single generation, such as `TextGeneration`'s.

    Raises:
        ValueError: an unknown way, or a margin that is negative or no number.
        FormError: (while running) the dataset's questions judge no generations, or its records show a single one and
            `across_records` is not set.

    Example:
        >>> pairs = p | ba.ReadFromArgilla('ultrafeedback', connection=connection) | ba.ToPreferencePairs(margin=1)
        >>> pairs | ba.WriteTrainingData('dpo')
    """

    def __init__(
        self,
        aggregate: Aggregate | None = None,
        pairs: str = 'best_worst',
        margin: float = 0.0,
        text: str = 'plain',
        fields: Fields | None = None,
        across_records: bool = False,
    ):
        if pairs not in PAIRS:
            raise ValueError(f'pairs={pairs!r}: use one of {", ".join(map(repr, PAIRS))}')
        check_number('margin', margin)
        if margin < 0:
            raise ValueError(f'margin={margin}: it must not be negative')
        check_text(text)
        rule, fields = aggregate or Aggregate(), fields or Fields()
        self.across_records = across_records
        self._pair = functools.partial(pair_rows, pairs=pairs, margin=margin, text=text)
        judge = functools.partial(_judged, rule=rule, fields=fields, text=text)
        apart = functools.partial(_keyed, judge=judge, prompt=fields.prompt)
        whole = functools.partial(_paired, judge=judge, pair=self._pair, fields=fields)
        super().__init__(schema(text), apart if across_records else whole, fields)

    def expand(self, records: beam.PCollection) -> beam.PCollection:
        if not self.across_records:
            return super().expand(records)
        rows = (
            self.made(records, 'records_judged')
            | 'Group' >> beam.GroupByKey()
            | 'Join' >> beam.MapTuple(_joined)
            | 'Pair' >> beam.ParDo(Make(self._pair, 'training_rows'))
        )
        return with_schema(rows, self.schema)


class Judged(NamedTuple):
    """An instruction, and the generations of it that have a score: those of each person, or of all."""

    id: str
    prompt: Any
    people: list[list[Scored]]


def pair_rows(judged: Judged, pairs: str, margin: float, text: str) -> Made:
    """The pairs of an instruction, and why others are left out."""
    rows: list[Row] = []
    left_out: list[str] = []
    for scored in judged.people:
        found, reasons = pairs_of(scored, pairs, margin)
        left_out += reasons
        rows += [
            {
                'id': judged.id,
                'prompt': judged.prompt,
                'chosen': said(chosen.generation.text, 'assistant', text),
                'rejected': said(rejected.generation.text, 'assistant', text),
                'chosen_score': chosen.score,
                'rejected_score': rejected.score,
                'chosen_model': chosen.generation.model_name,
                'rejected_model': rejected.generation.model_name,
                'suggested': chosen.suggested or rejected.suggested,
            }
            for chosen, rejected in found
        ]
    return Made(rows, left_out)


Judge = Callable[[AnsweredRecord], tuple[Judged, list[str]]]


def _judged(record: AnsweredRecord, rule: Aggregate, fields: Fields, text: str) -> tuple[Judged, list[str]]:
    """The record's generations with their scores, and why others have none."""
    found = judged(record, rule, fields, 'Pairs')
    return Judged(instruction_id(record), prompt_of(record, fields, text), found.people), found.reasons


def _paired(record: AnsweredRecord, judge: Judge, pair: Callable[[Judged], Made], fields: Fields) -> Made:
    """The pairs of a record."""
    if fields.is_single(record.fields):
        raise FormError(
            'A pair needs two generations, and each record of this dataset shows one: across_records=True, '
            '--across_records, brings those of an instruction together.'
        )
    found, reasons = judge(record)
    made = pair(found)
    return Made(made.rows, [*reasons, *made.left_out])


Key = tuple[str, bytes]  # what the records of one instruction have in common: its id and what it says


def _keyed(record: AnsweredRecord, judge: Judge, prompt: str) -> Made:
    """A record's part of an instruction. Its id is the field of that name, else what distilabel would make of it."""
    found, reasons = judge(record)
    shown, said_so = record.fields.get('id'), said(record.fields[prompt], 'user', 'plain').encode()
    id = shown if isinstance(shown, str) else hashlib.sha256(said_so).hexdigest()
    return Made([((id, said_so), found._replace(id=id))], reasons)


def _joined(_: Key, parts: Iterable[Judged]) -> Judged:
    """The generations of one instruction."""
    by_person: dict[str | None, list[Scored]] = {}
    for part in parts:
        for scored in itertools.chain.from_iterable(part.people):
            by_person.setdefault(scored.user, []).append(scored)
    return part._replace(people=[by_person[user] for user in sorted(by_person, key=str)])
