"""The whole loop: demo data, a real Argilla, three people who answer, one of them at the page, and training data."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines import argilla_to_parquet, demo, parquet_to_argilla
from tests.answers.people import PASSWORD, crew, record_ids
from tests.browser import signed_in
from tests.samples import unique

__all__ = ['crew']  # a fixture

# What a page, a server or a file could lose: spaces at the ends, line breaks, markup, what is composed of code points.
TEXTS = (
    '  spaces, \ttabs \r\n and breaks\n\n',
    '<script>alert("b")</script> **b** &amp; `c`',
    '\U0001f469\u200d\U0001f467 e\u0301 ß',
    '\u202eright to left',
)


def grouped(rows: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Id of an instruction → its rows, in the order in which a record shows them."""
    ordered = sorted(rows, key=lambda row: (row['instruction_id'], row['model_name']))
    return {id: list(group) for id, group in groupby(ordered, lambda row: row['instruction_id'])}


def test_what_three_people_answer_is_what_a_trainer_reads(argilla_server, api, crew, monkeypatch, tmp_path, capfd):
    name = unique('loop')
    rows = list(demo.good_rows())[: 4 * 8]
    rows += [{**rows[i], 'instruction_id': 'odd', 'instruction': TEXTS[0], 'generation': TEXTS[i]} for i in range(4)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / 'generations.parquet')
    monkeypatch.setenv('ARGILLA_API_URL', argilla_server.api_url)
    monkeypatch.setenv('ARGILLA_API_KEY', argilla_server.api_key)
    columns = ['--num_generations', '4', '--instruction_id_column', 'instruction_id', '--model_names']
    assert parquet_to_argilla.main(['--input', str(tmp_path / 'generations.parquet'), '--dataset', name, *columns]) == 0

    ids = record_ids(api, name)
    answers: dict[str, list[int]] = {}  # as the three give them, none to the same record
    ada, bob, eve = crew
    for person, id, ratings in ((ada, 'odd', [2, 5, 1, 3]), (ada, 'q-001', [1, 1, 4, 2]), (bob, 'q-002', [3, 2, 3, 3])):
        answers[id] = ratings
        person.answers(ids[id], {f'generations-{i}-rating': rating for i, rating in enumerate(ratings)})
    with signed_in(argilla_server, eve.name, PASSWORD) as page:
        page.open(name)
        for ratings in ([1, 2, 3, 4], [5, 4, 4, 5]):
            id = page.shown('id')
            assert page.shown('generations-2') == grouped(rows)[id][2]['generation']
            answers[id] = ratings
            page.rate({f'generations-{i}-rating': rating for i, rating in enumerate(ratings)})
            page.submit()
        assert page.trouble == []

    assert len(answers) == 5
    assert argilla_to_parquet.main(['--dataset', name, '--output', str(tmp_path / 'dpo'), '--pairs', 'all']) == 0
    assert '3 people have answered' in capfd.readouterr().out
    found = datasets.load_dataset('parquet', data_files=f'{tmp_path}/dpo-*.parquet', split='train', cache_dir=tmp_path)
    expected = [
        {
            'id': id,
            'prompt': better['instruction'],
            'chosen': better['generation'],
            'rejected': worse['generation'],
            'chosen_score': float(high),
            'rejected_score': float(low),
            'chosen_model': better['model_name'],
            'rejected_model': worse['model_name'],
            'suggested': False,
        }
        for id, ratings in answers.items()
        for better, high in zip(grouped(rows)[id], ratings, strict=True)
        for worse, low in zip(grouped(rows)[id], ratings, strict=True)
        if high > low
    ]
    in_order = ('id', 'chosen_model', 'rejected_model')
    assert sorted(found.to_list(), key=lambda row: [row[n] for n in in_order]) == sorted(
        expected, key=lambda row: [row[n] for n in in_order]
    )
