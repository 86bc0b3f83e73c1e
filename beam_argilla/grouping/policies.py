"""What is done with groups that do not fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Order(NamedTuple):
    """The order of a group's generations: see `GroupGenerations`."""

    name: str = 'given'
    seed: int = 0

    def check(self) -> None:
        """Raises ValueError if there is no such order."""
        if self.name not in ('given', 'blind'):
            raise ValueError(f"order={self.name!r}: use 'given' or 'blind'")


GIVEN = Order()


@dataclass(frozen=True)
class Policies:
    """What to do with groups that do not fit. The defaults lose nothing: what does not fit is refused with a reason.

    Args:
        on_conflict: one instruction id has different instruction texts. ``fail`` refuses the group; ``first`` shows
            the first text (in the group's order) with all generations.
        max_generations: how many generations a group may have; None: any number.
        overflow: a group has more. ``fail`` refuses the group; ``truncate`` keeps the first `max_generations` (in the
            group's order) and refuses the rest.
        min_generations: groups with fewer are refused.

    Raises:
        ValueError: an unknown policy, or numbers that no group can satisfy.

    Example:
        >>> Policies(on_conflict='first', max_generations=4, overflow='truncate')
    """

    on_conflict: str = 'fail'
    max_generations: int | None = None
    overflow: str = 'fail'
    min_generations: int = 1

    def __post_init__(self) -> None:
        for name, value, known in (
            ('on_conflict', self.on_conflict, ('fail', 'first')),
            ('overflow', self.overflow, ('fail', 'truncate')),
        ):
            if value not in known:
                raise ValueError(f'{name}={value!r}: use one of {", ".join(map(repr, known))}')
        if self.min_generations < 1:
            raise ValueError(f'min_generations={self.min_generations}: it must be at least 1')
        if self.max_generations is not None and self.max_generations < self.min_generations:
            raise ValueError(
                f'min_generations={self.min_generations} is more than the {self.max_generations} generations that a '
                'record has places for: no group could ever be written'
            )
