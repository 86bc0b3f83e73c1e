"""`Agreement`: how far people agree with each other, and with what was suggested, question by question."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import apache_beam as beam

from beam_argilla.answers.aggregate import Aggregate, given
from beam_argilla.answers.alpha import alpha, coincidences
from beam_argilla.answers.answered import AnsweredRecord
from beam_argilla.errors import InputError

# Kind of a question → the levels of measurement that its values have; the first is taken if nobody says another.
LEVELS: dict[str, tuple[str, ...]] = {
    'rating': ('ordinal', 'interval', 'nominal'),
    'ranking': ('ordinal', 'interval', 'nominal'),
    'label_selection': ('nominal',),
    'multi_label_selection': ('masi', 'nominal'),
    'text': (),
    'span': (),
}

_EVERYBODY = Aggregate('all')
_PARTS = re.compile(r'(\d+)')


class SuggestionAgreement(NamedTuple):
    """How people answered where an agent had suggested something.

    Attributes:
        agent: who suggested; None: nobody said who.
        answers: how many answers there are to what it suggested (of a ranking: ranks of options).
        share: of them, the share that is what was suggested: 0 to 1.
        confusion: (suggested value, answered value) → answers. Values are ints of ratings and rankings, texts of
            labels, sorted tuples of several labels. Empty for texts and spans.
    """

    agent: str | None
    answers: int
    share: float
    confusion: Mapping[tuple[Any, Any], int]


class QuestionAgreement(NamedTuple):
    """How far people agree in a question. Only submitted answers count.

    Attributes:
        question, kind: as in `AnsweredRecord.questions`.
        level: of measurement: how far two values differ. ``nominal``: at all; ``ordinal``: by how many answers lie
            between them; ``interval``: by their difference; ``masi``: by the labels that two sets share. None of texts
            and spans.
        units: what at least two people answered: records; of a ranking, options of records.
        answers: of a person to a record.
        people: how many answered.
        alpha: Krippendorff's: 1 is perfect, 0 is chance. Where many may differ, 0.8 is called reliable, and below 0.667
            no conclusion is drawn (Krippendorff, "Content Analysis", 2004, p. 241). None where it is not defined.
        why: why there is no alpha; None if there is one.
        share: of all pairs of answers to the same unit, the share that is the same: 0 to 1. None without pairs. Chance
            is not taken off it.
        suggestions: one an agent, in the order of their names.
    """

    question: str
    kind: str
    level: str | None
    units: int
    answers: int
    people: int
    alpha: float | None
    why: str | None
    share: float | None
    suggestions: tuple[SuggestionAgreement, ...]


class Agreement(beam.PTransform):
    """Measures for each question how far people agree with each other, and with what was suggested.

    It is counted in each window by itself, and the counts are small: how often one value stands beside another. Of
    several labels, each set of labels that somebody gave is a value.

    Input: PCollection of `AnsweredRecord`. Output: PCollection of `QuestionAgreement`, one a question, answered or not.

    Args:
        levels: question → level of measurement, where it shall not be the usual one of its kind: ratings and rankings
            are ``ordinal`` (or ``interval``, ``nominal``), labels ``nominal``, several labels ``masi`` (or
            ``nominal``: sets are the same or not).

    Raises:
        ValueError: there is no such level.
        InputError: (while running) there is no such question, or its values do not have the level.

    Example:
        >>> records = p | ba.ReadFromArgilla('ultrafeedback', connection=connection)
        >>> agreement = records | ba.Agreement({'generations-0-rating': 'interval'})
        >>> agreement | beam.combiners.ToList() | beam.FlatMap(ba.agreement_lines) | beam.LogElements()
    """

    def __init__(self, levels: Mapping[str, str] | None = None):
        super().__init__()
        known = sorted({level for of_kind in LEVELS.values() for level in of_kind})
        for question, level in (levels or {}).items():
            if level not in known:
                raise ValueError(f'levels={{{question!r}: {level!r}}}: use one of {", ".join(known)}')
        self.levels = dict(levels or {})

    def expand(self, records: beam.PCollection) -> beam.PCollection:
        return (
            records
            | 'Compare' >> beam.FlatMap(compare, self.levels).with_output_types(tuple[tuple[str, str], Any])
            | 'Count' >> beam.CombinePerKey(AgreementFn())
            | 'Measure' >> beam.Map(_measured, self.levels).with_output_types(QuestionAgreement)
        )

    def display_data(self) -> dict[str, str]:
        return {f'level of {question}': level for question, level in self.levels.items()}


def level_of(question: str, kind: str, levels: Mapping[str, str]) -> str | None:
    """The level of measurement of a question; None if its values have none.

    Raises:
        InputError: `levels` names one that they do not have.
    """
    of_kind = LEVELS.get(kind, ())
    level = levels.get(question, of_kind[0] if of_kind else None)
    if level is not None and level not in of_kind:
        raise InputError(
            f'levels={{{question!r}: {level!r}}}: the question is of the kind {kind}, whose values can be '
            f'{" or ".join(of_kind) or "compared for being the same alone: leave it out"}.'
        )
    return level


class _Unit(NamedTuple):
    """What people answered to the same thing, each value in a form that can be compared; and what was suggested."""

    values: tuple[Hashable, ...]
    suggested: Hashable | None


class _Compared(NamedTuple):
    """A question of one record."""

    people: tuple[str, ...]
    agent: str | None
    units: list[_Unit]


def compare(record: AnsweredRecord, levels: Mapping[str, str]) -> Iterator[tuple[tuple[str, str], _Compared]]:
    """(Question, kind), and what people and suggestions say to it; of each question of the record's dataset."""
    if unknown := levels.keys() - record.questions.keys():
        raise InputError(
            f'levels: there is no question {", ".join(map(repr, sorted(unknown)))}; those of the dataset are '
            f'{", ".join(record.questions)}.'
        )
    suggestions = {suggestion.question: suggestion for suggestion in record.suggestions}
    for question, kind in record.questions.items():
        answers = given(record, question, _EVERYBODY)
        hint = suggestions.get(question)
        level_of(question, kind, levels)  # told before all is read
        units = _units(kind, list(answers.values()), None if hint is None else hint.value)
        yield (question, kind), _Compared(tuple(answers), hint and hint.agent, units)


