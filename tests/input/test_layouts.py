"""Layouts that people have: recognised, and read, as tables and as rows."""

from __future__ import annotations

from dataclasses import replace

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.testing.util import assert_that, equal_to

import beam_argilla as ba
from beam_argilla.errors import InputError
from beam_argilla.input.canonical import canonical_tables
from beam_argilla.input.layouts import fitting
from beam_argilla.input.rows import from_rows
from tests.samples import pipeline

# Layout → of its example, the (generation, model, rating, exact score) in order.
WANTED = {
    'distilabel': [('Hello!', 'm1', '5', None)],
    'distilabel_wide': [('Hello!', 'm1', '5', None), ('Go away.', 'm2', '1', None)],
    'ultrafeedback': [('Hello!', 'm1', '5', 4.5)],
    'ultrafeedback_binarized': [('Hello!', None, '4', 8.5), ('Go away.', None, '1', 1.0)],
    'dpo_mix': [('Hello!', None, '5', 5.0), ('Go away.', None, '1', 1.0)],
    'hh_rlhf': [('Hello!', None, None, None), ('Go away.', None, None, None)],
    'shp': [('Hello!', None, None, None), ('Go away.', None, None, None)],
    'helpsteer2': [('Hello!', None, '5', 4.0)],
    'helpsteer3': [('Hello!', None, '5', 1.0), ('Go away.', None, '1', 0.0)],
    'rewardbench': [('Hello!', 'm1', None, None), ('Go away.', 'm2', None, None)],
    'rm_bench': [(text, None, None, None) for text in ('Hello!', 'Hi!', 'Go away.', 'No.')],
    'arena': [('Hello!', 'm1', '5', 1.0), ('Go away.', 'm2', '1', 0.0)],
    'alpaca_eval': [('Hello!', 'm1', None, None)],
    'alpaca_eval_annotations': [('Hello!', 'm1', '5', 1.0), ('Go away.', 'm2', '1', 0.0)],
    'nectar': [('Hello!', 'm1', '5', 1.0), ('Go away.', 'm2', '1', 7.0)],
    'sharegpt': [('Hello!', None, None, None)],
    'conversation': [('Hello!', 'm1', None, None)],
    'messages': [('Hello!', None, None, None)],
    'alpaca': [('Hello!', None, None, None)],
    'llamafactory_preference': [('Hello!', None, None, None), ('Go away.', None, None, None)],
    'llamafactory_alpaca_preference': [('Hello!', None, None, None), ('Go away.', None, None, None)],
    'trl': [('Hello!', None, None, None), ('Go away.', None, None, None)],
    'trl_implicit': [('Hello!', None, None, None), ('Go away.', None, None, None)],
    'kto': [('Hello!', None, '5', 1.0)],
    'prompt_completion': [('Hello!', None, None, None)],
    'orca_dpo': [('Hello!', None, None, None), ('Go away.', None, None, None)],
    'vllm': [('Hello!', None, None, None), ('Go away.', None, None, None)],
    'argilla_export': [('Hello!', None, '5', None)],
    'label_studio': [('Hello!', None, '5', 1.0), ('Go away.', None, '1', 0.0)],
}
# Whose prompts are in other rows or files.
ELSEWHERE = [name for name, layout in ba.LAYOUTS.items() if layout.prompts or layout.parents]


@pytest.mark.parametrize('name', ba.LAYOUTS)
def test_an_example_is_of_its_layout_alone(name):
    example = pa.Table.from_pylist([ba.LAYOUTS[name].example])
    assert [layout.name for layout in fitting(example.schema)] == [name]


@pytest.mark.parametrize('name', [name for name in ba.LAYOUTS if name not in ELSEWHERE])
def test_an_example_means_the_same_as_a_table_and_as_a_row(name):
    layout = ba.LAYOUTS[name]
    columns = replace(layout.columns, lenient=True)
    for tables, failed in (
        canonical_tables(pa.Table.from_pylist([layout.example]), columns),
        from_rows([layout.example], columns),
    ):
        assert failed == []
        rows = [row for table in tables for row in table.to_pylist()]
        assert {row['instruction'] for row in rows} == {'Say hello.'}
        found = [(row['generation'], row['model_name'], row['rating'], row.get('score')) for row in rows]
        assert found == WANTED[name]


@pytest.mark.parametrize(
    'row',
    [
        {'question': 'q', 'chosen': 'a', 'rejected': 'b'},  # whose prompt the dialogues of hh_rlhf are not
        {'prompt': 'q', 'response': 'a'},
        {'text': 'q'},
        {'prompt': 1, 'chosen': 2, 'rejected': 3},
    ],
)
def test_what_nobody_has_declared_is_of_no_layout(row):
    assert fitting(pa.Table.from_pylist([row]).schema) == []


def test_files_are_read_by_the_layout_that_is_named_which_is_the_one_that_fits(tmp_path):
    readers = {}
    for name in ba.LAYOUTS.keys() - set(ELSEWHERE):
        pq.write_table(pa.Table.from_pylist([ba.LAYOUTS[name].example]), tmp_path / f'{name}.parquet')
        readers[name] = reader = ba.ReadGenerations(tmp_path / f'{name}.parquet', layout=name)
        fitting = ba.ReadGenerations(tmp_path / f'{name}.parquet')
        assert reader.layout == ba.LAYOUTS[name]
        if name.startswith('distilabel'):  # the usual names
            assert fitting.layout is None
        else:
            assert (fitting.layout, fitting.columns) == (reader.layout, reader.columns)
    with pipeline() as p:
        found = [
            p | name >> reader | f'{name} rows' >> beam.FlatMap(lambda table, name: texts(table, name), name)
            for name, reader in readers.items()
        ]
        assert_that(found | beam.Flatten(), equal_to([(n, text) for n in readers for text, *_ in WANTED[n]]))


def texts(table: pa.Table, name: str) -> list[tuple[str, str]]:
    return [(name, text) for text in table.column('generation').to_pylist()]


def test_names_that_are_given_go_before_those_of_a_layout(tmp_path):
    pq.write_table(pa.table({'prompt': ['p'], 'chosen': ['a'], 'rejected': ['b'], 'q': ['r']}), tmp_path / 'f.parquet')
    reader = ba.ReadGenerations(tmp_path, ba.Columns(instruction='q'), layout='trl')
    assert reader.columns == ba.Columns('q', ['chosen', 'rejected'], lenient=True)
    with pytest.raises(InputError, match="no column 'generation'"):  # one name says that the others are the usual ones
        ba.ReadGenerations(tmp_path, ba.Columns(instruction='q'))


def test_files_of_two_layouts_are_of_none(tmp_path):
    for name in ('trl', 'kto'):
        pq.write_table(pa.Table.from_pylist([ba.LAYOUTS[name].example]), tmp_path / f'{name}.parquet')
    with pytest.raises(InputError, match='no column'):
        ba.ReadGenerations(tmp_path)


def test_an_unknown_layout_is_told_with_those_that_there_are(tmp_path):
    pq.write_table(pa.table({'a': ['b']}), tmp_path / 'f.parquet')
    with pytest.raises(ValueError, match=r"layout='ultra': use 'auto' or one of 'distilabel', .*'ultrafeedback'"):
        ba.ReadGenerations(tmp_path, layout='ultra')
