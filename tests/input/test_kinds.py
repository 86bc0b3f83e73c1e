"""Files of all kinds: the same rows are the same, and what is no row is told with its place."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
from functools import partial

import apache_beam as beam
import datasets
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from apache_beam.testing.util import assert_that, equal_to

import beam_argilla as ba
from beam_argilla.errors import InputError
from beam_argilla.input import json_lines, kind
from beam_argilla.input.canonical import canonical_tables
from beam_argilla.input.kind import Part, Piece
from beam_argilla.input.kinds import KINDS, kind_of
from beam_argilla.input.matching import matching_files
from beam_argilla.input.read_generations import _Read
from beam_argilla.input.roles import columns_to_read
from beam_argilla.input.tables import Origin
from tests.samples import pipeline

ROWS = [
    {'instruction_id': '007', 'instruction': 'q', 'generation': 'a\nb', 'model_name': 'm', 'rating': '4'},
    {'instruction_id': '007', 'instruction': 'q', 'generation': '', 'model_name': None, 'rating': '4.5'},
    {'instruction_id': '2024-01-01', 'instruction': 'Ä "r"😀', 'generation': 'null', 'model_name': '1', 'rating': None},
]  # fmt: skip
COLUMNS = ba.Columns(instruction_id='instruction_id')


def lines(rows) -> bytes:
    return ''.join(json.dumps(row) + '\n' for row in rows).encode()


def write_csv(path, rows, delimiter=','):
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerow(rows[0])
    writer.writerows(row.values() for row in rows)
    empty, quoted = (delimiter.join(['q', text, '', '4.5']) for text in ('', '""'))  # null, and no characters
    path.write_text(text.getvalue().replace(empty, quoted), newline='')


def write_all(folder) -> list:
    table = pa.Table.from_pylist(ROWS)
    pq.write_table(table, folder / 'a.parquet')
    pyarrow.feather.write_feather(table, folder / 'a.feather', compression='uncompressed')
    with pa.ipc.new_stream(folder / 'b.arrow', table.schema) as stream:
        stream.write_table(table, max_chunksize=2)
    (folder / 'a.jsonl').write_bytes(lines(ROWS))
    (folder / 'a.jsonl.gz').write_bytes(gzip.compress(lines(ROWS[:1])) + gzip.compress(lines(ROWS[1:])))
    (folder / 'a.ndjson.bz2').write_bytes(bz2.compress(lines(ROWS)))
    (folder / 'a.jsonl.zst').write_bytes(pa.compress(lines(ROWS), 'zstd', asbytes=True))
    (folder / 'bom.jsonl').write_bytes(b'\xef\xbb\xbf' + lines(ROWS).replace(b'\n', b'\r\n').rstrip())
    (folder / 'lines.json').write_bytes(lines(ROWS))
    (folder / 'list.json').write_text(json.dumps(ROWS, indent=1))
    (folder / 'list.json.gz').write_bytes(gzip.compress(json.dumps(ROWS, ensure_ascii=False).encode()))
    (folder / 'objects.json').write_text('\n'.join(json.dumps(row, indent=2) for row in ROWS))
    write_csv(folder / 'a.csv', ROWS)
    write_csv(folder / 'a.tsv', ROWS, '\t')
    (folder / 'a.csv.gz').write_bytes(gzip.compress((folder / 'a.csv').read_bytes()))
    (folder / 'A.CSV').write_bytes((folder / 'a.csv').read_bytes())
    return sorted(path.name for path in folder.iterdir())


def content(path, columns=COLUMNS) -> tuple[list, list]:
    """What is made of a file, and what is refused."""
    rows, failed = [], []
    for part in kind_of(str(path)).parts(str(path), False):
        for piece in KINDS[part.kind].read(part, partial(columns_to_read, columns)):
            if isinstance(piece, Piece):
                tables, more = canonical_tables(piece.rows, columns, Origin(str(path), piece.numbers))
                rows += [row for table in tables for row in table.to_pylist()]
                failed += more
            else:
                failed.append(piece)
    return rows, failed


def test_the_same_rows_are_the_same_in_files_of_every_kind(tmp_path):
    names = write_all(tmp_path)
    assert len(names) == 16
    wanted, _ = content(tmp_path / 'a.parquet')
    assert [row['generation'] for row in wanted] == ['a\nb', '', 'null']
    for name in names:
        assert content(tmp_path / name) == (wanted, []), name
        assert ba.ReadGenerations(tmp_path / name, COLUMNS).names['rating'] == 'rating', name


def test_files_of_many_kinds_go_into_one_pipeline(tmp_path):
    names = write_all(tmp_path)
    with pipeline() as p:
        tables = p | ba.ReadGenerations([tmp_path / name for name in names], COLUMNS)
        texts = tables | beam.FlatMap(lambda table: table.column('generation').to_pylist())
        assert_that(texts, equal_to(['a\nb', '', 'null'] * len(names)))


def test_lines_that_are_no_rows_are_refused_one_by_one_with_file_and_number(tmp_path):
    good = json.dumps(ROWS[0])
    (tmp_path / 'f.jsonl').write_text(f'{good}\n{{"instruction": "r", "gen\n\n[1]\n{good}\n{{"instruction": "s"}}\n')
    rows, failed = content(tmp_path / 'f.jsonl')
    assert len(rows) == 2
    assert [(f.error, f.row) for f in failed] == [('BadLine', 1), ('BadLine', 3), ('NullGeneration', 5)]
    assert failed[0].message.startswith(f'Line 2 of {tmp_path}/f.jsonl cannot be read: ')
    assert failed[1].message.endswith('Line 4 of ' + f'{tmp_path}/f.jsonl cannot be read: it is a list, not an object.')
    (tmp_path / 'f.csv').write_text('instruction,generation\nq,a\nq,b,c\nr\nq,d\n')
    rows, failed = content(tmp_path / 'f.csv', ba.Columns())
    assert [row['generation'] for row in rows] == ['a', 'd']
    assert [f.message for f in failed] == [
        f'Row 3 of {tmp_path}/f.csv cannot be read: it has 3 cells, not 2.',
        f'Row 4 of {tmp_path}/f.csv cannot be read: it has 1 cells, not 2.',
    ]


@pytest.mark.parametrize('split', [50, 137, 1000])
def test_a_file_of_lines_is_read_in_parts_and_every_line_knows_its_number(split, tmp_path, monkeypatch):
    monkeypatch.setattr(kind, 'SPLIT_BYTES', split)
    monkeypatch.setattr(json_lines, '_BLOCK_BYTES', 64)
    made = [{'instruction': f'q{i}', 'generation': 'x' * (i * 7 % 200), 'rating': i % 5} for i in range(60)]
    text = lines(made).replace(b'{"instruction": "q31"', b'{instruction: "q31"').replace(b'"q40"', b'7.5')
    (tmp_path / 'f.jsonl').write_bytes(text)
    rows, failed = content(tmp_path / 'f.jsonl', ba.Columns())
    assert sorted(row['instruction'] for row in rows) == sorted(f'q{i}' for i in range(60) if i not in (31, 40))
    assert [(f.error, f.row) for f in failed] == [('BadLine', 31), ('NotText', 40)]
    assert len(list(kind_of('f.jsonl').parts(str(tmp_path / 'f.jsonl'), False))) > 1
    assert len(list(kind_of('f.jsonl').parts(str(tmp_path / 'f.jsonl'), True))) == 1


@pytest.mark.parametrize(
    'later',
    [
        {'instruction': 'q', 'generation': 'b', 'rating': 2**53 + 1},
        {'instruction': 'q', 'generation': 'b', 'rating': 4.5},
        {'instruction': 'q', 'generation': 'b', 'rating': 'good'},
        {'instruction': 'q', 'generation': 'b', 'rationale': 'of which the first rows know nothing'},
        {'instruction': 'q', 'generation': ['b', 'c'], 'ratings': [1, 2]},
        {'instruction': 'q', 'generation': 'b', 'rating': None, 'other': {'deep': [{'x': 1}, 2]}},
        {'instruction': 'q', 'generation': 'b', 'rating': float('nan')},
        {'generation': 'b', 'instruction': '\ud800'},
    ],
)
def test_what_comes_up_later_in_a_file_is_what_it_is_alone(later, tmp_path, monkeypatch):
    """Most lines are read in Arrow as those before them, which must make no difference."""
    monkeypatch.setattr(json_lines, '_BLOCK_BYTES', 300)
    first = [{'instruction': f'q{i}', 'generation': 'a', 'rating': i % 5 + 0.5 * (i % 2)} for i in range(50)]
    (tmp_path / 'f.jsonl').write_bytes(lines([*first, later]))
    (tmp_path / 'alone.jsonl').write_bytes(lines([later]))
    rows, failed = content(tmp_path / 'f.jsonl', ba.Columns())
    alone, alone_failed = content(tmp_path / 'alone.jsonl', ba.Columns())
    assert rows[50:] == alone
    assert [f.error for f in failed] == [f.error for f in alone_failed]
    assert [row['rating'] for row in rows[:3]] == ['0', '1.5', '2']


def test_numbered_columns_that_come_up_later_are_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(json_lines, '_BLOCK_BYTES', 300)
    rows = [{'instruction': f'q{i}', 'answer_1': 'a', 'answer_2': 'b'} for i in range(20)]
    (tmp_path / 'f.jsonl').write_bytes(lines([*rows, {'instruction': 'last', 'answer_1': 'a', 'answer_3': 'c'}]))
    found, _ = content(tmp_path / 'f.jsonl', ba.Columns(generation='answer_{i}'))
    assert [row['generation'] for row in found if row['instruction'] == 'last'] == ['a', 'c']


@pytest.mark.parametrize(
    ('name', 'written', 'told'),
    [
        ('f.jsonl', lines(ROWS).decode().encode('utf-16'), 'cannot be read as JSON Lines: .*UTF-16'),
        ('f.jsonl', b'no json\n', r'cannot be read as JSON Lines: its first line is no row: .*--format'),
        ('f.jsonl.gz', lines(ROWS), 'cannot be read as JSON Lines'),
        ('f.json', b'[1, 2]', "cannot be read as JSON: it holds '1' where there should be an object"),
        ('f.json', b'[{"a": 1}, {"a"', 'cannot be read as JSON: '),
        ('f.arrow', b'ARROW1 or not', 'cannot be read as Arrow IPC'),
        ('f.parquet', b'{}', 'cannot be read as Parquet: .*If it is of another kind, say which'),
    ],
)
def test_a_file_of_another_kind_is_told(name, written, told, tmp_path):
    (tmp_path / name).write_bytes(written)
    with pytest.raises(InputError, match=told):
        ba.ReadGenerations(tmp_path / name)
    with pytest.raises(ValueError, match=r"format='xml': use one of 'parquet', .*'jsonl'"):
        ba.ReadGenerations(tmp_path / name, format='xml')


def test_a_kind_that_is_said_goes_before_the_name(tmp_path):
    (tmp_path / 'generations.txt').write_bytes(lines(ROWS))
    with pytest.raises(InputError, match='cannot be read as Parquet'):
        ba.ReadGenerations(tmp_path / 'generations.txt', COLUMNS)
    assert ba.ReadGenerations(tmp_path / 'generations.txt', COLUMNS, format='jsonl').names['generation'] == 'generation'


def test_what_was_read_of_a_file_that_breaks_off_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(json_lines, '_BLOCK_BYTES', 2_000)
    made = [{'instruction': f'{i} {hash(str(i))}', 'generation': 'a'} for i in range(500)]
    whole = gzip.compress(lines(made), mtime=0)
    (tmp_path / 'f.jsonl.gz').write_bytes(whole[: len(whole) // 2])
    reading = _Read(ba.Columns(), False, 'refuse').process(Part(f'{tmp_path}/f.jsonl.gz', 'jsonl'))
    *tables, last = reading
    assert 50 < sum(table.num_rows for table in tables) < 500
    assert last.value.error == 'BadFile'
    assert 'f.jsonl.gz cannot be read as JSON Lines' in last.value.message


def test_a_folder_stands_for_files_of_one_kind_and_says_what_it_leaves(tmp_path, caplog):
    for name in ('a.jsonl', 'sub/b.ndjson', 'README.md', 'dataset_infos.json', '.hidden.jsonl'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(lines(ROWS))
    assert [f.path for f in matching_files([str(tmp_path)])] == [f'{tmp_path}/a.jsonl', f'{tmp_path}/sub/b.ndjson']
    assert not caplog.records
    (tmp_path / 'c.csv').write_text('a\n')
    assert len(matching_files([str(tmp_path)])) == 2
    assert 'those of jsonl are read, those of csv are not' in caplog.text
    assert [f.path for f in matching_files([str(tmp_path)], 'csv')] == [f'{tmp_path}/c.csv']


def test_folders_that_datasets_saved_are_read_by_configuration_and_split(tmp_path):
    def saved(answer: str) -> datasets.Dataset:
        features = datasets.Features(
            {
                'instruction': datasets.Value('string'),
                'generations': datasets.Sequence(datasets.Value('string')),
                'model_name': datasets.ClassLabel(names=['gpt', 'llama']),
            }
        )
        rows = {'instruction': ['q'], 'generations': [[answer, 'other']], 'model_name': [1]}
        return datasets.Dataset.from_dict(rows, features)

    saved('alone').save_to_disk(tmp_path / 'one')
    (tmp_path / 'one' / 'cache-1234.arrow').write_bytes(b'of a filter')
    splits = datasets.DatasetDict({'train': saved('train'), 'test': saved('test')})
    splits.save_to_disk(tmp_path / 'set' / 'leaf_1')
    datasets.DatasetDict({'train': saved('leaf 2')}).save_to_disk(tmp_path / 'set' / 'leaf_2')
    for folder, config, split, wanted in (
        ('one', None, None, 'alone'),
        ('set/leaf_1', None, 'test', 'test'),
        ('set', 'leaf_1', 'train', 'train'),
        ('set', 'leaf_2', None, 'leaf 2'),
    ):
        (file,) = matching_files([str(tmp_path / folder)], None, config, split)
        assert wanted in str(content(file.path, ba.Columns())[0])
    for folder, config, split, told in (
        ('set', None, None, r"several configurations \('leaf_1', 'leaf_2'\)"),
        ('set', 'leaf_1', None, r"several splits \('train', 'test'\): say which \(split=..., --split\)"),
        ('set', 'leaf_2', 'test', "no split 'test'; it has 'train'"),
        ('set', 'leaf_9', None, "no configuration 'leaf_9'"),
    ):
        with pytest.raises(InputError, match=told):
            ba.ReadGenerations(tmp_path / folder, config=config, split=split)
    (tmp_path / 'plain').mkdir()
    with pytest.raises(InputError, match=r'no folder that datasets saved, so split=... \(--split\) means nothing'):
        ba.ReadGenerations(tmp_path / 'plain', split='train')
    with pipeline() as p:  # numbers of classes are their names
        rows = p | ba.ReadGenerations(tmp_path / 'one', ba.Columns(model_name='model_name'))
        names = rows | beam.FlatMap(lambda table: table.column('model_name').to_pylist())
        assert_that(names, equal_to(['llama', 'llama']))
