"""How the scores of an input become the ratings of a question."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Scale:
    """A rule by which scores become ratings. Without one nothing is rounded.

    A score goes to the rating that lies nearest to the same place between the ends; half-way, to the higher one. The
    exact score is kept as metadata (see `Preference.scores`). A score that is beyond the ends or no number is
    reported with its record and not suggested.

    Args:
        from_: the scores that stand for the lowest and the highest rating: ``(0, 10)``; of ranks, of which the smallest
            is the best, ``(7, 1)``. Or a mapping of what stands in the column (as text) to scores from 0 to 1:
            ``{'model_a': 1, 'tie': 0.5, 'model_b': 0}``.
        to: the ratings, in ascending order.

    Raises:
        ValueError: ends that are equal or no numbers, scores of a mapping that are not between 0 and 1, or ratings out
            of order.

    Example:
        >>> Scale(from_=(0, 10), to=(1, 2, 3, 4, 5)).rate('7.5')
        (4, 7.5)
    """

    from_: tuple[float, float] | Mapping[str, float]
    to: Sequence[int] = (1, 2, 3, 4, 5)

    def __post_init__(self) -> None:
        object.__setattr__(self, 'to', tuple(self.to))
        if not self.to or list(self.to) != sorted(set(self.to)):
            raise ValueError(f'Scale(to={list(self.to)}): give ratings in ascending order, such as (1, 2, 3, 4, 5)')
        if isinstance(self.from_, Mapping):
            if not self.from_ or not all(0 <= score <= 1 for score in self.from_.values()):
                raise ValueError(f'Scale(from_={dict(self.from_)}): give each text a score from 0 to 1')
            return
        object.__setattr__(self, 'from_', tuple(self.from_))
        if len(self.from_) != 2 or self.from_[0] == self.from_[1] or not all(map(math.isfinite, self.from_)):
            raise ValueError(f'Scale(from_={self.from_}): give the scores of the lowest and the highest rating')

    def __hash__(self) -> int:
        from_ = tuple(sorted(self.from_.items())) if isinstance(self.from_, Mapping) else self.from_
        return hash((from_, self.to))

    def place(self, text: str) -> Fraction | None:
        """Where a text lies between the ends, from 0 to 1; None if it does not."""
        if isinstance(self.from_, Mapping):
            return Fraction(self.from_[text]) if text in self.from_ else None
        low, high = map(Fraction, self.from_)
        score = exact(text)
        place = None if score is None else (score - low) / (high - low)
        return place if place is not None and 0 <= place <= 1 else None

    def rate(self, text: str) -> tuple[int, float] | None:
        """The rating and the exact score of a text; None if it is not on the scale."""
        place = self.place(text)
        if place is None:
            return None
        aim = self.to[0] + place * (self.to[-1] - self.to[0])
        score = self.from_[text] if isinstance(self.from_, Mapping) else exact(text)
        return min(self.to, key=lambda rating: (abs(rating - aim), -rating)), float(score or 0)


_OFF = ' (not on the scale)'


def off_scale(text: str) -> str:
    """What is said of a score that is on no scale, lest it be taken for the rating that it may look like."""
    return text if text.endswith(_OFF) else text + _OFF


# Digits of ASCII alone, and no exponent that would fill the memory.
_NUMBER = re.compile(r'\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]{1,3})?\s*', re.IGNORECASE)


def exact(text: str) -> Fraction | None:
    """The number exactly, where a float would round; None if the text is none."""
    return Fraction(text.strip()) if _NUMBER.fullmatch(text) else None
