"""Where refused rows and records go: Beam's rule, in one place.

A transform hands what it refuses to the error handler it was given; without one, the first refusal fails the pipeline.
"""

from __future__ import annotations

from typing import Any

import apache_beam as beam
from apache_beam.utils.windowed_value import WindowedValue

from beam_argilla.errors import RefusedError
from beam_argilla.failures import FailedRecord, where
from beam_argilla.metrics import count
from beam_argilla.row_types import register_row

# A schema'd PCollection: `failed` can go to WriteToJson, BigQuery or SqlTransform as it is.
register_row(FailedRecord)


class Fallible(beam.PTransform):
    """Base of transforms that may refuse elements. See `with_error_handler`."""

    _error_handler: Any = None

    def with_error_handler(self, error_handler: Any) -> Fallible:
        """Sends what is refused to a Beam `ErrorHandler` as `FailedRecord`s. None: the pipeline fails instead."""
        self._error_handler = error_handler
        return self

    def refuse(self, failed: beam.PCollection, output: beam.PCollection | None = None) -> None:
        """Routes a PCollection of FailedRecords.

        Args:
            failed: what was refused.
            output: what was not; a later transform that has a failed output of its own may take `failed` over from it.
        """
        failed.element_type = FailedRecord
        if self._error_handler is not None:
            self._error_handler.add_error_pcollection(failed)
            return
        guard = beam.ParDo(Refused())
        _ = failed | 'Fail on refused' >> guard
        if output is not None:
            output.refused_before = (failed, guard)


class Collect:
    """An error handler for the inside of a composite: it only keeps the PCollections."""

    def __init__(self) -> None:
        self.pcollections: list[beam.PCollection] = []

    def add_error_pcollection(self, pcoll: beam.PCollection) -> None:
        self.pcollections.append(pcoll)

    def take_over(self, output: beam.PCollection) -> None:
        """Takes what was refused on the way to `output`, so that it fails the pipeline no longer by itself."""
        if hasattr(output, 'refused_before'):
            failed, guard = output.refused_before
            guard.fn.armed = False
            self.pcollections.append(failed)


class Refused(beam.DoFn):
    """Raises on the first FailedRecord, unless `armed` is taken away before the pipeline runs."""

    TAG = 'refused'  # the output of DoFns that refuse

    def __init__(self) -> None:
        self.armed = True

    def process(self, failed: FailedRecord) -> None:
        if self.armed:
            raise RefusedError(
                f'{failed.error}: {failed.message} (stage {failed.stage}, id {failed.external_id}){where(failed)}. '
                'The job stopped there. To go on and collect what is refused, consume the failed output, pass an error '
                'handler, or give the program --failed PREFIX.'
            )


def refuse(failed: FailedRecord, stamp: WindowedValue | None = None) -> beam.pvalue.TaggedOutput:
    """Counts a FailedRecord and makes it the output of a DoFn, with the given timestamp and window if any."""
    failed = FailedRecord(*map(_as_utf8, failed))
    count(f'failed_{failed.error}')
    return beam.pvalue.TaggedOutput(Refused.TAG, failed if stamp is None else stamp.with_value(failed))


def _as_utf8(value: Any) -> Any:
    """A text as it can travel: the name of a file on this machine may hold what UTF-8 cannot carry."""
    return value.encode('utf-8', 'backslashreplace').decode() if isinstance(value, str) else value
