"""What jobs count, how long their steps work, and the lines they have for a person; and what came of it."""

from __future__ import annotations

import functools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from apache_beam.metrics import Metrics

NAMESPACE = 'beam_argilla'

_HERE: Counter[str] = Counter()
_LOCK = threading.Lock()


def count(name: str, number: int = 1) -> None:
    """Counts something in a step of a job."""
    if number:
        Metrics.counter(NAMESPACE, name).inc(number)
        with _LOCK:
            _HERE[name] += number


def counted_here() -> Counter[str]:
    """What workers in this process have counted until now, of all jobs, those that failed or go on included.

    By this a local job can be watched: most runners tell what was counted when a job has ended well, and not before.
    """
    with _LOCK:
        return _HERE.copy()


def timed(stage: str) -> Callable[[Callable[..., Iterable[Any] | None]], Callable[..., Iterator[Any]]]:
    """Of a method of a DoFn: counts its own time as ``microseconds_STAGE``, without that of what takes its outputs."""

    def decorate(method: Callable[..., Iterable[Any] | None]) -> Callable[..., Iterator[Any]]:
        @functools.wraps(method)
        def measured(*args: Any, **kwargs: Any) -> Iterator[Any]:
            began = time.perf_counter_ns()
            outputs = iter(method(*args, **kwargs) or ())
            spent = time.perf_counter_ns() - began
            while True:
                began = time.perf_counter_ns()
                try:
                    output = next(outputs)
                except StopIteration:
                    break
                finally:
                    spent += time.perf_counter_ns() - began
                yield output
            count(f'microseconds_{stage}', spent // 1000)

        return measured

    return decorate


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
    totals: Counter[str] = Counter()
    for name, value in _values(result, 'counters'):
        totals[name] += value
    return dict(totals)


def texts(result: Any, name: str) -> set[str]:
    """The texts that all steps of a job have put into a set of this name. None, where a runner does not bring them."""
    return {text for found, value in _values(result, 'string_sets') if found == name for text in value}


def add_text(name: str, text: str) -> None:
    """Puts a text into a set of a job; of what is more than a megabyte in all, Beam keeps a part."""
    Metrics.string_set(NAMESPACE, name).add(text)


def _values(result: Any, kind: str) -> Iterator[tuple[str, Any]]:
    for metric in result.metrics().query().get(kind, ()):
        if metric.key.metric.namespace == NAMESPACE:
            value = metric.committed if metric.committed is not None else metric.attempted
            if value is not None:
                yield metric.key.metric.name, value
