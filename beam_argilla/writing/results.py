"""What a write comes to."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import apache_beam as beam

from beam_argilla.failures import FailedRecord
from beam_argilla.refusing import Refused
from beam_argilla.row_types import register_row
from beam_argilla.writing.summarize import Summarize


class WrittenRecord(NamedTuple):
    """A record that the server holds now.

    Attributes:
        external_id: the record's; where it was adopted, the server keeps the one that was there.
        record_id: the server's UUID of it.
        outcome: ``created``, ``updated`` (adopted ones as well), or ``unchanged`` (with `skip_unchanged`: it was the
            same, and not sent).
        warnings: what was left out while building it, such as a rating that is not on the scale.
    """

    external_id: str
    record_id: str
    outcome: str
    warnings: Sequence[str]

    def shown_warnings(self) -> list[str]:
        """What was left out, in lines for people."""
        return [f'{self.external_id}: {warning}' for warning in self.warnings]


register_row(WrittenRecord)


class _Outputs(NamedTuple):
    written: beam.PCollection
    failed: beam.PCollection
    dataset: beam.PCollection


class WriteResult(_Outputs):
    """What a write came to.

    If `failed` is never asked for, the pipeline fails on the first failed record: whoever wants to go on says so by
    consuming it (or with an error handler).

    It is a tuple because that is how Beam sees what a composite gives out: without that, an `InteractiveRunner` leaves
    out steps of which the rest of the write needs what they give.

    Attributes:
        dataset: PCollection of the `Dataset` that is written to.
        given: the same, as it is given to steps (`ensured.given`).
        written: PCollection of `WrittenRecord`.
        failed: PCollection of `FailedRecord`.
        summary: PCollection of one `WriteSummary`, once all is written; of input in windows, one of each window in
            which there was something (and of each pane, if its trigger fires several times). It costs a small shuffle,
            if it is asked for, and does not consume `failed`. ValueError: the input never ends, and has no windows.
    """

    given: Any
    _guard: beam.ParDo | None

    def __new__(cls, outputs: _Outputs, given: Any, guard: beam.ParDo | None) -> WriteResult:
        result = super().__new__(cls, *outputs)
        result.given = given
        result._guard = guard
        return result

    @property
    def failed(self) -> beam.PCollection:
        if self._guard is not None:
            self._guard.fn.armed = False
        return super().failed

    @functools.cached_property
    def summary(self) -> beam.PCollection:
        label = f'Summary of {self.written.producer.full_label}'  # two writes of one pipeline have two
        return (self.written, super().failed) | label >> Summarize(self.given)


def write_result(
    written: beam.PCollection, failed: beam.PCollection, dataset: beam.PCollection, given: Any, error_handler: Any
) -> WriteResult:
    written.element_type = WrittenRecord
    failed.element_type = FailedRecord
    outputs = _Outputs(written, failed, dataset)
    if error_handler is not None:
        error_handler.add_error_pcollection(failed)
        return WriteResult(outputs, given, None)
    guard = beam.ParDo(Refused())
    _ = failed | 'Fail unless consumed' >> guard
    return WriteResult(outputs, given, guard)
