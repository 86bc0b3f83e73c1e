"""The pipelines that are there to be copied, run as people do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

from tests.answers.people import Person, record_ids
from tests.samples import rows, unique

ROOT = Path(__file__).parents[2]
RUNNER = 'apache_beam.runners.portability.fn_api_runner.FnApiRunner'  # which downloads nothing


def run(name: str, server, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs a pipeline of ours."""
    environment = {'ARGILLA_API_URL': server.api_url, 'ARGILLA_API_KEY': server.api_key}
    file, given = f'--yaml_pipeline_file=pipelines/{name}', f'--jinja_variables={json.dumps(variables)}'
    command = [sys.executable, '-m', 'apache_beam.yaml.main', file, given, f'--runner={RUNNER}']
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True)


def test_from_parquet_to_people_and_back(tmp_path, argilla_server, api):
    elements = [{**row, 'prompt': row['instruction']} for row in rows(3)]
    elements[0]['prompt'] = None
    pq.write_table(pa.Table.from_pylist(elements), tmp_path / 'in.parquet')
    name = unique('yaml')
    done = run(
        'parquet_to_argilla.yaml',
        argilla_server,
        input=f'{tmp_path}/*.parquet',
        dataset=name,
        failed=f'{tmp_path}/failed',
    )
    assert done.returncode == 0, done.stderr
    (failed,) = (line for file in tmp_path.glob('failed-*') for line in file.read_text().splitlines())
    assert json.loads(failed)['error'] == 'EmptyInstruction'
    ids = record_ids(api, name)
    assert len(ids) == 3

    person = Person(api, unique('reader'))
    for record in ids.values():
        person.answers(record, {'generations-0-rating': 5, 'generations-1-rating': 1})
    person.close()
    done = run('argilla_to_parquet.yaml', argilla_server, dataset=name, output=f'{tmp_path}/dpo')
    assert done.returncode == 0, done.stderr
    pairs = datasets.load_dataset('parquet', data_files=f'{tmp_path}/dpo-*', cache_dir=tmp_path, split='train')
    assert sorted(zip(pairs['chosen'], pairs['rejected'], strict=True))[-1] == ('beta says 1.', 'delta says 1.')
