"""What people hold in Python goes in as it is, or they are told how before anything runs."""

from __future__ import annotations

import datetime
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple

import apache_beam as beam
import datasets
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to

import beam_argilla as ba
from beam_argilla.errors import InputError
from beam_argilla.input import kind
from beam_argilla.input.frames import as_table
from beam_argilla.input.roles import columns_to_read
from beam_argilla.input.rows import from_rows
from beam_argilla.input.tables import to_canonical
from tests.samples import pipeline

DATA = {'instruction': ['p', 'q'], 'generation': ['a', 'b'], 'k': [1, 2]}
BY_K = ba.Columns(instruction_id='k')
MIXED = pd.DataFrame({**DATA, 'k': [1, '2']})


@pytest.mark.parametrize(
    'element',
    [
        pa.table(DATA), pa.RecordBatch.from_pydict(DATA), pd.DataFrame(DATA), pd.DataFrame(DATA, index=['x', 'y']),
        MIXED, pl.DataFrame(DATA), pl.DataFrame(DATA).lazy(), datasets.Dataset.from_dict(DATA),
        datasets.Dataset.from_dict({k: [*v, *v] for k, v in DATA.items()}).select([2, 1]),
    ],
    ids=lambda e: type(e).__name__,
)  # fmt: skip
def test_a_table_of_any_library_is_an_element(element):
    with pipeline() as p:
        tables = p | beam.Create([element]) | ba.FormatGenerations(BY_K)
        cells = tables | beam.FlatMap(lambda t: [(r['instruction_id'], r['generation']) for r in t.to_pylist()])
        assert_that(cells, equal_to([('1', 'a'), ('2', 'b')]))


def texts_of(frame: Any, name: str = 'm') -> list[Any]:
    """The texts of a column of metadata, of a frame as a pipeline reads it."""
    columns = ba.Columns(metadata=[name])
    table = as_table(frame, partial(columns_to_read, columns))
    tables, failed = (
        from_rows(table, columns) if isinstance(table, list) else ([to_canonical(table, columns).table], [])
    )
    return [cells for t in tables for cells in t.column(f'metadata.{name}').to_pylist()] + [f.error for f in failed]


def objects(*cells: Any) -> pd.Series:
    return pd.Series(list(cells), dtype=object)


MONTHS = pd.period_range('2026-01', periods=2, freq='M')
BIG = 2**100
PANDAS = [
    (objects({'a': 1}, {'b': 2}), ['{"a":1}'], ['{"b":2}']),  # no key comes from another row
    (objects({'a': 1}, {'a': 'x'}), ['{"a":1}'], ['{"a":"x"}']),
    (objects(2**53 + 1, 0.5), [str(2**53 + 1)], ['0.5']),  # of Arrow, a float of which the last digit is lost
    (objects([2**53 + 1], [0.5]), [str(2**53 + 1)], ['0.5']),
    (objects(datetime.date(2026, 1, 1), datetime.datetime(2026, 1, 1, 2)), ['2026-01-01'], ['2026-01-01T02:00:00']),
    (objects(Decimal('1.10'), 2.5), ['1.1'], ['2.5']),
    (objects(True, 1), ['true'], ['1']),
    (objects({'b', 'a', 'c'}, None), ['a', 'b', 'c'], None),
    (objects(BIG, 'x'), [str(BIG)], ['x']),
    (objects([1, 2], 'x'), ['1', '2'], ['x']),
    (objects(object(), 1), ['1'], 'NotText'),
    (MONTHS, ['2026-01'], ['2026-02']),
    (pd.Categorical(MONTHS), ['2026-01'], ['2026-02']),
    (objects(MONTHS[0], pd.NaT), ['2026-01'], None),
    (pd.array(['2026-01', None], dtype='period[M]'), ['2026-01'], None),
    (pd.interval_range(0, 2), ['(0, 1]'], ['(1, 2]']),
    (pd.Categorical(pd.interval_range(0, 2)), ['(0, 1]'], ['(1, 2]']),
    (pd.Categorical([1, 'a']), ['1'], ['a']),
    (pd.arrays.SparseArray([1, 0]), ['1'], ['0']),
    (np.array([1 + 2j, 2]), ['(1+2j)'], ['(2+0j)']),
]


