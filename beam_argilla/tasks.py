"""What annotators are asked: the dataset's settings, and how groups become records. No Beam, no network.

By default both tasks make distilabel's datasets to the letter (`TextGenerationToArgilla`, `PreferenceToArgilla`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
import pyarrow as pa

from beam_argilla.failures import FailedRecord, failed_rows
from beam_argilla.generations import METADATA_PREFIX, group_starts, rows
from beam_argilla.records import Record, Suggestion, agent_name, external_id, generation_suffix
from beam_argilla.settings import (
    DatasetSettings,
    Property,
    label_question,
    metadata_property,
    rating_question,
    text_field,
    text_question,
)


@dataclass(frozen=True)
class Metadata:
    """A column of the input that becomes a metadata property, to filter and sort by.

    Args:
        column: its name in the input, and the property's.
        type: ``terms`` (text), ``integer`` or ``float``.
        visible_for_annotators: False hides it from annotators.
    """

    column: str
    type: str = 'terms'
    visible_for_annotators: bool = True

    def settings(self) -> Property:
        return metadata_property(self.column, self.type, visible_for_annotators=self.visible_for_annotators)


class Task(Protocol):
    """What `WriteToArgilla` needs to know of a task."""

    @property
    @abstractmethod
    def max_generations(self) -> int | None:
        """How many generations a record has places for; None: a record per generation."""

    @property
    @abstractmethod
    def metadata_columns(self) -> tuple[str, ...]:
        """Columns of the input that it keeps as metadata."""

    @abstractmethod
    def settings(self) -> DatasetSettings:
        """The dataset to make."""

    @abstractmethod
    def records(self, table: pa.Table) -> Iterator[Record | FailedRecord]:
        """The records of a canonical table whose groups are whole and in order."""


@dataclass(frozen=True, kw_only=True)
class TaskOptions(Task):
    """What can be said of either task.

    Args:
        guidelines: shown to annotators.
        use_markdown: show the texts as Markdown.
        model_names: keep the models' names as metadata, hidden from annotators, who should not know.
        metadata: columns to keep as metadata; a plain name means terms.
        min_submitted: how many annotators must answer before a record is complete.
        namespace: goes before every external id, so that two jobs on one dataset do not overwrite each other.
    """

    guidelines: str | None = None
    use_markdown: bool = False
    model_names: bool = False
    metadata: Sequence[Metadata | str] = ()
    min_submitted: int = 1
    namespace: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.metadata, str):
            raise ValueError(f'metadata={self.metadata!r}: give a list, [{self.metadata!r}]')
        # A tuple is hashable, whatever sequence was given.
        object.__setattr__(self, 'metadata', tuple(Metadata(m) if isinstance(m, str) else m for m in self.metadata))
        self.settings()  # raises on what the server would refuse

    @property
    def metadata_columns(self) -> tuple[str, ...]:
        return tuple(m.column for m in self._kept)

    @property
    def _kept(self) -> tuple[Metadata, ...]:
        return cast(tuple[Metadata, ...], self.metadata)

    def _properties(self, *models: str) -> list[Property]:
        """The metadata properties: those of the models' names, if they are kept, and those of the columns."""
        hidden = [metadata_property(m, 'terms', visible_for_annotators=False) for m in models if self.model_names]
        return [*hidden, *(m.settings() for m in self._kept)]

    def _cells(self, table: pa.Table) -> list[tuple[Metadata, list[Any]]]:
        """The cells of each metadata column of a canonical table."""
        return [(m, table.column(METADATA_PREFIX + m.column).to_pylist()) for m in self._kept]


