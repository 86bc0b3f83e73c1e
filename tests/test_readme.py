"""What the README says to copy works, as it stands there, from the first block to the last."""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import argilla as rg
import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import beam_argilla.local
from beam_argilla.local import commands
from pipelines import argilla_to_parquet, demo, options, parquet_to_argilla
from tests.answers.people import Person, record_ids
from tests.samples import rows, unique

ROOT = Path(__file__).parents[1]
README = (ROOT / 'README.md').read_text(encoding='utf-8')
BLOCKS = re.findall(r'^```(python|bash|yaml)\n(.*?)^```$', README, re.DOTALL | re.MULTILINE)
# What the reader puts something else for, or has installed.
RUNNER = 'apache_beam.runners.portability.fn_api_runner.FnApiRunner'
PROGRAM = ''.join(
    f'{module.replace("_", "-")}() {{ {sys.executable} -m pipelines.{module} "$@"; }}\n'
    for module in ('parquet_to_argilla', 'argilla_to_parquet')
)
PROGRAM += f'python() {{ {sys.executable} "$@" --runner={RUNNER}; }}\n'  # of a module of Beam's
PROGRAM += f'argilla-local() {{ {sys.executable} -m beam_argilla.local "$@"; }}\n'


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    """A folder with the files that the blocks read; what they say is a bucket is a folder in it."""
    folder = tmp_path_factory.mktemp('readme')
    table = pa.Table.from_pylist(rows(3)).append_column('prompt_id', pa.array([f'p{i // 4}' for i in range(12)]))
    table = table.append_column('prompt', table.column('instruction'))
    for path in ('bucket', 'runs/model_name=gpt%2D4', 'runs/model_name=llama'):
        (folder / path).mkdir(parents=True)
    pq.write_table(table, folder / 'bucket' / 'generations-0.parquet')
    halves = (table.filter(pa.array([i % 2 == half for i in range(12)])) for half in (0, 1))
    for name in ('gpt%2D4', 'llama'):
        pq.write_table(next(halves).drop_columns(['model_name']), folder / f'runs/model_name={name}/part-0.parquet')
    pairs = pa.Table.from_pylist(rows(3, generations=2))
    pq.write_table(pairs, folder / 'generations-0.parquet')
    pair = {'chosen_model': 'gpt-4', 'score_chosen': 8.5, 'score_rejected': 2}
    lines = [{'prompt': f'q{i}', 'chosen': 'yes', 'rejected': 'no', **pair} for i in range(5)]
    (folder / 'pairs.jsonl').write_text(''.join(json.dumps(line) + '\n' for line in lines))
    (folder / 'days').mkdir()
    line = json.dumps({'prompt': 'q', 'answer': 'of today'})
    (folder / 'days' / 'today.jsonl.gz').write_bytes(gzip.compress(f'{line}\n'.encode()))
    (folder / 'old-answers.csv').write_text('prompt,answer\nq,of old\n')
    return folder


@pytest.fixture
def made_demo(run, api, capfd) -> None:
    """What `make demo` makes, of which somebody has answered a record."""
    assert demo.main(['--exit']) == 0
    assert 'Log in' not in capfd.readouterr().out  # it serves no longer
    reader = Person(api, unique('reader'))
    reader.answers(record_ids(api, 'demo')['q-000'], {'generations-0-rating': 5, 'generations-1-rating': 1})
    reader.close()


