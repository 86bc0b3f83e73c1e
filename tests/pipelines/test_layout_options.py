"""The options that say what the input looks like, and what is seen of it before a run."""

from __future__ import annotations

import json
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import beam_argilla as ba
from pipelines import options, parquet_to_argilla

ROOT = Path(__file__).parents[2]
ARGV = ['--input', 'x', '--dataset', 'd', '--num_generations', '2', '--dry_run']


def parsed(*more: str, argv=ARGV):
    return options.parse(parquet_to_argilla.parser(), [*argv, *more])[0]


def test_a_column_that_is_given_several_times_is_several_side_by_side():
    args = parsed(
        *('--generation_column', 'chosen', '--generation_column', 'rejected', '--instruction_column', 'p'),
        *('--model_name_column', 'm[0].name', '--model_name_column', 'literal:gpt-4', '--scale', '0:10'),
        *('--rating_column', 'a', '--rating_column', 'b', '--ratings', '1,2,3', '--chat'),
    )
    assert options.columns_of(args) == ba.Columns(
        'p',
        ['chosen', 'rejected'],
        model_name=['m[0].name', ba.Literal('gpt-4')],
        rating=['a', 'b'],
        scale=ba.Scale((0, 10), (1, 2, 3)),
        chat=True,
    )
    assert options.task_of(args, {}, scores=True) == ba.Preference(2, ratings=(1, 2, 3), scores=True, chat=True)


def test_each_input_may_have_a_layout_of_its_own():
    argv = [
        '--dataset',
        'd',
        '--num_generations',
        '2',
        '--dry_run',
        '--input',
        'a',
        'b',
        '--input',
        'c',
        '--input',
        'e',
    ]
    assert options.inputs_of(parsed(argv=argv)) == {'auto': ['a', 'b', 'c', 'e']}
    assert options.inputs_of(parsed('--layout', 'trl', argv=argv)) == {'trl': ['a', 'b', 'c', 'e']}
    layouts = ['--layout', 'trl', '--layout', 'auto', '--layout', 'trl']
    assert options.inputs_of(parsed(*layouts, argv=argv)) == {'trl': ['a', 'b', 'e'], 'auto': ['c']}
    with pytest.raises(ValueError, match='--layout is given 2 times and --input 3 times'):
        parsed('--layout', 'trl', '--layout', 'kto', argv=argv)


@pytest.mark.parametrize(
    ('more', 'told'),
    [
        (['--position_column', 'a', '--position_column', 'b'], '--position_column is given more than once'),
        (['--scale', '10'], '--scale: 10: write two numbers with a colon between, such as 0:10'),
        (['--rating_column', 'a', '--rating_column', 'b'], 'there must be one for each of the generations'),
        (['--guidelines', 'a', '--guidelines_file', __file__], 'not allowed with argument --guidelines'),
        (['--guidelines_file', 'none.md'], "the file 'none.md' cannot be read"),
        (['--seed', '-1'], 'give a whole number'),
    ],
)
def test_mistakes_are_told_before_anything_is_read(more, told):
    with pytest.raises(ValueError, match=told):
        parsed(*more)


def test_inputs_of_two_layouts_are_seen_as_people_will_see_them(tmp_path, capfd):
    pq.write_table(pa.Table.from_pylist([ba.LAYOUTS['kto'].example]), tmp_path / 'kto.parquet')
    pairs = [
        ba.LAYOUTS['helpsteer2'].example,
        {**ba.LAYOUTS['helpsteer2'].example, 'response': 'Hi.', 'helpfulness': 2},
    ]
    (tmp_path / 'helpful.jsonl').write_text('\n'.join(json.dumps(row) for row in pairs))
    argv = ['--dataset', 'd', '--num_generations', '3', '--preview', '2', '--order', 'blind']
    inputs = [f'--input={tmp_path / "kto.parquet"}', f'--input={tmp_path / "helpful.jsonl"}']
    layouts = ['--layout', 'kto', '--layout', 'helpsteer2']
    assert parquet_to_argilla.main([*argv, *inputs, *layouts]) == 0
    printed = capfd.readouterr().out
    assert 'Read as kto' in printed
    assert 'Read as helpsteer2' in printed
    assert printed.count('Say hello.') == 1  # one instruction, of both
    assert 'suggested:\n    5' in printed
    assert 'generations-0-score' in printed
    assert 'correctness: 4' in printed
    assert 'rating ← helpfulness' in printed
    assert '1 record would be written' in printed


