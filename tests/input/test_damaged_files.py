"""What is wrong with files of text, at any place in them: told by its line, and nothing else is lost by it."""

from __future__ import annotations

import gzip
import json
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import beam_argilla as ba
from beam_argilla.errors import InputError
from beam_argilla.failures import FailedRecord
from beam_argilla.input import csv_files, json_files, json_lines, kind
from beam_argilla.input.canonical import canonical_tables
from beam_argilla.input.kinds import kind_of
from beam_argilla.input.rows import from_rows
from beam_argilla.input.sources import read
from beam_argilla.input.tables import Origin
from tests.object_store import OBJECTS

WIDE = ba.Columns(metadata=['kept'])


def everything(names: Any) -> list[str]:
    return list(names)


def outcome(path: str | Path) -> tuple[list[tuple[int, Any]], list[str]]:
    """(number, row) of each row of a file, and what is said of what is none, and at last of the file."""
    rows: list[tuple[int, Any]] = []
    said: list[str] = []
    try:
        for part in kind_of(str(path)).parts(str(path), False):
            for piece in read(part, everything):
                if isinstance(piece, FailedRecord):
                    said.append(piece.message.replace(str(path), 'FILE'))
                    assert piece.source == str(path)
                else:
                    found = piece.rows.to_pylist() if isinstance(piece.rows, pa.Table) else piece.rows
                    rows += [(piece.numbers[i], row) for i, row in enumerate(found)]
    except InputError as e:
        said.append(str(e).replace(str(path), 'FILE'))
    return rows, said


# -- CSV


@pytest.mark.parametrize('block', [64, 4 << 20])
def test_rows_of_csv_are_told_by_the_line_they_begin_in(block, tmp_path, monkeypatch):
    monkeypatch.setattr(csv_files, '_BLOCK_BYTES', block)
    path = tmp_path / 'f.csv'
    path.write_bytes(b'a,b\r\n1,"two\nlines"\r\n\r\n2\r\n3,"x""y"\r\n4,5,6\r\n7,\r\n8,""\r\n')
    rows, said = outcome(path)
    assert [(n, *row.values()) for n, row in rows] == [
        (0, b'1', b'two\nlines'), (2, b'3', b'x"y'), (4, b'7', None), (5, b'8', b''),
    ]  # fmt: skip
    assert said == [
        'Line 5 of FILE cannot be read: it has 1 cells, the header 2.',
        'Line 7 of FILE cannot be read: it has 3 cells, the header 2.',
    ]


def test_a_row_of_csv_may_be_longer_than_a_block(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_files, '_BLOCK_BYTES', 64)
    path = tmp_path / 'f.csv'
    path.write_text(
        'a,b\n' + ''.join(f'{i},x\n' if i != 30 else 'bad\n' for i in range(50)) + f'50,{"y" * 900}\n51,z\n'
    )
    rows, said = outcome(path)
    assert [n for n, _ in rows] == [n for n in range(52) if n != 30]
    assert said == ['Line 32 of FILE cannot be read: it has 1 cells, the header 2.']


@pytest.mark.parametrize('end', ['1,"open\n2,3\n4,5\n', '1,"open\n2,"", or so\n', '1,"op'])
def test_a_quote_that_is_never_closed_swallows_no_rows_silently(end, tmp_path):
    (tmp_path / 'f.csv').write_text(f'a,b\n0,"whole\n"\n{end}')
    rows, said = outcome(tmp_path / 'f.csv')
    assert [n for n, _ in rows] == [0]
    assert len(said) == 1
    assert said[0].startswith('Line 4 of FILE cannot be read: it has a quote that is never closed')


@pytest.mark.parametrize('text', ['a;b\n1;2,5\n', 'a\tb\n1\t2,5\n', 'a|b\n1|2,5\n', 'a,b\n1,"2,5"\n', 'a,b\n1,"2,5"'])
def test_what_is_between_the_cells_is_seen_in_the_header(text, tmp_path):
    (tmp_path / 'f.csv').write_text(text)
    assert outcome(tmp_path / 'f.csv') == ([(0, {'a': b'1', 'b': b'2,5'})], [])


