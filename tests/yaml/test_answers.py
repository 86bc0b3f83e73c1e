"""What people answered through steps of Beam YAML, as rows, to files."""

from __future__ import annotations

import datasets
import pytest
from apache_beam.testing.util import assert_that, equal_to

import beam_argilla as ba
from tests.answers.people import Person, record_ids
from tests.samples import COLUMNS, pipeline, rows, unique
from tests.yaml.steps import chain, step
from tests.yaml.test_generations import as_dicts


@pytest.fixture(autouse=True)
def environment(argilla_server, monkeypatch):
    monkeypatch.setenv('ARGILLA_API_URL', argilla_server.api_url)
    monkeypatch.setenv('ARGILLA_API_KEY', argilla_server.api_key)


@pytest.fixture(scope='module')
def answered(connection, api) -> str:
    """The name of a dataset of three records, of which somebody has answered two."""
    import apache_beam as beam

    name = unique('answered')
    task = ba.Preference(num_generations=2, model_names=True, suggestions=False)
    with pipeline() as p:
        _ = p | beam.Create(rows(3, 2)) | ba.WriteToArgilla(name, task=task, connection=connection, columns=COLUMNS)
    person, ids = Person(api, unique('reader')), record_ids(api, name)
    person.answers(ids['i0000'], {'generations-0-rating': 5, 'generations-1-rating': 1})
    person.answers(ids['i0001'], {'generations-0-rating': 2, 'generations-1-rating': 3})
    person.close()
    return name


FORMS = {
    'pairs': (
        {'type': 'pairs', 'margin': 1, 'aggregate': {'how': 'median'}},
        ba.ToPreferencePairs(ba.Aggregate('median'), margin=1),
    ),
    'messages': ({'type': 'pairs', 'text': 'messages'}, ba.ToPreferencePairs(text='messages')),
    'kto': ({'type': 'kto', 'threshold': 3}, ba.ToKTO(threshold=3)),
    'ratings': ({'type': 'ratings'}, ba.ToRatings()),
    'sft': ({'type': 'sft', 'min_score': 3}, ba.ToSFT(min_score=3)),
}


def test_rows_and_files_are_those_of_python(tmp_path, connection, answered):
    with pipeline() as p:
        read = p | ba.ReadFromArgilla(answered, connection=connection)
        for name, (form, by_python) in FORMS.items():
            written = step('WriteTrainingData', path=f'{tmp_path}/{name}-yaml.parquet')
            _ = p | name >> chain(step('ReadFromArgilla', dataset=answered, form=form), written)
            _ = (
                read
                | f'Make {name}' >> by_python
                | f'Write {name}' >> ba.WriteTrainingData(f'{tmp_path}/{name}-python')
            )
    for name in FORMS:
        yaml, python = (
            datasets.load_dataset('parquet', data_files=f'{tmp_path}/{name}-{by}-*', cache_dir=tmp_path, split='train')
            for by in ('yaml', 'python')
        )
        assert yaml.features == python.features
        assert len(yaml)
        assert sorted(yaml, key=str) == sorted(python, key=str)


LEAD = {'expression': 'chosen_score - rejected_score', 'output_type': 'number'}


def test_other_steps_take_the_rows_and_what_they_give_is_written(tmp_path, answered):
    with pipeline() as p:
        paths = p | chain(
            step('ReadFromArgilla', dataset=answered, form={'type': 'pairs'}),
            step('Filter', language='python', keep='chosen_score >= 4'),
            step('MapToFields', language='python', fields={'prompt': 'prompt', 'lead': LEAD}),
            step('WriteTrainingData', path=f'{tmp_path}/clear', format='jsonl', num_shards=1),
        )
        assert_that(as_dicts(paths), equal_to([{'path': f'{tmp_path}/clear-00000-of-00001.jsonl'}]))
    (line,) = (tmp_path / 'clear-00000-of-00001.jsonl').read_text().splitlines()
    assert line == '{"prompt":"What is 0 plus one?","lead":4.0}'


@pytest.mark.parametrize(
    ('kind', 'config', 'message'),
    [
        (
            'ReadFromArgilla',
            {'dataset': 'd', 'form': {'type': 'dpo'}},
            "form.type: there is no 'dpo'; use one of pairs",
        ),
        ('ReadFromArgilla', {'dataset': 'd', 'form': {'type': 'kto', 'margin': 1}}, "form: there is no key 'margin'"),
        ('ReadFromArgilla', {'dataset': 'd', 'form': {'type': 'kto'}, 'since': 'today'}, 'since'),
        (
            'ReadFromArgilla',
            {'dataset': 'd', 'form': {'type': 'pairs', 'aggregate': {'how': 'sum'}}},
            "form.aggregate: how='sum'",
        ),
        ('WriteTrainingData', {'path': 'x', 'format': 'csv'}, "format='csv'"),
    ],
)
def test_a_mistake_is_told_with_the_step_its_line_and_the_key(kind, config, message):
    steps = [step(kind, **config)] if kind.startswith('Read') else [step('Create', elements=[1]), step(kind, **config)]
    with pytest.raises(ValueError, match=rf'"{kind}" at line \d+: .*{message}'), pipeline() as p:
        _ = p | chain(*steps)
