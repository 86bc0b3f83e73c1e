"""What a person sees of a job comes back to where it was started."""

from __future__ import annotations

import apache_beam as beam
from apache_beam.testing.util import assert_that, is_empty

from beam_argilla.showing import Show, shown
from tests.samples import pipeline


def test_some_lines_come_back_in_order_and_long_ones_cut():
    with pipeline() as p:
        lines = p | 'Few' >> beam.Create(['b', 'a', 'a', 'ä' * 50_001])
        assert_that(lines | 'Show few' >> Show('few', 2), is_empty())
        _ = p | 'Many' >> beam.Create([f'{n:03}' for n in range(500)]) | 'Show many' >> Show('many', 3)
    assert shown(p.result, 'few', 10) == ['a', 'b', 'ä' * 50_000 + ' … (1 more characters)']
    assert shown(p.result, 'few', 1) == ['a']
    assert len(shown(p.result, 'many', 3)) == 3
    assert len(shown(p.result, 'many', 500)) < 100  # not all travel
    assert shown(p.result, 'none', 3) == []
