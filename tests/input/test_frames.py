"""What people hold in Python goes in as it is, or they are told how before anything runs."""

from __future__ import annotations

from typing import NamedTuple

import apache_beam as beam
import datasets
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to

import beam_argilla as ba
from beam_argilla.errors import InputError
from beam_argilla.input import parquet
from beam_argilla.input.rows import from_rows
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


def test_a_dataset_as_the_source_of_rows():
    with pipeline() as p:
        tables = p | beam.Create(datasets.Dataset.from_dict(DATA)) | ba.FormatGenerations(BY_K)
        assert_that(tables | beam.FlatMap(lambda t: t.column('instruction_id').to_pylist()), equal_to(['1', '2']))


def test_a_large_table_is_cut(monkeypatch):
    monkeypatch.setattr(parquet, 'BATCH_BYTES', 100)
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
        "The input has no column 'prompt' for the instruction. Its columns are: 'text', 'generation'."
    )


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
