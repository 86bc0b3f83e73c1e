"""The whole loop: generations in, people answer, training data out; and what the program says."""

from __future__ import annotations

import re
from collections.abc import Iterator

import argilla as rg
import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import argilla_to_parquet, parquet_to_argilla
from tests.answers.people import Person, crew, dataset_id, record_ids
from tests.samples import rows, unique

__all__ = ['crew']  # a fixture
MODELS = ('alpha', 'beta', 'gamma', 'delta')


@pytest.fixture(scope='module')
def name(argilla_server, api, crew: list[Person], tmp_path_factory) -> Iterator[str]:
    """A dataset of five instructions, of which three are answered: the first by two people, the third all the same."""
    name = unique('loop')
    folder = tmp_path_factory.mktemp('loop')
    pq.write_table(pa.Table.from_pylist(rows(5)), folder / 'in.parquet')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('ARGILLA_API_URL', argilla_server.api_url)
        patch.setenv('ARGILLA_API_KEY', argilla_server.api_key)
        argv = ['--input', str(folder / 'in.parquet'), '--dataset', name, '--num_generations', '4', '--model_names']
        assert parquet_to_argilla.main([*argv, '--instruction_id_column', 'instruction_id']) == 0
        ids = record_ids(api, name)
        for person, instruction, ratings in (
            (crew[0], 'i0000', [5, 1, 2, 3]),
            (crew[1], 'i0000', [3, 2, 2, 4]),
            (crew[2], 'i0001', [1, 2, 4, 5]),
            (crew[0], 'i0002', [3, 3, 3, 3]),
        ):
            values = {f'generations-{i}-rating': rating for i, rating in enumerate(ratings)}
            person.answers(ids[instruction], {**values, 'generations-0-rationale': f'für {instruction}'})
        yield name


@pytest.fixture
def run(argilla_server, capfd, monkeypatch, name, tmp_path):
    """Runs the program; exit status, output, errors."""
    monkeypatch.setenv('ARGILLA_API_URL', argilla_server.api_url)
    monkeypatch.setenv('ARGILLA_API_KEY', argilla_server.api_key)

    def run(*options: str) -> tuple[int, str, str]:
        usual = {'--dataset': name, '--output': str(tmp_path / 'out')}
        argv = [word for option, value in usual.items() if option not in options for word in (option, value)]
        status = argilla_to_parquet.main([*argv, *options])
        return status, *capfd.readouterr()

    return run


def said(group: int, model: int) -> str:
    (row,) = [r for r in rows(5) if r['instruction_id'] == f'i{group:04d}' and r['model_name'] == MODELS[model]]
    return row['generation']


def test_pairs_are_what_people_answered(run, crew, tmp_path):
    status, out, err = run('--form', 'pairs', '--aggregate', 'mean')
    assert (status, err) == (0, '')
    lines = out.splitlines()
    ada, bob, eve = (f'  {person.name}: {n} submitted' for person, n in zip(crew, (2, 1, 1), strict=True))
    assert lines[0] == '3 people have answered'
    assert lines[1].startswith(ada)
    assert lines[2:4] == [bob, eve]
    told = "Agreement on generations-0-rating: Krippendorff's alpha 0.00 (ordinal), 0% of pairs the same"
    assert lines[4].startswith(told)
    unknown = [f'generations-{i}-rationale' for i in range(1, 4)]
    assert f'Agreement on {", ".join(unknown)}: nothing was answered by two people' in lines
    assert 'Suggestions for generations-0-rating: ' in out
    assert lines[lines.index('3 records read, with 4 responses') :][:4] == [
        '3 records read, with 4 responses',
        '2 rows of pairs',
        '1 left out: the same score, or as many for as against',
        '0 refused',
    ]
    assert f'Written to: {tmp_path}/out-?????-of-?????.parquet' in out
    found = datasets.load_dataset(
        'parquet', data_files=str(tmp_path / 'out-*.parquet'), split='train', cache_dir=tmp_path
    )
    by_id = {row['id']: row for row in found}
    # Groups are ordered by model name, and their texts begin with it.
    order = sorted(range(4), key=lambda model: MODELS[model])
    first, second = by_id['i0000'], by_id['i0001']
    assert first['prompt'] == 'What is 0 plus one?'
    assert (first['chosen'], first['chosen_score'], first['chosen_model']) == (said(0, order[0]), 4, MODELS[order[0]])
    assert (first['rejected'], first['rejected_score']) == (said(0, order[1]), 1.5)
    assert (second['chosen'], second['rejected']) == (said(1, order[3]), said(1, order[0]))
    assert set(by_id) == {'i0000', 'i0001'}


