"""Input layouts → canonical rows; what cannot be used comes back with its reason."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from decimal import Decimal
from typing import NamedTuple

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import beam_argilla as ba
from beam_argilla.errors import InputError
from beam_argilla.generations import is_grouped, repeated_ids
from beam_argilla.input import rows as input_rows
from beam_argilla.input.tables import Origin, to_canonical

ROW = {'instruction': 'Say hi', 'generation': 'hi'}


def from_rows(elements, columns):
    """All of what comes of the rows."""
    tables, failed = input_rows.from_rows(elements, columns)
    return (pa.concat_tables(tables) if tables else None), failed


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_without_an_id_column_the_id_is_the_sha256_of_the_instruction():
    table, failed = from_rows([ROW, {**ROW, 'generation': 'hello'}], ba.Columns())
    assert table.column('instruction_id').to_pylist() == [sha256('Say hi')] * 2
    assert not failed


@pytest.mark.parametrize(
    ('ids', 'expected'),
    [
        (pa.array([1, 2], pa.int8()), ['1', '2']),
        (pa.array([2**63 + 1, 7], pa.uint64()), [str(2**63 + 1), '7']),
        (pa.array(['a', 'b'], pa.large_string()), ['a', 'b']),
        (pa.array(['a', 'b'], pa.string_view()), ['a', 'b']),
        (pa.array(['a', 'b']).dictionary_encode(), ['a', 'b']),
        (pa.array([b'a', b'b'], pa.binary()), ['a', 'b']),
        (pa.chunked_array([['a'], ['b']]), ['a', 'b']),
    ],
)
def test_every_string_like_and_integer_id(ids, expected):
    table = pa.table({'key': ids, 'instruction': ['x', 'y'], 'generation': ['1', '2']})
    out, failed = to_canonical(table, ba.Columns(instruction_id='key'))
    assert out.column('instruction_id').to_pylist() == expected
    assert not failed


@pytest.mark.parametrize(
    'ids', [pa.array([True]), pa.array([['a']]), pa.array([timedelta(1)]), pa.array([[{'a': 1}]])], ids=str
)
def test_ids_of_a_type_that_can_never_mean_one_are_an_error_that_names_it(ids):
    table = pa.table({'key': ids, 'instruction': ['x'], 'generation': ['1']})
    with pytest.raises(
        InputError, match=r"Column 'key' is .*; the instruction_id must be text, a whole number, a UUID"
    ):
        to_canonical(table, ba.Columns(instruction_id='key'))


@pytest.mark.parametrize(
    ('given', 'canonical'),
    [
        (4, '4'),
        (4.0, '4'),
        ('4', '4'),
        (' 4.0 ', '4.0'),
        (Decimal('4'), '4'),
        (4.5, '4.5'),
        ('good', 'good'),
        (None, None),
        (float('nan'), None),
        ('', None),
        ('N/A', None),
    ],
)
def test_ratings_are_kept_as_given_and_no_rating_is_null(given, canonical):
    table, failed = from_rows([{**ROW, 'rating': given}], ba.Columns())
    assert table.column('rating').to_pylist() == [canonical]
    assert not failed


def test_mixed_types_in_one_batch_of_rows():
    given = [4, '4.0', None, 'N/A', 3.0]
    table, _ = from_rows([{**ROW, 'rating': rating} for rating in given], ba.Columns())
    assert table.column('rating').to_pylist() == ['4', '4.0', None, None, '3']


@pytest.mark.parametrize(
    ('row', 'error'),
    [
        ({'instruction': None, 'generation': 'x'}, 'EmptyInstruction'),
        ({'instruction': ' \n', 'generation': 'x'}, 'EmptyInstruction'),
        ({'generation': 'x'}, 'EmptyInstruction'),
        ({'instruction': 'x', 'generation': None}, 'NullGeneration'),
        ({'instruction': 'x'}, 'NullGeneration'),
        ({'instruction': 'x', 'generation': 'y', 'id': None}, 'NullInstructionId'),
        ({'instruction': 'x', 'generation': 'y', 'id': ''}, 'NullInstructionId'),
        ({'instruction': 'x', 'generation': '\ud800', 'id': 'a'}, 'NotUtf8'),
    ],
)
def test_a_row_that_cannot_be_used_is_refused_alone_and_can_be_repaired(row, error):
    columns = ba.Columns(instruction_id='id') if 'id' in row else ba.Columns()
    good = {**ROW, 'id': 'good'}
    table, failed = from_rows([good, row, good], columns)
    assert table.num_rows == 2
    assert [(f.stage, f.error) for f in failed] == [('format', error)]
    kept = json.loads(failed[0].data)['input'][0]
    unusable = {'unusable': '\\ud800'}
    assert kept == {k: unusable if v == '\ud800' else v for k, v in row.items()}  # null, too: to be filled in


def test_an_empty_generation_is_an_answer():
    table, failed = from_rows([{**ROW, 'generation': ''}], ba.Columns())
    assert table.column('generation').to_pylist() == ['']
    assert not failed


def test_bytes_that_are_not_utf8_cost_their_row():
    table = pa.table({'instruction': ['a', 'b'], 'generation': pa.array([b'ok', b'\xff'])})
    out, failed = to_canonical(table, ba.Columns())
    assert out.column('generation').to_pylist() == ['ok']
    assert [f.error for f in failed] == ['NotUtf8']


def test_wide_rows_are_exploded_in_order_and_need_no_shuffle():
    wide = [
        {'instruction': 'a', 'generations': ['x', 'y'], 'ratings': [1.0, None], 'generation_models': ['m', 'n'],
         'rationales': None, 'model_name': 'judge'},
        {'instruction': 'b', 'generations': ['z'], 'ratings': [5.0], 'generation_models': ['m'],
         'rationales': ['fine'], 'model_name': 'judge'},
    ]  # fmt: skip
    table, failed = to_canonical(pa.Table.from_pylist(wide), ba.Columns(agent='model_name'))
    assert not failed
    assert is_grouped(table)
    got = table.select(['instruction', 'generation', 'model_name', 'rating', 'rationale', 'agent', 'position'])
    assert [tuple(r.values()) for r in got.to_pylist()] == [
        ('a', 'x', 'm', '1', None, 'judge', 0),
        ('a', 'y', 'n', None, None, 'judge', 1),
        ('b', 'z', 'm', '5', 'fine', 'judge', 0),
    ]


@pytest.mark.parametrize(
    ('row', 'error'),
    [
        ({'generations': []}, 'NoGenerations'),
        ({'generations': None}, 'NoGenerations'),
        ({'generations': ['x', 'y'], 'ratings': [1]}, 'UnequalLists'),
        ({'generations': ['x', None]}, 'NullGeneration'),
    ],
)
def test_wide_rows_that_cannot_be_used(row, error):
    good = {'instruction': 'ok', 'generations': ['x', 'y'], 'ratings': [1, 2]}
    bad = {'instruction': 'bad', 'ratings': None, **row}
    table, failed = to_canonical(pa.Table.from_pylist([good, bad]), ba.Columns())
    assert [f.error for f in failed] == [error]
    assert table.column('instruction').to_pylist().count('ok') == 2
    ((what, (refused,)),) = json.loads(failed[0].data).items()
    assert refused['instruction'] == 'bad'
    assert what == ('rows' if error == 'NullGeneration' else 'input')  # an item of a row is in canonical form


def test_rows_are_judged_by_themselves_whatever_stands_beside_them():
    nan = float('nan')
    elements = [
        {'instruction': 'a', 'generation': 'x', 'model_name': nan},
        {'instruction': 'b', 'generation': nan},
        {'instruction': nan, 'generation': 'y'},
        {'instruction': 'c', 'generation': 7},
        {'instruction': 'd', 'generation': ['p', 'q'], 'rating': [1, nan]},
        {'instruction': 'e', 'generation': b'bytes'},
    ]
    together, failed = from_rows(elements, ba.Columns(rating='rating'))
    got = {(r['instruction'], r['generation'], r['rating']) for r in together.to_pylist()}
    assert got == {('a', 'x', None), ('d', 'p', '1'), ('d', 'q', None), ('e', 'bytes', None)}
    assert sorted(f.error for f in failed) == ['EmptyInstruction', 'NotText', 'NullGeneration']
    apart = [from_rows([e], ba.Columns(rating='rating')) for e in elements]
    assert {(r['instruction'], r['generation'], r['rating']) for t, _ in apart if t for r in t.to_pylist()} == got
    assert sorted(f.error for _, fs in apart for f in fs) == ['EmptyInstruction', 'NotText', 'NullGeneration']


def test_a_string_column_that_is_not_utf8_costs_its_row_alone():
    """Nobody checks the strings of a Parquet file but the reader."""
    broken = pa.Array.from_buffers(pa.string(), 2, [None, *pa.array([b'ok', b'\xff\xfe']).buffers()[1:]])
    table = pa.table({'instruction': ['a', 'b'], 'generation': broken})
    out, failed = to_canonical(table, ba.Columns())
    assert out.column('generation').to_pylist() == ['ok']
    assert [f.error for f in failed] == ['NotUtf8']


def test_wide_rows_keep_the_order_of_their_lists_also_beside_a_position_of_the_row():
    table = pa.table({'instruction': ['a'], 'generations': [['z', 'a']], 'place': [7]})
    out, _ = to_canonical(table, ba.Columns(position='place'))
    assert out.column('position').to_pylist() == [0, 1]


@pytest.mark.parametrize('beside', [{'rating.raw': ['a', 'b']}, {'rating.raw': [{'x': 1}, {'x': 2}]}], ids=str)
def test_a_column_whose_name_begins_with_that_of_another_is_no_part_of_it(tmp_path, beside):
    texts = {'instruction': ['p', 'q'], 'generation': ['a', 'b']}
    pq.write_table(pa.table({**texts, **beside, 'rating': pa.array([None, None], pa.bool_())}), tmp_path / 'x.parquet')
    assert ba.ReadGenerations(tmp_path).metadata_types['rating'] == 'terms'  # and no InputError: it has no values


def test_a_missing_column_is_an_error_that_lists_those_there_are():
    table = pa.table({'prompt': ['x'], 'generation': ['y']})
    with pytest.raises(InputError, match=r"no column 'instruction'.*'prompt', 'generation'.*--instruction_column"):
        to_canonical(table, ba.Columns())
    with pytest.raises(InputError, match="no column 'stars' for the rating"):
        to_canonical(table, ba.Columns(instruction='prompt', rating='stars'))


def test_metadata_is_carried_as_text_whatever_it_was():
    table = pa.table(
        {
            'instruction': ['a', 'b'],
            'generation': ['x', 'y'],
            'n': pa.array([1, None], pa.int32()),
            'f': pa.array([0.5, float('nan')], pa.float32()),
            'b': [True, False],
            'huge': pa.array([2**64 - 1, 1], pa.uint64()),
            'tags': [['p', 'q'], None],
        }
    )
    out, _ = to_canonical(table, ba.Columns(metadata=['n', 'f', 'b', 'huge', 'tags']))
    got = {name[9:]: out.column(name).to_pylist() for name in out.column_names if name.startswith('metadata.')}
    assert got == {
        'n': [['1'], None],
        'f': [['0.5'], None],
        'b': [['true'], ['false']],
        'huge': [[str(2**64 - 1)], ['1']],
        'tags': [['p', 'q'], None],
    }


class Answer(NamedTuple):
    instruction: str
    generation: str


def test_beam_rows_and_named_tuples_are_rows_too():
    table, failed = from_rows([beam.Row(**ROW), Answer(**ROW)], ba.Columns())
    assert table.column('generation').to_pylist() == ['hi', 'hi']
    assert not failed
    with pytest.raises(InputError, match=r'not int'):
        from_rows([1], ba.Columns())


@pytest.mark.parametrize(
    'mistake',
    [
        {'metadata': 'topic'},
        {'instruction': 'text', 'rationale': 'text'},
        {'generation': ['text', 'text']},
        {'generation': []},
        {'generation': ['a', 'b'], 'rating': ['r']},
        {'generation': 'a', 'model_name': ['m', 'n']},
    ],
)
def test_columns_that_make_no_sense(mistake):
    with pytest.raises(ValueError, match='Columns'):
        ba.Columns(**mistake)


@pytest.mark.parametrize(
    ('row', 'wanted'),
    [
        ({'generation': 'a', 'generations': ['b', 'c']}, [('a', None, None)]),
        ({'generation': None, 'generations': ['b', 'c']}, [('b', None, None), ('c', None, None)]),
        ({'generation': 'a', 'generations': None}, [('a', None, None)]),
        ({'generations': ['b', 'c'], 'rating': [1, 2], 'ratings': None}, [('b', None, '1'), ('c', None, '2')]),
        ({'generations': ['b', 'c'], 'rating': [1, 2], 'ratings': [3, 4]}, [('b', None, '3'), ('c', None, '4')]),
        ({'generation': 'a', 'rating': 1, 'ratings': [3]}, [('a', None, '1')]),
        ({'generation': ['a'], 'model_name': 'judge', 'generation_models': ['x']}, [('a', 'x', None)]),
        ({'generation': ['a'], 'model_name': ['m'], 'generation_models': None}, [('a', 'm', None)]),
    ],
)
def test_of_two_usual_names_the_one_that_says_something_counts_in_tables_and_in_rows(row, wanted):
    given = {'instruction': 'q', **row}
    for table, failed in (to_canonical(pa.Table.from_pylist([given]), ba.Columns()), from_rows([given], ba.Columns())):
        assert not failed
        assert _said(table) == wanted


def _said(table: pa.Table) -> list[tuple]:
    return [(row['generation'], row['model_name'], row['rating']) for row in table.to_pylist()]


@pytest.mark.parametrize('kind', [pa.string(), pa.float64(), pa.bool_(), pa.list_(pa.string()), pa.null()], ids=str)
@pytest.mark.parametrize('of', [[None, None], [None], [None, None, None]], ids=len)
def test_a_column_without_values_hides_no_other_whatever_its_type(kind, of, tmp_path):
    nothing = pa.array(of, kind)
    lists = [[str(i), 'x'] for i in range(len(of))]
    table = pa.table({
        'instruction': [f'q{i}' for i in range(len(of))],
        'generation': nothing, 'generations': lists,
        'rating': [[1, 2]] * len(of), 'ratings': nothing,
        'model_name': [['m', 'n']] * len(of), 'generation_models': nothing,
    })  # fmt: skip
    out, failed = to_canonical(table, ba.Columns())
    assert (_said(out), failed) == ([(g, m, r) for pair in lists for g, m, r in zip(pair, 'mn', '12', strict=True)], [])
    assert is_grouped(out)
    pq.write_table(table, tmp_path / 'x.parquet')
    assert ba.ReadGenerations(tmp_path).facts.groups_are_whole  # seen of the file's footer as well


def test_of_two_usual_names_each_row_has_its_own_however_the_table_is_cut():
    given = [
        {'instruction': 'q', 'generation': None, 'generations': ['a', 'b'], 'ratings': [1, 2], 'rating': 9},
        {'instruction': 'r', 'generation': 'c', 'generations': None, 'ratings': None, 'rating': 3},
        {'instruction': 's', 'generation': 'd', 'generations': ['e'], 'ratings': [4], 'rating': None},
        {'instruction': 't', 'generation': None, 'generations': ['f'], 'ratings': None, 'rating': 5},
        {'instruction': 'u', 'generation': None, 'generations': None, 'ratings': None, 'rating': 5},
    ]
    table = pa.Table.from_pylist(given)
    out, failed = to_canonical(table, ba.Columns(), Origin('f', range(5)))
    wanted = [('a', None, '1'), ('b', None, '2'), ('c', None, '3'), ('d', None, None), ('f', None, None)]
    assert _said(out) == wanted
    assert [(f.error, f.source, f.row) for f in failed] == [('NullGeneration', 'f', 4)]
    assert [said for i in range(5) for said in _said(to_canonical(table.slice(i, 1), ba.Columns()).table)] == wanted
    assert sorted(_said(from_rows(given, ba.Columns())[0]), key=str) == sorted(wanted, key=str)


def test_rows_of_one_id_are_known_to_be_several_where_their_generations_have_two_names():
    given = {'instruction': 'q', 'generation': None, 'generations': ['a'], 'k': 1}
    table = pa.Table.from_pylist([given, {**given, 'generation': ['b'], 'generations': None}])
    out, failed = to_canonical(table, ba.Columns(instruction_id='k'))
    assert ([g for g, *_ in _said(out)], failed, repeated_ids(out)) == (['a', 'b'], [], ['1'])
