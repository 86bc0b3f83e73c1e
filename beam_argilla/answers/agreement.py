"""`Agreement`: how far people agree with each other, and with what was suggested, and at what pace they answer."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindows

from beam_argilla.answers.aggregate import Aggregate, given
from beam_argilla.answers.alpha import alpha, coincidences
from beam_argilla.answers.answered import AnsweredRecord
from beam_argilla.answers.people import AnswersPerPerson, PersonAnswers
from beam_argilla.errors import InputError

# Kind of a question → the levels of measurement that its values have; the first is taken if nobody says another.
LEVELS: dict[str, tuple[str, ...]] = {
    'rating': ('ordinal', 'interval', 'nominal'),
    'ranking': ('ordinal', 'interval', 'nominal'),
    'label_selection': ('nominal',),
    'multi_label_selection': ('nominal', 'masi'),
    'text': (),
    'span': (),
}

_EVERYBODY = Aggregate('all')
_NUMBERS = re.compile(r'(\d+)')


class QuestionAgreement(NamedTuple):
    """How far people agree on a question. Only submitted answers count.

    Attributes:
        question, kind: as in `AnsweredRecord.questions`.
        level: of measurement, by which two values differ. ``nominal``: at all; ``ordinal``: by how many answers lie
            between them; ``interval``: by their difference; ``masi``: by the labels that two sets share. None of texts
            and spans.
        units: records (of a ranking, options of records) that at least two people answered.
        answers: of a person to a record, those to what nobody else answered as well.
        people: how many gave them.
        alpha: Krippendorff's alpha: 1 is perfect agreement, 0 what chance gives. From 0.8 on, answers are called
            reliable, and below 0.667 no conclusion is drawn (Krippendorff, "Content Analysis", 2004, p. 241). None
            where it is not defined.
        why: why there is no alpha; None if there is one.
        agreement: of the pairs of answers to one unit, the share that are the same: 0 to 1; None if there is no pair.
            Chance is not taken off.
    """

    question: str
    kind: str
    level: str | None
    units: int
    answers: int
    people: int
    alpha: float | None
    why: str | None
    agreement: float | None

    def shown(self) -> str:
        """In a line for people."""
        if self.agreement is None:
            return f'Agreement on {self.question}: {self.why}'
        alpha = f'not defined ({self.why})' if self.alpha is None else f'{rounded(self.alpha)} ({self.level})'
        return (
            f"Agreement on {self.question}: Krippendorff's alpha {alpha}, {self.agreement:.0%} of pairs the same, "
            f'{self.units:,} answered by two or more'
        )


class SuggestionAgreement(NamedTuple):
    """How far people's submitted answers are what an agent suggested.

    Attributes:
        question, kind: whose answers were suggested.
        agent: who suggested them; empty if nobody is named.
        answers: to what was suggested; of a ranking, ranks of options.
        agreement: the share of them that is what was suggested: 0 to 1.
        counts: (suggested value, answered value) → answers. Values are ints of ratings and rankings, texts of labels,
            sorted tuples of several labels. Empty of texts and spans.
    """

    question: str
    kind: str
    agent: str
    answers: int
    agreement: float
    counts: Mapping[tuple[Any, Any], int]

    def shown(self) -> str:
        """In a line for people."""
        agent = self.agent or 'an agent without a name'
        return f'Suggestions for {self.question}: {self.agreement:.0%} of {self.answers:,} answers are those of {agent}'


class Agreement(beam.PTransform):
    """Measures for each question how far people agree with each other, and with what was suggested; and their pace.

    It is counted in each window by itself, and the counts are small: how often one value stands beside another. Of
    several labels, each set of labels that somebody gave is a value; texts and spans are the same or not.

    Input: PCollection of `AnsweredRecord`, bounded. Output: a dict of PCollections: ``questions``
    (`QuestionAgreement`, one a question, answered or not), ``suggestions`` (`SuggestionAgreement`, one a question and
    agent) and ``people`` (`PersonAnswers`, one a person).

    Args:
        levels: question → level of measurement, where it shall not be the usual one of its kind: ratings and rankings
            are ``ordinal`` (or ``interval``, ``nominal``), labels ``nominal``, several labels ``nominal`` (sets are the
            same or not; or ``masi``).

    Raises:
        ValueError: there is no such level.
        InputError: answers never end. (While running) there is no such question, or its values do not have the level.

    Example:
        >>> agreement = p | ba.ReadFromArgilla('ultrafeedback', connection=connection) | ba.Agreement()
        >>> agreement['questions'] | beam.Map(ba.QuestionAgreement.shown) | beam.LogElements()
    """

    def __init__(self, levels: Mapping[str, str] | None = None):
        super().__init__()
        known = sorted({level for of_kind in LEVELS.values() for level in of_kind})
        for question, level in (levels or {}).items():
            if level not in known:
                raise ValueError(f'levels={{{question!r}: {level!r}}}: use one of {", ".join(map(repr, known))}')
        self.levels = dict(levels or {})

    def expand(self, records: beam.PCollection) -> dict[str, beam.PCollection]:
        check_bounded(records, 'Agreement')
        counts = (
            records
            | 'Compare' >> beam.FlatMap(compare, self.levels).with_output_types(tuple[tuple[str, str], Any])
            | 'Count' >> beam.CombinePerKey(AgreementFn())
        )
        return {
            'questions': counts | 'Questions' >> beam.Map(of_question, self.levels),
            'suggestions': counts | 'Suggestions' >> beam.FlatMap(of_suggestions),
            'people': records | 'People' >> AnswersPerPerson(),
        }

    def display_data(self) -> dict[str, str]:
        return {f'level of {question}': level for question, level in self.levels.items()}


class SummarizeAgreement(beam.PTransform):
    """Tells people what `Agreement` finds: who answered how much, and how far they agree.

    Input: PCollection of `AnsweredRecord`, bounded. Output: PCollection of one str of several lines.

    Args:
        levels: see `Agreement`.

    Raises:
        ValueError, InputError: as of `Agreement`.

    Example:
        >>> answered | ba.SummarizeAgreement() | beam.LogElements()
    """

    def __init__(self, levels: Mapping[str, str] | None = None):
        super().__init__()
        self.agreement = Agreement(levels)

    def expand(self, records: beam.PCollection) -> beam.PCollection:
        check_bounded(records, 'SummarizeAgreement')
        found = records | 'All windows' >> beam.WindowInto(GlobalWindows()) | self.agreement
        parts = [beam.pvalue.AsList(found[name]) for name in ('people', 'questions', 'suggestions')]
        return records.pipeline | 'Once' >> beam.Create([None]) | 'Tell' >> beam.Map(_told, *parts)


def check_bounded(records: beam.PCollection, what: str) -> None:
    """Raises InputError if answers go on coming, each by itself, so that nobody would agree with anybody."""
    if not records.is_bounded:
        raise InputError(
            f'{what} compares what people answered to the same record, and of answers that go on coming (poll=...) '
            'each comes by itself: read them all at once, whenever you want to know.'
        )


_MOST_PEOPLE = 20


def _told(
    _: None, people: list[PersonAnswers], questions: list[QuestionAgreement], suggestions: list[SuggestionAgreement]
) -> str:
    most = sorted(people, key=lambda person: (-person.submitted, person.user))
    lines = [f'{len(people):,} {"person has" if len(people) == 1 else "people have"} answered']
    lines += [f'  {PersonAnswers.shown(person)}' for person in most[:_MOST_PEOPLE]]
    if len(most) > _MOST_PEOPLE:
        lines.append(f'  and {len(most) - _MOST_PEOPLE:,} more')
    unknown = [q for q in questions if q.agreement is None]
    for question in sorted(questions, key=lambda q: by_name(q.question)):
        if question.agreement is not None:
            lines.append(QuestionAgreement.shown(question))
    for why in sorted({str(q.why) for q in unknown}):
        names = sorted((q.question for q in unknown if q.why == why), key=by_name)
        lines.append(f'Agreement on {", ".join(names)}: {why}')
    for suggestion in sorted(suggestions, key=lambda s: (by_name(s.question), s.agent)):
        lines.append(SuggestionAgreement.shown(suggestion))
    return '\n'.join(lines)


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
    agent: str
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
        yield (question, kind), _Compared(tuple(answers), (hint and hint.agent) or '', units)


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
    confusion: Counter[tuple[str, Any, Any]] = field(default_factory=Counter)
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


def of_question(counted: tuple[tuple[str, str], Counts], levels: Mapping[str, str]) -> QuestionAgreement:
    """What the counts of a question come to."""
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
        why = 'texts and spans are the same or not'
    else:
        why = 'all answers are the same'
    agreement = same / pairs if pairs else None
    people = len(counts.people)
    return QuestionAgreement(question, kind, level, counts.units, counts.answers, people, found, why, agreement)


def of_suggestions(counted: tuple[tuple[str, str], Counts]) -> Iterator[SuggestionAgreement]:
    """What the counts of a question say of each agent that suggested answers to it."""
    (question, kind), counts = counted
    by_agent: dict[str, Counter[tuple[Any, Any]]] = {}
    for (agent, suggested, value), count in counts.confusion.items():
        by_agent.setdefault(agent, Counter())[suggested, value] += count
    for agent, confusion in by_agent.items():
        same = sum(count for (suggested, value), count in confusion.items() if suggested == value)
        answers = confusion.total()
        kept = dict(sorted(confusion.items())) if LEVELS.get(kind) else {}
        yield SuggestionAgreement(question, kind, agent, answers, same / answers, kept)


def rounded(value: float, digits: int = 2) -> str:
    """With that many digits behind the point, and no minus before nothing."""
    return f'{round(value, digits) + 0.0:.{digits}f}'


def by_name(name: str) -> list[str]:
    """A key to sort by, in which numbers count as such: ``generations-10`` comes after ``generations-9``."""
    return [part.zfill(20) if part.isdecimal() else part for part in _NUMBERS.split(name)]
