"""The whole loop: the demo's sample, three people who answer, one of them in a real browser, and training data."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterator
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import argilla_to_parquet, demo, parquet_to_argilla
from tests.answers.people import crew, dataset_id
from tests.browser import Annotator, browser
from tests.samples import unique

__all__ = ['browser', 'crew']  # fixtures
Row = dict[str, Any]
# Instruction and generations that would not be the same after a trim, a normalisation, an escape, a rendering, …
TRICKY = (
    ('  Which ends?\r\nThese. \t\r\n', ' \n', '\ttab', '\r\n', 'no end'),
    ('\ufeff\u00a0Which letters?\u2028', 'é', 'e\u0301', '👩\u200d👩\u200d👧\u200d👦 🇹🇷 ❤️', '\u202eright to left'),
    ('Which <b>marks</b> &amp; signs?', '<script>document.title = 1</script>', '&lt;b&gt;', '<p>a</p> & b', '\\n \x01'),
    ('# Which *Markdown*?', '* a\n  * b\n', '```py\nprint(1)\n```  ', '[a](b) ![c](d)', '$x$ {{ x }} | a | b |'),
)
MODELS = ('org/Model-7B (β, 4-bit)', ' spaces ', 'Модель🤖', 'a"b\'c,d;e')
BY_TWO = 6  # instructions that only the first two answer; nobody answers the others
# Of the four generations of an instruction, by the three people. However many of them have answered, all means differ.
RATINGS = ((5, 4, 5), (3, 3, 4), (2, 2, 1), (1, 2, 1))


def tricky_rows() -> Iterator[Row]:
    for number, (instruction, *generations) in enumerate(TRICKY):
        for model, generation in zip(MODELS, generations, strict=True):
            row = {'instruction_id': f'tricky-{number}', 'instruction': instruction, 'generation': generation}
            yield {**row, 'model_name': model, 'rating': '3', 'rationale': 'It could be.', 'category': 'tricky'}


ROWS = {
    id: list(rows)
    for id, rows in itertools.groupby([*demo.good_rows(), *tricky_rows()], lambda row: row['instruction_id'])
}
OPINIONS = {
    (id, row['generation']): RATINGS[(number + place) % 4]
    for number, (id, rows) in enumerate(ROWS.items())
    for place, row in enumerate(rows)
}


def opinion(person: int, fields: dict[str, str]) -> dict[str, int]:
    """What somebody thinks of the generations of a record: question → rating."""
    texts = {name: text for name, text in fields.items() if name.startswith('generations-')}
    return {f'{name}-rating': OPINIONS[fields['id'], text][person] for name, text in texts.items()}


def pair(id: str, people: tuple[int, ...]) -> Row:
    """The row that trainers shall get of an instruction that these people have answered."""
    opinions = {row['generation']: OPINIONS[id, row['generation']] for row in ROWS[id]}
    scores = {text: statistics.mean(ratings[p] for p in people) for text, ratings in opinions.items()}
    worst, *_, best = sorted(ROWS[id], key=lambda row: scores[row['generation']])
    return {
        'id': id,
        'prompt': best['instruction'],
        'chosen': best['generation'],
        'rejected': worst['generation'],
        'chosen_score': scores[best['generation']],
        'rejected_score': scores[worst['generation']],
        'chosen_model': best['model_name'],
        'rejected_model': worst['model_name'],
        'suggested': False,
    }


@pytest.fixture
def name(argilla_server, monkeypatch, tmp_path) -> str:
    """A dataset of the demo's sample and the tricky instructions."""
    monkeypatch.setenv('ARGILLA_API_URL', argilla_server.api_url)
    monkeypatch.setenv('ARGILLA_API_KEY', argilla_server.api_key)
    name, sample = unique('loop'), demo.write_sample(tmp_path)
    pq.write_table(pa.Table.from_pylist(list(tricky_rows())), tmp_path / 'tricky.parquet')
    options = ['--dataset', name, '--num_generations', '4', '--model_names', '--failed', str(tmp_path / 'failed')]
    options += ['--instruction_id_column', 'instruction_id', '--metadata_column', 'category']
    assert parquet_to_argilla.main(['--input', sample, '--input', str(tmp_path / 'tricky.parquet'), *options]) == 0
    return name


def test_what_people_answer_is_what_trainers_read(browser, argilla_server, api, crew, name, tmp_path):
    page = api.get(f'/datasets/{dataset_id(api, name)}/records', params={'limit': 1000}).raise_for_status().json()
    records = {record['fields']['id']: record for record in page['items'] if record['fields']['id'] in ROWS}
    assert records.keys() == ROWS.keys()
    ada, bob, eve = crew
    at_the_page = Annotator(browser, argilla_server.api_url, eve.name, eve.password)
    at_the_page.open(name)
    by_three = []
    for words, count in (('miles', 2), ('tricky', len(TRICKY))):
        at_the_page.search(words)
        for _ in range(count):
            fields = records[at_the_page.shown('id')]['fields']
            for field, text in fields.items():
                if not {'<', '&'} & set(text):  # which the page renders
                    assert at_the_page.shown(field) == text.replace('\r\n', '\n')
            at_the_page.rate(opinion(2, fields))
            at_the_page.submit()
            by_three.append(fields['id'])
    assert at_the_page.trouble == []
    by_two = [id for id in ROWS if id not in by_three][:BY_TWO]
    for id in by_three + by_two:
        for number, person in enumerate((ada, bob)):
            person.answers(records[id]['id'], opinion(number, records[id]['fields']))

    assert argilla_to_parquet.main(['--dataset', name, '--output', str(tmp_path / 'dpo')]) == 0
    files = str(tmp_path / 'dpo-*.parquet')
    rows = datasets.load_dataset('parquet', data_files=files, split='train', cache_dir=str(tmp_path / 'cache'))
    expected = [pair(id, (0, 1, 2)) for id in by_three] + [pair(id, (0, 1)) for id in by_two]
    assert sorted(rows, key=lambda row: row['id']) == sorted(expected, key=lambda row: row['id'])
