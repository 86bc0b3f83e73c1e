"""Groups are whole, in an order that the data alone decides, and held to the policies."""

from __future__ import annotations

import json
import random

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms import window
from apache_beam.transforms.error_handling import ErrorHandler
from hypothesis import given, settings
from hypothesis import strategies as st

import beam_argilla as ba
from beam_argilla import partitions as shuffle
from beam_argilla.coding import from_ipc, to_ipc
from beam_argilla.errors import InputError, RefusedError
from beam_argilla.grouping.arrange import arrange, merge
from beam_argilla.input.tables import to_canonical
from tests.samples import COLUMNS, canonical, pipeline, rows

texts = st.text(alphabet='abé ', max_size=2)
row = st.fixed_dictionaries(
    {
        'instruction_id': st.sampled_from('pqr'),
        'instruction': st.just('same'),
        'generation': texts,
        'model_name': st.one_of(st.none(), texts),
        'rating': st.one_of(st.none(), st.integers(1, 2)),
        'rationale': st.none(),
    }
)


@given(st.lists(row, min_size=1, max_size=12), st.randoms(use_true_random=False), st.integers(1, 5))
@settings(max_examples=150, deadline=None)
def test_any_arrival_order_and_any_partitioning_gives_the_same_groups(elements, rng, partitions):
    def groups(table: pa.Table) -> dict[str, list]:
        out: dict[str, list] = {}
        for r in arrange(table, ba.Policies()).table.to_pylist():
            out.setdefault(r['instruction_id'], []).append((r['model_name'], r['generation'], r['rating']))
        return out

    expected = groups(canonical(elements))
    shuffled = rng.sample(elements, len(elements))
    got: dict[str, list] = {}
    for _, part in shuffle.split(canonical(shuffled), 'instruction_id', partitions):
        part_groups = groups(from_ipc(to_ipc(part)))
        assert not got.keys() & part_groups.keys()  # a group is in one partition
        got.update(part_groups)
    assert got == expected
    # Every (model, generation) is there, once.
    distinct = {(r['instruction_id'], r['model_name'] or None, r['generation']) for r in elements}
    distinct = {(i, m if m and m.strip() else None, g) for i, m, g in distinct}
    assert sorted((i, str(m), g) for i, ms in got.items() for m, g, _ in ms) == sorted(
        (i, str(m), g) for i, m, g in distinct
    )


def test_the_order_is_by_position_where_there_is_one():
    elements = [{**r, 'place': 9 - i} for i, r in enumerate(rows(1))]
    table = arrange(
        canonical(elements, ba.Columns(instruction_id='instruction_id', position='place')), ba.Policies()
    ).table
    assert table.column('model_name').to_pylist() == ['delta', 'gamma', 'beta', 'alpha']
    assert arrange(canonical(elements), ba.Policies()).table.column('model_name').to_pylist() == [
        'alpha', 'beta', 'delta', 'gamma',
    ]  # fmt: skip


def test_exact_duplicates_are_merged_and_counted_and_other_ones_refused():
    first, *rest = rows(1)
    twin, unrated, rerated = dict(first), {**first, 'rating': None, 'rationale': None}, {**first, 'rating': 5}
    arranged = arrange(canonical([first, twin, unrated, rerated, *rest]), ba.Policies())
    assert arranged.table.num_rows == 4
    assert arranged.counts['duplicate_generations'] == 2
    (failed,) = arranged.failed
    assert failed.error == 'DuplicateGeneration'
    assert json.loads(failed.data)['rows'][0]['rating'] == '5'


@pytest.mark.parametrize('limit', [1, 1 << 30])
def test_merged_duplicates_keep_the_metadata_of_each_whatever_comes_first(limit):
    first = {**rows(1)[0], 'tag': ['b', 'x'], 'n': 1}
    twins = [{**first, 'tag': t, 'n': n} for t, n in ((['a'], 1), (None, 2), ([], None), (['x', 'b'], 1), ('c', 1))]
    unrated = {**first, 'rating': None, 'rationale': None, 'tag': ['unrated']}
    rerated = {**first, 'rating': 5, 'tag': ['of a row that is refused']}
    other, none = {**rows(1)[1], 'tag': 'other', 'n': 3}, {**rows(1)[2], 'tag': None, 'n': None}
    elements = [first, *twins, unrated, rerated, other, none, none]
    columns = ba.Columns(instruction_id='instruction_id', metadata=['tag', 'n'])
    for seed in range(5):
        random.Random(seed).shuffle(elements)
        slices = [to_canonical(pa.table(pa.Table.from_pylist([e]).to_pydict()), columns).table for e in elements]
        outputs = list(merge(slices, ba.Policies(max_generations=9), limit))
        (table,) = (output.table for output in outputs if output.table.num_rows)
        assert table.column('metadata.tag').to_pylist() == [['a', 'b', 'c', 'unrated', 'x'], ['other'], None]
        assert table.column('metadata.n').to_pylist() == [['1', '2'], ['3'], None]
        assert sum(output.counts.get('duplicate_generations', 0) for output in outputs) == 7
        (failed,) = [f for output in outputs for f in output.failed]
        assert json.loads(failed.data)['rows'][0]['metadata.tag'] == ['of a row that is refused']


