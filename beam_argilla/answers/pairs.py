"""`ToPreferencePairs`: answered records → pairs of a chosen and a rejected generation, for DPO and reward models."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.metrics import Metrics

from beam_argilla.answers.aggregate import Aggregate, Scored, judgement, scores
from beam_argilla.answers.answered import AnsweredRecord, instruction_id
from beam_argilla.answers.forms import Row, check_text, leave_out, prompt_of, said, text_type, unusable, with_schema
from beam_argilla.metrics import NAMESPACE

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
    a ``tie``, or what differs by less than the ``margin``.

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
        if difference == 0:
            reasons.append('tie')
        elif difference < margin:
            reasons.append('margin')
        else:
            found.append((chosen, rejected))
    return found, reasons


def _order(scored: Scored) -> tuple[Any, ...]:
    generation = scored.generation
    return -scored.score, generation.position, str(generation.text), generation.model_name or ''


class ToPreferencePairs(beam.PTransform):
    """Makes pairs of generations out of what people answered.

    Input: PCollection of `AnsweredRecord`. Output: PCollection of dicts: ``id`` (of the instruction), ``prompt``,
    ``chosen``, ``rejected``, ``chosen_score``, ``rejected_score``, ``chosen_model``, ``rejected_model``, and
    ``suggested``: whether a score is a suggestion that nobody has confirmed. That is what TRL's and LLaMA-Factory's DPO
    and reward trainers read. Within an instruction they are in a stable order.

    Scores are ratings of generations, ranks (negative), or labels that say good (1) or bad (0) of the one generation of
    a record: then the records of an instruction are brought together by a shuffle.

    Metrics (namespace ``beam_argilla``): ``training_rows``, ``left_out_tie``, ``left_out_margin``, ``left_out_single``,
    ``left_out_unanswered``, ``left_out_too_few_answers``, ``left_out_other_label``.

    Args:
        aggregate: how several people's answers become one; with ``all``, each person's make pairs of their own.
        pairs: ``best_worst``: the best with the worst of an instruction; ``best_each``: the best with each other;
            ``all``: each with each.
        margin: how much two scores must differ at least; 0: at all.
        text: ``plain`` texts, or ``messages`` with ``role`` and ``content``, as TRL's conversational form.
        prompt: the field of the prompt.
        good, bad: labels that say so.

    Raises:
        ValueError: an unknown way, or a negative margin.
        FormError: (while running) the dataset's questions do not judge generations, or a record has no prompt.

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
        prompt: str = 'instruction',
        good: Sequence[str] = ('good',),
        bad: Sequence[str] = ('bad',),
    ):
        super().__init__()
        if pairs not in PAIRS:
            raise ValueError(f'pairs={pairs!r}: use one of {", ".join(map(repr, PAIRS))}')
        if margin < 0:
            raise ValueError(f'margin={margin}: it must not be negative')
        check_text(text)
        self.aggregate = aggregate or Aggregate()
        self.pairs = pairs
        self.margin = margin
        self.text = text
        self.prompt = prompt
        self.good, self.bad = tuple(good), tuple(bad)

    def expand(self, records: beam.PCollection) -> beam.PCollection:
        judge = functools.partial(
            _judged, rule=self.aggregate, prompt=self.prompt, text=self.text, good=self.good, bad=self.bad
        )
        judged = records | 'Judge' >> beam.FlatMap(judge).with_outputs(_SINGLES, main='whole')
        singles = judged[_SINGLES] | 'Group' >> beam.GroupByKey() | 'Join' >> beam.MapTuple(_joined)
        make = functools.partial(_rows, pairs=self.pairs, margin=self.margin, text=self.text)
        rows = (judged.whole, singles) | beam.Flatten() | 'Pair' >> beam.FlatMap(make)
        return with_schema(rows, schema(self.text))


_SINGLES = 'singles'
# id of the instruction, prompt, and the generations of it with a score: those of each person, or of all
Judged = tuple[str, Any, list[list[Scored]]]


def _judged(
    record: AnsweredRecord, rule: Aggregate, prompt: str, text: str, good: Sequence[str], bad: Sequence[str]
) -> Iterator[Any]:
    how = judgement(record)
    if how is None:
        raise unusable(record, 'Pairs', 'ratings of generations, a ranking of them, or a label of a single one')
    people, reasons = scores(record, rule, good, bad)
    leave_out(reasons)
    whole: Judged = (instruction_id(record), prompt_of(record, prompt, text), people)
    if how.kind == 'ranking' or len(how.questions) > 1 or 'generation' not in record.fields:
        yield whole
    else:  # a generation a record
        yield beam.pvalue.TaggedOutput(_SINGLES, (whole[0], whole[1:]))


def _joined(id: str, singles: Iterable[tuple[Any, list[list[Scored]]]]) -> Judged:
    """The generations of one instruction, in an order of their own."""
    by_person: dict[str | None, list[Scored]] = {}
    prompts = []
    for prompt, people in singles:
        prompts.append(prompt)
        for scored in itertools.chain.from_iterable(people):
            by_person.setdefault(scored.user, []).append(scored)
    return id, prompts[0], [by_person[user] for user in sorted(by_person, key=str)]


def _rows(judged: Judged, pairs: str, margin: float, text: str) -> Iterator[Row]:
    id, prompt, people = judged
    for scored in people:
        found, reasons = pairs_of(scored, pairs, margin)
        leave_out(reasons)
        Metrics.counter(NAMESPACE, 'training_rows').inc(len(found))
        for chosen, rejected in found:
            yield {
                'id': id,
                'prompt': prompt,
                'chosen': said(chosen.generation.text, 'assistant', text),
                'rejected': said(rejected.generation.text, 'assistant', text),
                'chosen_score': chosen.score,
                'rejected_score': rejected.score,
                'chosen_model': chosen.generation.model_name,
                'rejected_model': rejected.generation.model_name,
                'suggested': chosen.suggested or rejected.suggested,
            }
