"""What several people answered to one question of a record → one value: pure functions of the answers."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from beam_argilla.answers.answered import AnsweredRecord, Generation, generations

NUMBERS: dict[str, Callable[[Iterable[float]], float]] = {
    'mean': statistics.fmean,
    'median': statistics.median,
    'min': min,
    'max': max,
}


@dataclass(frozen=True)
class Aggregate:
    """How answers become one value. Only submitted answers count.

    Args:
        how: ``mean``, ``median`` (of an even number of answers, the mean of the two in the middle), ``min``, ``max``;
            ``majority``: the value that most people gave, none if two are level; ``all``: each person's by itself.
            Labels have no mean, so that each of these but ``all`` is the majority there.
        min_answers: with fewer answers, there is no value.
        user: only this person's answers count: a name, as `Response.user` has it. None: everybody's.
        suggestions: where nobody has answered, the suggestion stands in, and is marked as such.

    Raises:
        ValueError: an unknown way, or fewer than one answer.

    Example:
        >>> Aggregate('median', min_answers=2)
    """

    how: str = 'mean'
    min_answers: int = 1
    user: str | None = None
    suggestions: bool = False

    def __post_init__(self) -> None:
        known = (*NUMBERS, 'majority', 'all')
        if self.how not in known:
            raise ValueError(f'how={self.how!r}: use one of {", ".join(map(repr, known))}')
        if self.min_answers < 1:
            raise ValueError(f'min_answers={self.min_answers}: it must be at least 1')


class Value(NamedTuple):
    """What the answers to a question come to.

    Attributes:
        value: a number, or a label.
        user: whose it is; None: everybody's.
        suggested: whether it is a suggestion that nobody has confirmed.
    """

    value: Any
    user: str | None = None
    suggested: bool = False


def given(record: AnsweredRecord, question: str, rule: Aggregate) -> dict[str, Any]:
    """Person → what they submitted to the question, in the order in which they first answered."""
    return {
        response.user: response.values[question]
        for response in record.responses
        if response.status == 'submitted' and question in response.values and rule.user in (None, response.user)
    }


def suggested(record: AnsweredRecord, question: str) -> Any:
    """The value that is suggested; None if there is none."""
    return next((s.value for s in record.suggestions if s.question == question), None)


def aggregate(values: Mapping[str, Any], suggestion: Any, rule: Aggregate) -> tuple[list[Value], str | None]:
    """What the answers come to: one value, or with ``all`` one a person; and why there is none.

    Args:
        values: person → number or label.
        suggestion: None if there is none.

    Returns:
        The values, and ``None``; or none, and ``unanswered``, ``too_few_answers`` or ``tie``.

    Example:
        >>> aggregate({'ada': 4, 'bob': 5}, None, Aggregate('mean'))
        ([Value(value=4.5, user=None, suggested=False)], None)
    """
    if not values and suggestion is not None and rule.suggestions:
        return [Value(suggestion, suggested=True)], None
    if len(values) < rule.min_answers:
        return [], 'too_few_answers' if values else 'unanswered'
    if rule.how == 'all':
        return [Value(value, user) for user, value in values.items()], None
    if rule.how in NUMBERS and not any(isinstance(value, str) for value in values.values()):
        return [Value(NUMBERS[rule.how](values.values()))], None
    counts = Counter(values.values()).most_common(2)
    if len(counts) > 1 and counts[0][1] == counts[1][1]:
        return [], 'tie'
    return [Value(counts[0][0])], None


class Scored(NamedTuple):
    """A generation and how good it is.

    Attributes:
        score: of a rating, the rating; of a ranking, the rank, negative, so that more is better; of a label, 1 if it
            says that the generation is good, 0 if bad.
        user, suggested: as of `Value`.
    """

    generation: Generation
    score: float
    user: str | None
    suggested: bool


class Judgement(NamedTuple):
    """How a dataset's questions judge generations.

    Attributes:
        kind: ``rating``, ``ranking`` or ``label``.
        questions: of ratings and labels, the field of a generation → the question about it; of a ranking, its question
            under an empty name.
    """

    kind: str
    questions: Mapping[str, str]


def judgement(record: AnsweredRecord) -> Judgement | None:
    """How the questions of the record's dataset judge its generations; None if they do not.

    A rating is of the field that the question is called after (``generations-0-rating``); of a record with a single
    generation, a single rating, or a single label question, is about that. A ranking is of the fields that its options
    are called like. Ratings go before rankings, and these before labels.
    """
    fields = [generation.field for generation in generations(record)]
    of_kind: dict[str, list[str]] = {}
    for question, kind in record.questions.items():
        of_kind.setdefault(kind, []).append(question)
    ratings = of_kind.get('rating', [])
    named = {name: f'{name}-rating' for name in fields if f'{name}-rating' in ratings}
    if named:
        return Judgement('rating', named)
    if len(fields) == 1 and len(ratings) == 1:
        return Judgement('rating', {fields[0]: ratings[0]})
    if len(fields) > 1 and len(of_kind.get('ranking', ())) == 1:
        return Judgement('ranking', {'': of_kind['ranking'][0]})
    if len(fields) == 1 and len(of_kind.get('label_selection', ())) == 1:
        return Judgement('label', {fields[0]: of_kind['label_selection'][0]})
    return None


def scores(
    record: AnsweredRecord, rule: Aggregate, good: Sequence[str] = ('good',), bad: Sequence[str] = ('bad',)
) -> tuple[list[list[Scored]], list[str]]:
    """The record's generations with what the answers say of each.

    Args:
        good, bad: labels that say so.

    Returns:
        A list of the generations that have a score, or with ``all`` one a person; and for each that has none, why.
    """
    how = judgement(record)
    if how is None:
        return [], []
    by_person: dict[str | None, list[Scored]] = {}
    reasons: list[str] = []
    ranks = _ranks(record, how, rule) if how.kind == 'ranking' else {}
    for generation in generations(record):
        if how.kind == 'ranking':
            values, hint = ranks.get(generation.field, ({}, None))
        elif generation.field in how.questions:
            question = how.questions[generation.field]
            values, hint = given(record, question, rule), suggested(record, question)
        else:
            continue
        found, reason = aggregate(values, hint, rule)
        if reason is not None:
            reasons.append(reason)
        for value in found:
            score = _score(value.value, good, bad)
            if score is None:
                reasons.append('other_label')
                continue
            by_person.setdefault(value.user, []).append(Scored(generation, score, value.user, value.suggested))
    return list(by_person.values()), reasons


def _ranks(record: AnsweredRecord, how: Judgement, rule: Aggregate) -> dict[str, tuple[dict[str, float], float | None]]:
    """Field → person → negative rank; and the suggested one."""
    question = how.questions['']
    hint = {item['value']: -item['rank'] for item in suggested(record, question) or () if item.get('rank') is not None}
    ranks: dict[str, tuple[dict[str, float], float | None]] = {name: ({}, rank) for name, rank in hint.items()}
    for user, value in given(record, question, rule).items():
        for item in value:
            if item.get('rank') is not None:
                ranks.setdefault(item['value'], ({}, None))[0][user] = -item['rank']
    return ranks


def _score(value: Any, good: Sequence[str], bad: Sequence[str]) -> float | None:
    if isinstance(value, str):
        return 1.0 if value in good else 0.0 if value in bad else None
    return float(value)
