"""Krippendorff's alpha from a coincidence matrix: how far people agree beyond chance, as a pure function of counts.

The source is Klaus Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), section E for any number of
people, with missing answers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np

# Place of a value → the squared differences from that one to each.
Differences = Callable[[int], np.ndarray]
# Values in order, and how often each is paired → the differences between them.
Metric = Callable[[Sequence[Any], np.ndarray], Differences]


def coincidences(values: Sequence[Hashable]) -> Counter[tuple[int, Any, Any]]:
    """What one unit adds to the coincidence matrix: counts of whole numbers, so that any order of adding is the same.

    Args:
        values: what the unit's people answered.

    Returns:
        (number of answers, value, value) → in how many ordered pairs of two people's answers the two values stand;
        each pair weighs 1 / (number of answers - 1) in the matrix. Nothing of a unit with a single answer.

    Example:
        >>> coincidences(['a', 'a', 'b'])
        Counter({(3, 'a', 'a'): 2, (3, 'a', 'b'): 2, (3, 'b', 'a'): 2})
    """
    counts = Counter(values)
    of = len(values)
    pairs = {(of, a, b): n * (m - (a == b)) for a, n in counts.items() for b, m in counts.items()}
    return Counter({key: count for key, count in pairs.items() if count})


def alpha(counted: Mapping[tuple[int, Any, Any], int], level: str) -> float | None:
    """Krippendorff's alpha: 1 is perfect agreement, 0 what chance gives, and below that people differ on purpose.

    Args:
        counted: the sum of the `coincidences` of all units.
        level: one of `METRICS`.

    Returns:
        None where it is not defined: nothing was answered twice, or all values are the same.

    Example:
        >>> alpha(coincidences(['a', 'a']) + coincidences(['b', 'b']), 'nominal')
        1.0
    """
    values = sorted({a for _, a, _ in counted})
    if len(values) < 2:
        return None
    place = {value: i for i, value in enumerate(values)}
    rows: list[dict[int, float]] = [{} for _ in values]
    for (of, a, b), count in sorted(counted.items()):
        row, k = rows[place[a]], place[b]
        row[k] = row.get(k, 0.0) + count / (of - 1)
    marginals = np.array([sum(row.values()) for row in rows])
    differences = METRICS[level](values, marginals)
    observed = expected = 0.0
    for i, row in enumerate(rows):  # row by row: many sets of labels would not fit as a matrix
        from_this = differences(i)
        observed += sum(weight * from_this[k] for k, weight in row.items())
        expected += marginals[i] * float(from_this @ marginals)
    return float(1 - (marginals.sum() - 1) * observed / expected)


def _nominal(values: Sequence[Any], marginals: np.ndarray) -> Differences:
    places = np.arange(len(values))
    return lambda i: (places != i).astype(float)


def _ordinal(values: Sequence[Any], marginals: np.ndarray) -> Differences:
    """What lies between two values, half of both included, as many as there are of each."""
    middle = np.cumsum(marginals) - marginals / 2
    return lambda i: (middle - middle[i]) ** 2


def _interval(values: Sequence[float], marginals: np.ndarray) -> Differences:
    numbers = np.array(values, float)
    return lambda i: (numbers - numbers[i]) ** 2


def _masi(values: Sequence[tuple[str, ...]], marginals: np.ndarray) -> Differences:
    """1 - Jaccard index × monotonicity, which is 1 of equal sets, 2/3 of a subset, 1/3 of overlap, 0 of nothing shared.

    Rebecca Passonneau, "Measuring Agreement on Set-valued Items (MASI)" (LREC 2006); in the place of the squared
    difference, as there and in NLTK.
    """
    labels = sorted({label for value in values for label in value})
    holds = np.array([[label in value for label in labels] for value in values], float)
    sizes = holds.sum(axis=1)

    def differences(i: int) -> np.ndarray:
        shared = holds @ holds[i]
        either = sizes + sizes[i] - shared
        monotonicity = np.where(shared == np.minimum(sizes, sizes[i]), 2 / 3, 1 / 3)
        return np.where(shared == either, 0.0, 1 - monotonicity * shared / np.maximum(either, 1))

    return differences


METRICS: dict[str, Metric] = {'nominal': _nominal, 'ordinal': _ordinal, 'interval': _interval, 'masi': _masi}
