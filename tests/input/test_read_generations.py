"""Parquet files: clustered, giant, damaged, empty, with more columns than needed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.error_handling import ErrorHandler

import beam_argilla as ba
from beam_argilla.errors import BrokenPromiseError, InputError
from beam_argilla.generations import COLUMNS as COLUMN_NAMES
from beam_argilla.grouping.arrange import arrange
from beam_argilla.input import kind
from beam_argilla.input.read_generations import whole_groups
from tests.samples import COLUMNS, canonical, content, counters, pipeline, rows, write


def test_clustered_files_need_no_shuffle(tmp_path):
    elements = rows(100)
    for i in range(4):  # whole groups in each file, but over row groups as it happens
        part = elements[i * 100 : (i + 1) * 100]
        pq.write_table(pa.Table.from_pylist(part), tmp_path / f'{i}.parquet', row_group_size=7)
    with pipeline() as p:
        read = ba.ReadGenerations(str(tmp_path / '*.parquet'), COLUMNS, clustered=True)
        groups = p | read | ba.GroupGenerations()
        assert_that(
            groups | beam.FlatMap(content), equal_to(content(arrange(canonical(elements), ba.Policies()).table))
        )


def test_a_promise_of_clustering_that_is_not_kept_is_an_error_within_a_file_and_across_files(tmp_path):
    within, across = tmp_path / 'within', tmp_path / 'across'
    for folder in (within, across):
        folder.mkdir()
    elements = rows(3)
    pq.write_table(
        pa.Table.from_pylist([*elements[4:], *elements[:4], elements[4]]), within / 'a.parquet', row_group_size=3
    )
    pq.write_table(pa.Table.from_pylist(elements[:6]), across / 'a.parquet')
    pq.write_table(pa.Table.from_pylist(elements[6:]), across / 'b.parquet')
    for folder, message in (
        (within, "not clustered: the rows of 1 or more instruction ids, such as 'i0001'"),
        (across, "not clustered: the rows of 1 or more instruction ids, such as 'i0001'"),
    ):
        with pytest.raises(BrokenPromiseError, match=message), pipeline() as p:
            read = ba.ReadGenerations(str(folder / '*.parquet'), COLUMNS, clustered=True)
            _ = p | read | ba.GroupGenerations()
    with pytest.raises(BrokenPromiseError, match=r"a\.parquet is not clustered: the rows of instruction id 'i0000'"):
        list(whole_groups([canonical([*elements[:4], *elements[4:8], elements[0]])], 'a.parquet'))


NOT_UTF8 = pa.array([b'q', b'\xff', b'q', b'r'])
BAD_IDS = [
    ['a', None, 'a', 'b'],
    ['c', ' ', 'c', 'd'],
    pa.array([1, float('nan'), 1, 2]),
    [3.0, 3.5, 3.0, 4.0],
    NOT_UTF8,
]
BAD_TEXTS = [['a', None, 'a', 'b'], ['c', ' ', 'c', 'd'], NOT_UTF8]


@pytest.mark.parametrize(('column', 'bad'), [('key', BAD_IDS), ('instruction', BAD_TEXTS)])
def test_a_row_that_is_refused_parts_no_clustered_group(tmp_path, column, bad):
    for i, values in enumerate(bad):  # the second of four rows is bad
        table = pa.table({'instruction': ['q'] * 4, 'generation': list('xyzu'), 'key': ['k'] * 4})
        table = table.set_column(table.column_names.index(column), column, pa.array(values))
        pq.write_table(table, tmp_path / f'{i}.parquet', row_group_size=2)
    (columns, error) = (ba.Columns(), 'EmptyInstruction')
    if column == 'key':
        (columns, error) = (ba.Columns(instruction_id='key'), 'NullInstructionId')
    p = beam.Pipeline(runner=FnApiRunner())
    with ErrorHandler(beam.Map(lambda f: (f.error, f.row))) as handler:
        read = ba.ReadGenerations(tmp_path, columns, clustered=True).with_error_handler(handler)
        groups = p | read | ba.GroupGenerations().with_error_handler(handler)
    errors = [error, error, error, 'NotAnId', 'NotUtf8'] if column == 'key' else [error, error, 'NotUtf8']
    assert_that(handler.output(), equal_to([(error, 1) for error in errors]), 'refused')
    generations = groups | beam.Map(lambda t: ''.join(t.column('generation').to_pylist()))
    assert_that(generations, equal_to(['xz', 'u'] * len(bad)), 'groups')
    p.run().wait_until_finish()


@pytest.mark.parametrize('kind', ['long', 'wide'])
def test_a_file_without_the_column_of_the_ids_is_refused_by_itself_where_nothing_is_shuffled(tmp_path, kind):
    generations = {'generation': ['x']} if kind == 'long' else {'generations': [['x']]}
    pq.write_table(pa.table({'instruction': ['q'], 'key': ['k'], **generations}), tmp_path / 'a.parquet')
    pq.write_table(pa.table({'instruction': ['q'], **generations}), tmp_path / 'b.parquet')
    p = beam.Pipeline(runner=FnApiRunner())
    with ErrorHandler(beam.Map(lambda f: f.error)) as handler:
        columns = ba.Columns(instruction_id='key')
        read = ba.ReadGenerations(tmp_path, columns, clustered=kind == 'long', on_bad_file='refuse')
        groups = p | read.with_error_handler(handler) | ba.GroupGenerations()
    assert_that(handler.output(), equal_to(['BadFile']), 'refused')
    assert_that(groups | beam.FlatMap(lambda t: t.column('instruction_id').to_pylist()), equal_to(['k']), 'groups')
    p.run().wait_until_finish()


def test_a_giant_row_group_is_read_in_small_tables(tmp_path, monkeypatch):
    monkeypatch.setattr(kind, 'BATCH_BYTES', 10_000)
    pq.write_table(pa.Table.from_pylist(rows(500)), tmp_path / 'one.parquet', row_group_size=1 << 20)
    with pipeline() as p:
        tables = p | ba.ReadGenerations(str(tmp_path / 'one.parquet'), COLUMNS)
        assert_that(tables | beam.Map(lambda t: t.num_rows < 400), equal_to_all_true())
        assert_that(tables | beam.Map(lambda t: t.num_rows) | beam.CombineGlobally(sum), equal_to([2000]), 'sum')


def equal_to_all_true():
    def check(actual):
        assert len(actual) > 5
        assert all(actual)

    return check


def test_row_groups_are_read_side_by_side(tmp_path, monkeypatch):
    monkeypatch.setattr(kind, 'SPLIT_BYTES', 1)
    pq.write_table(pa.Table.from_pylist(rows(25)), tmp_path / 'f.parquet', row_group_size=10)
    with pipeline() as p:
        tables = p | ba.ReadGenerations(str(tmp_path / 'f.parquet'), COLUMNS)
        assert_that(tables | beam.Map(lambda t: t.num_rows), equal_to([10] * 10))


def test_only_the_columns_that_are_needed_are_read(tmp_path):
    table = pa.Table.from_pylist(rows(2)).append_column('huge', pa.array([['x' * 100] * 3] * 8))
    pq.write_table(table, tmp_path / 'f.parquet')
    columns = ba.Columns(instruction_id='instruction_id', metadata=['topic'])
    with pipeline() as p:
        names = p | ba.ReadGenerations(str(tmp_path / 'f.parquet'), columns) | beam.Map(lambda t: t.column_names)
        assert_that(names, equal_to([[*COLUMN_NAMES, 'metadata.topic']]))


def test_dictionary_encoded_and_large_columns(tmp_path):
    table = pa.Table.from_pylist(rows(10))
    encoded = table.set_column(3, 'model_name', pc.dictionary_encode(table.column('model_name')))
    encoded = encoded.set_column(2, 'generation', table.column('generation').cast(pa.large_string()))
    pq.write_table(encoded, tmp_path / 'f.parquet')
    with pipeline() as p:
        groups = p | ba.ReadGenerations(str(tmp_path / 'f.parquet'), COLUMNS) | ba.GroupGenerations()
        assert_that(
            groups | beam.FlatMap(content), equal_to(content(arrange(canonical(rows(10)), ba.Policies()).table))
        )


def test_bad_files_fail_the_pipeline_by_name_or_are_refused(tmp_path):
    good = write(tmp_path, rows(3), 1)
    (tmp_path / 'broken.parquet').write_bytes(b'PAR1 this is not Parquet PAR1')
    pq.write_table(pa.table({'instruction': ['x'], 'answer': ['y']}), tmp_path / 'drifted.parquet')
    whole = (tmp_path / '0.parquet').read_bytes()
    (tmp_path / 'torn.parquet').write_bytes(whole[:50] + b'\0' * 200 + whole[250:])
    read = ba.ReadGenerations(good, COLUMNS, on_bad_file='refuse')
    p = beam.Pipeline(runner=FnApiRunner())
    with ErrorHandler(beam.Map(lambda f: (f.error, Path(json.loads(f.data)['file']).name))) as handler:
        tables = p | read.with_error_handler(handler)
    assert_that(handler.output(), equal_to([('BadFile', f'{n}.parquet') for n in ('broken', 'drifted', 'torn')]))
    assert_that(tables | beam.Map(lambda t: t.num_rows), equal_to([12]), 'good')
    result = p.run()
    result.wait_until_finish()
    assert counters(result)['failed_BadFile'] == 3
    for name in ('broken', 'drifted', 'torn'):
        (tmp_path / 'z').mkdir(exist_ok=True)
        (tmp_path / 'z' / 'a.parquet').write_bytes(whole)
        bad = tmp_path / 'z' / f'{name}.parquet'
        bad.write_bytes((tmp_path / f'{name}.parquet').read_bytes())
        with pytest.raises(InputError, match=rf'{name}\.parquet'), pipeline() as p:
            _ = p | ba.ReadGenerations(str(tmp_path / 'z' / '*.parquet'), COLUMNS)
        bad.unlink()


def test_a_pattern_without_a_folder_finds_its_files(tmp_path, monkeypatch):
    write(tmp_path, rows(2), 2)
    monkeypatch.chdir(tmp_path)
    with pipeline() as p:
        tables = p | ba.ReadGenerations('*.parquet', COLUMNS)
        assert_that(tables | beam.Map(lambda t: t.num_rows), equal_to([4, 4]))


def test_tables_travel_as_arrow_whatever_was_imported_before():
    """As slices alone: pickled, each would carry the whole table that it was cut from."""
    code = (
        'import apache_beam as beam, beam_argilla as ba\n'
        'rows = beam.Pipeline() | beam.Create([{"instruction": "q", "generation": "a"}])\n'
        'tables = rows | ba.FormatGenerations(ba.Columns())\n'
        'print(type(beam.coders.registry.get_coder(tables.element_type)).__name__)\n'
        'print(type(beam.coders.registry.get_coder(ba.FailedRecord)).__name__)\n'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ['TableCoder', 'RowCoder']


def test_empty_files_and_empty_tables(tmp_path):
    empty = pa.Table.from_pylist(rows(1)).slice(0, 0)
    pq.write_table(empty, tmp_path / 'empty.parquet')
    pq.write_table(pa.Table.from_pylist(rows(1)), tmp_path / 'full.parquet')
    with pipeline() as p:
        groups = p | ba.ReadGenerations(str(tmp_path / '*.parquet'), COLUMNS) | ba.GroupGenerations()
        assert_that(groups | beam.Map(lambda t: t.num_rows), equal_to([4]))
    with pipeline() as p:
        groups = p | beam.Create([empty]) | ba.FormatGenerations(COLUMNS) | ba.GroupGenerations()
        assert_that(groups, equal_to([]))


@pytest.mark.parametrize('wide', [False, True])
def test_what_is_refused_says_which_row_of_which_file_it_was(tmp_path, monkeypatch, wide):
    monkeypatch.setattr(kind, 'SPLIT_BYTES', 1)
    table = {
        'instruction': [None if i in (3, 17) else f'q{i}' for i in range(20)],
        'generation': [None if i == 11 else f'a{i}' for i in range(20)],
    }
    if wide:
        table['generation'] = [['x', a] for a in table['generation']]
    path = str(tmp_path / 'part.parquet')
    pq.write_table(pa.table(table), path, row_group_size=4)
    p = beam.Pipeline(runner=FnApiRunner())
    with ErrorHandler(beam.Map(lambda f: (f.error, f.source, f.row))) as handler:
        _ = p | ba.ReadGenerations(path).with_error_handler(handler)
    expected = [('EmptyInstruction', path, 3), ('NullGeneration', path, 11), ('EmptyInstruction', path, 17)]
    assert_that(handler.output(), equal_to(expected))
    p.run().wait_until_finish()


def test_wide_rows_that_are_all_refused_end_no_job(tmp_path):
    path = str(tmp_path / 'part.parquet')
    pq.write_table(pa.table({'instruction': pa.nulls(2, pa.string()), 'generations': [['a'], ['b']]}), path)
    p = beam.Pipeline(runner=FnApiRunner())
    with ErrorHandler(beam.Map(lambda f: (f.error, f.row))) as handler:
        tables = p | ba.ReadGenerations(path).with_error_handler(handler)
    assert_that(handler.output(), equal_to([('EmptyInstruction', 0), ('EmptyInstruction', 1)]))
    assert_that(tables, equal_to([]), 'tables')
    p.run().wait_until_finish()