@dataclass(frozen=True)
class TextGeneration(TaskOptions):
    """One record per generation; the annotator says whether it is good.

    The arguments are those of `TaskOptions`; with `model_names`, the metadata is ``model_name``.
    """

    @property
    def max_generations(self) -> None:
        return None

    def settings(self) -> DatasetSettings:
        return DatasetSettings(
            fields=[text_field(name, use_markdown=self.use_markdown) for name in ('id', 'instruction', 'generation')],
            questions=[
                label_question(
                    'quality',
                    title="What's the quality of the generation for the given instruction?",
                    labels={'bad': '👎', 'good': '👍'},
                )
            ],
            metadata=self._properties('model_name'),
            guidelines=self.guidelines,
            min_submitted=self.min_submitted,
        )

    def records(self, table: pa.Table) -> Iterator[Record]:
        columns = [table.column(c).to_pylist() for c in ('instruction_id', 'instruction', 'generation', 'model_name')]
        metadata = self._cells(table)
        for i, (group, instruction, generation, model) in enumerate(zip(*columns, strict=True)):
            warnings: list[str] = []
            values = {m.column: _metadata_value(m, [column[i]], warnings) for m, column in metadata}
            if self.model_names:
                values['model_name'] = model
            yield Record(
                external_id=external_id(group, self.namespace, generation_suffix(model, generation)),
                fields={'id': group, 'instruction': instruction, 'generation': generation},
                metadata={k: v for k, v in values.items() if v is not None},
                warnings=tuple(warnings),
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
        agent: who rated, for all suggestions; a column of the input (``Columns(agent=...)``) goes before it. Characters
            that the server does not take in an agent's name are replaced by ``-``.

    The other arguments are those of `TaskOptions`; with `model_names`, the metadata is ``generations-{i}-model``.

    Raises:
        ValueError: settings that the server would refuse.
    """

    num_generations: int
    ratings: Sequence[int] = (1, 2, 3, 4, 5)
    suggestions: bool = True
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
                text_field('instruction', use_markdown=self.use_markdown),
                *(text_field(n, required=i == 0, use_markdown=self.use_markdown) for i, n in enumerate(names)),
            ],
            questions=questions,
            metadata=self._properties(*(f'{n}-model' for n in names)),
            guidelines=self.guidelines,
            min_submitted=self.min_submitted,
        )

    def records(self, table: pa.Table) -> Iterator[Record | FailedRecord]:
        starts = group_starts(table)
        bounds = zip(starts.tolist(), np.append(starts[1:], table.num_rows).tolist(), strict=True)
        ids, instructions, generations, models, ratings, rationales, agents = (
            table.column(c).to_pylist()
            for c in ('instruction_id', 'instruction', 'generation', 'model_name', 'rating', 'rationale', 'agent')
        )
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
            for m, column in kept:
                value = _metadata_value(m, column[start:end], warnings)
                if value is not None:
                    metadata[m.column] = value
            yield Record(external_id(group, self.namespace), fields, tuple(suggestions), metadata, tuple(warnings))


def parse_rating(text: str) -> int | None:
    """The whole number that the text writes (``4``, ``4.0``); None for any other text. Never rounds."""
    try:
        number = float(text.replace('_', '?'))  # Python alone reads 1_0 as a number
    except ValueError:
        return None
    return int(number) if number.is_integer() else None


def _metadata_value(metadata: Metadata, cells: Sequence[list[str | None] | None], warnings: list[str]) -> Any:
    """One value for a record out of its rows' cells: what they agree on, or, for terms, all of them."""
    texts = list(dict.fromkeys(text for cell in cells if cell is not None for text in cell if text is not None))
    if metadata.type == 'terms':
        return texts[0] if len(texts) == 1 else texts or None
    numbers = list(dict.fromkeys(_number(text, metadata.type) for text in texts))
    if len(numbers) > 1:
        warnings.append(f'metadata {metadata.column!r} differs within the group ({numbers}): the first was kept')
    return numbers[0] if numbers else None


def _number(text: str, kind: str) -> Any:
    """The number that the text writes, as the property takes it; the text itself if it is none, to be refused."""
    try:
        return int(text) if kind == 'integer' else float(text)
    except ValueError:
        whole = parse_rating(text) if kind == 'integer' else None  # 3.0 is an integer, too
        return text if whole is None else whole