def test_layouts_are_listed_with_an_example_each(capfd):
    assert parquet_to_argilla.main(['--list_layouts']) == 0
    lines = capfd.readouterr().out.splitlines()
    assert len(lines) == 2 * len(ba.LAYOUTS)
    assert [line.split(':')[0] for line in lines[::2]] == list(ba.LAYOUTS)
    assert [json.loads(line) for line in lines[1::2]] == [layout.example for layout in ba.LAYOUTS.values()]


def test_every_option_is_heeded():
    """Each is looked up somewhere in the programs."""
    code = ''.join(path.read_text(encoding='utf-8') for path in (ROOT / 'pipelines').glob('*.py'))
    names = {action.dest for action in parquet_to_argilla.parser()._actions} - {'help', 'version'}
    unused = [name for name in names if f'args.{name}' not in code and not name.endswith('_column')]
    assert unused == []


def test_prompts_of_another_file(tmp_path, capsys):
    answers = [{'key': k, 'prompt_id': k, 'answer': f'to {k}'} for k in 'ab']
    prompts = [{'prompt_id': k, 'text': f'What is {k}?'} for k in 'ab']
    for name, rows in (('answers', answers), ('prompts', prompts)):
        (tmp_path / f'{name}.jsonl').write_text('\n'.join(map(json.dumps, rows)))
    argv = ['--input', str(tmp_path / 'answers.jsonl'), '--generation_column', 'answer', '--dataset', 'd']
    argv += ['--num_generations', '1', '--preview', '2', '--prompts', str(tmp_path / 'prompts.jsonl')]
    assert parquet_to_argilla.main([*argv, '--prompts_key', 'prompt_id', '--prompts_column', 'text']) == 0
    out = capsys.readouterr().out
    assert 'What is a?' in out
    assert 'to b' in out


def test_a_split_of_a_saved_folder(tmp_path, capsys):
    rows = {'instruction': ['q', 'r'], 'generation': ['a', 'b']}
    datasets.DatasetDict(
        {'train': datasets.Dataset.from_dict(rows), 'test': datasets.Dataset.from_dict(rows)}
    ).save_to_disk(tmp_path / 'saved')
    argv = ['--input', str(tmp_path / 'saved'), '--dataset', 'd', '--num_generations', '1', '--dry_run']
    assert parquet_to_argilla.main([*argv, '--split', 'test']) == 0
    assert '2 rows read' in capsys.readouterr().out
    assert parquet_to_argilla.main([*argv, '--split', 'dev']) == 2
    assert 'dev' in capsys.readouterr().err


def test_where_each_row_came_from_as_metadata(tmp_path, capsys):
    for name, answers in (('one', ['a', 'b']), ('two', ['c'])):
        rows = [{'instruction': 'q', 'generation': answer} for answer in answers]
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / f'{name}.parquet')
    argv = ['--input', str(tmp_path), '--dataset', 'd', '--num_generations', '3', '--preview', '1']
    assert parquet_to_argilla.main([*argv, '--source_metadata', 'file']) == 0
    out = capsys.readouterr().out
    assert 'file' in out
    assert all(f'{name}.parquet' in out for name in ('one', 'two'))
    assert parquet_to_argilla.main([*argv, '--source_metadata', 'generation']) == 2
    assert "The files have a column 'generation'" in capsys.readouterr().err
