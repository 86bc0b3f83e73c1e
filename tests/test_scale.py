"""The rule by which scores become ratings."""

from __future__ import annotations

import pyarrow as pa
import pytest

import beam_argilla as ba
from beam_argilla.input.canonical import canonical_tables


@pytest.mark.parametrize(
    ('from_', 'to', 'text', 'wanted'),
    [
        ((0, 10), (1, 2, 3, 4, 5), '7.5', (4, 7.5)),
        ((0, 10), (1, 2, 3, 4, 5), '0', (1, 0.0)),
        ((0, 10), (1, 2, 3, 4, 5), '10', (5, 10.0)),
        ((1, 5), (1, 2, 3, 4, 5), '2.5', (3, 2.5)),  # half-way: the higher one
        ((1, 5), (1, 2, 3, 4, 5), '2.4999999999999999999', (2, 2.5)),  # decided before it is a float
        ((1, 5), (1, 2, 3, 4, 5), ' 4.25 ', (4, 4.25)),
        ((7, 1), (1, 2, 3, 4, 5), '1', (5, 1.0)),  # ranks
        ((7, 1), (1, 2, 3, 4, 5), '7', (1, 7.0)),
        ((-3, 3), (0, 1), '-2', (0, -2.0)),
        ((0, 1), (0, 10), '0.5', (10, 0.5)),
        ((0, 4), (1, 2, 3, 4, 5), '3e0', (4, 3.0)),
        ({'win': 1, 'tie': 0.5, 'loss': 0}, (1, 2, 3, 4, 5), 'tie', (3, 0.5)),
        ({'win': 1, 'tie': 0.5, 'loss': 0}, (1, 2, 3, 4, 5), 'win', (5, 1.0)),
    ],
)
def test_a_score_goes_to_the_rating_at_the_same_place(from_, to, text, wanted):
    assert ba.Scale(from_, to).rate(text) == wanted


@pytest.mark.parametrize('text', ['10.01', '-1', 'good', '', 'nan', 'inf', '1_0', '1/2', '٣', '1e9999999999'])
def test_what_is_not_on_the_scale_is_not_rated(text):
    assert ba.Scale((0, 10)).rate(text) is None
    assert ba.Scale({'win': 1, 'loss': 0}).rate(text) is None


@pytest.mark.parametrize(
    ('from_', 'to'),
    [
        ((1, 1), (1, 2)),
        ((1,), (1, 2)),
        ((0, 1), ()),
        ((0, 1), (2, 1)),
        ((0, 1), (1, 1)),
        ({}, (1, 2)),
        ({'a': 2}, (1,)),
        ((float('nan'), 1), (1, 2)),
        ((0, float('inf')), (1, 2)),
    ],
)
def test_a_scale_that_is_none_is_refused_where_it_is_written(from_, to):
    with pytest.raises(ValueError, match='Scale'):
        ba.Scale(from_, to)


def test_scales_are_equal_and_hashable_as_columns_are():
    assert len({ba.Scale((0, 1)), ba.Scale((0, 1), [1, 2, 3, 4, 5]), ba.Scale({'a': 1}), ba.Scale({'a': 1})}) == 2


def test_a_score_that_is_off_its_scale_is_not_the_rating_that_it_looks_like():
    columns = ba.Columns(scale=ba.Scale((4, 0)))  # ranks, of which 5 is beyond the worst
    rows = [{'instruction': 'q', 'generation': str(rank), 'rating': rank} for rank in (0, 5)]
    tables, _ = canonical_tables(pa.Table.from_pylist(rows), columns)
    assert tables[0].column('rating').to_pylist() == ['5', '5 (not on the scale)']
    (record,) = ba.Preference(2).records(tables[0])
    assert [(s.question, s.value) for s in record.suggestions] == [('generations-0-rating', 5)]
    assert '5 (not on the scale)' in record.warnings[0]
