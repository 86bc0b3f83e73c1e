"""What a person sees of the program with a dataset of the Hub as its input."""

from __future__ import annotations

import json
import re

import pytest

from pipelines import parquet_to_argilla

QUESTIONS = [{'question_id': i, 'turns': [f'Question {i}?']} for i in range(2)]
ANSWERS = [
    {'question_id': i, 'model_id': model, 'choices': [{'index': 0, 'turns': [f'{model} says {i}']}]}
    for i in range(2)
    for model in 'ab'
]


@pytest.fixture
def run(hub, capfd):
    def run(*argv: str) -> tuple[int, str, str]:
        status = parquet_to_argilla.main(['--dataset', 'd', '--num_generations', '2', '--dry_run', *argv])
        return status, *capfd.readouterr()

    return run


def test_answers_and_their_prompts_are_read_from_there(hub, run):
    contents = {'answers/a.jsonl': ANSWERS, 'questions.jsonl': QUESTIONS}
    files = {name: '\n'.join(map(json.dumps, rows)).encode() for name, rows in contents.items()}
    hub.dataset('owner/bench', files)
    place = 'hf://datasets/owner/bench'
    status, out, err = run('--input', f'{place}@main/answers', '--prompts', f'{place}/questions.jsonl')
    assert err == ''
    assert (status, 'Question 0?' in out or 'Question 1?' in out) == (0, True)
    assert '2 records would be written' in out


def test_a_file_that_cannot_be_read_is_told_in_a_line(hub, run):
    hub.dataset('owner/bench', {f'{i}.jsonl': json.dumps(ANSWERS[0]).encode() for i in range(2)})
    hub.faults = {'file': ['ok', *['500'] * 100]}
    status, out, err = run('--input', 'hf://datasets/owner/bench')
    assert (status, out) == (2, '')
    lines = [line for line in err.splitlines() if not re.match('HTTP Error 500 thrown|Retrying in', line)]
    (line,) = lines
    assert re.fullmatch(rf'error: hf://.*/[01]\.jsonl cannot be read: {hub.url} answers 500\. Try again later\.', line)


def test_what_is_not_there_is_told_in_a_line(hub, run):
    status, out, err = run('--input', 'hf://datasets/owner/bench')
    assert (status, out) == (2, '')
    assert re.fullmatch(rf'.*There is no dataset owner/bench on {hub.url}, or it is private: .* HF_TOKEN.*\n', err)
