"""Any dataset, cut and read in any pages, comes whole and each record once, whatever happens meanwhile."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_argilla.answers import slices
from beam_argilla.answers.slices import by_listing, by_search, offsets
from beam_argilla.server.listing import ListedRecord, Page

START = datetime(2026, 1, 1)


class FakeServer:
    """Records that were inserted so many microseconds after each other; some are deleted while they are read."""

    def __init__(self, gaps: list[int], deletes: random.Random | None = None):
        at, self.records = START, []
        for i, gap in enumerate(gaps):
            at += timedelta(microseconds=gap)
            self.records.append(ListedRecord(f'{i:03d}', 'pending', {}, at, at))
        self.deletes = deletes

    def search(self, start: datetime, end: datetime, offset: int, limit: int) -> Page:
        found = [r for r in self._left() if start <= r.inserted_at <= end]
        return Page(found[offset : offset + limit], len(found), 1000 * limit)

    def listed(self, offset: int, limit: int) -> Page:
        return Page(self._left()[offset : offset + limit], len(self.records), 1000 * limit)

    def _left(self) -> list[ListedRecord]:
        if self.deletes and self.records and self.deletes.random() < 0.5:
            for record in self.deletes.sample(self.records, min(3, len(self.records))):
                self.records.remove(record)
        return self.records


def cut(server: FakeServer) -> list[slices.Slice]:
    records = server.records
    starts = [(offset, records[offset].inserted_at) for offset in offsets(len(records))]
    return slices.slices(starts, records[-1].inserted_at, len(records)) if records else []


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(slices, '_FEWEST', 30)
    monkeypatch.setattr(slices, 'MAX_LIMIT', 12)


GAPS = st.lists(st.sampled_from([0, 0, 0, 1, 5]), max_size=120)


@given(GAPS)
def test_by_search(gaps):
    server = FakeServer(gaps)
    found = [record.id for part in cut(server) for page in by_search(server.search, part) for record in page]
    assert sorted(found) == [record.id for record in server.records]


@given(st.lists(st.integers(1, 5), max_size=120))
def test_by_listing(gaps):
    server = FakeServer(gaps)
    found = [record.id for part in cut(server) for page in by_listing(server.listed, part) for record in page]
    assert found == [record.id for record in server.records]


@pytest.mark.parametrize('way', ['search', 'listing'])
@given(st.integers(0, 200), st.randoms(use_true_random=False))
def test_what_is_deleted_meanwhile_costs_nothing_else(way, count, random):
    server = FakeServer([1] * count)
    parts = cut(server)
    server.deletes = random
    read = (lambda part: by_search(server.search, part)) if way == 'search' else lambda p: by_listing(server.listed, p)
    found = [record.id for part in parts for page in read(part) for record in page]
    assert len(found) == len(set(found))
    assert {record.id for record in server.records} <= set(found)


def test_a_slice_is_whole_pages(monkeypatch):
    """Each page costs the server something of its own."""
    monkeypatch.undo()
    server = FakeServer([1] * (2 * slices._FEWEST))
    pages = [list(by_listing(server.listed, part)) for part in cut(server)]
    assert [len(of_slice) for of_slice in pages] == [3, 3]