@pytest.mark.parametrize(
    ('column', 'first', 'second'), PANDAS, ids=[str(c.dtype) + str(i) for i, (c, *_) in enumerate(PANDAS)]
)
def test_a_cell_of_a_pandas_frame_is_what_it_is_alone(column, first, second):
    frame = pd.DataFrame({'instruction': ['p', 'q'], 'generation': ['a', 'b'], 'm': column})
    assert texts_of(frame) == [first, second]
    if second != 'NotText':
        assert texts_of(frame[:1]) + texts_of(frame[1:]) == [first, second]
    single = np.array([0.1, 2], np.float32)  # beside a column that Arrow cannot hold
    assert texts_of(frame.assign(f=single), 'f')[0] == ['0.1']


@pytest.mark.parametrize(
    ('column', 'first'),
    [
        (pl.Series([BIG, 1], dtype=pl.Int128), [str(BIG)]),
        (pl.Series([2**127, 1], dtype=pl.UInt128), [str(2**127)]),
        (pl.Series([[BIG], None], dtype=pl.List(pl.Int128)), [str(BIG)]),
        (pl.Series([{'a': BIG}, None], dtype=pl.Struct({'a': pl.Int128})), ['{"a":%s}' % BIG]),  # noqa: UP031
        (pl.Series(['1.10', '2']).cast(pl.Decimal(38, 2)), ['1.1']),
        (pl.Series([Decimal('1.10'), 2], dtype=pl.Object), ['1.1']),
        (pl.Series([1, 2], dtype=pl.Float32), ['1']),
    ],
    ids=str,
)
def test_a_cell_of_a_polars_frame_is_what_it_is_alone(column, first):
    frame = pl.DataFrame({'instruction': ['p', 'q'], 'generation': ['a', 'b'], 'm': column})
    assert texts_of(frame)[0] == texts_of(frame[:1])[0] == first


@pytest.mark.parametrize('beside', [[1, 2], [1, 'x']])
def test_named_levels_of_a_pandas_index_are_columns_whatever_stands_beside_them(beside):
    frame = pd.DataFrame({'instruction': ['p', 'q'], 'generation': ['a', 'b'], 'rating': beside, 'm': ['x', 'y']})
    assert texts_of(frame.set_index('m')) == texts_of(frame.set_index(['m', 'rating'])) == [['x'], ['y']]
    assert texts_of(frame.drop(columns='m').rename_axis('m')) == [['0'], ['1']]


@pytest.mark.parametrize('beside', [[1, 2], [1, 'x']])
def test_columns_of_one_name_matter_if_they_are_used(beside):
    frame = pd.DataFrame({**DATA, 'm': beside})
    twice = pd.concat([frame, frame[['m', 'm']]], axis=1)
    with pytest.raises(InputError, match="3 columns called 'm'"):
        texts_of(twice)
    assert texts_of(twice, 'k') == [['1'], ['2']]


def test_a_dataset_as_the_source_of_rows():
    with pipeline() as p:
        tables = p | beam.Create(datasets.Dataset.from_dict(DATA)) | ba.FormatGenerations(BY_K)
        assert_that(tables | beam.FlatMap(lambda t: t.column('instruction_id').to_pylist()), equal_to(['1', '2']))


def test_a_large_table_is_cut(monkeypatch):
    monkeypatch.setattr(kind, 'BATCH_BYTES', 100)
    table = pa.table({'instruction': [str(i) for i in range(40)], 'generation': ['x' * 10] * 40})
    with pipeline() as p:
        sizes = p | beam.Create([table]) | ba.FormatGenerations() | beam.Map(lambda t: t.num_rows < 10)
        assert_that(sizes | beam.combiners.Count.PerElement(), equal_to([(True, 8)]))


class Answer(NamedTuple):
    prompt: str
    generation: str


