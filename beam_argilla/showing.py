"""`Show`: what a person shall see of a job, brought back from wherever its workers are."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import apache_beam as beam

from beam_argilla.metrics import add_text, texts
from beam_argilla.runners import jobs_outlive_their_launch

_LOGGER = logging.getLogger(__name__)
_PREFIX = 'shown_'
_FEWEST = 10  # lines that each worker gives, for those of a small input to be the same on each run
_LONGEST = 50_000  # characters of a line: together they are to stay below what a metric holds


class Show(beam.PTransform):
    """Brings some elements of a PCollection of texts to whoever started the job: `shown` has them when it has ended.

    They travel as a metric of the job, so that there is no shuffle for what is only looked at. On Dataflow, which does
    not give such metrics to Python, they stand in the job's log instead. What is longer than 50,000 characters is cut.

    Output: an empty PCollection.

    Args:
        name: what they are called, by which `shown` finds them.
        most: how many. Which, of more, is not said: each worker gives its first.

    Example:
        >>> lines | 'Show warnings' >> Show('warnings', 10)
        >>> result = p.run()
        >>> result.wait_until_finish()
        >>> shown(result, 'warnings', 10)
    """

    def __init__(self, name: str, most: int):
        super().__init__()
        self.name = name
        self.most = most

    def expand(self, lines: beam.PCollection) -> beam.PCollection:
        return lines | beam.ParDo(_Show(self.name, self.most, jobs_outlive_their_launch(lines.pipeline)))


class _Show(beam.DoFn):
    def __init__(self, name: str, most: int, logged: bool):
        self._name = name
        self._most = max(most, _FEWEST)
        self._logged = logged

    def setup(self) -> None:
        self._shown = 0

    def process(self, line: str) -> Iterator[Any]:
        if self._shown < self._most:
            self._shown += 1
            if len(line) > _LONGEST:
                line = f'{line[:_LONGEST]} … ({len(line) - _LONGEST:,} more characters)'
            add_text(_PREFIX + self._name, line)
            if self._logged:
                _LOGGER.info('%s: %s', self._name, line)
        return iter(())


def shown(result: Any, name: str, most: int) -> list[str]:
    """What `Show` of this name brought back of a job that has ended, in alphabetical order.

    Args:
        result: what `Pipeline.run` returned.
        most: how many.
    """
    return sorted(texts(result, _PREFIX + name))[:most]