def _units(kind: str, answers: list[Any], suggested: Any) -> list[_Unit]:
    parts = [_parts(kind, value) for value in answers]
    hints = {} if suggested is None else _parts(kind, suggested)
    units = [
        _Unit(tuple(part[name] for part in parts if name in part), hints.get(name))
        for name in sorted({name for part in parts for name in part})
    ]
    return units if LEVELS.get(kind) else [_numbered(unit) for unit in units]


def _parts(kind: str, value: Any) -> dict[str, Hashable]:
    """What is compared by itself: the options of a ranking; of all else the whole, under an empty name."""
    if kind == 'ranking':
        return {item['value']: item['rank'] for item in value if item.get('rank') is not None}
    if kind == 'multi_label_selection':
        return {'': tuple(sorted(set(value)))}
    if kind == 'span':
        return {'': tuple(sorted((span['start'], span['end'], span['label']) for span in value))}
    return {'': value}


def _numbered(unit: _Unit) -> _Unit:
    """Whatever is the same has the same number: all that texts are compared by, and no text has to be kept."""
    numbers: dict[Hashable, int] = {}
    suggested = None if unit.suggested is None else numbers.setdefault(unit.suggested, 0)
    return _Unit(tuple(numbers.setdefault(value, len(numbers)) for value in unit.values), suggested)


@dataclass
class Counts:
    """What adds up of a question.

    Attributes:
        pairs: see `coincidences`.
        confusion: (agent, suggested value, answered value) → answers.
        units, answers: as of `QuestionAgreement`.
        people: who answered.
    """

    pairs: Counter[tuple[int, Any, Any]] = field(default_factory=Counter)
    confusion: Counter[tuple[str | None, Any, Any]] = field(default_factory=Counter)
    units: int = 0
    answers: int = 0
    people: set[str] = field(default_factory=set)