@pytest.mark.parametrize(
    ('elements', 'columns', 'message'),
    [
        (pd.DataFrame(DATA), ba.Columns(), r'not str.*write beam.Create\(\[frame\]\)'),
        (pl.DataFrame(DATA), ba.Columns(), 'not Series'),
        ([1, 2], ba.Columns(), 'not int'),
        ([{'prompt': 'x', 'generation': 'y'}], ba.Columns(),
         "no column 'instruction' for the instruction. Its columns are: 'prompt', 'generation'"),
        ([{'instruction': 'x', 'generation': 'y'}] * 9, ba.Columns(rating='stars', metadata=['topic']),
         "no column 'stars' for the rating and 'topic' for the metadata"),
        ([Answer('x', 'y')], ba.Columns(), "no column 'instruction'"),
        ([beam.Row(prompt='x', generation='y')], ba.Columns(), "no column 'instruction'"),
        ([beam.Row(instruction='x', answer='y')], ba.Columns(), "no column 'generation'"),
    ],
)  # fmt: skip
def test_what_a_user_forgot_is_said_before_anything_runs(elements, columns, message):
    p = beam.Pipeline(runner=FnApiRunner())
    with pytest.raises(InputError, match=message):
        _ = p | beam.Create(elements) | ba.FormatGenerations(columns)


def test_rows_that_no_schema_tells_of_say_what_they_have_where_they_lack_a_column():
    tables, failed = from_rows([{'text': 'x', 'generation': 'y'}], ba.Columns(instruction='prompt'))
    assert not tables
    assert failed[0].message.startswith(
        "The row has no column 'prompt' for the instruction. Its columns are: 'text', 'generation'."
    )


@pytest.mark.parametrize('columns', [{'instruction': 'prompt'}, {}, ['prompt']], ids=str)
def test_columns_that_are_not_columns_are_told_of_where_they_are_given(columns):
    task = ba.TextGeneration()
    for give in (
        lambda: ba.FormatGenerations(columns),
        lambda: ba.ReadGenerations('x', columns, validate=False),
        lambda: ba.WriteToArgilla('x', task=task, connection=ba.ArgillaConnection('http://x'), columns=columns),
    ):
        with pytest.raises(TypeError, match=r"columns must be ba.Columns\(.*instruction='prompt'\), not a "):
            give()


@pytest.mark.parametrize('column', [[1, 2], [{'text': 'x'}] * 2], ids=['numbers', 'structs'])
def test_what_is_no_text_is_told_the_way_there(column):
    for name in ('instruction', 'generation'):
        data = {'instruction': ['p', 'q'], 'generation': ['a', 'b'], name: column}
        (refused, _) = from_rows(pa.table(data).to_pylist(), ba.Columns())[1]
        with pytest.raises(InputError, match='make it text first') as told:
            to_canonical(pa.table(data), ba.Columns())
        assert str(told.value).partition(': make it')[2] == refused.message.partition(': make it')[2]


@pytest.mark.parametrize('elements', [[DATA], [Answer('x', 'y')], ['x'], [beam.Row(instruction='x', generation='y')]])
def test_rows_without_names_of_their_columns_are_told_of_before_anything_runs(elements):
    p = beam.Pipeline(runner=FnApiRunner())
    with pytest.raises(InputError, match=r'Say what your columns are called: WriteToArgilla\(columns='):
        _ = p | beam.Create(elements) | ba.GroupGenerations()


def test_metadata_that_is_read_and_not_kept_or_kept_and_not_read_is_told_before_anything_runs():
    rows = beam.Pipeline(runner=FnApiRunner()) | beam.Create([{'instruction': 'q', 'generation': 'a', 'topic': 't'}])
    read = rows | 'read' >> ba.FormatGenerations(ba.Columns(metadata=['topic'])) | 'group' >> ba.GroupGenerations()
    with pytest.raises(InputError, match=r"does not keep it: say so .* Preference\(metadata=\['topic'\]\)"):
        _ = read | 'build' >> ba.BuildRecords(ba.Preference(num_generations=1))
    unread = rows | 'unread' >> ba.FormatGenerations() | 'group them' >> ba.GroupGenerations()
    with pytest.raises(InputError, match=r"keeps \['topic'\] as metadata, but these columns were not read"):
        _ = unread | 'build them' >> ba.BuildRecords(ba.Preference(num_generations=1, metadata=['topic']))
