"""Some of the groups, for a trial."""

from __future__ import annotations

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that, equal_to

import beam_argilla as ba
from tests.samples import canonical, pipeline, rows


def limited(limit: int, num_files: int) -> list[str]:
    tables = [canonical(rows(30)).slice(i * 120 // num_files, 120 // num_files) for i in range(num_files)]
    kept: list[str] = []
    with pipeline() as p:
        groups = p | beam.Create(tables) | ba.GroupGenerations(spill=False) | ba.LimitGroups(limit)
        ids = groups | beam.FlatMap(lambda table: table.column('instruction_id').to_pylist())
        counts = ids | beam.combiners.Count.PerElement()
        assert_that(counts | beam.Values() | beam.Distinct(), equal_to([4]), label='whole')
        assert_that(ids | 'Different' >> beam.Distinct(), lambda found: kept.extend(sorted(found)), label='ids')
    return kept


def test_the_same_groups_are_kept_whole_however_they_come():
    five = limited(5, 1)
    assert len(five) == 5
    assert five == limited(5, 4)
    assert set(limited(3, 4)) < set(five)
    assert len(limited(100, 4)) == 30


def test_a_limit_is_positive():
    with pytest.raises(ValueError, match='limit=0'):
        ba.LimitGroups(0)