class AgreementFn(beam.CombineFn):
    """What people answered to a question of each record → `Counts`."""

    def create_accumulator(self) -> Counts:
        return Counts()

    def add_input(self, counts: Counts, compared: _Compared) -> Counts:
        counts.answers += len(compared.people)
        counts.people.update(compared.people)
        for unit in compared.units:
            counts.units += len(unit.values) > 1
            counts.pairs.update(coincidences(unit.values))
            if unit.suggested is not None:
                counts.confusion.update((compared.agent, unit.suggested, value) for value in unit.values)
        return counts

    def merge_accumulators(self, accumulators: Iterable[Counts]) -> Counts:
        merged = Counts()
        for counts in accumulators:
            merged.pairs.update(counts.pairs)
            merged.confusion.update(counts.confusion)
            merged.units += counts.units
            merged.answers += counts.answers
            merged.people |= counts.people
        return merged

    def extract_output(self, counts: Counts) -> Counts:
        return counts


def _measured(counted: tuple[tuple[str, str], Counts], levels: Mapping[str, str]) -> QuestionAgreement:
    (question, kind), counts = counted
    level = level_of(question, kind, levels)
    found = None if level is None else alpha(counts.pairs, level)
    pairs = counts.pairs.total()
    same = sum(count for (_, a, b), count in counts.pairs.items() if a == b)
    if found is not None:
        why = None
    elif not pairs:
        why = 'nothing was answered by two people'
    elif level is None:
        why = 'texts and spans have no measure of how far they differ'
    else:
        why = 'all answers that can be compared are the same, so that nothing tells agreement from chance'
    return QuestionAgreement(
        question,
        kind,
        level,
        counts.units,
        counts.answers,
        len(counts.people),
        found,
        why,
        same / pairs if pairs else None,
        tuple(_suggestions(counts.confusion, keep=level is not None)),
    )


def _suggestions(confusion: Mapping[tuple[str | None, Any, Any], int], keep: bool) -> Iterator[SuggestionAgreement]:
    for agent in sorted({agent for agent, _, _ in confusion}, key=lambda agent: agent or ''):
        of_agent = {(a, b): count for (who, a, b), count in sorted(confusion.items(), key=str) if who == agent}
        answers = sum(of_agent.values())
        same = sum(count for (a, b), count in of_agent.items() if a == b)
        yield SuggestionAgreement(agent, answers, same / answers, of_agent if keep else {})


def in_order(questions: Iterable[QuestionAgreement]) -> list[QuestionAgreement]:
    """By name, in which numbers count as such: ``generations-10-rating`` comes after ``generations-9-rating``."""

    def name(q: QuestionAgreement) -> list[str]:
        return [part.zfill(20) if part.isdecimal() else part for part in _PARTS.split(q.question)]

    return sorted(questions, key=name)


def agreement_lines(questions: Iterable[QuestionAgreement]) -> list[str]:
    """What was measured in words: a line a question, and one for each agent that suggested answers to it.

    Example:
        >>> agreement_lines([measured])
        ['quality: alpha 0.71 (nominal); 85% of pairs the same; 1,204 answers, 3 people, 400 answered by two or more',
         'quality: 72% of 1,204 answers are what gpt-4 suggested']
    """
    lines = []
    for q in in_order(questions):
        measured = f'no alpha ({q.why})' if q.alpha is None else f'alpha {round(q.alpha, 2) + 0.0:.2f} ({q.level})'
        share = '' if q.share is None else f'; {q.share:.0%} of pairs the same'
        both = f'; {q.answers:,} answers, {q.people:,} people, {q.units:,} answered by two or more'
        lines.append(f'{q.question}: {measured}{share}{both}')
        lines += [
            f'{q.question}: {s.share:.0%} of {s.answers:,} answers are what {s.agent or "an unnamed agent"} suggested'
            for s in q.suggestions
        ]
    return lines
