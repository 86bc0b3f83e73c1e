"""Groups far too large for their places."""

from __future__ import annotations

import json
import random

import numpy as np
import pyarrow as pa
import pytest

import beam_argilla as ba
from beam_argilla.grouping import arrange as arrange_module
from beam_argilla.grouping.arrange import arrange, merge
from beam_argilla.grouping.policies import Order
from tests.samples import canonical, content, rows


def skewed(many: int) -> list[dict]:
    hot = {'instruction_id': 'hot', 'instruction': 'Say a number', 'rating': 3, 'rationale': None}
    return [{**hot, 'generation': f'{i:06d}', 'model_name': f'm{i % 7}'} for i in range(many)]


@pytest.mark.parametrize('overflow', ['fail', 'truncate'])
@pytest.mark.parametrize('limit', [1, 10_000, 1 << 40])
def test_a_group_far_too_large_is_cut_while_it_is_merged(overflow, limit):
    elements = skewed(3000) + rows(5)
    random.Random(2).shuffle(elements)
    slices = [canonical(elements[i : i + 100]) for i in range(0, len(elements), 100)]
    policies = ba.Policies(max_generations=4, overflow=overflow)
    outputs = list(merge(iter(slices), policies, limit))
    written = [r for output in outputs for r in content(output.table)]
    whole = arrange(canonical(elements), policies)
    assert sorted(written, key=str) == sorted(content(whole.table), key=str)
    failed = [f for output in outputs for f in output.failed]
    assert {f.error for f in failed} == {'TooManyGenerations'}
    refused = [r for f in failed for r in next(iter(json.loads(f.data).values()))]
    kept = {r[2] for r in written if r[0] == 'hot'}
    assert len(kept) == (4 if overflow == 'truncate' else 0)
    # Every row is in exactly one place.
    assert sorted([r['generation'] for r in refused] + sorted(kept)) == [f'{i:06d}' for i in range(3000)]
    assert max(len(next(iter(json.loads(f.data).values()))) for f in failed) <= 1000


def test_what_is_held_while_a_skewed_partition_is_merged_stays_small(monkeypatch):
    held = []
    cut = arrange_module._cut

    def spy(table, *args):
        held.append(table.num_rows)
        return cut(table, *args)

    monkeypatch.setattr(arrange_module, '_cut', spy)
    slices = (canonical(skewed(20_000)[i : i + 500]) for i in range(0, 20_000, 500))
    list(merge(slices, ba.Policies(max_generations=4, overflow='truncate'), limit=200_000))
    assert max(held) < 6000


def answers(groups: int) -> list[dict]:
    common = {'instruction': 'Say something.', 'rating': None, 'rationale': None}
    return [
        {**common, 'instruction_id': f'i{i}', 'generation': f'{m} says {i}', 'model_name': m}
        for i in range(groups)
        for m in 'abcd'
    ]


def test_a_blind_order_is_another_in_each_record_and_the_same_on_every_run():
    table = canonical(answers(200))
    blind = Order('blind', 7)
    arranged = arrange(table, ba.Policies(), blind).table
    mixed = table.take(pa.array(np.random.default_rng(0).permutation(table.num_rows)))
    assert arrange(mixed, ba.Policies(), blind).table.equals(arranged)
    assert arrange(table, ba.Policies(), Order('blind', 8)).table != arranged
    first = [models[0] for models in zip(*[iter(arranged.column('model_name').to_pylist())] * 4, strict=True)]
    assert min(first.count(m) for m in 'abcd') > 25  # of 50 that would be even
    given = table.set_column(7, table.schema.field('position'), pa.array([0, 1, 2, 3] * 200, pa.int64()))
    assert arrange(given, ba.Policies(), blind).table.column('generation') == arranged.column('generation')


def test_what_is_cut_off_of_a_blind_order_is_not_always_of_one_model():
    table = canonical(answers(200))
    policies = ba.Policies(max_generations=3, overflow='truncate')
    outputs = list(merge([table.slice(0, 500), table.slice(500)], policies, 1, Order('blind')))
    kept = pa.concat_tables([o.table for o in outputs])
    assert kept.equals(arrange(table, policies, Order('blind')).table)
    models = kept.column('model_name').to_pylist()
    assert all(100 < models.count(m) < 200 for m in 'abcd')  # each is cut off of some
