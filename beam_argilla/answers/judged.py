"""How good each generation of a record is, by what people answered: pure functions of the record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from beam_argilla.answers.aggregate import Aggregate, aggregate, given, suggested
from beam_argilla.answers.answered import AnsweredRecord, Generation, generation_fields, generations
from beam_argilla.errors import FormError


@dataclass(frozen=True)
class Fields:
    """Which of a dataset's fields and questions training rows are made of. What this package, or distilabel, has made
    needs none of these.

    Args:
        prompt: the field of the prompt.
        generations: the fields of the generations. None: ``generations-0``, ``generations-1``, …; else ``generation``.
        question: what judges them: a ranking whose options are called like the fields; a label, which is the field of
            the best; of a single generation, its rating or label. Or a field → the rating or label that is about it.
            None: ratings that are called after the fields (``generations-0-rating``), else the only ranking there is,
            else of a single generation the only rating, else the only label.
        good, bad: labels that say so of a generation.

    Raises:
        ValueError: what cannot be: a name twice, a question about what is no generation.

    Example:
        >>> Fields(prompt='question', generations=['left', 'right'], question='better')
    """

    prompt: str = 'instruction'
    generations: Sequence[str] | None = None
    question: str | Mapping[str, str] | None = None
    good: Sequence[str] = ('good',)
    bad: Sequence[str] = ('bad',)

    def __post_init__(self) -> None:
        for name in ('generations', 'good', 'bad'):
            value = getattr(self, name)
            if isinstance(value, str) or (value is not None and not value):
                raise ValueError(f'{name}={value!r}: give a list of names')
        if both := sorted(set(self.good) & set(self.bad)):
            raise ValueError(f'good={list(self.good)}, bad={list(self.bad)}: {both[0]!r} cannot be both')
        about = self.question if isinstance(self.question, Mapping) else {}
        if isinstance(self.question, Mapping) and not about:
            raise ValueError('question={}: give a question, or a field → the question about it')
        for name, given_names in (('generations', self.generations or ()), ('question', about.values())):
            if twice := [value for value, count in Counter(given_names).items() if count > 1]:
                raise ValueError(f'{name}={getattr(self, name)!r}: {twice[0]!r} is there twice')
        if self.prompt in self.of([self.prompt]):
            raise ValueError(f'prompt={self.prompt!r}: it is one of the generations')
        if others := [name for name in about if not self.of([name])]:
            raise ValueError(
                f'question={dict(about)!r}: {others[0]!r} is no generation. Those are '
                f'{_NAMED if self.generations is None else ", ".join(self.generations)}.'
            )

    def check(self, names: Iterable[str]) -> None:
        """Sees that a dataset has the fields of the generations that are named.

        Args:
            names: of all fields of the dataset; a record may lack some of them.

        Raises:
            FormError: it has not.
        """
        there = list(names)
        named = self.generations or (self.question if isinstance(self.question, Mapping) else ())
        if gone := [name for name in named if name not in there]:
            raise FormError(
                f'There is no field {gone[0]!r}, where a generation should be: the dataset has '
                f'{", ".join(map(repr, there))}.'
            )

    def of(self, fields: Iterable[str]) -> list[str]:
        """Which of the fields are generations, in their order."""
        if self.generations is None:
            return generation_fields(fields)
        there = set(fields)
        return [name for name in self.generations if name in there]

    def is_single(self, fields: Iterable[str]) -> bool:
        """Whether a record has one generation, so that those of an instruction are in several records."""
        return self.of(fields) == ['generation'] if self.generations is None else len(self.generations) == 1


_NAMED = 'generations-0, generations-1, … or generation, unless others are named (generations=...)'


class Judgement(NamedTuple):
    """How a dataset's questions judge generations.

    Attributes:
        kind: ``rating``, ``ranking``, ``label`` (good or bad) or ``choice`` (a label that is the field of the best).
        questions: of ratings and labels, the field of a generation → the question about it; else the question under
            each of the fields.
    """

    kind: str
    questions: Mapping[str, str]


_KINDS = {'rating': 'rating', 'ranking': 'ranking', 'label_selection': 'label'}


def judgement(questions: Mapping[str, str], names: Sequence[str], fields: Fields) -> Judgement | None:
    """How the questions judge generations; None if they do not.

    Args:
        questions: name → kind, as of `AnsweredRecord`.
        names: the fields of the generations.

    Raises:
        FormError: `fields.question` names what cannot judge them.
    """
    if fields.question is not None:
        return _named(questions, names, fields.question)
    of_kind: dict[str, list[str]] = {}
    for question, kind in questions.items():
        of_kind.setdefault(kind, []).append(question)
    called_after = {name: f'{name}-rating' for name in names if f'{name}-rating' in of_kind.get('rating', ())}
    if called_after:
        return Judgement('rating', called_after)
    if names != ['generation'] and len(of_kind.get('ranking', ())) == 1:
        return Judgement('ranking', dict.fromkeys(names, of_kind['ranking'][0]))
    for kind in ('rating', 'label_selection'):
        if len(names) == 1 and len(of_kind.get(kind, ())) == 1:
            return Judgement(_KINDS[kind], {names[0]: of_kind[kind][0]})
    return None


def _named(questions: Mapping[str, str], names: Sequence[str], question: str | Mapping[str, str]) -> Judgement:
    by_field = question if isinstance(question, Mapping) else dict.fromkeys(names, question)
    kinds = {questions.get(name) for name in by_field.values()} or {questions.get(str(question))}
    if not kinds <= _KINDS.keys() or len(kinds) > 1 or (isinstance(question, Mapping) and kinds == {'ranking'}):
        raise FormError(
            f'question={question!r} can be one rating, ranking or label, or a field → its rating or label (all of them '
            f'one or the other): this dataset asks {asked(questions)}.'
        )
    (kind,) = kinds
    if kind == 'rating' and not isinstance(question, Mapping) and len(names) > 1:
        raise FormError(
            f'question={question!r} is one rating: say of which generation, {{{names[0]!r}: {question!r}}}.'
        )
    is_choice = kind == 'label_selection' and not isinstance(question, Mapping) and len(names) > 1
    return Judgement('choice' if is_choice else _KINDS[str(kind)], by_field)


def check_options(how: Judgement, options: Mapping[str, Sequence[Any]], fields: Fields) -> None:
    """Sees that what can be answered says something of generations.

    Args:
        options: question → what can be chosen or ranked.

    Raises:
        FormError: it does not.
    """
    for question in dict.fromkeys(how.questions.values()):
        there = options.get(question, ())
        shown = ', '.join(map(str, there))
        if how.kind == 'label' and {*fields.good, *fields.bad}.isdisjoint(there):
            raise FormError(
                f'The labels of {question!r} are {shown}: say which of them are good and bad (good=..., bad=..., '
                '--good, --bad).'
            )
        if how.kind in ('ranking', 'choice') and how.questions.keys().isdisjoint(there):
            raise FormError(
                f'The options of {question!r} are {shown}, and none is called like a generation: '
                f'{", ".join(how.questions)}. Name another question, or other fields.'
            )


def asked(questions: Mapping[str, str]) -> str:
    """The questions for people."""
    return ', '.join(f'{name} ({kind})' for name, kind in questions.items()) or 'no question'


class Scored(NamedTuple):
    """A generation and how good it is.

    Attributes:
        score: of a rating, the rating; of a ranking, the rank, negative, so that more is better; of a label, 1 if it
            says that the generation is good, 0 if bad; of a choice, 1 if it is the one, else 0.
        user, suggested: as of `Value`.
    """

    generation: Generation
    score: float
    user: str | None
    suggested: bool


class Scores(NamedTuple):
    """What is known of a record's generations.

    Attributes:
        kind: as of `Judgement`.
        people: the generations that have a score; with ``all``, of each person by itself.
        reasons: for each that has none, why: those of `aggregate`; ``unranked``: people have ranked others, but not it;
            ``other_label``: a label that says nothing of it.
    """

    kind: str
    people: list[list[Scored]]
    reasons: list[str]


def scores(record: AnsweredRecord, rule: Aggregate, fields: Fields) -> Scores | None:
    """The record's generations with what the answers say of each; None if the dataset's questions judge none.

    Raises:
        FormError: as of `judgement`.
    """
    found = generations(record, fields.generations)
    how = judgement(record.questions, [generation.field for generation in found], fields)
    if how is None:
        return None
    by_person: dict[str | None, list[Scored]] = {}
    reasons: list[str] = []
    for generation in found:
        if generation.field not in how.questions:
            continue
        values, hint = _values(record, how, generation.field, rule)
        if not values and given(record, how.questions[generation.field], rule):
            reasons.append('unranked')
            continue
        made, reason = aggregate(values, hint, rule)
        if reason is not None:
            reasons.append(reason)
        for value in made:
            score = _score(value.value, how.kind, fields)
            if score is None:
                reasons.append('other_label')
            else:
                by_person.setdefault(value.user, []).append(Scored(generation, score, value.user, value.suggested))
    return Scores(how.kind, list(by_person.values()), reasons)


def _values(record: AnsweredRecord, how: Judgement, name: str, rule: Aggregate) -> tuple[dict[str, Any], Any]:
    """Person → what they say of the generation in this field, if they have ranked it; and what is suggested."""
    question = how.questions[name]
    values, hint = given(record, question, rule), suggested(record, question)
    if how.kind == 'ranking':
        ranks = {user: _rank(value, name) for user, value in values.items()}
        return {user: rank for user, rank in ranks.items() if rank is not None}, _rank(hint or (), name)
    if how.kind == 'choice':
        options = how.questions.keys()
        chosen = {user: int(value == name) if value in options else value for user, value in values.items()}
        return chosen, int(hint == name) if hint in options else hint
    return values, hint


def _rank(value: Iterable[Mapping[str, Any]], name: str) -> int | None:
    return next((-item['rank'] for item in value if item['value'] == name and item.get('rank') is not None), None)


def _score(value: Any, kind: str, fields: Fields) -> float | None:
    if not isinstance(value, str):
        return float(value)
    is_label = kind == 'label'  # rather than an option that is no field, such as "tie"
    return 1.0 if is_label and value in fields.good else 0.0 if is_label and value in fields.bad else None