@pytest.fixture
def run(folder, argilla_server, hub, monkeypatch, capfd):
    """Runs a block in the folder, and returns what it prints."""
    pairs = folder / 'pairs.parquet'
    pq.write_table(pa.Table.from_pylist([beam_argilla.LAYOUTS['ultrafeedback_binarized'].example]), pairs)
    published = {'README.md': b'#', 'data/train_prefs-00000-of-00001.parquet': pairs.read_bytes()}
    hub.dataset('HuggingFaceH4/ultrafeedback_binarized', published)
    monkeypatch.chdir(folder)
    monkeypatch.setenv('ARGILLA_API_KEY', argilla_server.api_key)
    monkeypatch.setenv('PYTHONPATH', str(ROOT))
    monkeypatch.setattr(beam_argilla.local, 'serve', lambda *_: contextlib.nullcontext(argilla_server))
    monkeypatch.setattr(datasets.config, 'HF_DATASETS_CACHE', folder / 'cache')
    instead = {
        'gs://bucket': str(folder / 'bucket'),
        'https://argilla.example': argilla_server.api_url,
        'http://localhost:6900': argilla_server.api_url,
        '--home team': f'--home {argilla_server.home}',
        'ARGILLA_API_KEY=...': f'ARGILLA_API_KEY={argilla_server.api_key}',
        "'beam_argilla/providers.yaml'": f"'{ROOT}/beam_argilla/providers.yaml'",
        'beam.Pipeline()': f'beam.Pipeline({RUNNER!r})',  # which downloads nothing
    }

    def run(language: str, block: str) -> str:
        for what, other in instead.items():
            block = block.replace(what, other)
        if language == 'python':
            exec(compile(block, 'README.md', 'exec'), {'__name__': 'readme'})
        elif language == 'yaml':  # a file that is called as its first line says
            (folder / block.split()[1]).write_text(block)
        else:
            done = subprocess.run(['bash', '-ec', PROGRAM + block], check=True, stdout=subprocess.PIPE, text=True)
            print(done.stdout)
        return capfd.readouterr().out

    return run


@pytest.mark.timeout(600)  # it runs every program, a job for each block
def test_every_block_runs_as_it_stands_there(run, made_demo, sdk):
    made_by_others = beam_argilla.Preference(num_generations=2).settings().to_argilla()
    dataset = rg.Dataset('made-by-distilabel', workspace='default', settings=made_by_others, client=sdk).create()
    instruction = rows(1)[0]['instruction']
    texts = {'id': sha256(instruction.encode()).hexdigest(), 'instruction': instruction, 'generations-0': 'one'}
    dataset.records.log([rg.Record(fields=texts)])
    said = [run(language, block) for language, block in BLOCKS if not block.startswith('make ')]
    (pair,) = (printed for printed in said if "'chosen_score'" in printed)  # of the demo
    assert "'chosen_score': 5.0, 'rejected_score': 1.0" in pair
    assert any('ann can log in' in printed and 'again is empty' in printed for printed in said)

    def count(name: str) -> int:
        return len(list(sdk.datasets(name).records))

    assert count('ultrafeedback') == 6  # those of the first block, and those of the program, by another id
    assert count('answers') == 1
    assert [r.fields['generation'] for r in sdk.datasets('clean-answers').records] == ['Hello!']
    assert count('from-yaml') == 3
    assert count('hello') == 1000
    assert count('pairs') == 5
    assert {dict(r.metadata).get('topic') for r in sdk.datasets('hello').records} == {'greetings'}
    assert count('made-by-distilabel') == 3


def test_what_is_made_can_be_made():
    targets = set(re.findall(r'^(\w+):', (ROOT / 'Makefile').read_text(encoding='utf-8'), re.MULTILINE))
    made = {word for _, block in BLOCKS for word in re.findall(r'^make (\w+)', block, re.MULTILINE)}
    assert made == {'demo', 'test'}
    assert made | set(re.findall(r'`make (\w+)`', README)) <= targets


def test_every_option_that_is_named_is_one():
    programs = (parquet_to_argilla.parser(), argilla_to_parquet.parser(), commands.parser())
    known = options.beam_options() | {name for p in programs for action in p._actions for name in action.option_strings}
    known |= {'--flink_conf_dir', '--checkpointing_interval', '--finish_bundle_before_checkpointing'}  # of job servers
    known |= {'--exit', '--sdist', '--yaml_pipeline_file'}  # of the demo, of build, and of Beam YAML
    known |= {'--config', '--image', '--location', '--parameters', '--substitutions'}  # of gcloud
    assert set(re.findall(r'(?<![\w-])--[a-z_]+(?![\w-])', README)) - known == set()
