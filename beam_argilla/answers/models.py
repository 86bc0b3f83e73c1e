"""How people judge models: what they gave to each, and which they prefer to which, as counts that add up."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np

from beam_argilla.answers.aggregate import Aggregate
from beam_argilla.answers.answered import AnsweredRecord
from beam_argilla.answers.judged import Fields, Scores, scores

REPLICATES = 200  # of the bootstrap; enough for the 2.5th and the 97.5th percentile (Efron and Tibshirani, 1993)
_PRIOR = 0.1  # wins that each model has against each other to begin with
_EACH_PERSON = Aggregate('all')
_WIN, _TIE = 2, 1  # counted in halves, so that they are whole numbers


class Judged(NamedTuple):
    """What a person gave to a generation of a model.

    Attributes:
        kind: ``rating``, ``ranking``, ``label`` or ``choice``: see `judgement`.
        model: its name.
        value: a rating, a rank, 1 of a label that says it is good or of what was chosen, else 0.
    """

    kind: str
    model: str
    value: int


class Preference(NamedTuple):
    """One of two models whose generations a person compared in a record: the better one; or a tie."""

    better: str
    worse: str
    tie: bool


def each_person(record: AnsweredRecord, fields: Fields) -> Scores | None:
    """What each person says of the record's generations; None if the dataset's questions judge none."""
    return scores(record, _EACH_PERSON, fields)


def judged(found: Scores | None) -> Iterator[Judged]:
    """What people gave to the generations of a record whose models are known."""
    if found is None:
        return
    for s in itertools.chain.from_iterable(found.people):
        if s.generation.model_name is not None:
            yield Judged(found.kind, s.generation.model_name, round(abs(s.score)))


def preferences(found: Scores | None) -> Iterator[Preference]:
    """Which models' generations of a record each person prefers to which, by their scores.

    Generations of one model, or of one that is not known, are not compared.

    Example:
        >>> found = each_person(record, Fields())  # in which somebody rated the generation of llama 5, that of gpt 3
        >>> list(preferences(found))
        [Preference(better='llama', worse='gpt', tie=False)]
    """
    if found is None:
        return
    for scored in found.people:
        named = [(s.generation.model_name, s.score) for s in scored if s.generation.model_name is not None]
        for (a, score_a), (b, score_b) in itertools.combinations(named, 2):
            # Of those that were not chosen, nothing is said.
            if a != b and not (found.kind == 'choice' and score_a == score_b):
                better, worse = (a, b) if score_a >= score_b else (b, a)
                yield Preference(better, worse, score_a == score_b)


@dataclass
class Models:
    """What adds up of all records.

    Attributes:
        values: what was given → how often.
        outcomes: who was preferred to whom, or tied with → how often.
        wins: (model, another) → halves of wins of the one against the other, ties being half a win of both: as they
            are, and in `REPLICATES` samples.
    """

    values: Counter[Judged] = field(default_factory=Counter)
    outcomes: Counter[Preference] = field(default_factory=Counter)
    wins: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)


class ModelsFn(beam.CombineFn):
    """Answered records → `Models`.

    The samples are those of a Poisson bootstrap: in each, a record counts as often as a draw of a Poisson distribution
    with mean 1 says, which its id decides. So samples add up like counts, no record has to be kept, the same records
    give the same intervals, and what people say of the same record stays together (Chamandy, Muralidharan, Najmi and
    Naidu, "Estimating Uncertainty for Massive Data Streams", Google, 2012).

    Args:
        fields: which of the dataset's fields and questions judge generations.
    """

    def __init__(self, fields: Fields):
        self._fields = fields

    def create_accumulator(self) -> Models:
        return Models()

    def add_input(self, models: Models, record: AnsweredRecord) -> Models:
        by_person = each_person(record, self._fields)
        models.values.update(judged(by_person))
        found = list(preferences(by_person))
        if found:
            models.outcomes.update(found)
            drawn = _draws(record.record_id)
            for better, worse, tie in found:
                _add(models.wins, (better, worse), drawn * (_TIE if tie else _WIN))
                if tie:
                    _add(models.wins, (worse, better), drawn * _TIE)
        return models

    def merge_accumulators(self, accumulators: Iterable[Models]) -> Models:
        merged = Models()
        for models in accumulators:
            merged.values.update(models.values)
            merged.outcomes.update(models.outcomes)
            for pair, halves in models.wins.items():
                _add(merged.wins, pair, halves)
        return merged

    def extract_output(self, models: Models) -> Models:
        return models


def _draws(record_id: str) -> np.ndarray:
    """How often a record counts: once, and in each of the samples."""
    seed = int.from_bytes(hashlib.blake2b(record_id.encode(), digest_size=8).digest(), 'big')
    return np.concatenate([[1], np.random.default_rng(seed).poisson(1.0, REPLICATES)])


def _add(wins: dict[tuple[str, str], np.ndarray], pair: tuple[str, str], halves: np.ndarray) -> None:
    wins[pair] = wins[pair] + halves if pair in wins else halves


class Strength(NamedTuple):
    """How strong a model is.

    Attributes:
        model: its name.
        strength: of the model of Bradley and Terry: the logarithm of its odds to be preferred to an average model,
            which has 0.
        low, high: the middle 95% of what the samples of the bootstrap say.
        wins, losses, ties: how often it was preferred, another was, or neither.
    """

    model: str
    strength: float
    low: float
    high: float
    wins: int
    losses: int
    ties: int


def strengths(models: Models) -> list[Strength]:
    """The models that were compared, the strongest first.

    Each model has a tenth of a win against each other to begin with, without which one that never lost would be
    infinitely strong.

    Example:
        >>> [s.model for s in strengths(models)]
        ['llama', 'gpt']
    """
    import choix

    names = sorted({name for pair in models.wins for name in pair})
    if not names:
        return []
    won: Any = np.full((REPLICATES + 1, len(names), len(names)), _PRIOR)
    for (a, b), halves in models.wins.items():
        won[:, names.index(a), names.index(b)] += halves / _WIN
    won[:, range(len(names)), range(len(names))] = 0
    first = choix.ilsr_pairwise_dense(won[0], max_iter=1000)
    samples = [choix.ilsr_pairwise_dense(sample, 0, first, max_iter=1000, tol=1e-4) for sample in won[1:]]
    low, high = np.percentile(samples, [2.5, 97.5], axis=0)
    wins, losses, ties = Counter[str](), Counter[str](), Counter[str]()
    for (better, worse, tie), count in models.outcomes.items():
        for counts, name in [(ties, better), (ties, worse)] if tie else [(wins, better), (losses, worse)]:
            counts[name] += count
    found = [
        Strength(name, float(first[i]), float(low[i]), float(high[i]), wins[name], losses[name], ties[name])
        for i, name in enumerate(names)
    ]
    return sorted(found, key=lambda s: -s.strength)
