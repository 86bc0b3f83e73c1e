"""Some of the groups, for a trial."""

from __future__ import annotations

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that, equal_to

import beam_argilla as ba
from tests.samples import canonical, pipeline, rows


def texts(limit: int, num_files: int, p: beam.Pipeline) -> beam.PCollection:
    """(limit, ids that are kept, once for each of their rows)."""
    tables = [canonical(rows(30)).slice(i * 120 // num_files, 120 // num_files) for i in range(num_files)]
    name = f'{limit} of {num_files}'
    groups = p | name >> beam.Create(tables) | f'Group {name}' >> ba.GroupGenerations(spill=False)
    kept = groups | f'Limit {name}' >> ba.LimitGroups(limit)
    ids = kept | f'Ids {name}' >> beam.FlatMap(lambda table: table.column('instruction_id').to_pylist())
    return ids | f'All {name}' >> beam.combiners.ToList() | f'In order {name}' >> beam.Map(sorted)


def test_the_same_groups_are_kept_whole_however_they_come():
    with pipeline() as p:
        five, again, three, everything = (texts(limit, n, p) for limit, n in ((5, 1), (5, 4), (3, 4), (100, 4)))
        assert_that(five | 'Number' >> beam.Map(lambda ids: (len(set(ids)), len(ids))), equal_to([(5, 20)]), 'five')
        sides = (beam.pvalue.AsSingleton(again), beam.pvalue.AsSingleton(three))
        same = five | 'Same' >> beam.Map(lambda ids, again, three: (ids == again, set(three) < set(ids)), *sides)
        assert_that(same, equal_to([(True, True)]), 'same')
        assert_that(everything | 'All' >> beam.Map(len), equal_to([120]), 'all')


def test_a_limit_is_positive():
    with pytest.raises(ValueError, match='limit=0'):
        ba.LimitGroups(0)
