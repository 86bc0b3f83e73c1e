"""The examples do what they say, against a real Argilla server."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.runners.interactive.interactive_runner import InteractiveRunner

import beam_argilla as ba
from examples import after_inference, from_bigquery, from_dataframe, streaming
from tests.answers.people import Person, record_ids
from tests.samples import unique
from tests.writing.test_write import stored

EXAMPLES = Path(__file__).parents[1] / 'examples'
RUNNER = '--runner=FnApiRunner'  # which downloads nothing


@pytest.fixture(autouse=True)
def environment(argilla_server, monkeypatch):
    monkeypatch.setenv('ARGILLA_API_URL', argilla_server.api_url)
    monkeypatch.setenv('ARGILLA_API_KEY', argilla_server.api_key)


def by_instruction(api, name: str) -> dict[str, dict[str, Any]]:
    """The records of a dataset in which each instruction has one."""
    records = stored(api, name).values()
    found = {record['fields']['instruction']: record for record in records}
    assert len(found) == len(records)
    return found


def generations(record: dict[str, Any]) -> list[str]:
    return [text for name, text in sorted(record['fields'].items()) if name.startswith('generations-')]


def test_after_inference_the_answers_of_all_models_stand_side_by_side(api):
    after_inference.main([RUNNER])
    found = by_instruction(api, 'after-inference')
    assert sorted(found) == sorted(after_inference.PROMPTS)
    for prompt, record in found.items():
        models = [record['metadata'][f'generations-{i}-model'] for i in range(2)]
        assert sorted(models) == ['cockatoo', 'macaw']
        assert generations(record) == [f'{model} repeats: {prompt}' for model in models]


def test_rows_of_bigquery_go_in_as_they_are(api):
    from_bigquery.main([RUNNER])
    found = stored(api, 'from-bigquery')
    assert {name: generations(record) for name, record in found.items()} == {'17': ['Blue.', 'No.'], '18': ['Hello!']}
    assert found['17']['metadata'] == {'cost': 0.25, 'asked': '2026-01-31T12:00:00Z'}
    assert [(s['value'], s['agent']) for s in found['17']['suggestions']] == [(4, 'judge'), (1, 'judge')]
    assert found['18']['metadata'] == {'asked': '2026-02-01T12:00:00Z'}


def test_what_is_left_of_a_data_frame_is_written(api):
    from_dataframe.main([RUNNER])
    found = stored(api, 'from-dataframe').values()
    assert sorted((record['fields']['generation'], record['metadata']['seconds']) for record in found) == [
        ('Blue.', 0.5),
        ('Green.', 1.25),
    ]


def test_a_late_answer_stands_beside_the_others_and_what_is_none_is_told(api, capsys):
    streaming.main(['--runner=BundleBasedDirectRunner'])  # the one that can be told which time it is
    found = by_instruction(api, 'streaming')
    assert {instruction: generations(record) for instruction, record in found.items()} == {
        'Name a colour.': ['Blue.', 'Green.', 'Red, though late.'],
        'Say hello.': ['Hello!'],
    }
    assert 'Refused: ' in (said := capsys.readouterr().out)
    assert 'NullGeneration' in said


def test_the_notebook_goes_from_generations_to_people_and_back(api):
    notebook = json.loads((EXAMPLES / 'in_a_notebook.ipynb').read_text(encoding='utf-8'))
    *cells, last = (''.join(cell['source']) for cell in notebook['cells'] if cell['cell_type'] == 'code')
    names: dict[str, Any] = {}
    shown = [value for cell in cells if (value := result_of(cell, names)) is not None]
    assert list(shown[0].outcome) == ['created', 'created']
    assert [warning for warnings in shown[0].warnings for warning in warnings] == [
        "rating '9' of generations-0 is not one of 1, 2, 3, 4, 5: not suggested"
    ]
    (address,) = shown[1:]
    assert '/dataset/' in address

    (colour,) = (r for r in stored(api, 'from-a-notebook').values() if r['fields']['instruction'] == 'Name a colour.')
    person = Person(api, unique('reader'))
    record = record_ids(api, 'from-a-notebook')[colour['external_id']]
    person.answers(record, {'generations-0-rating': 5, 'generations-1-rating': 1})
    person.close()
    pairs = result_of(last, names)
    assert list(zip(pairs.chosen, pairs.rejected, strict=True)) == [('Blue.', 'Seven.')]


def test_beam_sees_what_a_write_gives_out():
    """An `InteractiveRunner` leaves out what it sees nobody use, now and then with what is used as well."""
    p = beam.Pipeline(InteractiveRunner())
    write = ba.WriteToArgilla('seen', task=ba.TextGeneration(), connection=ba.ArgillaConnection('http://127.0.0.1:1'))
    result = p | beam.Create([]) | 'Write' >> write
    steps = p.to_runner_api().components.transforms.values()
    (given_out,) = [set(step.outputs) for step in steps if step.unique_name == 'Write']
    assert given_out == {'written', 'failed', 'dataset'}
    assert result.failed.element_type is ba.FailedRecord


def result_of(cell: str, names: dict[str, Any]) -> Any:
    """What a notebook shows under the cell: the value of its last line."""
    *lines, last = ast.parse(cell).body
    if not isinstance(last, ast.Expr):
        lines, last = [*lines, last], None
    exec(compile(ast.Module(lines, []), 'cell', 'exec'), names)
    return None if last is None else eval(compile(ast.Expression(last.value), 'cell', 'eval'), names)


def test_each_example_is_run_here_and_readme_leads_to_it():
    readme = (EXAMPLES.parent / 'README.md').read_text(encoding='utf-8')
    there = {path.name for path in EXAMPLES.iterdir() if path.is_file()}
    modules = (after_inference, from_bigquery, from_dataframe, streaming)
    assert there == {*(Path(str(module.__file__)).name for module in modules), 'in_a_notebook.ipynb'}
    assert [name for name in there if f'](examples/{name})' not in readme] == []
