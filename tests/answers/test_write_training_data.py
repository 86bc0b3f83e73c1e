"""Files of training rows are what `datasets` opens."""

from __future__ import annotations

import json

import apache_beam as beam
import datasets
import pyarrow.parquet as pq
import pytest

import beam_argilla as ba
from beam_argilla.answers.forms import with_schema
from beam_argilla.errors import InputError, JobError
from tests.answers.samples import NOON, answered
from tests.answers.test_forms import record
from tests.samples import pipeline

RECORDS = [record(5, 2, None), record(1, 4, 3)._replace(fields={**record(1).fields, 'id': 'j'})]


def opened(folder, format):
    if format == 'datasets':
        return datasets.load_from_disk(str(folder / 'out'))
    kind = 'json' if format == 'jsonl' else 'parquet'
    return datasets.load_dataset(
        kind, data_files=str(folder / f'out-*.{format}'), split='train', cache_dir=folder / 'c'
    )


@pytest.mark.parametrize('text', ['plain', 'messages'])
@pytest.mark.parametrize('format', ['parquet', 'jsonl', 'datasets'])
def test_pairs_in_every_format(format, text, tmp_path):
    with pipeline() as p:
        pairs = p | beam.Create(RECORDS) | ba.ToPreferencePairs(text=text)
        _ = pairs | ba.WriteTrainingData(str(tmp_path / 'out'), format)
    found = opened(tmp_path, format).to_list()
    by_id = {row['id']: row for row in found}
    assert len(found) == 2
    first = by_id['i']
    assert first['chosen_score'] == 5
    assert first['chosen_model'] == 'm0'
    chosen = 'Ä\n"a"'
    assert first['chosen'] == (chosen if text == 'plain' else [{'role': 'assistant', 'content': chosen}])
    assert by_id['j']['chosen'] == ('b' if text == 'plain' else [{'role': 'assistant', 'content': 'b'}])


@pytest.mark.parametrize('format', ['parquet', 'datasets'])
def test_where_there_is_no_row_there_are_the_columns(format, tmp_path):
    with pipeline() as p:
        pairs = p | beam.Create([record(None)]) | ba.ToPreferencePairs()
        _ = pairs | ba.WriteTrainingData(str(tmp_path / 'out'), format)
    if format == 'parquet':
        (file,) = tmp_path.glob('out-*.parquet')
        found = pq.read_table(file)
    else:
        found = datasets.load_from_disk(str(tmp_path / 'out'))
    assert found.num_rows == 0
    assert 'chosen_score' in found.column_names


def test_answers_of_every_kind(tmp_path):
    ranks = [{'value': 'generations-0', 'rank': 1}]
    spans = [{'label': 'b', 'start': 0, 'end': 6}]
    values = {
        'generations-0-rating': 3,
        'order': ranks,
        'label': 'x',
        'labels': ['x', 'y'],
        'marks': spans,
        'note': 'ä',
    }
    kinds = ('rating', 'ranking', 'label_selection', 'multi_label_selection', 'span', 'text')
    fields = {'id': 'i', 'instruction': 'q', 'generations-0': 'a', 'generations-1': 'b'}
    questions = dict(zip(values, kinds, strict=True))
    metadata = {'generations-0-model': 'm'}
    given = answered(fields, {'ada': values}, questions, {'generations-0-rating': 5}, metadata)
    with pipeline() as p:
        answers = p | beam.Create([given]) | ba.ToAnswers()
        for kind, rows in answers.items():
            _ = rows | kind >> ba.WriteTrainingData(str(tmp_path / kind), 'datasets')
    for (question, value), kind in zip(values.items(), kinds, strict=True):
        (row,) = datasets.load_from_disk(str(tmp_path / kind)).to_list()
        assert (row['question'], row['value'], row['user'], row['status']) == (question, value, 'ada', 'submitted')
        assert (row['instruction_id'], row['external_id'], row['instruction']) == ('i', 'the-id', 'q')
        assert row['time'] == NOON
    rated = datasets.load_from_disk(str(tmp_path / 'rating'))[0]
    about = {name: rated[name] for name in ('field', 'generation', 'position', 'model_name', 'suggestion', 'agent')}
    assert about == {
        'field': 'generations-0',
        'generation': 'a',
        'position': 0,
        'model_name': 'm',
        'suggestion': 5,
        'agent': 'judge',
    }
    assert datasets.load_from_disk(str(tmp_path / 'text'))[0]['generation'] is None


