"""A dataset cut by the times at which its records were inserted, and how each slice is read: all of it, each once.

The time of insertion never changes, and new records come after all others, so that nothing moves from one slice to
another while people answer, and other jobs write and delete.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from beam_argilla.server.bulk import MAX_LISTED
from beam_argilla.server.listing import ListedRecord, Page

MAX_LIMIT = MAX_LISTED  # records on a page
_PAGE_BYTES = 16 << 20  # which a page is to have at most: some of them are in memory at a time
_MOST_SLICES = 256  # of a dataset, each costs a request beforehand
_OVERLAP = 5  # records, of pages that are counted off
_FEWEST = 3 * (MAX_LIMIT - _OVERLAP) - 1  # records in a slice: three whole pages, which show that the next begins
_MICROSECOND = timedelta(microseconds=1)


class Slice(NamedTuple):
    """Records inserted from `start` on and before `end`.

    Attributes:
        start, end: in UTC, to the microsecond.
        offset, size: how many records there were before `start`, and in the slice, when it was cut.
    """

    start: datetime
    end: datetime
    offset: int = 0
    size: int = 0


def offsets(count: int) -> list[int]:
    """How many records are before each slice of a dataset of so many."""
    step = max(_FEWEST, -(-count // _MOST_SLICES))
    return list(range(0, count, step))


def slices(starts: list[tuple[int, datetime]], newest: datetime, count: int) -> list[Slice]:
    """The slices of a dataset.

    Args:
        starts: offset and time of insertion of each slice's first record, in order.
        newest: when the last record was inserted.
        count: how many records there are.
    """
    first: dict[datetime, int] = {}
    for offset, start in starts:
        first.setdefault(start, offset)
    ends = [*((offset, start) for start, offset in first.items()), (count, newest + _MICROSECOND)][1:]
    return [
        Slice(start, end, offset, before_end - offset)
        for (start, offset), (before_end, end) in zip(first.items(), ends, strict=True)
        if start < end
    ]


# (earliest, latest time of insertion, offset, limit) → page; both times inclusive
Search = Callable[[datetime, datetime, int, int], Page]


def by_search(search: Search, part: Slice) -> Iterator[list[ListedRecord]]:
    """Pages of the slice, each found by the time at which the one before ended."""
    at, offset, limit = part.start, 0, MAX_LIMIT
    seen: set[str] = set()  # of those inserted at that time
    while True:
        page = search(at, part.end - _MICROSECOND, offset, limit)
        yield [record for record in page.records if record.id not in seen]
        if len(page.records) < limit:
            return
        last = page.records[-1].inserted_at
        if last > at:
            at, offset, seen = last, 0, set()
        else:  # a whole page of the same time
            offset += limit
        seen.update(record.id for record in page.records if record.inserted_at == last)
        limit = _limit(page)


# (offset, limit) → page
List = Callable[[int, int], Page]


def by_listing(listed: List, part: Slice) -> Iterator[list[ListedRecord]]:
    """Pages of the slice, counted off; what was deleted meanwhile moves the rest, so pages overlap."""
    seen: set[str] = set()
    offset, most = max(part.offset - _OVERLAP, 0), MAX_LIMIT
    while True:
        left = part.offset + part.size - offset + _OVERLAP
        limit = max(min(most, left), 2 * _OVERLAP)
        page = listed(offset, limit)
        records = page.records
        is_joined = offset == 0 or any(r.id in seen or r.inserted_at < part.start for r in records[: _OVERLAP + 1])
        if not is_joined:  # something between this page and what was read may have moved before it
            offset = max(offset - limit // 2, 0)
            continue
        fresh = [r for r in records if r.id not in seen and part.start <= r.inserted_at < part.end]
        seen.update(record.id for record in fresh)
        yield fresh
        if not records or len(records) < limit or records[-1].inserted_at >= part.end:
            return
        offset += len(records) - _OVERLAP
        most = _limit(page)


def _limit(page: Page) -> int:
    """How many records to ask for next."""
    bytes_each = max(page.num_bytes // max(len(page.records), 1), 1)
    return max(min(_PAGE_BYTES // bytes_each, MAX_LIMIT), 2 * _OVERLAP)
