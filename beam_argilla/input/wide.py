"""Wide rows (an instruction with lists) → long ones (a generation each)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_argilla.input.plain import list_lengths
from beam_argilla.input.values import Problem


class Exploded(NamedTuple):
    """The items of lists, and where each comes from.

    Attributes:
        items: role → the items of all lists, in order; of a list that says nothing, a null for each generation.
        parents: the row of each item.
        positions: its index in its list.
    """

    items: dict[str, pa.Array]
    parents: np.ndarray
    positions: pa.Array


def list_problems(lists: Mapping[str, pa.Array], names: Mapping[str, str]) -> list[Problem]:
    """Rows without generations, or whose lists do not match.

    Args:
        lists: role → lists with an item per generation.
        names: role → what the column is called.
    """
    lengths = list_lengths(lists['generation'])
    nothing = f'The list {names["generation"]!r} is null or empty: there is nothing to judge'
    problems = [Problem('NoGenerations', nothing, lengths == 0)]
    for role, array in lists.items():
        counts = list_lengths(array)  # null or empty beside generations: nothing is known of any
        message = f'{names[role]!r} has another number of items than {names["generation"]!r}: which belongs to which?'
        problems.append(Problem('UnequalLists', message, (counts != lengths) & (counts > 0)))
    return problems


def explode(lists: Mapping[str, pa.Array], kept: Sequence[int] | np.ndarray) -> Exploded:
    """The items of the lists of some rows, which have no `list_problems`."""
    lists = {role: array.take(pa.array(kept, pa.int64())) for role, array in lists.items()}
    lengths = list_lengths(lists['generation'])
    parents = np.repeat(kept, lengths)
    starts = np.repeat(np.cumsum(lengths) - lengths, lengths)
    items = {}
    for role, array in lists.items():
        known = np.repeat(list_lengths(array) > 0, lengths)
        index = np.where(known, np.cumsum(known) - 1, -1)
        items[role] = pc.list_flatten(array).take(pa.array(index, pa.int64(), mask=index < 0))
    return Exploded(items, parents, pa.array(np.arange(len(parents)) - starts, pa.int64()))
