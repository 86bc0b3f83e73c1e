"""How far people agree with each other, and with what was suggested; all of it sums that add up over any split."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import apache_beam as beam

from beam_argilla.answers.answered import AnsweredRecord

LEVELS = ('nominal', 'ordinal', 'interval')
# Kind of a question → the level of measurement of its values.
_LEVEL = {
    'rating': 'ordinal',
    'ranking': 'ordinal',
    'label_selection': 'nominal',
    'multi_label_selection': 'nominal',
}
_WORK_SECONDS = 300  # in which somebody answers at least once are work


class QuestionAgreement(NamedTuple):
    """How far people agree on a question.

    Attributes:
        question, kind: its name and kind.
        level: of measurement, by which differences count; None of texts and spans.
        units: records (of a ranking, options of records) that at least two people answered.
        answers: of these.
        alpha: Krippendorff's alpha: 1 is perfect agreement, 0 what chance gives. None where it is not defined: of texts
            and spans, with fewer than two answers to anything, and where all answers are the same.
        agreement: of the pairs of answers to one unit, the share that are equal; None if there is no pair.
    """

    question: str
    kind: str
    level: str | None
    units: int
    answers: int
    alpha: float | None
    agreement: float | None

    def shown(self) -> str:
        """In a line for people."""
        if self.agreement is None:
            return f'Agreement on {self.question}: nothing was answered by two people'
        alpha = 'not defined' if self.alpha is None else f'{self.alpha:.2f} ({self.level})'
        return (
            f"Agreement on {self.question}: Krippendorff's alpha {alpha}, {self.agreement:.0%} of pairs the same, "
            f'{self.units:,} answered by two or more'
        )


class SuggestionAgreement(NamedTuple):
    """How far people's answers are what an agent suggested.

    Attributes:
        question, agent: which suggestions; the agent is empty if they name none.
        counts: (suggested value, answered value) → how often; of texts and spans, whether they are the same, as
            ``('suggested', 'same')`` and ``('suggested', 'other')``.
        agreement: the share of answers that are what was suggested.
    """

    question: str
    agent: str
    counts: Mapping[tuple[Any, Any], int]
    agreement: float


class PersonAnswers(NamedTuple):
    """What one person has done.

    Attributes:
        user: as `Response.user`.
        submitted, draft, discarded: how many responses.
        first, last: when the first was made and the last one changed.
        per_hour: submitted responses per hour of work; work are all stretches of 5 minutes, from the full hour on, in
            which at least one was changed last.
    """

    user: str
    submitted: int
    draft: int
    discarded: int
    first: datetime
    last: datetime
    per_hour: float


class Agreement(beam.PTransform):
    """Measures how far people agree.

    Input: PCollection of `AnsweredRecord`. Output: a dict of PCollections: ``questions`` (`QuestionAgreement`),
    ``suggestions`` (`SuggestionAgreement`) and ``people`` (`PersonAnswers`). Only submitted answers are compared.

    Krippendorff's alpha is that of "Computing Krippendorff's Alpha-Reliability" (2011): of ratings and ranks ordinal,
    of labels nominal (several labels count as one value: the same ones, or not).

    Args:
        levels: question → ``nominal``, ``ordinal`` or ``interval``, where it is another one.

    Raises:
        ValueError: an unknown level.

    Example:
        >>> agreement = p | ba.ReadFromArgilla('ultrafeedback', connection=connection) | ba.Agreement()
        >>> agreement['questions'] | beam.Map(ba.QuestionAgreement.shown) | beam.LogElements()
    """

    def __init__(self, levels: Mapping[str, str] | None = None):
        super().__init__()
        self.levels = dict(levels or {})
        for question, level in self.levels.items():
            if level not in LEVELS:
                raise ValueError(f'levels={{{question!r}: {level!r}}}: use one of {", ".join(map(repr, LEVELS))}')

    def expand(self, records: beam.PCollection) -> dict[str, beam.PCollection]:
        units = records | 'Units' >> beam.FlatMap(units_of) | 'Coincidences' >> beam.CombinePerKey(Coincidences())
        pairs = records | 'Suggested' >> beam.FlatMap(suggested_pairs) | 'Confusion' >> beam.CombinePerKey(Counts())
        people = records | 'Responses' >> beam.FlatMap(responses_of) | 'People' >> beam.CombinePerKey(Work())
        return {
            'questions': units | 'Alpha' >> beam.Map(_question, self.levels),
            'suggestions': pairs | 'Shares' >> beam.MapTuple(_suggestion),
            'people': people | 'Pace' >> beam.MapTuple(_person),
        }


# -- people with each other


def _comparable(kind: str, value: Any) -> Any:
    """A value that can be counted."""
    if kind == 'multi_label_selection':
        return tuple(sorted(value))
    if kind == 'span':
        return tuple(sorted((span['label'], span['start'], span['end']) for span in value))
    return value


def units_of(record: AnsweredRecord) -> Iterator[tuple[tuple[str, str], list[Any]]]:
    """(question, kind), and what people answered to it; of a ranking, the ranks of each option."""
    for question, kind in record.questions.items():
        values = [r.values[question] for r in record.responses if r.status == 'submitted' and question in r.values]
        if kind == 'ranking':
            ranks: dict[str, list[int]] = {}
            for item in itertools.chain.from_iterable(values):
                if item.get('rank') is not None:
                    ranks.setdefault(item['value'], []).append(item['rank'])
            yield from (((question, kind), ranked) for ranked in ranks.values())
        else:
            yield (question, kind), [_comparable(kind, value) for value in values]


class Coincidences(beam.CombineFn):
    """Values of units → (value, other value, number of the unit's values) → how many pairs in either order.

    Of texts and spans, of which there may be any number, it is only counted whether they are equal.
    """

    def create_accumulator(self) -> Counter[Any]:
        return Counter()

    def add_input(self, counts: Counter[Any], values: Sequence[Any]) -> Counter[Any]:
        if len(values) > 1:
            counts['units'] += 1
            counts['answers'] += len(values)
            for a, b in itertools.permutations(values, 2):
                key = (a, b) if _is_few(a) else (a == b, None)
                counts[(*key, len(values))] += 1
        return counts

    def merge_accumulators(self, accumulators: Iterable[Counter[Any]]) -> Counter[Any]:
        return sum(accumulators, Counter())

    def extract_output(self, counts: Counter[Any]) -> dict[Any, int]:
        return dict(counts)


def _is_few(value: Any) -> bool:
    """Whether values of its kind are a few; labels are, and texts are told from them by their kind later."""
    return isinstance(value, (int, str)) or all(isinstance(item, str) for item in value)


def alpha(coincidences: Mapping[tuple[Any, Any], float], level: str) -> float | None:
    """Krippendorff's alpha of a coincidence matrix; None if all values are the same, or there are none.

    Args:
        coincidences: (value, other value) → how often they were given to the same unit, in either order, each unit's
            divided by one less than the number of its values.
        level: ``nominal``, ``ordinal`` or ``interval``.
    """
    values = sorted({a for a, _ in coincidences}, key=lambda value: (str(type(value)), value))
    marginal = dict.fromkeys(values, 0.0)
    for (a, _), count in coincidences.items():
        marginal[a] += count
    total = sum(marginal.values())
    # How many values come up to the middle of those that are equal: by that, ordinal ones are apart.
    ends = list(itertools.accumulate(marginal[value] for value in values))
    middle = {value: end - marginal[value] / 2 for value, end in zip(values, ends, strict=True)}

    def difference(a: Any, b: Any) -> float:
        if level == 'nominal':
            return float(a != b)
        return (middle[a] - middle[b]) ** 2 if level == 'ordinal' else float(a - b) ** 2

    expected = sum(marginal[a] * marginal[b] * difference(a, b) for a in values for b in values)
    if expected == 0:
        return None
    observed = sum(count * difference(a, b) for (a, b), count in coincidences.items())
    return 1 - (total - 1) * observed / expected


def _question(found: tuple[tuple[str, str], Mapping[Any, int]], levels: Mapping[str, str]) -> QuestionAgreement:
    (question, kind), counts = found
    level = levels.get(question, _LEVEL.get(kind)) if kind in _LEVEL else None
    pairs = {key: n for key, n in counts.items() if isinstance(key, tuple)}
    same = sum(n for (a, b, _), n in pairs.items() if (a is True if b is None else a == b))
    number = sum(pairs.values())
    reliability = None
    if level is not None:
        matrix: Counter[Any] = Counter()
        for (a, b, size), n in sorted(pairs.items(), key=str):
            matrix[a, b] += n / (size - 1)
        reliability = alpha(matrix, level)
    return QuestionAgreement(
        question,
        kind,
        level,
        counts.get('units', 0),
        counts.get('answers', 0),
        reliability,
        same / number if number else None,
    )


# -- people with suggestions


def suggested_pairs(record: AnsweredRecord) -> Iterator[tuple[tuple[str, str], tuple[Any, Any]]]:
    """(question, agent), and the suggested value with what a person answered."""
    for suggestion in record.suggestions:
        kind = record.questions.get(suggestion.question, '')
        for response in record.responses:
            if response.status == 'submitted' and suggestion.question in response.values:
                given = response.values[suggestion.question]
                if kind in ('rating', 'label_selection'):
                    pair = suggestion.value, given
                else:
                    pair = 'suggested', 'same' if suggestion.value == given else 'other'
                yield (suggestion.question, suggestion.agent or ''), pair


class Counts(beam.CombineFn):
    """Things → thing → how often."""

    def create_accumulator(self) -> Counter[Any]:
        return Counter()

    def add_input(self, counts: Counter[Any], thing: Any) -> Counter[Any]:
        counts[thing] += 1
        return counts

    def merge_accumulators(self, accumulators: Iterable[Counter[Any]]) -> Counter[Any]:
        return sum(accumulators, Counter())

    def extract_output(self, counts: Counter[Any]) -> dict[Any, int]:
        return dict(counts)


def _suggestion(key: tuple[str, str], counts: Mapping[tuple[Any, Any], int]) -> SuggestionAgreement:
    same = sum(n for (suggested, given), n in counts.items() if given in (suggested, 'same'))
    return SuggestionAgreement(*key, counts, same / sum(counts.values()))


# -- each person


def responses_of(record: AnsweredRecord) -> Iterator[tuple[str, tuple[str, datetime, datetime]]]:
    """Person, and status and times of each response."""
    for response in record.responses:
        yield response.user, (response.status, response.inserted_at, response.updated_at)


class Work(beam.CombineFn):
    """Responses of a person → how many of each status, the first and the last time, and how many stretches of work."""

    def create_accumulator(self) -> tuple[Any, ...]:
        return Counter(), None, None, set()

    def add_input(self, work: tuple[Any, ...], response: tuple[str, datetime, datetime]) -> tuple[Any, ...]:
        status, made, changed = response
        stretch = {int(changed.timestamp()) // _WORK_SECONDS} if status == 'submitted' else set()
        return _more(work, (Counter([status]), made, changed, stretch))

    def merge_accumulators(self, accumulators: Iterable[tuple[Any, ...]]) -> tuple[Any, ...]:
        merged = self.create_accumulator()
        for work in accumulators:
            merged = _more(merged, work)
        return merged

    def extract_output(self, work: tuple[Any, ...]) -> tuple[Any, ...]:
        counts, first, last, stretches = work
        return dict(counts), first, last, len(stretches)


def _more(one: tuple[Any, ...], other: tuple[Any, ...]) -> tuple[Any, ...]:
    first = min((t for t in (one[1], other[1]) if t is not None), default=None)
    last = max((t for t in (one[2], other[2]) if t is not None), default=None)
    return one[0] + other[0], first, last, one[3] | other[3]


def _person(user: str, work: tuple[Any, ...]) -> PersonAnswers:
    counts, first, last, stretches = work
    submitted = counts.get('submitted', 0)
    hours = stretches * _WORK_SECONDS / 3600
    return PersonAnswers(
        user,
        submitted,
        counts.get('draft', 0),
        counts.get('discarded', 0),
        first,
        last,
        submitted / hours if hours else 0.0,
    )