@pytest.mark.parametrize('format', ['parquet', 'jsonl', 'datasets'])
def test_nothing_of_an_earlier_run_is_left_and_nothing_else_is_touched(format, tmp_path):
    (tmp_path / 'out').mkdir()
    place = tmp_path / 'out' if format == 'datasets' else tmp_path / 'out' / 'dpo'
    others = [tmp_path / 'out' / name for name in ('dpo-note.txt', f'dpo-eval-00000-of-00001.{format}', 'data-x.arrow')]
    for other in others:
        other.write_text('of somebody else')
    for records, num_shards in ((RECORDS * 50, 3), (RECORDS[:1], 0)):
        with pipeline() as p:
            pairs = p | beam.Create(records) | ba.ToPreferencePairs()
            files = pairs | ba.WriteTrainingData(str(place), format, num_shards)
            FOUND.clear()
            _ = files | beam.Map(keep)
    assert all(other.read_text() == 'of somebody else' for other in others)
    written = sorted(p for p in (tmp_path / 'out').iterdir() if p not in others)
    assert sorted(FOUND) == [str(path) for path in written if path.suffix != '.json']
    if format == 'datasets':
        assert datasets.load_from_disk(str(place))['id'] == ['i']
        assert len(written) == 3
    else:
        assert [path.name for path in written] == [f'dpo-00000-of-00001.{format}']


def fail(row: dict[str, object]) -> dict[str, object]:
    if row['id'] == 'j':
        raise RuntimeError('in the middle')
    return row


def test_a_job_that_fails_leaves_what_was_there_and_nothing_of_its_own(tmp_path):
    (tmp_path / 'dpo-00000-of-00001.parquet').write_text('earlier')
    with pytest.raises(RuntimeError, match='in the middle'), pipeline() as p:
        pairs = p | beam.Create(RECORDS) | ba.ToPreferencePairs()
        rows = with_schema(pairs | beam.Map(fail), pairs.training_schema)
        _ = rows | ba.WriteTrainingData(str(tmp_path / 'dpo'))
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [('dpo-00000-of-00001.parquet', 'earlier')]


FOUND: list[str] = []


def keep(path: str) -> None:
    FOUND.append(path)


def test_files_go_into_a_folder_and_datasets_opens_it(tmp_path):
    write = ba.WriteTrainingData(f'{tmp_path}/dpo/')
    with pipeline() as p:
        _ = p | beam.Create(RECORDS) | ba.ToPreferencePairs() | write
    assert write.pattern == f'{tmp_path}/dpo/train-*.parquet'
    found = datasets.load_dataset(str(tmp_path / 'dpo'), cache_dir=tmp_path / 'c')
    assert sorted(found['train']['id']) == ['i', 'j']


def test_what_cannot_be_is_told(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="format='csv': use one of 'parquet', 'jsonl', 'datasets'"):
        ba.WriteTrainingData('x', 'csv')
    with pytest.raises(InputError, match='write other rows with'), pipeline() as p:
        _ = p | beam.Create([{'a': 1}]) | ba.WriteTrainingData('x')
    with pytest.raises(ValueError, match='prefix is empty'):
        ba.WriteTrainingData(' ')
    (tmp_path / 'file').write_text('')
    with (
        pytest.raises(JobError, match=r'cannot be written to .*/file/dpo: File exists\. Name another'),
        pipeline() as p,
    ):
        _ = p | beam.Create(RECORDS) | ba.ToPreferencePairs() | ba.WriteTrainingData(f'{tmp_path}/file/dpo')
    (tmp_path / 'out-0.jsonl').write_text(json.dumps({'a': 1}))
    monkeypatch.setenv('HF_ENDPOINT', 'http://127.0.0.1:9')

    def refused(*_: object, **__: object) -> None:
        raise OSError('401 Client Error.\nfor url')

    monkeypatch.setattr(datasets.Dataset, 'push_to_hub', refused)
    with pytest.raises(JobError, match=r"does not take 'o/n': 401 Client Error\. Is HF_TOKEN"):
        ba.push_to_hub(str(tmp_path / 'out-*.jsonl'), 'jsonl', 'o/n')
