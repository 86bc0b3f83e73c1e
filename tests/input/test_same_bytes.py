"""The same rows, however they are written down, become the same records byte for byte."""

from __future__ import annotations

import json
import random
from collections import defaultdict

import apache_beam as beam
import datasets
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq

import beam_argilla as ba
from tests.samples import pipeline

TASK = ba.Preference(2)
PLACED = ba.Columns(position='position')
TEXTS = (
    '',
    ' ',
    'a',
    'null',
    '1',
    '1.0',
    '007',
    '[]',
    '{"a": 1}',
    'ä\n"q", 😀;\t',
    '\u2028',
    'NaN',
    'true',
    '=1+1',
    "'",
)
RATINGS = (None, 1, 5, 2.5, 4.0)
SENT: dict[str, list[str]] = defaultdict(list)


def keep(checked: ba.CheckedRecord, form: str) -> None:
    SENT[form].append(checked.item)


def write_csv(path, rows):
    def cell(value):  # none is null, and "" is no characters
        return '' if value is None else '"' + str(value).replace('"', '""') + '"'

    lines = [','.join(rows[0]), *(','.join(map(cell, row.values())) for row in rows)]
    path.write_text('\n'.join(lines) + '\n', encoding='utf-8', newline='')


def test_in_ten_forms(tmp_path):
    """Parquet long and wide, side by side, structs, JSON Lines, CSV, Arrow, a saved dataset, dicts and Rows."""
    made = random.Random(1)
    pairs = [(f'{i} {text}', made.sample(TEXTS, 2), made.sample(RATINGS, 2)) for i, text in enumerate(TEXTS)]
    items = [
        (q, a, r, i) for q, answers, ratings in pairs for i, (a, r) in enumerate(zip(answers, ratings, strict=True))
    ]
    long = [{'instruction': q, 'generation': a, 'rating': r, 'position': i} for q, a, r, i in items]
    wide = [{'instruction': q, 'generations': a, 'ratings': r} for q, a, r in pairs]
    beside = [{'q': q, 'a': a[0], 'b': a[1], 'ra': r[0], 'rb': r[1]} for q, a, r in pairs]
    nested = [{'instruction': q, 'c': [{'text': a[i], 'by': {'n': r[i]}} for i in (0, 1)]} for q, a, r in pairs]
    shuffled = made.sample(long, len(long))
    table = pa.Table.from_pylist(shuffled)
    pq.write_table(table, tmp_path / 'long.parquet', row_group_size=7)
    pq.write_table(pa.Table.from_pylist(wide), tmp_path / 'wide.parquet')
    pq.write_table(pa.Table.from_pylist(beside), tmp_path / 'beside.parquet')
    pq.write_table(pa.Table.from_pylist(nested), tmp_path / 'nested.parquet')
    pyarrow.feather.write_feather(table, tmp_path / 'long.arrow')
    (tmp_path / 'wide.jsonl').write_text('\n'.join(map(json.dumps, wide)))
    write_csv(tmp_path / 'long.csv', shuffled)
    datasets.Dataset.from_list(wide).save_to_disk(tmp_path / 'saved')
    of_files = {
        'long.parquet': PLACED,
        'wide.parquet': None,
        'beside.parquet': ba.Columns('q', ['a', 'b'], rating=['ra', 'rb']),
        'nested.parquet': ba.Columns(generation='c[].text', rating='c[].by.n'),
        'long.arrow': PLACED,
        'wide.jsonl': None,
        'long.csv': PLACED,
        'saved': None,
    }
    SENT.clear()
    with pipeline() as p:
        forms = {name: p | name >> ba.ReadGenerations(tmp_path / name, columns) for name, columns in of_files.items()}
        as_rows = [
            beam.Row(**{**row, 'rating': None if row['rating'] is None else str(row['rating'])}) for row in shuffled
        ]
        for name, rows in (('dicts', shuffled), ('rows', as_rows)):
            forms[name] = p | f'Create {name}' >> beam.Create(rows) | f'Format {name}' >> ba.FormatGenerations(PLACED)
        for name, tables in forms.items():
            records = tables | f'Group {name}' >> ba.GroupGenerations() | f'Build {name}' >> ba.BuildRecords(TASK)
            checked = records | f'Check {name}' >> ba.CheckRecords(TASK.settings())
            _ = checked | f'Keep {name}' >> beam.Map(keep, name)
    assert len(SENT) == 10
    assert len(SENT['rows']) == len(TEXTS)
    assert {name: sorted(items) == sorted(SENT['rows']) for name, items in SENT.items()} == dict.fromkeys(SENT, True)
