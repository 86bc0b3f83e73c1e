"""What several people answered to one question of a record → one value: pure functions of the answers."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from beam_argilla.answers.answered import AnsweredRecord

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
        if not self.min_answers >= 1:  # nor is NaN
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
