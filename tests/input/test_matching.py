"""Which files a path, a folder or a pattern stands for, and what all of them have in common."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.testing.util import assert_that, equal_to

import beam_argilla as ba
from beam_argilla import files
from beam_argilla.errors import InputError
from beam_argilla.input import schemas
from beam_argilla.input.matching import matching_files, patterns_of
from tests.samples import pipeline

ROW = {'instruction': ['q'], 'generation': ['a']}


def put(path: Path, table: dict[str, Any]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(table), path)
    return str(path)


def names(patterns: Any, below: Path) -> list[str]:
    return sorted(str(Path(f.path).relative_to(below)) for f in matching_files(patterns_of(patterns)))


def test_a_file_that_several_patterns_match_is_read_once(tmp_path):
    path = put(tmp_path / 'a.parquet', ROW)
    given = [path, tmp_path / 'a.parquet', str(tmp_path / '*.parquet'), str(tmp_path), f'{tmp_path}/', f'file://{path}']
    assert names(given, tmp_path) == ['a.parquet']
    with pipeline() as p:
        tables = p | ba.ReadGenerations(given)
        assert_that(tables | beam.Map(lambda t: t.num_rows), equal_to([1]))


def test_a_folder_is_its_parquet_files_at_any_depth_but_not_what_engines_keep_for_themselves(tmp_path):
    for name in (
        'a.parquet',
        'day=1/b.parquet',
        '_year=2026/c.parquet',
        '_temporary/d.parquet',
        '.x/e.parquet',
        '.f.parquet',
    ):
        put(tmp_path / name, ROW)
    (tmp_path / '_SUCCESS').touch()
    (tmp_path / 'notes.txt').touch()
    assert names(tmp_path, tmp_path) == ['_year=2026/c.parquet', 'a.parquet', 'day=1/b.parquet']
    (tmp_path / 'notes.txt').unlink()
    put(tmp_path / 'part-0', ROW)  # by a pattern, files of any name, but for markers
    assert names(f'{tmp_path}/*', tmp_path) == ['.f.parquet', 'a.parquet', 'part-0']


def test_a_file_is_read_once_however_it_is_reached_by_the_path_that_was_given_first(tmp_path, monkeypatch):
    path = put(tmp_path / 'data' / 'a.parquet', ROW)
    (tmp_path / 'link').symlink_to(tmp_path / 'data')
    (tmp_path / 'b.parquet').symlink_to(path)
    monkeypatch.chdir(tmp_path)
    ways = {
        'data/a.parquet': 'data/a.parquet',
        path: path,
        f'{tmp_path}/link/*.parquet': f'{tmp_path}/link/a.parquet',
        'link': './link/a.parquet',
        'b.parquet': './b.parquet',
        'data/../data': 'data/../data/a.parquet',
    }
    for way, shown in ways.items():
        assert [f.path for f in matching_files(patterns_of([way, *ways]))] == [shown]


def test_a_link_in_folders_that_say_something_else_of_it_is_another_file(tmp_path):
    put(tmp_path / 'data' / 'a.parquet', ROW)
    for model in 'xy':
        (tmp_path / 'by').mkdir(exist_ok=True)
        (tmp_path / 'by' / f'model_name={model}').symlink_to(tmp_path / 'data')
    with pipeline() as p:
        tables = p | ba.ReadGenerations([tmp_path / 'by' / 'model_name=x', tmp_path / 'by' / 'model_name=y'])
        assert_that(tables | beam.FlatMap(lambda t: t.column('model_name').to_pylist()), equal_to(['x', 'y']))


def test_a_star_or_a_question_mark_is_the_name_of_what_is_there(tmp_path):
    for name in ('why?/a.parquet', 'whys/b.parquet', 'x*/c?.parquet', 'xy/cd.parquet', 'x*/cd.parquet'):
        put(tmp_path / name, ROW)
    assert names(f'{tmp_path}/why?', tmp_path) == ['why?/a.parquet']
    assert names(f'{tmp_path}/why?/*.parquet', tmp_path) == ['why?/a.parquet']
    assert names(f'{tmp_path}/x*/c?.parquet', tmp_path) == ['x*/c?.parquet']
    assert names(f'{tmp_path}/x*/c*', tmp_path) == ['x*/c?.parquet', 'x*/cd.parquet']
    assert names(f'{tmp_path}/x?/cd.parquet', tmp_path) == ['x*/cd.parquet', 'xy/cd.parquet']


def test_a_folder_has_parquet_files_however_their_ending_is_written(tmp_path):
    for name in ('a.PARQUET', 'b.parq', 'c.pq', 'd.Parquet', 'e.parquet.crc', 'f.txt'):
        put(tmp_path / name, ROW)
    assert names(tmp_path, tmp_path) == ['a.PARQUET', 'b.parq', 'c.pq', 'd.Parquet']


def test_brackets_are_the_name_of_what_is_there_and_a_pattern_of_what_is_not(tmp_path):
    for name in (
        'run[1]/a.parquet',
        'run1/b.parquet',
        'run 2/part-3.parquet',
        'run 2/part-4.parquet',
        'x[ab]/c-1.parquet',
    ):
        put(tmp_path / name, ROW)
    assert names(f'{tmp_path}/run[1]/*.parquet', tmp_path) == ['run[1]/a.parquet']
    assert names(f'{tmp_path}/run[1]/a.parquet', tmp_path) == ['run[1]/a.parquet']
    assert names(f'{tmp_path}/run[1]', tmp_path) == ['run[1]/a.parquet']
    assert names(f'{tmp_path}/run[0-9]/*', tmp_path) == ['run1/b.parquet']
    assert names(f'{tmp_path}/run [0-9]/part-[3]*', tmp_path) == ['run 2/part-3.parquet']
    assert names(f'{tmp_path}/x[ab]/c-[0-9].parquet', tmp_path) == ['x[ab]/c-1.parquet']


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        ('nothing-*.parquet', 'No file matches'), ('empty', 'is empty'), ('texts', r'no files of a known kind'),
        ([], 'No input'),
        ('xy://b/c?d[1]', r'^xy://b/c\?d\[1\]: no file system for xy:// is installed\.$'),
        ('cloud://b/*', r"^cloud://b/\*: no file system for cloud:.*: pip install 'apache-beam\[x\]' brings it.$"),
        (pa.table(ROW), 'takes file patterns, not a Table.*beam.Create'), ([1], 'takes file patterns'),
        ('nowhere://bucket/x', 'nowhere'),
    ],
)  # fmt: skip
def test_what_stands_for_no_file_is_told(given, message, tmp_path, monkeypatch):
    monkeypatch.setitem(files._EXTRAS, 'cloud', 'x')
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'texts').mkdir()
    (tmp_path / 'texts' / 'a.txt').touch()
    with pytest.raises(InputError, match=message):
        ba.ReadGenerations(given)


def test_columns_in_the_path_are_columns_if_the_file_has_none_of_that_name(tmp_path):
    put(tmp_path / 'model_name=gpt%2D4' / 'topic=a b' / 'p.parquet', ROW)
    put(tmp_path / 'model_name=__HIVE_DEFAULT_PARTITION__' / 'topic=c' / 'p.parquet', {**ROW, 'topic': ['of the file']})
    with pipeline() as p:
        tables = p | ba.ReadGenerations(tmp_path, ba.Columns(metadata=['topic'], instruction_id='topic'))
        cells = tables | beam.FlatMap(
            lambda t: [(r['instruction_id'], r['model_name'], r['metadata.topic']) for r in t.to_pylist()]
        )
        assert_that(cells, equal_to([('a b', 'gpt-4', ['a b']), ('of the file', None, ['of the file'])]))


def test_columns_in_the_path_that_are_not_utf8_stay_different_texts(tmp_path):
    for value in ('%FF', '%FE', '100%', '%C3%A9'):
        put(tmp_path / f'model_name={value}' / 'a.parquet', ROW)
    with pipeline() as p:
        models = p | ba.ReadGenerations(tmp_path) | beam.FlatMap(lambda t: t.column('model_name').to_pylist())
        assert_that(models, equal_to(['%FF', '%FE', '100%', 'é']))


@pytest.mark.parametrize('own', [{'generations': ['a', 'b']}, {'generations': [['a', 'b']]}, {'generation': ['a']}])
def test_a_column_in_the_path_takes_no_role_from_a_column_of_the_file(tmp_path, own):
    (name, values), length = next(iter(own.items())), len(next(iter(own.values())))
    table = {'instruction': ['q'] * length, name: values}
    wide = isinstance(values[0], list)
    if wide:
        table |= {'rating': [[1, 2]]}
    put(tmp_path / 'generation=1' / 'ratings=5' / 'generations=2' / 'a.parquet', table)
    with pipeline() as p:
        tables = p | ba.ReadGenerations(tmp_path, ba.Columns(metadata=['generation', 'ratings']))
        cells = tables | beam.FlatMap(
            lambda t: [(r['generation'], r['rating'], r['metadata.ratings']) for r in t.to_pylist()]
        )
        ratings = ['1', '2'] if wide else [None, None]
        texts = values[0] if wide else values
        assert_that(cells, equal_to([(g, r, ['5']) for g, r in zip(texts, ratings, strict=False)]))


def test_all_files_are_looked_at_and_what_is_wrong_is_said_once_with_the_files(tmp_path):
    put(tmp_path / 'a.parquet', ROW)
    for name in ('b', 'c', 'd'):
        put(tmp_path / f'{name}.parquet', {'prompt': ['q'], 'answer': ['a']})
    put(tmp_path / 'e.parquet', {'instruction': [1], 'generation': ['a']})
    (tmp_path / 'f.parquet').write_text('no Parquet')
    with pytest.raises(InputError) as e:
        ba.ReadGenerations(tmp_path)
    first, second, third = str(e.value).splitlines()
    assert first == (
        f"{tmp_path}/b.parquet and 2 more: The input has no column 'instruction' for the instruction and 'generation' "
        "for the generation. Its columns are: 'prompt', 'answer'. Name the right ones with Columns(instruction=..., "
        'generation=...) or --instruction_column, --generation_column.'
    )
    assert second.startswith(
        f"{tmp_path}/e.parquet: Column 'instruction' is int64; the instruction must be text: make it"
    )
    assert third.startswith(f'{tmp_path}/f.parquet cannot be read as Parquet: ')
    assert ba.ReadGenerations(tmp_path, on_bad_file='refuse').metadata_types == {
        'instruction': 'terms',
        'generation': 'terms',
    }


def test_a_type_that_no_value_has_is_an_accident(tmp_path):
    accidents = {'rationale': pa.array([None], pa.int64()), 'model_name': pa.array([float('nan')]), 'rating': [[]]}
    put(tmp_path / 'a.parquet', {**ROW, **accidents})
    put(tmp_path / 'b.parquet', {**ROW, 'rationale': ['why'], 'rating': [3]})
    with pipeline() as p:
        tables = p | ba.ReadGenerations(tmp_path)
        cells = tables | beam.FlatMap(lambda t: [(r['rationale'], r['rating']) for r in t.to_pylist()])
        assert_that(cells, equal_to([(None, None), ('why', '3')]))


def test_the_type_of_metadata_is_one_that_holds_the_values_of_all_files(tmp_path):
    nulls = pa.nulls(1, pa.string())
    put(tmp_path / 'a.parquet', {**ROW, 'n': [1], 'f': [1], 't': [1], 'i': [1], 's': nulls})
    put(tmp_path / 'b.parquet', {**ROW, 'n': [2], 'f': [0.5], 't': ['x'], 'i': nulls, 's': [{'a': 1}]})
    read = ba.ReadGenerations(tmp_path)
    assert read.metadata_types == {
        'instruction': 'terms', 'generation': 'terms', 'n': 'integer', 'f': 'float', 't': 'terms', 'i': 'integer',
        's': 'terms',
    }  # fmt: skip


def test_what_differs_between_files_and_what_seems_forgotten_is_logged_once(tmp_path, caplog):
    for i in range(3):
        put(tmp_path / f'long-{i}.parquet', {**ROW, 'k': [1.0], 'score': [1], 'critique': ['x'], 'model_name': ['m']})
    put(tmp_path / 'text.parquet', {**ROW, 'k': ['1'], 'model_name': ['m'], 'other': ['y']})
    put(tmp_path / 'wide.parquet', {'instruction': ['q'], 'generations': [['b', 'c']], 'k': [1]})
    with caplog.at_level(logging.WARNING, 'beam_argilla'):
        read = ba.ReadGenerations(tmp_path, ba.Columns(instruction_id='k'))
    mixed, differing, lacking, forgotten = (r.getMessage().replace(f'{tmp_path}/', '') for r in caplog.records)
    assert mixed == 'Some files are wide (wide.parquet), others long (long-0.parquet): their rows are grouped together.'
    assert differing == (
        "Column 'k' is not the same in all files: float in long-0.parquet and 2 more, text in text.parquet, integer in "
        'wide.parquet. Its values are taken as text.'
    )
    assert lacking == 'There is no column for the model_name in wide.parquet: it is null there.'
    assert forgotten.startswith("3 columns are not used: 'score', 'critique', 'other'. If one is the rating (Columns(")
    with pipeline() as p:
        groups = p | read | ba.GroupGenerations()
        assert_that(
            groups | beam.FlatMap(lambda t: [(r['instruction_id'], r['generation']) for r in t.to_pylist()]),
            equal_to([('1', 'a'), ('1', 'b'), ('1', 'c')]),
        )


def test_where_not_all_files_were_looked_at_one_of_the_others_may_be_long(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(schemas, 'MOST_FOOTERS', 2)
    for name in ('a', 'c'):
        put(tmp_path / f'{name}.parquet', {'instruction': [name], 'generations': [['x', 'y']]})
    put(tmp_path / 'b.parquet', {'instruction': ['a'], 'generation': ['z']})
    with caplog.at_level(logging.WARNING, 'beam_argilla'):
        read = ba.ReadGenerations(tmp_path)
    (warning,) = caplog.messages
    assert warning.startswith('2 of 3 files were looked at')
    with pipeline() as p:
        groups = p | read | ba.GroupGenerations() | beam.FlatMap(lambda t: t.to_pylist())
        texts = groups | beam.Map(lambda r: (r['instruction'], r['generation']))
        assert_that(texts, equal_to([(i, g) for i, g in ('ax', 'ay', 'az', 'cx', 'cy')]))