@pytest.mark.parametrize(
    ('form', 'more', 'count'),
    [
        ('kto', ['--threshold', '4'], 12),
        ('ratings', ['--aggregate', 'all', '--format', 'jsonl'], 16),
        ('sft', ['--format', 'datasets', '--text', 'messages'], 3),
        ('pairs', ['--pairs', 'all', '--margin', '2', '--min_answers', '2', '--suggestions'], None),
    ],
)
def test_other_forms(form, more, count, run, tmp_path):
    status, out, err = run('--form', form, *more)
    assert (status, err) == (0, '')
    if 'datasets' in more:
        found = datasets.load_from_disk(str(tmp_path / 'out'))
    else:
        kind = 'json' if 'jsonl' in more else 'parquet'
        found = datasets.load_dataset(kind, data_files=str(tmp_path / 'out-*'), split='train', cache_dir=tmp_path / 'c')
    assert f'{len(found)} rows of {form}' in out
    assert count is None or len(found) == count


def test_answers_as_tables(run, crew, tmp_path):
    status, out, err = run('--form', 'answers', '--anonymous')
    assert (status, err) == (0, '')
    assert '3 records read, with 4 responses' in out
    rating = pq.read_table(next(tmp_path.glob('out-rating-*.parquet'))).to_pylist()
    text = pq.read_table(next(tmp_path.glob('out-text-*.parquet'))).to_pylist()
    assert (len(rating), len(text)) == (16, 4)
    assert {row['user'] for row in rating} == {'annotator-1', 'annotator-2', 'annotator-3'}
    assert {row['value'] for row in text} == {'für i0000', 'für i0001', 'für i0002'}
    assert not list(tmp_path.glob('out-span*'))


@pytest.mark.parametrize(
    ('output', 'format', 'names'),
    [
        ('in/', 'parquet', ['rating-00000-of-00001.parquet', 'text-00000-of-00001.parquet']),
        ('in', 'jsonl', ['rating-00000-of-00001.jsonl', 'text-00000-of-00001.jsonl']),
        ('in', 'datasets', ['rating', 'text']),
        ('in/x.parquet', 'parquet', ['x-rating-00000-of-00001.parquet', 'x-text-00000-of-00001.parquet']),
    ],
)
def test_where_the_tables_of_answers_go(output, format, names, run, tmp_path):
    (tmp_path / 'in').mkdir()
    status, _, err = run('--form', 'answers', '--format', format, '--output', f'{tmp_path}/{output}')
    assert (status, err) == (0, '')
    assert sorted(path.name for path in (tmp_path / 'in').iterdir()) == names


def test_good_and_bad_generations_of_an_instruction_become_pairs(run, api, crew, tmp_path):
    name = unique('singles')
    pq.write_table(pa.Table.from_pylist(rows(2)), tmp_path / 'in.parquet')
    argv = ['--input', str(tmp_path / 'in.parquet'), '--dataset', name, '--task', 'text_generation']
    assert parquet_to_argilla.main([*argv, '--instruction_id_column', 'instruction_id']) == 0
    page = api.get(f'/datasets/{dataset_id(api, name)}/records').json()['items']
    labels = ['good', 'bad', 'bad', None] * 2
    found = sorted((r['fields']['id'], r['fields']['generation'], r['id']) for r in page)
    for (_, _, id), label in zip(found, labels, strict=True):
        if label:
            crew[0].answers(id, {'quality': label})
    status, _, err = run('--dataset', name, '--pairs', 'best_each')
    assert (status, err) == (0, '')
    pairs = pa.concat_tables(map(pq.read_table, tmp_path.glob('out-*.parquet'))).to_pylist()
    texts = [text for _, text, _ in found]
    assert sorted((row['id'], row['chosen'], row['rejected']) for row in pairs) == sorted(
        (f'i000{n}', texts[4 * n], texts[4 * n + k]) for n in range(2) for k in (1, 2)
    )


