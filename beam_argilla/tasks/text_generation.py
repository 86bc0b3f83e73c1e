"""The task of distilabel's `TextGenerationToArgilla`: is a generation good or bad?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from beam_argilla.records import Record, external_id, generation_suffix
from beam_argilla.server.settings import DatasetSettings, label_question, text_field
from beam_argilla.tasks.task import TaskOptions, metadata_value

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class TextGeneration(TaskOptions):
    """One record per generation; the annotator says whether it is good.

    The arguments are those of `TaskOptions`; with `model_names`, the metadata is ``model_name``.

    Raises:
        ValueError: settings that the server would refuse.

    Example:
        >>> TextGeneration(guidelines='Is it true and polite?', model_names=True)
    """

    @property
    def max_generations(self) -> None:
        return None

    def settings(self) -> DatasetSettings:
        return DatasetSettings(
            fields=[
                text_field('id', use_markdown=self.use_markdown),
                self._instruction_field(),
                text_field('generation', use_markdown=self.use_markdown),
            ],
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
        columns = [table.column(c).to_pylist() for c in ('instruction_id', 'generation', 'model_name')]
        metadata = self._cells(table)
        rows = zip(self._instructions(table), *columns, strict=True)
        for i, (instruction, group, generation, model) in enumerate(rows):
            warnings: list[str] = []
            values = {m.property_name: metadata_value(m, [column[i]], warnings) for m, column in metadata}
            if self.model_names:
                values['model_name'] = model
            yield Record(
                external_id=external_id(group, self.namespace, generation_suffix(model, generation)),
                fields={'id': group, 'instruction': instruction, 'generation': generation},
                metadata={k: v for k, v in values.items() if v is not None},
                warnings=tuple(warnings),
            )
