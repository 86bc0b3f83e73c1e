"""What all steps are: a transform with one output, and another one of what is refused, if the file names it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.typehints.row_type import RowTypeConstraint

from beam_argilla.failures import FailedRecord
from beam_argilla.refusing import Collect

_GOOD = 'good'  # as Beam YAML calls the output of what is not refused


@dataclass(frozen=True)
class ErrorHandling:
    """Where what is refused goes, as in every step of Beam YAML. Without it, the first refusal ends the job.

    Args:
        output: the name of the output of `FailedRecord`s, which another step must take: ``STEP.OUTPUT``.

    Raises:
        ValueError: it is called like the other output.
    """

    output: str

    def __post_init__(self) -> None:
        if self.output == _GOOD:
            raise ValueError(f'output: {_GOOD} is the name of what is not refused: give it another one')


class Step(beam.PTransform):
    """A step of Beam YAML.

    Args:
        apply: input, and an error handler (None: the first refusal ends the job) → output.
        error_handling: of the file.
    """

    def __init__(self, apply: Callable[[Any, Any], beam.PCollection], error_handling: ErrorHandling | None = None):
        super().__init__()
        self._apply = apply
        self._error_handling = error_handling

    def expand(self, source: Any) -> Any:
        if self._error_handling is None:
            return self._apply(source, None)
        refused = Collect()
        good = self._apply(source, refused)
        failed = refused.pcollections | 'Refused' >> beam.Flatten()
        failed.element_type = FailedRecord
        return {_GOOD: good, self._error_handling.output: failed}


def as_paths() -> beam.PTransform:
    """Paths of files → rows, for no step of Beam YAML gives anything else."""
    return beam.Map(_as_path).with_output_types(RowTypeConstraint.from_fields([('path', str)]))


def _as_path(path: str) -> beam.Row:
    return beam.Row(path=path)
