"""The whole loop, as people go it: the demo, three who answer (one in a real browser), and training data of it."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterator
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import demo, parquet_to_argilla
from tests.answers.people import Person, dataset_id
from tests.browser import Annotator, browser
from tests.demonstration import Demonstration, demonstration

__all__ = ['browser']  # a fixture
Row = dict[str, Any]
# Instruction and generations that would not be the same after a trim, a normalisation, an escape, a rendering, …
TRICKY = (
    ('  Which ends?\r\nThese. \t\r\n', ' \n', '\ttab', '\r\n', 'no end'),
    ('\ufeff\u00a0Which letters?\u2028', 'é', 'e\u0301', '👩\u200d👩\u200d👧\u200d👦 🇹🇷 ❤️', '\u202eright to left'),
    ('Which <b>marks</b> &amp; signs?', '<script>document.title = 1</script>', '&lt;b&gt;', '<p>a</p> & b', '\\n \x01'),
    ('# Which *Markdown*?', '* a\n  * b\n', '```py\nprint(1)\n```  ', '[a](b) ![c](d)', '$x$ {{ x }} | a | b |'),
)
MODELS = ('org/Model-7B (β, 4-bit)', ' spaces ', 'Модель🤖', 'a"b\'c,d;e')
PEOPLE = ('ada', 'bob', 'eve')
BY_TWO = 6  # instructions that only the first two answer; nobody answers the others
# Of the four generations of an instruction, by the three people. However many of them have answered, all means differ.
RATINGS = ((5, 4, 5), (3, 3, 4), (2, 2, 1), (1, 2, 1))
OPTIONS = ['--num_generations', '4', '--instruction_id_column', 'instruction_id', '--model_names']


def tricky_rows() -> Iterator[Row]:
    for number, (instruction, *generations) in enumerate(TRICKY):
        for model, generation in zip(MODELS, generations, strict=True):
            row = {'instruction_id': f'tricky-{number}', 'instruction': instruction, 'generation': generation}
            yield {**row, 'model_name': model, 'rating': '3', 'rationale': 'It could be.', 'category': 'tricky'}


ROWS = {
    name: list(rows)
    for name, rows in itertools.groupby([*demo.good_rows(), *tricky_rows()], lambda row: row['instruction_id'])
}
OPINIONS = {
    (name, row['generation']): RATINGS[(number + place) % 4]
    for number, (name, rows) in enumerate(ROWS.items())
    for place, row in enumerate(rows)
}


def opinion(person: int, fields: dict[str, str]) -> dict[str, int]:
    """What somebody thinks of the generations of a record: question → rating."""
    texts = {name: text for name, text in fields.items() if name.startswith('generations-')}
    return {f'{name}-rating': OPINIONS[fields['id'], text][person] for name, text in texts.items()}


def pair(name: str, people: tuple[int, ...]) -> Row:
    """The row that trainers shall get of an instruction that these people have answered."""
    opinions = {row['generation']: OPINIONS[name, row['generation']] for row in ROWS[name]}
    scores = {text: statistics.mean(ratings[p] for p in people) for text, ratings in opinions.items()}
    worst, *_, best = sorted(ROWS[name], key=lambda row: scores[row['generation']])
    return {
        'id': name,
        'prompt': best['instruction'],
        'chosen': best['generation'],
        'rejected': worst['generation'],
        'chosen_score': scores[best['generation']],
        'rejected_score': scores[worst['generation']],
        'chosen_model': best['model_name'],
        'rejected_model': worst['model_name'],
        'suggested': False,
    }


@pytest.fixture(scope='module')
def running_demo(tmp_path_factory) -> Iterator[Demonstration]:
    """The demo, with the tricky instructions besides."""
    folder = tmp_path_factory.mktemp('demo')
    pq.write_table(pa.Table.from_pylist(list(tricky_rows())), folder / 'tricky.parquet')
    with demonstration(folder) as running, pytest.MonkeyPatch.context() as patch:
        patch.setenv('ARGILLA_API_KEY', running.api_key)
        argv = ['--input', f'{folder}/tricky.parquet', '--dataset', 'demo', '--api_url', running.url, *OPTIONS]
        assert parquet_to_argilla.main([*argv, '--metadata_column', 'category', '--agent', 'demo-judge']) == 0
        yield running


@pytest.fixture
def people(running_demo) -> Iterator[list[Person]]:
    with running_demo.owner() as owner:
        found = [Person(owner, name) for name in PEOPLE]
        yield found
        for person in found:
            person.close()


@pytest.fixture
def records(running_demo) -> dict[str, Row]:
    """Instruction id → the record, as the server has it."""
    with running_demo.owner() as owner:
        path = f'/datasets/{dataset_id(owner, "demo")}/records'
        found = owner.get(path, params={'limit': 1000}).raise_for_status().json()['items']
    return {record['fields']['id']: record for record in found if record['fields']['id'] in ROWS}


def test_what_people_answer_is_what_trainers_read(browser, running_demo, people, records, tmp_path):
    assert records.keys() == ROWS.keys()
    eve = Annotator(browser, running_demo.url, people[2].name, people[2].password)
    eve.open('demo')
    by_three = []
    for words, count in (('miles', 2), ('tricky', len(TRICKY))):
        eve.search(words)
        for _ in range(count):
            fields = records[eve.shown('id')]['fields']
            for name, text in fields.items():
                if not {'<', '&'} & set(text):  # which the page renders
                    assert eve.shown(name) == text.replace('\r\n', '\n')
            eve.rate(opinion(2, fields))
            eve.submit()
            by_three.append(fields['id'])
    assert eve.trouble == []
    by_two = [name for name in ROWS if name not in by_three][:BY_TWO]
    for name in by_three + by_two:
        for number, person in enumerate(people[:2]):
            person.answers(records[name]['id'], opinion(number, records[name]['fields']))

    said = running_demo.run(running_demo.export)
    assert f'{len(by_three + by_two)} rows of pairs\n' in said
    files = str(running_demo.folder / 'dpo-*.parquet')
    rows = datasets.load_dataset('parquet', data_files=files, split='train', cache_dir=str(tmp_path))
    expected = [pair(name, (0, 1, 2)) for name in by_three] + [pair(name, (0, 1)) for name in by_two]
    assert sorted(rows, key=lambda row: row['id']) == sorted(expected, key=lambda row: row['id'])