# -- JSON


def test_no_line_ends_the_process_or_another_line(tmp_path, monkeypatch):
    """pyarrow.json crashes on a block that begins with null."""
    monkeypatch.setattr(json_lines, '_BLOCK_BYTES', 40)
    good = '{"a": 1}'
    bad = ['null', f'{good} null', f'{good}{good}', '[1]', '{"a": "\t"}', '{"a": 1', '{"a":\n1}', '\xff', '[' * 5000]
    (tmp_path / 'f.jsonl').write_bytes('\n'.join(x for line in bad for x in (good, '', line)).encode('latin-1'))
    rows, said = outcome(tmp_path / 'f.jsonl')
    assert [row for _, row in rows] == [{'a': 1}] * len(bad)
    assert len(said) == len(bad) + 1
    assert said[0] == 'Line 3 of FILE cannot be read: it is null, not an object.'
    assert 'it is not UTF-8' in said[-2]


def test_values_of_json_are_exact_wherever_they_stand(tmp_path):
    numbers = ['18446744073709551617', '-9223372036854775809', '9007199254740993', '1', '1.5']
    lines = [
        f'{{"instruction": "q", "generation": "a", "kept": {text}}}\n'
        for text in [*numbers, 'NaN', '{"x": 1, "y": null}', '{}']
    ]
    (tmp_path / 'f.jsonl').write_text(''.join(lines))
    rows, _ = outcome(tmp_path / 'f.jsonl')
    (table,), failed = canonical_tables([row for _, row in rows], WIDE)
    assert failed == []
    assert [None if v is None else v[0] for v in table.column('metadata.kept').to_pylist()] == [
        *numbers, None, '{"x":1,"y":null}', '{}',
    ]  # fmt: skip


CELLS = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.floats(),
        st.text(max_size=3),
        st.just('2024-01-01T00:00:00'),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from('xy'), inner, max_size=2),
    max_leaves=4,
)
NAMES = ('instruction', 'generation', 'generations', 'rating', 'ratings', 'model_name', 'kept')
ROWS = st.lists(
    st.fixed_dictionaries({}, optional={name: CELLS | st.just('q') | st.just(['a', 'b']) for name in NAMES}), max_size=4
)


@settings(max_examples=300, deadline=None)
@given(ROWS)
def test_what_a_row_means_hangs_on_no_row_beside_it(rows):
    """Most pieces are made into a table at once, which must make no difference."""
    rows = [json.loads(json.dumps(row)) for row in rows]
    origin = Origin('f', range(100))

    def judged(tables: list[pa.Table], failed: list[FailedRecord]) -> tuple[list[str], list[tuple]]:
        made = sorted(str(row) for table in tables for row in table.to_pylist())
        return made, sorted((f.error, f.message, f.data, f.row) for f in failed)

    assert judged(*canonical_tables(rows, WIDE, origin)) == judged(*from_rows(rows, WIDE, origin))


@pytest.mark.parametrize('characters', [7, 1 << 20])
def test_json_is_read_value_by_value(characters, tmp_path, monkeypatch):
    monkeypatch.setattr(json_files, '_CHARACTERS', characters)
    path = tmp_path / 'f.json'
    value = {'a': 'ä"\\\n', 'b': [1.5e3, -1, {'c': None}], 'd': ' ' * 40}
    path.write_text(json.dumps([value, 12345, value], indent=30) + json.dumps([value]) + '\n' + json.dumps(value))
    rows, said = outcome(path)
    assert rows == [(n, value) for n in (0, 2, 3, 4)]
    assert said == ['Row 1 of FILE cannot be read: it is a number, not an object.']


def test_json_that_breaks_off_or_is_wrong_in_the_middle_keeps_what_came_before(tmp_path, monkeypatch):
    monkeypatch.setattr(json_files, '_CHARACTERS', 50)
    whole = json.dumps([{'a': i} for i in range(20)])
    for text in (whole[:-30], whole.replace('"a": 15', '"a" 15'), f'{whole[:120]}\n{whole[:30]}'):
        (tmp_path / 'f.json').write_text(text)
        rows, said = outcome(tmp_path / 'f.json')
        assert len(rows) > 10
        assert len(said) == 1
        assert said[0].startswith('FILE cannot be read as JSON: ')


