"""The metrics that jobs report, and what they came to."""

from __future__ import annotations

from typing import Any

NAMESPACE = 'beam_argilla'


def counters(result: Any) -> dict[str, int]:
    """What this package counted in a job, over all of its steps.

    Args:
        result: what `Pipeline.run` returned, of a job that has ended.

    Returns:
        Name of the counter (``rows_read``, ``records_created``, ``failed_NullGeneration``, …) → its value; as
        committed, or, on a runner that does not tell, as attempted.

    Example:
        >>> result = p.run()
        >>> result.wait_until_finish()
        >>> counters(result)['records_created']
        25000
    """
    totals: dict[str, int] = {}
    for metric in result.metrics().query()['counters']:
        if metric.key.metric.namespace == NAMESPACE:
            value = metric.committed if metric.committed is not None else metric.attempted
            totals[metric.key.metric.name] = totals.get(metric.key.metric.name, 0) + (value or 0)
    return totals
