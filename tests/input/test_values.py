"""What a value means: for every Arrow type, role and value, and every way in."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import json
import tempfile
import uuid
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import beam_argilla as ba
from beam_argilla.errors import InputError
from beam_argilla.failures import FailedRecord
from beam_argilla.input.kind import Part
from beam_argilla.input.parquet import Parquet
from beam_argilla.input.plain import is_list, plain
from beam_argilla.input.roles import columns_to_read
from beam_argilla.input.rows import from_rows
from beam_argilla.input.tables import to_canonical
from beam_argilla.input.values import as_text, cell, common_text, is_missing

U = uuid.UUID(int=5)


@pytest.mark.parametrize(
    ('array', 'texts'),
    [
        (pa.array([1, None, -3], pa.int8()), ['1', None, '-3']),
        (pa.array([2**64 - 1], pa.uint64()), ['18446744073709551615']),
        (pa.array([1.0, 2.5, -0.0, float('nan'), 1e300, 1e-7, float('inf')]),
         ['1', '2.5', '0', None, '1e+300', '1e-7', 'inf']),
        (pa.array([0.1, 3.0], pa.float32()), ['0.1', '3']),
        (pa.array([0.5, 3.0], pa.float16()), ['0.5', '3']),
        (pa.array([decimal.Decimal('12.00'), decimal.Decimal('1.10'), decimal.Decimal(0)]), ['12', '1.1', '0']),
        (pa.array([decimal.Decimal('1E+5')], pa.decimal256(40, 2)), ['100000']),
        (pa.array([True, None]), ['true', None]),
        (pa.array([datetime.date(2026, 1, 2)], pa.date64()), ['2026-01-02']),
        (pa.array([datetime.datetime(2026, 1, 2, 3)], pa.timestamp('ns')), ['2026-01-02T03:00:00']),
        (pa.array([datetime.datetime(2026, 1, 2, 3, 0, 0, 120_000)]), ['2026-01-02T03:00:00.12']),
        (pa.array([datetime.datetime(2026, 1, 2, 3)], pa.timestamp('s', 'UTC')), ['2026-01-02T03:00:00Z']),
        (pa.array([0], pa.timestamp('ms', '+02:00')), ['1970-01-01T00:00:00Z']),
        (pa.array([datetime.time(1, 2, 3)], pa.time64('ns')), ['01:02:03']),
        (pa.array([datetime.timedelta(minutes=1, milliseconds=500)]), ['60.5']),
        (pa.ExtensionArray.from_storage(pa.uuid(), pa.array([U.bytes, None], pa.binary(16))), [str(U), None]),
        (pa.ExtensionArray.from_storage(pa.json_(), pa.array(['{"a": 1}'])), ['{"a": 1}']),
        (pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1, 0], pa.int8())), ['true', 'false']),
        (pa.array([b'key-1'], pa.binary(5)), ['key-1']),
        (pa.array(['a', None, 'a']).dictionary_encode(), ['a', None, 'a']),
        (pc.run_end_encode(pa.array([7, 7, 8])), ['7', '7', '8']),
        (pa.array([{'b': 1, 'a': None}, None]), ['{"a":null,"b":1}', None]),
        (pa.array([[('k', 1)]], pa.map_(pa.string(), pa.int64())), ['{"k":1}']),
        (pa.array([[[1], None]], pa.list_view(pa.list_(pa.int64()))), ['[[1],null]']),
    ],
    ids=lambda x: str(x.type) if isinstance(x, pa.Array) else '',
)  # fmt: skip
def test_the_text_of_every_type(array, texts):
    assert as_text(plain(array)).values.to_pylist() == texts
    in_chunks = pa.chunked_array([array.slice(i, 1) for i in range(len(array))], array.type)
    assert as_text(plain(in_chunks)).values.to_pylist() == texts


class Colour(enum.Enum):
    RED = 'red'


class Point(NamedTuple):
    x: int


class Unspeakable:
    def __repr__(self) -> str:
        raise RuntimeError


@dataclasses.dataclass
class Row:
    instruction: str
    generation: str
    value: Any = None


@pytest.mark.parametrize(
    ('value', 'texts'),
    [
        ('x', ['x']), (1, ['1']), (1.0, ['1']), (2.5, ['2.5']), (True, ['true']), (10**30, [str(10**30)]),
        (b'x', ['x']), (bytearray(b'x'), ['x']), (U, [str(U)]), (Colour.RED, ['red']), (Path('a/b'), ['a/b']),
        (decimal.Decimal('1.10'), ['1.1']), (datetime.date(2026, 1, 2), ['2026-01-02']),
        (np.int8(3), ['3']), (np.float32(0.5), ['0.5']), (np.bool_(True), ['true']), (np.str_('x'), ['x']),
        (np.datetime64('2026-01-02T03'), ['2026-01-02T03:00:00']), (np.datetime64('2026'), ['2026-01-01T00:00:00']),
        (pd.Timestamp('2026-01-02 03:04:05.000000006', tz='Europe/Berlin'), ['2026-01-02T02:04:05.000000006Z']),
        (pd.Timestamp('2026-01-02'), ['2026-01-02T00:00:00']), (pd.Timedelta(seconds=3), ['3']),
        (pa.scalar(7, pa.int16()), ['7']), (pa.scalar('x'), ['x']), (pa.scalar(None, pa.int64()), None),
        ({'b': 1, 'a': None}, ['{"a":null,"b":1}']), (Point(1), ['{"x":1}']), (beam.Row(x=1), ['{"x":1}']),
        (['x', 1, None, 2.0], ['x', '1', None, '2']), (('x',), ['x']), ({'b', 'a'}, ['a', 'b']),
        ([[1], ['x']], ['[1]', '["x"]']),
        (np.array([1, 2]), ['1', '2']), (pd.Series(['x']), ['x']), (pa.array([1.0]), ['1']), (np.array(3), ['3']),
        (None, None), (float('nan'), None), (pd.NA, None), (pd.NaT, None), (np.datetime64('NaT'), None),
        (decimal.Decimal('NaN'), None), (np.float64('nan'), None),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_the_text_of_every_python_value_alone_and_in_company(value, texts):
    columns = ba.Columns(metadata=['value'])
    row = {'instruction': 'q', 'generation': 'a', 'value': value}
    others = [{**row, 'generation': str(i), 'value': v} for i, v in enumerate([1, 2.5, 'word', None, {'c': 1}, [1]])]
    for rows in ([row], [*others, row], [row, *others], [Row(**row)], [beam.Row(**row)]):
        (table,), failed = from_rows(rows, columns)
        mine = [r['metadata.value'] for r in table.to_pylist() if r['generation'] == 'a']
        assert (mine, failed) == ([texts], [])


@pytest.mark.parametrize('value', [object(), (i for i in ()), Unspeakable()], ids=lambda v: type(v).__name__)
def test_what_has_no_text_costs_its_row(value):
    rows = [{'instruction': 'q', 'generation': 'a', 'm': value}, {'instruction': 'q', 'generation': 'b', 'm': 1}]
    (table,), failed = from_rows(rows, ba.Columns(metadata=['m']))
    assert table.column('generation').to_pylist() == ['b']
    message = f"Column 'm' holds a {type(value).__name__}, which has no text"
    assert [(f.error, f.message) for f in failed] == [('NotText', message)]


@pytest.mark.parametrize(
    ('role', 'good', 'bad', 'error'),
    [
        ('instruction_id', [1, 1.0, decimal.Decimal('1.00'), '1', b'1', np.int64(1)],
         [1.5, 2.0**53 + 2, float('inf'), True, ['1'], decimal.Decimal('1.5')], 'NotAnId'),
        ('model_name', [3, 3.0, '3', np.float32(3)], [True, object()], 'NotAName'),
        ('rating', [4, 4.0, '4', decimal.Decimal(4)], [True, {'a': 1}, datetime.date(2026, 1, 1)], 'NotARating'),
        ('position', [2, 2.0, decimal.Decimal(2), np.uint64(2)], ['2', 2.5, 2**70, True], 'NotAPosition'),
        ('rationale', ['x', b'x'], [1, {'a': 1}], 'NotText'),
    ],
)  # fmt: skip
def test_equal_values_mean_the_same_in_a_role_and_what_means_nothing_costs_its_row(role, good, bad, error):
    columns = ba.Columns(**{role: 'v'})
    rows = [{'instruction': 'q', 'generation': str(i), 'v': v} for i, v in enumerate([*good, *bad])]
    (table,), failed = from_rows(rows, columns)
    assert table.num_rows == len(good)
    assert len(set(table.column(role).to_pylist())) == 1
    assert [f.error for f in failed] == [error] * len(bad)
    assert [json.loads(f.data)['input'][0]['generation'] for f in failed] == [
        str(len(good) + i) for i in range(len(bad))
    ]


def _ids(k: Any) -> tuple[list[str], list[str]]:
    """The ids of a column, or of Python objects, and the errors of what is refused."""
    columns = ba.Columns(instruction_id='k')
    if isinstance(k, pa.Array):
        texts = {'instruction': ['p'] * len(k), 'generation': ['a'] * len(k)}
        table, failed = to_canonical(pa.table({**texts, 'k': k}), columns)
        return table.column('instruction_id').to_pylist(), [f.error for f in failed]
    tables, failed = from_rows([{'instruction': 'p', 'generation': 'a', 'k': value} for value in k], columns)
    return [i for t in tables for i in t.column('instruction_id').to_pylist()], [f.error for f in failed]


@pytest.mark.parametrize(('kind', 'first'), [('float16', 2**11), ('float32', 2**24), ('float64', 2**53)])
def test_two_ids_that_a_float_cannot_tell_apart_are_not_merged_in_silence(kind, first):
    """The last whole number before one is skipped may stand for the one that is."""
    values = np.array([first, -first, 2 * first, first - 1], kind)
    text = str(first - 1)
    assert _ids(pa.array(values)) == _ids(values) == ([text], ['NotAnId'] * 3)
    nested = pa.StructArray.from_arrays([pa.array([[v] for v in values], pa.list_(pa.array(values).type))], ['p'])
    in_struct = (['{"p":[%s]}' % text], ['NotAnId'] * 3)  # noqa: UP031
    assert _ids(nested) == _ids([{'p': [v]} for v in values]) == in_struct


_NOON = datetime.datetime(2026, 1, 2, 12, tzinfo=datetime.timezone.utc)
_EQUAL = {
    '{"p":1}': [1, 1.0, decimal.Decimal('1.00'), np.int8(1), np.float32(1), pa.scalar(1, pa.uint8()), np.longdouble(1)],
    '{"p":1.1}': [1.1, decimal.Decimal('1.10'), np.float32(1.1), np.float64(1.1)],
    '{"p":100000000000000000000}': [10**20, decimal.Decimal('1E+20')],
    '{"p":"2026-01-02T12:00:00Z"}': [
        _NOON, _NOON.astimezone(datetime.timezone(datetime.timedelta(hours=2))), pd.Timestamp(_NOON),
        pa.scalar(_NOON, pa.timestamp('s', '+05:00')), pa.scalar(_NOON, pa.timestamp('ns', 'UTC')),
    ],
    '{"p":"90"}': [datetime.timedelta(seconds=90), np.timedelta64(90, 's'), pd.Timedelta('90s')],
    '{"p":"00000000-0000-0000-0000-000000000005"}': [U, str(U)],
    '{"p":["a","b"]}': [['a', 'b'], ('a', 'b'), {'b', 'a'}, frozenset('ab'), np.array(['a', 'b']),
                        pd.Series(['a', 'b'])],
    '{"p":[1,null]}': [[1, None], [1.0, float('nan')], np.array([1, np.nan]), pa.scalar([1, None])],
    '{"p":{"1":"x"}}': [{1: 'x'}, {'1': 'x'}, {1.0: b'x'}, pa.scalar([(1, 'x')], pa.map_(pa.int8(), pa.string()))],
    '{"p":null}': [None, float('nan'), pd.NA, pd.NaT, decimal.Decimal('NaN'), np.datetime64('NaT')],
}  # fmt: skip


@pytest.mark.parametrize(('text', 'values'), _EQUAL.items(), ids=_EQUAL)
def test_equal_values_are_one_text_at_any_depth_in_dicts_and_in_structs(text, values):
    assert _ids([{'p': value} for value in values]) == ([text] * len(values), [])
    scalars = [v for v in values if isinstance(v, (pa.Scalar, np.generic, str, decimal.Decimal, datetime.datetime))]
    for value in filter(lambda v: not is_missing(v), scalars):
        of_struct = pa.StructArray.from_arrays([cell(value)], ['p'])
        assert _ids(of_struct) == ([text], [])
        assert as_text(pa.array([[of_struct[0]]], pa.large_list(of_struct.type))).values.to_pylist() == [f'[{text}]']


@pytest.mark.parametrize(
    ('array', 'texts'),
    [
        (pa.array([{'p': 1.0}, None, {'p': None}]).slice(1), [None, '{"p":null}']),
        (pa.array([{'d': decimal.Decimal('1.50'), 'f': float('inf')}]), ['{"d":1.5,"f":"inf"}']),
        (pa.array([[('b', 1.0)], None, []], pa.map_(pa.string(), pa.float32())).slice(0), ['{"b":1}', None, '{}']),
        (pa.array([[('b', 1)], [('c', 2), ('a', 3)]], pa.map_(pa.string(), pa.int8())).slice(1), ['{"a":3,"c":2}']),
        (pa.array([{}, None], pa.struct([])), ['{}', None]),
        (pa.array([{'t': 1}], pa.struct([('t', pa.timestamp('ns'))])), ['{"t":"1970-01-01T00:00:00.000000001"}']),
        (pa.array([{'t': 1}], pa.struct([('t', pa.time64('ns'))])), ['{"t":"00:00:00.000000001"}']),
        (pa.array([{'t': 'x'}], pa.struct([('t', pa.dictionary(pa.int8(), pa.string()))])), ['{"t":"x"}']),
        (pa.UnionArray.from_sparse(pa.array([0, 1], pa.int8()), [pa.array(['x', '']), pa.array([0, 2.0])]), ['x', '2']),
    ],
    ids=lambda x: str(x.type) if isinstance(x, pa.Array) else '',
)  # fmt: skip
def test_what_is_nested_is_json_of_the_same_texts(array, texts):
    assert as_text(plain(array)).values.to_pylist() == texts


def _deep(depth: int) -> list[Any]:
    return [_deep(depth - 1)] if depth else []


_ITSELF: dict[str, Any] = {}
_ITSELF |= {'me': _ITSELF, 'me too': [_ITSELF]}
BROKEN = [
    (object(), 'NotText'), (Unspeakable(), 'NotText'), ('\ud800', 'NotUtf8'), (np.str_('\ud800'), 'NotUtf8'),
    ({1: 'a', '1': 'b'}, 'NotJson'), ({Unspeakable(): 1}, 'NotText'), (_deep(150), 'NotJson'), (_ITSELF, 'NotJson'),
    ({'\ud800': 1}, 'NotUtf8'), (pa.scalar(b'\xff'), 'NotJson'),
]  # fmt: skip


@pytest.mark.parametrize(('value', 'error'), BROKEN, ids=[f'{type(v).__name__}-{e}' for v, e in BROKEN])
@pytest.mark.parametrize('wrap', [lambda v: [[v]], lambda v: {'b': v}, lambda v: [{'b': (v,)}], lambda v: ([v],)])
def test_a_nested_value_that_means_nothing_costs_its_row(value, error, wrap):
    row = {'instruction': 'q', 'generation': 'a', 'm': wrap(value)}
    (table,), failed = from_rows([row, {**row, 'm': wrap(1)}], ba.Columns(metadata=['m']))
    assert (table.num_rows, [f.error for f in failed]) == (1, [error])
    assert json.loads(failed[0].to_json())['data']['input'][0]['instruction'] == 'q'


@pytest.mark.parametrize(
    ('value', 'text'),
    [
        (10**5000, str(decimal.Decimal(10**5000))), (decimal.Decimal('1E+999999999'), '1E+999999999'),
        (float('-inf'), '-inf'), (decimal.Decimal('Infinity'), 'inf'), (decimal.Decimal('1.' + '1' * 150),
         '1.' + '1' * 150),
        (pd.Timedelta(1, 'ns'), '0.000000001'), (np.timedelta64(2, 'h'), '7200'), (np.longdouble('0.5'), '0.5'),
        (datetime.time(1, tzinfo=datetime.timezone.utc), '01:00:00+00:00'), (1 + 2j, '(1+2j)'),
        (pd.Period('2026-01'), '2026-01'), (pd.Interval(0, 1), '(0, 1]'),
        ({1: 'a', 'b': True, None: 2}, '{"1":"a","b":true,"null":2}'), ({'n': 10**5000}, '{"n":"1%s"}' % ('0' * 5000)),
        ({frozenset('ab'): float('inf')}, '{"[\\"a\\",\\"b\\"]":"inf"}'), ([{2, 10, '1'}], '["1",10,2]'),
        (frozenset([frozenset('ba'), frozenset('c')]), None),
    ],
    ids=lambda v: type(v).__name__,
)  # fmt: skip
def test_the_text_of_unusual_values(value, text):
    (table,), failed = from_rows([{'instruction': 'q', 'generation': 'a', 'm': value}], ba.Columns(metadata=['m']))
    texts = ['["a","b"]', '["c"]'] if text is None else [text]
    assert (table.column('metadata.m').to_pylist(), failed) == ([texts], [])


def test_a_time_without_a_text_costs_its_row():
    table = pa.table(
        {'instruction': ['p', 'q'], 'generation': ['a', 'b'], 'k': pa.array([0, 2**62], pa.timestamp('s'))}
    )
    out, failed = to_canonical(table, ba.Columns(instruction_id='k'))
    assert (out.column('instruction_id').to_pylist(), [f.error for f in failed]) == (
        ['1970-01-01T00:00:00'],
        ['OutOfRange'],
    )


# -- for all types, roles and values


_INT = st.integers(-(2**31), 2**31 - 1)
_TEXT = st.text(st.characters(codec='utf-8'), max_size=4)
_WHEN = st.datetimes(datetime.datetime(1700, 1, 1), datetime.datetime(2200, 1, 1))
_HALVES = st.integers(-64, 64).map(lambda n: n / 2) | st.sampled_from([float('nan'), float('inf')])
_DECIMALS = st.decimals(-1000, 1000, places=2)
LEAVES: list[tuple[pa.DataType, st.SearchStrategy[Any]]] = [
    (pa.null(), st.none()),
    (pa.bool_(), st.booleans()),
    (pa.int32(), _INT), (pa.int64(), _INT), (pa.uint64(), st.integers(0, 2**64 - 1)),
    (pa.float16(), st.sampled_from([0.5, 1.0, float('nan')])), (pa.float32(), _HALVES),
    (pa.float64(), _HALVES | st.sampled_from([2.0**60, 1e-9])),  # of which float32 has other digits
    (pa.decimal128(8, 2), _DECIMALS), (pa.decimal256(60, 5), _DECIMALS), (pa.decimal128(6, 0), st.integers(-999, 999)),
    (pa.string(), _TEXT), (pa.large_string(), _TEXT), (pa.string_view(), _TEXT),
    (pa.binary(), st.binary(max_size=3)), (pa.large_binary(), st.binary(max_size=3)),
    (pa.binary_view(), st.binary(max_size=3)), (pa.binary(2), st.binary(min_size=2, max_size=2)),
    (pa.date32(), st.dates()), (pa.date64(), st.dates()),
    (pa.time32('ms'), st.times().map(lambda t: t.replace(microsecond=0))), (pa.time64('us'), st.times()),
    (pa.timestamp('s'), _WHEN.map(lambda t: t.replace(microsecond=0))), (pa.timestamp('us'), _WHEN),
    (pa.timestamp('ns'), _WHEN), (pa.timestamp('us', 'UTC'), _WHEN), (pa.timestamp('us', '+02:00'), _WHEN),
    (pa.duration('us'), st.timedeltas(datetime.timedelta(-9), datetime.timedelta(9))),
]  # fmt: skip


def _arrays(kind: pa.DataType, values: st.SearchStrategy[Any]) -> st.SearchStrategy[pa.Array]:
    """Three cells, in one of the guises that such values come in."""
    cells = st.lists(st.none() | values, min_size=3, max_size=3)
    lists = st.lists(st.none() | st.lists(st.none() | values, max_size=2), min_size=3, max_size=3)
    pairs = st.lists(st.none() | st.lists(st.none() | values, min_size=2, max_size=2), min_size=3, max_size=3)
    flat = cells.map(lambda v: pa.array(v, kind))
    guises = [
        flat,
        *(lists.map(lambda v, of=of: pa.array(v, of(kind))) for of in (pa.list_, pa.large_list, pa.list_view)),
        pairs.map(lambda v: pa.array(v, pa.list_(kind, 2))),
        lists.map(lambda v: pa.array([None if x is None else [x] for x in v], pa.list_(pa.list_(kind)))),
        cells.map(lambda v: pa.array([x if x is None else {'b': x, 'a': 1} for x in v], _struct(kind))),
    ]  # fmt: skip
    if not pa.types.is_null(kind):
        guises += [flat.map(_as_dictionary), flat.map(_as_runs)]
    return st.one_of(guises)


def _struct(kind: pa.DataType) -> pa.DataType:
    return pa.struct([('b', kind), ('a', pa.int8())])


def _as_dictionary(array: pa.Array) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array([0, None, 2], pa.int8()), array)


def _as_runs(array: pa.Array) -> pa.Array:
    return pa.RunEndEncodedArray.from_arrays(pa.array([1, 2, 3], pa.int32()), array)


ARRAYS = st.sampled_from(LEAVES).flatmap(lambda leaf: _arrays(*leaf))
ROLES = (
    'instruction',
    'generation',
    'instruction_id',
    'model_name',
    'rating',
    'rationale',
    'agent',
    'position',
    'metadata',
)
slowly = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))


def _table(role: str, array: pa.Array) -> tuple[pa.Table, ba.Columns]:
    texts = {'instruction': ['p', 'q', 'r'], 'generation': ['a', 'b', 'c']}
    if role == 'metadata':
        return pa.table({**texts, 'v': array}), ba.Columns(metadata=['v'])
    return pa.table({**texts, 'v': array}), ba.Columns(**{role: 'v'})


def _outcome(table: pa.Table, columns: ba.Columns) -> Any:
    """Canonical rows and reasons of refusal; or None, if the type is refused by name."""
    try:
        out, failed = to_canonical(table, columns)
    except InputError as e:
        assert "'v'" in str(e)
        return None
    assert all(isinstance(f, FailedRecord) and json.loads(f.to_json()) for f in failed)
    return out.to_pylist(), [f.error for f in failed]


@slowly
@given(ARRAYS, st.sampled_from(ROLES))
def test_every_type_in_every_role_is_read_or_refused_and_means_the_same_however_it_is_cut(array, role):
    table, columns = _table(role, array)
    whole = _outcome(table, columns)
    parts = [_outcome(table.slice(i, 1), columns) for i in range(3)]
    if whole is None:
        assert None in parts
    else:
        assert sorted(map(str, whole[0])) == sorted(str(row) for part in parts for row in part[0])
        assert sorted(whole[1]) == sorted(error for part in parts for error in part[1])


@slowly
@given(ARRAYS, st.sampled_from(ROLES))
@example(pa.array([None, None, float('nan')], pa.float16()), 'instruction')  # statistics do not count NaN as null
def test_the_same_through_parquet(array, role):
    table, columns = _table(role, array)
    with tempfile.TemporaryDirectory() as folder:
        path = f'{folder}/part.parquet'
        try:
            pq.write_table(table, path)
        except (pa.ArrowNotImplementedError, pa.ArrowInvalid, NotImplementedError):
            return  # a type that Parquet has not
        if pa.types.is_fixed_size_list(array.type) and array.null_count:
            return  # Arrow cannot read what it wrote: "Expected all lists to be of size=2"
        (read,) = Parquet().batches(Part(path, 'parquet'), partial(columns_to_read, columns))
        assert _outcome(read, columns) == _outcome(table, columns)
        try:
            ba.ReadGenerations(path, columns)
        except InputError as e:
            assert "'v'" in str(e)
            assert _outcome(table, columns) is None  # found while the pipeline is built, as it would be later


@slowly
@given(ARRAYS, st.sampled_from(ROLES))
def test_the_same_as_dicts(array, role):
    if role != 'metadata' and is_list(array.type):
        return  # a list makes a row wide, whatever the others are
    table, columns = _table(role, array)
    by_table = _outcome(table, columns)
    (tables, failed) = from_rows(table.to_pylist(), columns)
    rows = [row for t in tables for row in t.to_pylist()]
    if by_table is None:
        assert failed
    else:
        assert sorted(map(str, rows)) == sorted(map(str, by_table[0]))
        assert len(failed) == len(by_table[1])


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.binary(max_size=3)
    | st.text(st.characters(), max_size=3) | st.decimals() | st.dates() | st.datetimes() | st.uuids() | st.timedeltas()
    | st.datetimes(timezones=st.timezones()) | st.times() | st.complex_numbers() | st.builds(object)
    | st.sampled_from([pd.NA, pd.NaT, np.float32(0.1), np.datetime64('2026-01'), Colour.RED, Point(1), U]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2) | st.integers(), inner, max_size=2)
    | st.tuples(inner), max_leaves=4,
)  # fmt: skip


@slowly
@given(st.lists(st.dictionaries(st.sampled_from(ROLES), _VALUES), min_size=1, max_size=4))
def test_rows_of_anything_end_no_bundle_and_each_is_judged_alone(values):
    rows = [{'instruction': 'q', 'generation': 'a', 'n': i, **row} for i, row in enumerate(values)]
    columns = ba.Columns(
        instruction_id='instruction_id', agent='agent', position='position', metadata=['metadata', 'n']
    )

    def outcome(elements: list[dict[str, Any]]) -> list[str]:
        tables, failed = from_rows(elements, columns)
        assert all(json.loads(f.to_json()) for f in failed)
        return [str(row) for t in tables for row in t.to_pylist()] + [f.error for f in failed]

    assert sorted(outcome(rows)) == sorted(text for row in rows for text in outcome([row]))


@given(st.integers(-(2**63), 2**63 - 1) | st.floats() | _TEXT)
def test_the_short_way_to_a_text_is_the_long_one(value):
    short = common_text(value)
    assert short is None or short == as_text(plain(pa.array([value]))).values[0].as_py()
