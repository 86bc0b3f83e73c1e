"""What came of a job as far as it came, for people and, with `--summary`, for programs."""

from __future__ import annotations

import copy
import json
import time
from collections import Counter
from typing import Any

from apache_beam.runners.runner import PipelineResult

import beam_argilla as ba
from beam_argilla.files import check_writable, delete, write, written_to
from beam_argilla.metrics import counted_here
from beam_argilla.server.arrivals import Arrivals
from beam_argilla.threads import Latest

from .progress import Progress, of_load

_PLACE = 'The summary', '--summary'


class Account:
    """The account of one job, from when it is made.

    Args:
        path: where `write` puts it, on any Beam file system; None: nowhere.
        one_of_each_generation: a record is of a generation, not of a group.
        limit: so many groups are taken alone; None: all.

    Attributes:
        arrivals: counts what arrives at the server; None: nothing is sent.
        result: of the job, once it was started; some runners tell of it before it has ended.
        on_prism: it runs there.
        elsewhere: its workers are not on this machine.
        goes_on: what to say of it when nobody waits for it any more, and it goes on.
        complete: it has ended well.
    """

    def __init__(self, path: str | None = None, one_of_each_generation: bool = False, limit: int | None = None):
        self._path = path
        self._one_of_each_generation = one_of_each_generation
        self._limit = limit
        self._started = time.monotonic()
        self._counted = counted_here()
        self._told = Latest(self._tell)
        self._arrived = Latest(self._count_arrived)
        self.arrivals: Arrivals | None = None
        self.result: PipelineResult | None = None
        self.on_prism = False
        self.elsewhere = False
        self.goes_on: str | None = None
        self.complete = False

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    def check(self) -> None:
        """Raises JobError if it cannot be written where it shall go, before the job costs anything."""
        if self._path is not None:
            check_writable(self._path, self._path, *_PLACE)

    def counts(self, waiting: bool = False) -> Counter[str]:
        """What has been counted until now: by workers in this process, or as far as the runner tells.

        Args:
            waiting: a moment, for the runner.
        """
        return self._counted_here() | Counter(self._told(waiting) or {})

    def final_counts(self) -> Counter[str]:
        """What was counted in a job that has ended well."""
        counts = Counter(ba.counters(self.result))
        # Prism 2.77 loses what a bundle counted if another ends before it has asked what is counted there
        # (jobservices/metrics.go: unprocessedPayloads). Its workers are here, and it tries no bundle twice.
        return counts | self._counted_here() if self.on_prism else counts

    def _counted_here(self) -> Counter[str]:
        return counted_here() - self._counted

    def _tell(self) -> dict[str, int] | None:
        # Beam's keeps the first metrics that it is asked for: the job goes on, and so must they.
        return None if self.result is None else ba.counters(copy.copy(self.result))

    def _count_arrived(self) -> int | None:
        return None if self.arrivals is None else self.arrivals.count()

    def progress(self, waiting: bool = False) -> Progress:
        """How far the job is, at once.

        Args:
            waiting: a moment, for the runner and the server to say what has arrived until now.
        """
        return of_load(self.counts(waiting), self._arrived(waiting), self._one_of_each_generation, self._limit)

    def summary(self) -> ba.JobSummary:
        """Of a job that has not ended well, what had been counted."""
        if self.complete:
            return ba.JobSummary.of(self.result, self.final_counts())
        return ba.JobSummary.of_counts(self.counts(waiting=True))

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
            'complete': self.complete,
            **more,
            'wall_seconds': round(self.seconds, 3),
            **self.summary().to_dict(),
        }
        with written_to(self._path, *_PLACE):
            delete([self._path])
            write(self._path, (json.dumps(account, indent=2, ensure_ascii=False) + '\n').encode())
