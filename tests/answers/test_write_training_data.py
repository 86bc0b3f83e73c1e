"""Files of training rows are what `datasets` opens."""

from __future__ import annotations

import errno
import glob
import io
import json
import re

import apache_beam as beam
import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.transforms import window

import beam_argilla as ba
from beam_argilla.answers import write_training_data
from beam_argilla.answers.forms import with_schema
from beam_argilla.errors import InputError, JobError
from tests.answers.samples import NOON, answered
from tests.answers.test_forms import record
from tests.object_store import OBJECTS
from tests.samples import pipeline

FORM = ba.ToPreferencePairs()
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
    assert write.pattern == f'{tmp_path}/dpo/train-?????-of-?????.parquet'
    found = datasets.load_dataset(str(tmp_path / 'dpo'), cache_dir=tmp_path / 'c')
    assert sorted(found['train']['id']) == ['i', 'j']


def test_what_cannot_be_is_told(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="format='csv': use one of 'parquet', 'jsonl', 'datasets'"):
        ba.WriteTrainingData('x', 'csv')
    with pytest.raises(ValueError, match='num_shards=100000: it must be 0'):
        ba.WriteTrainingData('x', num_shards=100_000)
    with pytest.raises(TypeError, match=r'is no pyarrow\.Schema'):
        ba.WriteTrainingData('x', schema=['a'])
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

    (tmp_path / 'none-0.jsonl').write_text('')
    for files, format in (('none-*.jsonl', 'jsonl'), ('gone-*.parquet', 'parquet'), ('gone', 'datasets')):
        with pytest.raises(InputError, match=r'gone|none.* nothing can be pushed, datasets says: \S+'):
            ba.push_to_hub(str(tmp_path / files), format, 'o/n')
    monkeypatch.setattr(datasets.Dataset, 'push_to_hub', refused)
    with pytest.raises(JobError, match=r"does not take 'o/n': 401 Client Error\. Is HF_TOKEN"):
        ba.push_to_hub(str(tmp_path / 'out-*.jsonl'), 'jsonl', 'o/n')


def ids(folder, pattern='dpo-*.parquet'):
    return sorted(id for path in folder.glob(pattern) for id in pq.read_table(path).column('id').to_pylist())


def is_first(row):
    return row['id'] == 'i'


def test_rows_that_something_was_done_to_are_written_by_the_columns_that_are_given(tmp_path):
    with pipeline() as p:
        first = p | beam.Create(RECORDS) | FORM | beam.Filter(is_first)
        both = (first, p | 'More' >> beam.Create(RECORDS) | 'Again' >> FORM) | beam.Flatten()
        with pytest.raises(InputError, match=r'does not know the columns .* Filter, Flatten or Map: .*schema=form\.sc'):
            _ = first | 'Cannot' >> ba.WriteTrainingData(str(tmp_path / 'x'))
        for format in ('parquet', 'jsonl', 'datasets'):
            _ = both | format >> ba.WriteTrainingData(str(tmp_path / 'out'), format, schema=FORM.schema)
    for format in ('parquet', 'jsonl', 'datasets'):
        assert sorted(row['id'] for row in opened(tmp_path, format)) == ['i', 'i', 'j']


def test_a_table_of_answers_says_its_columns_to_whoever_asks(tmp_path):
    to_answers = ba.ToAnswers()
    with pipeline() as p:
        ratings = (p | beam.Create(RECORDS) | to_answers)['rating'] | beam.Filter(is_high)
        _ = ratings | ba.WriteTrainingData(str(tmp_path / 'dpo'), schema=to_answers.schemas['rating'])
    (file,) = tmp_path.glob('dpo-*.parquet')
    assert pq.read_table(file).column('value').to_pylist() == [5, 4]


def is_high(row):
    return row['value'] >= 4


@pytest.mark.parametrize(
    ('row', 'message'),
    [
        ({'id': 'i', 'choosen': 'x'}, "A row has 'choosen', which the columns of the file do not name: id, prompt"),
        ({'id': 'i', 'chosen_score': 'high'}, 'A row does not fit the columns of the file: .*high'),
    ],
)
@pytest.mark.parametrize('format', ['parquet', 'jsonl'])
def test_a_row_that_does_not_fit_its_columns_is_told(row, message, format, tmp_path):
    with pytest.raises(InputError, match=message), pipeline() as p:
        _ = p | beam.Create([row]) | ba.WriteTrainingData(str(tmp_path / 'dpo'), format, schema=FORM.schema)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('num_shards', [0, 2])
def test_all_windows_go_into_the_same_files(num_shards, tmp_path):
    records = [RECORDS[i % 2] for i in range(6)]
    with pipeline() as p:
        stamped = p | beam.Create(enumerate(records)) | beam.MapTuple(stamped_with)
        windows = stamped | beam.WindowInto(window.FixedWindows(2))
        _ = windows | FORM | ba.WriteTrainingData(str(tmp_path / 'dpo'), num_shards=num_shards)
    assert ids(tmp_path) == ['i'] * 3 + ['j'] * 3
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == [f'dpo-{n:05d}-of-{len(files):05d}.parquet' for n in range(len(files))]


def stamped_with(second, record):
    return window.TimestampedValue(record, second)


