"""The account of a job, where its runner does not tell all."""

from __future__ import annotations

from types import SimpleNamespace

import apache_beam as beam
import pytest
from apache_beam.metrics.execution import MetricKey, MetricResult
from apache_beam.metrics.metricbase import MetricName

from beam_argilla.metrics import NAMESPACE, count
from beam_argilla.runners import ran_on_prism
from pipelines.account import Account


class Told:
    """A job that has ended well, of which the runner tells this."""

    def __init__(self, **counted: int):
        self._counters = [
            MetricResult(MetricKey('step', MetricName(NAMESPACE, name)), number, number)
            for name, number in counted.items()
        ]

    def metrics(self) -> SimpleNamespace:
        return SimpleNamespace(query=lambda *_: {'counters': self._counters})


@pytest.mark.parametrize('on_prism', [True, False])
def test_what_prism_loses_of_what_was_counted_here_is_told_all_the_same(on_prism):
    account = Account()
    account.result, account.on_prism, account.complete = Told(groups=60, records_created=9), on_prism, True
    count('records_created', 60)
    summary = account.summary()
    # Elsewhere, a part of what workers here have counted may have come to nothing and be tried again.
    assert (summary.groups, summary.records_created) == (60, 60 if on_prism else 9)


def test_what_runs_on_prism():
    behind_a_job_server = SimpleNamespace(_job_service=None)
    here = SimpleNamespace()
    assert ran_on_prism(beam.Pipeline('PrismRunner'), behind_a_job_server)
    assert ran_on_prism(beam.Pipeline('DirectRunner'), behind_a_job_server)
    assert not ran_on_prism(beam.Pipeline('DirectRunner'), here)
    assert not ran_on_prism(beam.Pipeline('FlinkRunner'), behind_a_job_server)
