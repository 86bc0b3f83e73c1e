"""The task of distilabel's `PreferenceToArgilla`: how good is each of an instruction's generations?"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from beam_argilla.failures import FailedRecord, failed_rows
from beam_argilla.records import Record, Suggestion, agent_name, external_id
from beam_argilla.server.settings import (
    DatasetSettings,
    Property,
    metadata_property,
    rating_question,
    text_field,
    text_question,
)
from beam_argilla.tasks.task import TaskOptions, metadata_value, parse_rating

if TYPE_CHECKING:
    import pyarrow as pa


# What is called after a place for a generation: its field, its questions, its model.
_OF_A_PLACE = re.compile(r'(generations-\d+)(-.+)?', re.DOTALL)
_WARNED_OF = re.compile(r'(?<= of )generations-\d+(?= is not one of )')


def is_place(name: str) -> bool:
    """Whether it is the name of a field that is a place for a generation."""
    match = _OF_A_PLACE.fullmatch(name)
    return match is not None and match[2] is None


def moved(record: Record, places: Mapping[str, str]) -> Record:
    """The record with generations at other places, and with each all that is called after its place.

    Args:
        places: name of the field that a generation is in → of the one that it shall be in.
    """

    def name(old: str) -> str:
        match = _OF_A_PLACE.fullmatch(old)
        return old if match is None else places.get(match[1], match[1]) + (match[2] or '')

    return record._replace(
        fields={name(field): value for field, value in record.fields.items()},
        suggestions=tuple(s._replace(question=name(s.question)) for s in record.suggestions),
        metadata={name(key): value for key, value in record.metadata.items()},
        vectors={name(key): value for key, value in record.vectors.items()},
        warnings=tuple(_WARNED_OF.sub(lambda match: name(match[0]), text) for text in record.warnings),
    )


@dataclass(frozen=True)
class Preference(TaskOptions):
    """One record per instruction with all of its generations side by side; the annotator rates each.

    Ratings and rationales of the input become suggestions. A rating that is not one of `ratings` is not suggested and
    not rounded: it is reported in the record's warnings.

    Args:
        num_generations: places for generations in a record.
        ratings: the scale.
        suggestions: False leaves ratings and rationales out.
        scores: keep the exact scores that ratings stand for (see `Scale`) as metadata, ``generations-{i}-score``.
        agent: who rated, for all suggestions; a column of the input (``Columns(agent=...)``) goes before it. Characters
            that the server does not take in an agent's name are replaced by ``-``.

    The other arguments are those of `TaskOptions`; with `model_names`, the metadata is ``generations-{i}-model``.

    Raises:
        ValueError: settings that the server would refuse.

    Example:
        >>> Preference(num_generations=4, ratings=(1, 2, 3), agent='gpt-4', model_names=True, metadata=['topic'])
    """

    num_generations: int
    ratings: Sequence[int] = (1, 2, 3, 4, 5)
    suggestions: bool = True
    scores: bool = False
    agent: str | None = None

    def __post_init__(self) -> None:
        if self.num_generations < 1:
            raise ValueError(f'num_generations={self.num_generations}: it must be at least 1')
        object.__setattr__(self, 'ratings', tuple(self.ratings))
        super().__post_init__()

    @property
    def max_generations(self) -> int:
        return self.num_generations

    def settings(self) -> DatasetSettings:
        names = [f'generations-{i}' for i in range(self.num_generations)]
        questions = []
        for i, name in enumerate(names):
            first = i == 0
            description = (
                None if first else f'Ignore this question if the corresponding `{name}` field is not available.'
            )
            questions += [
                rating_question(f'{name}-rating', f'Rate {name} given instruction.', self.ratings, first, description),
                text_question(f'{name}-rationale', f"Specify the rationale for {name}'s rating.", False, description),
            ]
        return DatasetSettings(
            fields=[
                text_field('id', use_markdown=self.use_markdown),
                self._instruction_field(),
                *(text_field(n, required=i == 0, use_markdown=self.use_markdown) for i, n in enumerate(names)),
            ],
            questions=questions,
            metadata=[*self._properties(*(f'{n}-model' for n in names)), *self._score_properties(names)],
            guidelines=self.guidelines,
            min_submitted=self.min_submitted,
        )

    def _score_properties(self, names: Sequence[str]) -> list[Property]:
        return [metadata_property(f'{name}-score', 'float') for name in names if self.scores]

    def records(self, table: pa.Table) -> Iterator[Record | FailedRecord]:
        from beam_argilla.generations import SCORE, group_starts, rows

        starts = group_starts(table).tolist()
        bounds = zip(starts, [*starts[1:], table.num_rows], strict=True)
        ids, generations, models, ratings, rationales, agents = (
            table.column(c).to_pylist()
            for c in ('instruction_id', 'generation', 'model_name', 'rating', 'rationale', 'agent')
        )
        instructions = self._instructions(table)
        scores = table.column(SCORE).to_pylist() if self.scores and SCORE in table.column_names else None
        kept = self._cells(table)
        names = [f'generations-{i}' for i in range(self.num_generations)]
        field_names = ['id', 'instruction', *names]
        questions = [(f'{name}-rating', f'{name}-rationale') for name in names]
        # A column has few different ratings and agents: each is looked at once.
        values = {text: parse_rating(text) for text in set(ratings) if text is not None}
        constant = agent_name(self.agent)
        who = {agent: agent_name(agent) or constant for agent in set(agents)}
        new = tuple.__new__  # in a third of the time of Suggestion(...): there are millions of them
        for start, end in bounds:
            group = ids[start]
            if end - start > self.num_generations:
                places = self.num_generations
                message = f'Instruction id {group!r} has {end - start} generations, but places for {places}.'
                part = rows(table.slice(start, end - start))
                yield failed_rows(part, 'build', 'TooManyGenerations', message, group, 'group')
                continue
            fields = dict(zip(field_names, (group, instructions[start], *generations[start:end]), strict=False))
            suggestions: list[Suggestion] = []
            warnings: list[str] = []
            if self.suggestions:
                rated = zip(questions, ratings[start:end], rationales[start:end], agents[start:end], strict=False)
                for (rating_question, rationale_question), rating, rationale, agent in rated:
                    if rating is not None:
                        value = values[rating]
                        if value in self.ratings:
                            suggestions.append(new(Suggestion, (rating_question, value, who[agent], None, None)))
                        else:
                            scale = ', '.join(map(str, self.ratings))
                            place = rating_question.removesuffix('-rating')
                            warnings.append(f'rating {rating!r} of {place} is not one of {scale}: not suggested')
                    if rationale is not None:
                        suggestions.append(new(Suggestion, (rationale_question, rationale, who[agent], None, None)))
            metadata = {}
            if self.model_names:
                pairs = zip(names, models[start:end], strict=False)
                metadata = {f'{name}-model': model for name, model in pairs if model is not None}
            if scores is not None:
                scored = zip(names, scores[start:end], strict=False)
                metadata |= {f'{name}-score': score for name, score in scored if score is not None}
            for m, column in kept:
                value = metadata_value(m, column[start:end], warnings)
                if value is not None:
                    metadata[m.property_name] = value
            yield Record(external_id(group, self.namespace), fields, tuple(suggestions), metadata, tuple(warnings))