def test_a_second_judge_is_not_dropped_silently():
    columns = ba.Columns(instruction_id='instruction_id', agent='judge')
    elements = [{**rows(1)[0], 'judge': judge} for judge in ('a', 'a', 'b', None)]
    unjudged = {**rows(1)[0], 'judge': 'c', 'rating': None, 'rationale': None}
    arranged = arrange(canonical([*elements, unjudged], columns), ba.Policies())
    assert arranged.table.column('agent').to_pylist() == ['a']
    (failed,) = arranged.failed
    assert json.loads(failed.data)['rows'][0]['agent'] == 'b'
    assert 'agents' in failed.message
    assert arranged.counts['duplicate_generations'] == 3


def test_two_instruction_texts_of_one_id():
    elements = rows(2)
    elements[1]['instruction'] = 'Another text'
    arranged = arrange(canonical(elements), ba.Policies())
    assert set(arranged.table.column('instruction_id').to_pylist()) == {'i0001'}
    (failed,) = arranged.failed
    assert (failed.external_id, failed.stage, failed.error) == ('i0000', 'group', 'InstructionConflict')
    assert "on_conflict='first'" in failed.message
    assert 'no id column' in failed.message
    assert len(json.loads(failed.data)['group']) == 4

    arranged = arrange(canonical(elements), ba.Policies(on_conflict='first'))
    assert not arranged.failed
    assert arranged.table.column('instruction').to_pylist()[:4] == ['What is 0 plus one?'] * 4


def test_more_generations_than_places():
    elements = rows(2)[:6]  # 4 and 2
    arranged = arrange(canonical(elements), ba.Policies(max_generations=3))
    assert arranged.table.column('instruction_id').to_pylist() == ['i0001'] * 2
    assert [len(json.loads(f.data)['group']) for f in arranged.failed] == [4]

    arranged = arrange(canonical(elements), ba.Policies(max_generations=3, overflow='truncate'))
    assert arranged.table.column('model_name').to_pylist() == ['alpha', 'beta', 'delta', 'alpha', 'beta']
    (failed,) = arranged.failed
    assert [r['model_name'] for r in json.loads(failed.data)['rows']] == ['gamma']
    assert failed.error == 'TooManyGenerations'


def test_fewer_generations_than_wanted():
    arranged = arrange(canonical(rows(2)[:6]), ba.Policies(min_generations=3))
    assert arranged.table.column('instruction_id').to_pylist() == ['i0000'] * 4
    assert [f.error for f in arranged.failed] == ['TooFewGenerations']


@pytest.mark.parametrize(
    'mistake',
    [
        {'on_conflict': 'last'},
        {'overflow': 'drop'},
        {'min_generations': 0},
        {'min_generations': 5, 'max_generations': 4},
    ],
)
def test_policies_that_make_no_sense(mistake):
    with pytest.raises(ValueError, match=next(iter(mistake))):
        ba.Policies(**mistake)


def ids_and_sizes(table: pa.Table) -> list[tuple[str, int]]:
    ids = table.column('instruction_id').to_pylist()
    return [(i, ids.count(i)) for i in dict.fromkeys(ids)]


def test_in_a_pipeline_groups_are_whole_whatever_files_and_bundles_they_come_from():
    elements = rows(50)
    random.Random(1).shuffle(elements)
    tables = [pa.Table.from_pylist(elements[i::7]) for i in range(7)]
    with pipeline() as p:
        groups = p | beam.Create(tables) | ba.FormatGenerations(COLUMNS) | ba.GroupGenerations(num_partitions=5)
        assert_that(groups | beam.FlatMap(ids_and_sizes), equal_to([(f'i{g:04d}', 4) for g in range(50)]))


def test_groups_stay_within_their_windows():
    stamped = [window.TimestampedValue(r, 10 * (i % 2)) for i, r in enumerate(rows(3))]
    with pipeline() as p:
        sizes = (
            p
            | beam.Create(stamped)
            | beam.WindowInto(window.FixedWindows(10))
            | ba.FormatGenerations(COLUMNS)
            | ba.GroupGenerations()
            | beam.FlatMap(ids_and_sizes)
            | beam.Map(lambda x, w=beam.DoFn.WindowParam: (*x, int(w.start)))
        )
        assert_that(sizes, equal_to([(f'i{g:04d}', 2, start) for g in range(3) for start in (0, 10)]))