@pytest.mark.filterwarnings('ignore:Workspace not provided')
def test_a_dataset_of_the_sdk_whose_fields_and_question_are_called_otherwise(run, sdk, crew, api, tmp_path, capfd):
    name = unique('others')
    settings = rg.Settings(
        fields=[rg.TextField(field) for field in ('question', 'left', 'right')],
        questions=[rg.LabelQuestion('better', labels=['left', 'right', 'tie'])],
    )
    dataset = rg.Dataset(name, settings=settings, client=sdk).create()
    dataset.records.log([{'id': f'r{n}', 'question': f'q{n}', 'left': 'L', 'right': 'R'} for n in range(3)])
    for (_, id), label in zip(sorted(record_ids(api, name).items()), ('right', 'left', 'tie'), strict=True):
        crew[1].answers(id, {'better': label})
    capfd.readouterr()  # of the SDK
    named = ['--prompt_field', 'question', '--generation_field', 'left', '--generation_field', 'right']
    status, out, err = run('--dataset', name, *named, '--question', 'better')
    assert (status, err) == (0, '')
    assert '2 left out: a label that says nothing of it' in out
    (file,) = tmp_path.glob('out-*.parquet')
    found = [(row['id'], row['prompt'], row['chosen'], row['rejected']) for row in pq.read_table(file).to_pylist()]
    assert sorted(found) == [('r0', 'q0', 'R', 'L'), ('r1', 'q1', 'L', 'R')]


def test_the_report_tells_of_all_and_the_rows_of_what_was_submitted(run, name, api, crew, tmp_path):
    (id,) = (id for external_id, id in record_ids(api, name).items() if external_id == 'i0004')
    crew[2].answers(id, {'generations-0-rating': 1}, 'draft')
    status, out, err = run('--report', str(tmp_path / 'report.html'), '--form', 'answers')
    assert (status, err) == (0, '')
    assert '5 records read, with 5 responses' in out
    assert f'{crew[2].name}: 1 submitted, 1 draft' in out
    assert pq.read_table(next(tmp_path.glob('out-rating-*.parquet'))).num_rows == 16


