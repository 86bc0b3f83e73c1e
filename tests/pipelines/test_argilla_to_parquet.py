"""The whole loop: generations in, people answer, training data out; and what the program says."""

from __future__ import annotations

import re
from collections.abc import Iterator

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import argilla_to_parquet, parquet_to_argilla
from tests.answers.people import Person, crew, record_ids
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
        argv = ['--dataset', name, '--output', str(tmp_path / 'out'), *options]
        status = argilla_to_parquet.main(argv)
        return status, *capfd.readouterr()

    return run


def said(group: int, model: int) -> str:
    (row,) = [r for r in rows(5) if r['instruction_id'] == f'i{group:04d}' and r['model_name'] == MODELS[model]]
    return row['generation']


def test_pairs_are_what_people_answered(run, tmp_path):
    status, out, err = run('--form', 'pairs', '--aggregate', 'mean')
    assert (status, err) == (0, '')
    lines = out.splitlines()
    assert sum(line.startswith('Agreement on generations-') for line in lines) == 8
    told = "Agreement on generations-0-rating: Krippendorff's alpha 0.00 (ordinal), 0% of pairs the same"
    assert any(line.startswith(told) for line in lines)
    assert [line for line in lines if not line.startswith('Agreement')][:4] == [
        '3 records read, with 4 responses',
        '2 rows of pairs',
        '1 left out: the same score, or as many for as against',
        '0 refused',
    ]
    assert f'Written to: {tmp_path}/out-*.parquet' in out
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


def test_only_what_was_answered_since(run):
    status, out, _ = run('--since', '2100-01-01')
    assert status == 0
    assert '0 records read, with 0 responses\n0 rows of pairs\n' in out


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--dataset', 'gone'], "There is no dataset 'gone' in workspace 'default'"),
        (['--form', 'kto'], 'this dataset has a rating: say from which score on one is good'),
        (['--prompt_field', 'question'], "A record has no field 'question' for the prompt"),
        (['--threshold', '3'], '--threshold means nothing to --form pairs: it is for --form kto.'),
        (['--since', 'yesterday'], 'yesterday: write a time such as 2026-11-26'),
        (['--margin', '-1'], '--margin -1.0: it must not be negative'),
        (['--create_workspace'], '--create_workspace'),
    ],
)
def test_a_mistake_is_one_line(options, message, run):
    if options[0] == '--dataset':
        status = argilla_to_parquet.main([*options, '--output', 'x'])
    else:
        status, out, err = run(*options)
        assert out == ''
        assert re.fullmatch(r'error: .*\n', err)
        assert message in err
    assert status == 2


def test_every_option_is_told_of(capsys):
    with pytest.raises(SystemExit):
        argilla_to_parquet.parser().parse_args(['--help'])
    assert '--min_answers' in capsys.readouterr().out
