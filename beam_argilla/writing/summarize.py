"""`Summarize`: all that a write came to, in one element."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindows

from beam_argilla.row_types import register_row
from beam_argilla.server.datasets import Dataset
from beam_argilla.summary import counted, listed
from beam_argilla.writing.ensured import Ensured, known

_REFUSED = 'refused: '


class WriteSummary(NamedTuple):
    """What a write came to.

    Attributes:
        dataset: address of the dataset's web page.
        created, updated, unchanged: how many records; see `WrittenRecord.outcome`.
        warnings: how many suggestions and metadata were left out of them.
        refused: reason → how many rows, groups and records were refused for it.
    """

    dataset: str
    created: int
    updated: int
    unchanged: int
    warnings: int
    refused: Mapping[str, int]

    def shown(self) -> str:
        """In a line for people."""
        said = [
            f'{counted(self.created + self.updated, "record")} written ({self.created:,} created, '
            f'{self.updated:,} updated)',
            *([f'{self.unchanged:,} unchanged'] if self.unchanged else []),
            *([counted(self.warnings, 'warning')] if self.warnings else []),
            f'{sum(self.refused.values()):,} refused' + (f' ({listed(self.refused)})' if self.refused else ''),
        ]
        return f'{", ".join(said)}: {self.dataset}'


register_row(WriteSummary)


@beam.typehints.with_output_types(WriteSummary)
class Summarize(beam.PTransform):
    """PCollections of `WrittenRecord`s and of `FailedRecord`s → one `WriteSummary`, or one of each window (and pane).

    Args:
        dataset: that was written to, as steps are given it (`ensured.given`).

    Raises:
        ValueError: the input never ends, and has no windows.
    """

    def __init__(self, dataset: Any):
        super().__init__()
        self._dataset = dataset

    def expand(self, results: tuple[beam.PCollection, beam.PCollection]) -> beam.PCollection:
        written, failed = results
        one_window = isinstance(written.windowing.windowfn, GlobalWindows)
        if one_window and written.windowing.is_default() and not written.is_bounded:
            raise ValueError(
                'The input never ends, so there is no summary of all of it: put it into windows (beam.WindowInto), of '
                'each of which there is one.'
            )
        add = beam.CombineGlobally(_Add())
        return (
            (written | beam.Map(_of_written), failed | beam.Map(_of_failed))
            | beam.Flatten()
            | (add if one_window and written.is_bounded else add.without_defaults())
            | beam.Map(_summary, self._dataset)
        )


def _of_written(record: Any) -> dict[str, int]:
    return {record.outcome: 1, 'warnings': len(record.warnings)}


def _of_failed(failed: Any) -> dict[str, int]:
    return {_REFUSED + failed.error: 1}


class _Add(beam.CombineFn):
    """Counts by name → their sums."""

    def create_accumulator(self) -> Counter[str]:
        return Counter()

    def add_input(self, sums: Counter[str], counts: Mapping[str, int]) -> Counter[str]:
        sums.update(counts)
        return sums

    def merge_accumulators(self, accumulators: Iterable[Counter[str]]) -> Counter[str]:
        return sum(accumulators, Counter())

    def extract_output(self, sums: Counter[str]) -> dict[str, int]:
        return dict(sums)


_NAMES = ('created', 'updated', 'unchanged', 'warnings')


def _summary(sums: Mapping[str, int], dataset: Dataset | Ensured) -> WriteSummary:
    created, updated, unchanged, warnings = (sums.get(name, 0) for name in _NAMES)
    refused = {name.removeprefix(_REFUSED): sums[name] for name in sorted(sums) if name.startswith(_REFUSED)}
    return WriteSummary(known(dataset).url, created, updated, unchanged, warnings, refused)