def test_only_what_was_answered_since(run):
    status, out, _ = run('--since', '2100-01-01')
    assert status == 0
    assert '0 records read, with 0 responses\n0 rows of pairs\n' in out


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--dataset', 'gone'], "There is no dataset 'gone' in workspace 'default'"),
        (['--form', 'kto'], 'this dataset has a rating: say from which score on one is good'),
        (['--prompt_field', 'question'], "There is no prompt in field 'question': the record has 'id', 'instruction',"),
        (
            ['--generation_field', 'left'],
            "There is no field 'left', where a generation should be: the dataset has 'id', 'instruction',",
        ),
        (
            ['--generation_field', 'generations-0', '--generation_field', 'generation-1'],
            "no field 'generation-1', where",
        ),
        (['--generation_field', 'left', '--generation_field', 'left'], "'left' is there twice"),
        (['--question', 'generations-7=x'], "There is no field 'generations-7', where a generation should be"),
        (['--question', 'instruction=x'], "'instruction' is no generation"),
        (['--question', 'generations-0=x', '--question', 'generations-0=y'], 'one of them is there twice'),
        (['--question', 'gone'], "question='gone' can be one rating, ranking or label"),
        (['--question', 'a', '--question', 'b'], '--question: give one question, or FIELD=NAME for each'),
        (['--form', 'sft', '--corrected', 'better'], "There is no text question 'better': this dataset asks"),
        (['--form', 'answers', '--question', 'x'], '--question means nothing to --form answers'),
        (['--output', '/dev/null/dpo'], 'Training data cannot be written to /dev/null/dpo: '),
        (['--margin', 'nan'], '--margin: nan: give a number'),
        (['--form', 'kto', '--threshold', 'inf'], '--threshold: inf: give a number'),
        (['--form', 'sft', '--min_score', '1_0'], '--min_score: 1_0: give a number'),
        (
            ['--form', 'kto', '--pairs', 'all', '--threshold', '3'],
            '--pairs means nothing to --form kto: it is for --form p',
        ),
        (
            ['--form', 'answers', '--min_answers', '1'],
            '--min_answers means nothing to --form answers: it is for --form',
        ),
        (
            ['--form', 'ratings', '--response_status', 'draft'],
            'means nothing to --form ratings: it is for --form answers.',
        ),
        (['--private'], '--private means nothing without --push_to_hub'),
        (['--user', 'nobody'], "Not answered by 'nobody': those who may answer are ada"),
        (
            ['--user', 'argilla', '--anonymous'],
            "Not answered by 'argilla': those who may answer are annotator-1, annotator-2",
        ),
        (['--workspace', 'gone'], "There is no workspace 'gone' on"),
        (
            ['--since', '9999-12-31T23:59:59-12:00'],
            'since=9999-12-31T23:59:59-12:00: in UTC, that is not in the years 1 to',
        ),
        (['--since', '0001-01-01T00:00+14:00'], 'in UTC, that is not in the years'),
        (['--since', '10000-01-01'], '10000-01-01: write a time such as'),
        (['--output', 'foo://bucket/dpo'], 'foo://bucket/dpo: no file system for foo:// is installed'),
        (['--failed', 'foo://bucket/'], 'foo://bucket/: no file system for foo:// is installed'),
        (['--report', 'foo://bucket/x'], 'foo://bucket/x: no file system for foo:// is installed'),
        (['--report', ''], '--report is empty: name the file of the page'),
        (['--report', '/dev'], "'/dev' is a folder: name the file of the page"),
        (['--report', '/dev/null/x.html'], 'The report cannot be written to /dev/null/x.html: '),
        (['--failed', '/dev/null/x'], 'What is refused cannot be written to /dev/null/x-*.jsonl: '),
        (['--threshold', '3'], '--threshold means nothing to --form pairs: it is for --form kto.'),
        (['--since', 'yesterday'], 'yesterday: write a time such as 2026-11-26'),
        (['--margin', '-1'], '--margin -1.0: it must not be negative'),
        (['--create_workspace'], '--create_workspace'),
    ],
)
def test_a_mistake_is_one_line(options, message, run):
    status, out, err = run(*options)
    assert (status, out) == (2, '')
    assert re.fullmatch(r'error: .*\n', err)
    assert message in err


def test_who_has_not_answered_is_told(run, crew):
    status, out, err = run('--user', crew[2].name)
    assert (status, err) == (0, '')
    assert f'1 row of pairs\n8 left out: not answered by {crew[2].name}\n' in out


def test_where_nobody_may_be_listed_an_id_is_a_name(run, crew):
    status, out, _ = run('--user', crew[0].id)
    assert status == 0
    assert f'0 rows of pairs\n12 left out: not answered by {crew[0].id}\n' in out


def test_a_missing_workspace_is_not_to_be_made_and_a_draft_not_read(run, api):
    _, _, err = run('--workspace', 'gone')
    assert "There are: 'default'" in err and err.endswith('Name one of them.\n') and 'create' not in err
    (space,) = (s['id'] for s in api.get('/me/workspaces').json()['items'] if s['name'] == 'default')
    name = unique('draft')
    api.post('/datasets', json={'name': name, 'workspace_id': space}).raise_for_status()
    status, _, err = run('--dataset', name)
    assert (status, err) == (2, f"error: Dataset '{name}' in workspace 'default' is a draft: publish it first.\n")


@pytest.mark.parametrize('place', ['a[1]', 'b*', 'c?'])
def test_files_may_be_called_anything(place, run, tmp_path):
    (tmp_path / 'b').touch()
    for _ in range(2):
        status, out, err = run('--output', f'{tmp_path}/{place}/dpo', '--failed', f'{tmp_path}/{place}/failed')
        assert (status, err) == (0, '')
    (pattern,) = re.findall('Written to: (.*)', out)
    assert [path.name for path in (tmp_path / place).iterdir()] == ['dpo-00000-of-00001.parquet']
    assert len(datasets.load_dataset('parquet', data_files=pattern, split='train', cache_dir=tmp_path / 'c')) == 2


def test_every_option_is_told_of(capsys):
    with pytest.raises(SystemExit):
        argilla_to_parquet.parser().parse_args(['--help'])
    assert '--min_answers' in capsys.readouterr().out