@pytest.mark.parametrize('format', ['parquet', 'jsonl'])
def test_a_name_is_a_name_whatever_stands_in_it(format, tmp_path):
    place = tmp_path / 'a[1]' / 'dpo*?[x]'
    write = ba.WriteTrainingData(str(place), format)
    other = tmp_path / 'a[1]' / f'dpo-9x-00000-of-00002.{format}'  # which the name as a pattern would match
    for records in (RECORDS, RECORDS[:1]):
        with pipeline() as p:
            _ = p | beam.Create(records) | FORM | ba.WriteTrainingData(str(place), format, len(records))
        other.write_text('of somebody else')
    assert glob.glob(write.pattern) == [f'{place}-00000-of-00001.{format}']
    assert {path.name for path in place.parent.iterdir()} == {other.name, f'{place.name}-00000-of-00001.{format}'}
    kind = 'json' if format == 'jsonl' else format
    found = datasets.load_dataset(kind, data_files=write.pattern, split='train', cache_dir=tmp_path / 'c')
    assert found['id'][:] == ['i']


def test_in_an_object_store_nothing_is_left_but_the_files():
    others = {f'objects://bucket/{name}': b'' for name in ('dpo-eval-00000-of-00001.parquet', 'dpo-00000-of-9.parquet')}
    OBJECTS.update(others)
    try:
        for records in (RECORDS * 5, RECORDS[:1]):
            with pipeline() as p:
                _ = p | beam.Create(records) | FORM | ba.WriteTrainingData('objects://bucket/dpo', num_shards=3)
        assert OBJECTS.keys() == others.keys() | {'objects://bucket/dpo-00000-of-00001.parquet'}
        (found,) = pq.read_table(pa.BufferReader(OBJECTS['objects://bucket/dpo-00000-of-00001.parquet'])).to_pylist()
        assert found['id'] == 'i'
    finally:
        OBJECTS.clear()


@pytest.mark.parametrize(('rows', 'groups'), [([('q', 1)] * 5, 1), ([('q' * 20, 1)] * 5, 5), ([('q', 15)] * 5, 3)])
def test_however_long_the_texts_are_few_of_them_wait_in_memory(rows, groups, tmp_path, monkeypatch):
    monkeypatch.setattr(write_training_data, '_CHARACTERS', 20)
    schema = pa.schema([('text', pa.string()), ('more', pa.list_(pa.struct([('content', pa.string())])))])
    file = write_training_data.File(str(tmp_path), 'x', 'parquet', schema)
    for text, length in rows:
        file.add({'text': text, 'more': [{'content': 'm' * length}]})
    file.close()
    found = pq.ParquetFile(file.path)
    assert (found.metadata.num_rows, found.metadata.num_row_groups) == (5, groups)


class Full(io.BytesIO):
    """A file on a disk that is full."""

    def write(self, data):
        raise OSError(errno.ENOSPC, 'No space left on device')


@pytest.mark.parametrize('format', ['parquet', 'jsonl', 'datasets'])
@pytest.mark.parametrize('num_shards', [0, 1])
def test_a_full_disk_is_one_line(format, num_shards, tmp_path, monkeypatch):
    monkeypatch.setattr(write_training_data, '_create', lambda path: Full())
    message = rf'^Training data cannot be written to {re.escape(str(tmp_path))}/out: No space left on device\. Name .*'
    with pytest.raises(JobError, match=message) as raised, pipeline() as p:
        _ = p | beam.Create(RECORDS) | FORM | ba.WriteTrainingData(str(tmp_path / 'out'), format, num_shards)
    assert '\n' not in str(raised.value)


def test_a_name_that_is_taken_is_told_with_both_names(tmp_path):
    taken = tmp_path / 'dpo-00000-of-00001.parquet'
    taken.mkdir()
    message = rf'/dpo-\S+\.tmp/\S+\.parquet cannot be renamed to {re.escape(str(taken))}: Is a directory\. See'
    with pytest.raises(JobError, match=message), pipeline() as p:
        _ = p | beam.Create(RECORDS[:1]) | FORM | ba.WriteTrainingData(str(tmp_path / 'dpo'))
    assert list(tmp_path.iterdir()) == [taken]


def test_json_lines_are_pushed_with_their_columns_and_an_end_of_a_name_is_none_of_a_prefix(tmp_path, monkeypatch):
    pushed = []
    monkeypatch.setattr(datasets.Dataset, 'push_to_hub', lambda found, *_, **__: pushed.append(found) or Repository())
    monkeypatch.setattr(datasets.config, 'HF_DATASETS_CACHE', tmp_path / 'cache')
    write = ba.WriteTrainingData(str(tmp_path / 'dpo.jsonl'), 'jsonl')
    with pipeline() as p:
        unknown = RECORDS[0]._replace(metadata={})
        _ = p | beam.Create([unknown]) | FORM | write
    assert write.pattern == f'{tmp_path}/dpo-?????-of-?????.jsonl'
    ba.push_to_hub(write.pattern, 'jsonl', 'o/n', schema=FORM.schema)
    assert pushed[0].features['chosen_model'] == datasets.Value('string')


class Repository:
    repo_url = 'there'
