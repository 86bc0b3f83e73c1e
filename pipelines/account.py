"""What came of a job as far as it came, for people and, with `--summary`, for programs."""

from __future__ import annotations

import json
import time
from typing import Any

from apache_beam.runners.runner import PipelineResult

import beam_argilla as ba
from beam_argilla.files import check_writable, delete, write, written_to
from beam_argilla.metrics import counted_here

_PLACE = 'The summary', '--summary'


class Account:
    """The account of one job, from when it is made.

    Args:
        path: where `write` puts it, on any Beam file system; None: nowhere.

    Attributes:
        result: of the job, once it has ended well.
    """

    def __init__(self, path: str | None):
        self._path = path
        self._started = time.monotonic()
        self._counted = counted_here()
        self.result: PipelineResult | None = None

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    def check(self) -> None:
        """Raises JobError if it cannot be written where it shall go, before the job costs anything."""
        if self._path is not None:
            check_writable(self._path, self._path, *_PLACE)

    def summary(self) -> ba.JobSummary:
        """Of a job that has not ended well, what its workers in this process, if they were here, had counted."""
        if self.result is not None:
            return ba.JobSummary.of(self.result)
        return ba.JobSummary.of_counts(counted_here() - self._counted)

    def write(self, status: int, error: str | None, **more: Any) -> None:
        """Writes it, in the place of an earlier one.

        Args:
            status: the program's exit status.
            error: what was said of why it did not go well.
            more: what else is to be said, by name.

        Raises:
            JobError: it cannot be written.
        """
        if self._path is None:
            return
        account = {
            'status': status,
            'error': error,
            'complete': self.result is not None,
            **more,
            'wall_seconds': round(self.seconds, 3),
            **self.summary().to_dict(),
        }
        with written_to(self._path, *_PLACE):
            delete([self._path])
            write(self._path, (json.dumps(account, indent=2, ensure_ascii=False) + '\n').encode())