def test_groups_that_are_whole_need_no_shuffle_but_must_be_whole():
    wide = pa.table({'instruction': ['a', 'b'], 'generations': [['x', 'y'], ['z']]})
    with pipeline() as p:
        groups = p | beam.Create([wide]) | ba.FormatGenerations() | ba.GroupGenerations(shuffle=False)
        assert_that(groups | beam.Map(lambda t: t.column('generation').to_pylist()), equal_to([['x', 'y', 'z']]))

    twice = pa.table({'instruction': ['c', 'b'], 'generations': [['x'], ['other']]})
    within = pa.table({'instruction': ['d', 'd'], 'generations': [['x'], ['y']]})
    with pipeline() as p:  # of those that are not, none is written
        with ErrorHandler(beam.Map(lambda f: (f.error, json.loads(f.data)['rows'][0]['instruction']))) as handler:
            tables = p | beam.Create([wide, twice, within]) | ba.FormatGenerations()
            groups = tables | ba.GroupGenerations(shuffle=False).with_error_handler(handler)
        assert_that(handler.output(), equal_to([('RepeatedId', 'b')] * 2 + [('RepeatedId', 'd')]), 'refused')
        instructions = groups | beam.FlatMap(lambda t: set(t.column('instruction').to_pylist()))
        assert_that(instructions, equal_to(['a', 'c']))
    with pipeline() as p:  # with a shuffle, they are one group
        groups = p | beam.Create([wide, twice]) | ba.FormatGenerations() | ba.GroupGenerations()
        sizes = groups | beam.FlatMap(ids_and_sizes) | beam.Map(lambda x: x[1])
        assert_that(sizes, equal_to([2, 2, 1]))

    with pytest.raises(InputError, match='shuffle=True'), pipeline() as p:
        long = to_canonical(pa.Table.from_pylist(rows(1)), COLUMNS).table
        _ = p | beam.Create([long]) | ba.GroupGenerations(shuffle=False)


@pytest.mark.parametrize('as_rows', [True, False])
def test_rows_of_one_id_are_two_whichever_of_their_items_were_refused(as_rows):
    elements = [
        {'instruction': 'a', 'generations': ['x', 'y']}, {'instruction': 'a', 'generations': [None, 'z']},
        {'instruction': 'b', 'generations': ['x', None]}, {'instruction': 'b', 'generations': [None, 'z']},
        {'instruction': 'c', 'generations': [None, 'x', None, 'y']},  # one row, with gaps
        {'instruction': 'd', 'generations': ['x']}, {'instruction': 'd', 'generations': [None]},  # of which one is left
    ]  # fmt: skip
    p = beam.Pipeline(runner=FnApiRunner())
    with ErrorHandler(beam.Map(lambda f: (f.error, json.loads(f.data)['rows'][0]['instruction']))) as handler:
        created = p | beam.Create(elements if as_rows else [pa.Table.from_pylist(elements)])
        tables = created | ba.FormatGenerations().with_error_handler(handler)
        groups = tables | ba.GroupGenerations(shuffle=False).with_error_handler(handler)
    nulls = [('NullGeneration', i) for i in 'abbccd']
    assert_that(handler.output(), equal_to([*nulls, ('RepeatedId', 'a'), ('RepeatedId', 'b')]), 'refused')
    left = groups | beam.FlatMap(lambda t: [(r['instruction'], r['generation']) for r in t.to_pylist()])
    assert_that(left, equal_to([('c', 'x'), ('c', 'y'), ('d', 'x')]), 'left')
    p.run().wait_until_finish()


def test_without_an_error_handler_a_refusal_fails_the_pipeline_with_its_reason():
    with pytest.raises(RefusedError, match=r'NullGeneration.*consume the failed output'), pipeline() as p:
        _ = p | beam.Create([{'instruction': 'x', 'generation': None}]) | ba.FormatGenerations()


def test_metadata_is_the_same_whatever_type_the_column_has_in_another_table():
    columns = ba.Columns(metadata=['m'])
    kinds = (['5'], [5], [5.0], [['5']], [None], [[]])
    tables = [
        to_canonical(pa.table({'instruction': ['a'], 'generation': [str(i)], 'm': kind}), columns).table
        for i, kind in enumerate(kinds)
    ]
    joined = pa.concat_tables(tables).column('metadata.m').to_pylist()
    assert joined == [['5'], ['5'], ['5'], ['5'], None, []]


def test_two_texts_are_a_conflict_also_where_the_generations_agree():
    one, other = rows(1)[0], {**rows(1)[0], 'instruction': 'Another text'}
    (failed,) = arrange(canonical([one, other]), ba.Policies()).failed
    assert failed.error == 'InstructionConflict'
    arranged = arrange(canonical([one, other]), ba.Policies(on_conflict='first'))
    assert not arranged.failed
    assert arranged.table.num_rows == 1