# -- all


@pytest.mark.parametrize('name', ['f.jsonl', 'f.json', 'f.csv'])
def test_a_file_without_a_row_is_no_mistake(name, tmp_path):
    (tmp_path / name).touch()
    (tmp_path / f'other-{name}').write_text('' if name != 'f.csv' else 'instruction,generation\nq,a')
    (tmp_path / 'full.jsonl').write_text('{"instruction": "q", "generation": "a", "n": 1}\n')
    assert outcome(tmp_path / name) == ([], [])
    assert ba.ReadGenerations([f'{tmp_path}/*f*{name[1:]}', tmp_path / 'full.jsonl']).metadata_types['n'] == 'integer'
    assert ba.ReadGenerations(tmp_path / name).metadata_types == {}


@pytest.mark.parametrize(
    ('content', 'why'),
    [
        (b'PAR1....', 'it looks like Parquet'),
        (gzip.compress(b'{}', mtime=0), 'it is compressed by gzip'),
        ('{"a": 1}'.encode('utf-16'), 'it is UTF-16'),
        ('{"a": 1}'.encode('utf-16-le'), 'zero bytes'),
    ],
)  # fmt: skip
@pytest.mark.parametrize('name', ['f.jsonl', 'f.json', 'f.csv'])
def test_what_is_no_text_is_told_by_what_it_is(name, content, why, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=rf'{name} cannot be read as .*{why}'):
        ba.ReadGenerations(tmp_path / name)


def test_files_of_all_kinds_are_read_in_object_stores(tmp_path):
    row = {'instruction': 'q', 'generation': 'a'}
    pyarrow.feather.write_feather(pa.Table.from_pylist([row] * 3), tmp_path / 'f', chunksize=1)
    contents = {
        'f.arrow': (tmp_path / 'f').read_bytes(),
        'f.jsonl.gz': gzip.compress(json.dumps(row).encode()),
        'f.jsonl': json.dumps(row).encode(),
        'f.json': json.dumps([row]).encode(),
        'f.csv': b'instruction,generation\nq,a\n',
    }
    for name, content in contents.items():
        OBJECTS[f'objects://kinds/{name}'] = content
        rows, said = outcome(f'objects://kinds/{name}')
        assert (len(rows), said) == (3 if name == 'f.arrow' else 1, [])


def test_parts_of_an_arrow_file_know_their_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(kind, 'SPLIT_BYTES', 1)
    pyarrow.feather.write_feather(pa.table({'a': range(10), 'b': range(10)}), tmp_path / 'f.arrow', chunksize=3)
    assert outcome(tmp_path / 'f.arrow') == ([(i, {'a': i, 'b': i}) for i in range(10)], [])
    assert len(list(kind_of('f.arrow').parts(f'{tmp_path}/f.arrow', False))) == 4
    piece = next(read(next(kind_of('f.arrow').parts(f'{tmp_path}/f.arrow', True)), partial(filter, {'b'}.__contains__)))
    assert piece.rows.column_names == ['b']
    (tmp_path / 'g.arrow').write_bytes((tmp_path / 'f.arrow').read_bytes()[:300])
    assert outcome(tmp_path / 'g.arrow')[1][0].startswith('FILE cannot be read as Arrow IPC: ')


def test_a_position_may_be_text_as_in_csv(tmp_path):
    (tmp_path / 'f.csv').write_text('instruction,generation,turn\nq,b,2\nq,a,10\nq,c,first\n')
    columns = ba.Columns(position='turn')
    assert ba.ReadGenerations(tmp_path / 'f.csv', columns).names['position'] == 'turn'
    rows, _ = outcome(tmp_path / 'f.csv')
    tables, failed = canonical_tables([{k: v.decode() for k, v in row.items()} for _, row in rows], columns)
    assert [row['position'] for table in tables for row in table.to_pylist()] == [2, 10]
    assert [f.error for f in failed] == ['NotAPosition']
