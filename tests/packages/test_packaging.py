"""What people install: the wheel and the sdist, in a clean environment, used from a folder of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.runners.portability.stager import Stager

from tests.samples import rows

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.timeout(600)  # the four packages that ours stands on are installed


@pytest.fixture(scope='module')
def built(tmp_path_factory) -> tuple[Path, Path]:
    """The wheel and the sdist."""
    folder = tmp_path_factory.mktemp('built')
    done = subprocess.run([sys.executable, '-m', 'build', '--outdir', folder, ROOT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,), (sdist,) = folder.glob('*.whl'), folder.glob('*.tar.gz')
    return wheel, sdist


@pytest.fixture(scope='module')
def clean(built, tmp_path_factory) -> Path:
    """The scripts' folder of an environment in which only the wheel, and what it asks for, is installed."""
    folder = tmp_path_factory.mktemp('clean') / 'venv'
    subprocess.run([sys.executable, '-m', 'venv', folder], check=True)
    pip(folder / 'bin', built[0])
    return folder / 'bin'


def pip(scripts: Path, *what: str | Path) -> None:
    done = subprocess.run(
        [scripts / 'python', '-m', 'pip', 'install', '--quiet', '--no-compile', *what], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def elsewhere(tmp_path) -> Path:
    """A folder with some generations and a package called pipelines, as people have."""
    (tmp_path / 'pipelines').mkdir()
    (tmp_path / 'pipelines' / '__init__.py').write_text('OWNER = "somebody else"\n')
    pq.write_table(pa.Table.from_pylist(rows(5)), tmp_path / 'in.parquet')
    return tmp_path


def run(folder: Path, *command: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs it from the folder, with nothing of this test's environment but what every process has."""
    environment = {name: os.environ[name] for name in ('HOME', 'PATH', 'TMPDIR') if name in os.environ}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


DRY_RUN = ('--input', 'in.parquet', '--dataset', 'x', '--num_generations', '4', '--dry_run')


def modules() -> set[str]:
    """The modules of the checkout under the names that they are installed under."""
    ours = {str(p.relative_to(ROOT)) for p in (ROOT / 'beam_argilla').rglob('*.py')}
    return ours | {f'beam_argilla/pipelines/{p.name}' for p in (ROOT / 'pipelines').glob('*.py')}


def test_the_wheel_holds_the_package_alone_and_all_of_it(built):
    names = zipfile.ZipFile(built[0]).namelist()
    assert {n.split('/')[0] for n in names if '.dist-info/' not in n} == {'beam_argilla'}
    assert {n for n in names if n.endswith('.py')} == modules()
    assert {'beam_argilla/py.typed', 'beam_argilla/providers.yaml', 'beam_argilla/answers/report.html'} <= set(names)


def test_what_beam_builds_of_setup_py_for_its_workers_is_the_sdist(built, tmp_path):
    """`--setup_file ./setup.py` ships what workers import."""
    shipped = Stager._build_setup_package(str(ROOT / 'setup.py'), str(tmp_path))
    contents = []
    for path in (built[1], shipped):
        with tarfile.open(path) as archive:
            contents.append({name.split('/', 1)[-1] for name in archive.getnames() if name.endswith('.py')})
    assert contents[0] == contents[1]
    installed = {name.replace('pipelines/', 'beam_argilla/pipelines/') for name in contents[1] - {'setup.py'}}
    assert modules() <= installed


def test_the_sdist_holds_what_it_takes_to_build_it(built):
    with tarfile.open(built[1]) as archive:
        names = {name.split('/', 1)[-1] for name in archive.getnames()}
    assert {'setup.py', 'pyproject.toml', 'README.md', 'LICENSE'} <= names
    assert {str(p.relative_to(ROOT)) for p in [*(ROOT / 'pipelines').glob('*.py')]} <= names


@pytest.mark.parametrize('from_sdist', [False, True], ids=['wheel', 'sdist'])
def test_the_scripts_run_beside_a_pipelines_folder_of_somebody_elses(built, clean, elsewhere, from_sdist):
    if from_sdist:  # as workers install what --setup_file ships
        pip(clean, '--no-deps', '--force-reinstall', built[1])
    # Worker processes: what they unpickle, they import from what is installed.
    workers = ('--direct_running_mode', 'multi_processing', '--direct_num_workers', '2')
    done = run(elsewhere, clean / 'parquet-to-argilla', *DRY_RUN, *workers)
    assert (done.returncode, done.stderr) == (0, '')
    assert '20 rows read, 5 groups\n5 records would be written' in done.stdout
    theirs = run(elsewhere, clean / 'python', '-c', 'import pipelines; print(pipelines.OWNER)')
    assert theirs.stdout == 'somebody else\n'
    done = run(elsewhere, clean / 'argilla-local', '--help')
    assert done.stdout.startswith('usage: argilla-local')
    done = run(elsewhere, clean / 'argilla-local')
    assert (done.returncode, done.stdout) == (2, '')
    assert 'pip install "beam-argilla[local]"' in done.stderr


ALL_FOUR = """
import json
import apache_beam as beam, argilla as rg, datasets, pandas, pyarrow.parquet as pq
import beam_argilla as ba

table = pq.read_table('in.parquet')
datasets.Dataset(table).to_json('in.jsonl')
datasets.Dataset(table).to_parquet('again.parquet')
with beam.Pipeline(runner='FnApiRunner') as p:
    rows = p | beam.io.ReadFromJson('in.jsonl')  # needs a pandas that Beam knows
    _ = rows | beam.Map(lambda row: json.dumps([row.instruction, row.generation])) | beam.io.WriteToText('rows')
    read = p | ba.ReadGenerations('again.parquet', ba.Columns(instruction_id='instruction_id'))
    records = read | ba.GroupGenerations() | ba.BuildRecords(ba.Preference(4))
    _ = records | 'Ids' >> beam.Map(lambda r: r.external_id) | 'Write' >> beam.io.WriteToText('ids')
settings = ba.Preference(4).settings().to_argilla()
assert isinstance(settings, rg.Settings)
print([field.name for field in settings.fields])
"""


def test_the_four_packages_work_together(clean, elsewhere):
    done = run(elsewhere, clean / 'python', '-c', ALL_FOUR)
    assert done.returncode == 0, done.stderr
    assert done.stdout == str(['id', 'instruction', *(f'generations-{i}' for i in range(4))]) + '\n'
    lines = [json.loads(line) for f in elsewhere.glob('rows-*') for line in f.read_text().splitlines()]
    assert sorted(lines) == sorted([r['instruction'], r['generation']] for r in rows(5))
    ids = [line for f in elsewhere.glob('ids-*') for line in f.read_text().splitlines()]
    assert sorted(ids) == [f'i{g:04d}' for g in range(5)]


PIPELINE = """
providers:
{% include 'beam_argilla/providers.yaml' %}
pipeline:
  type: chain
  transforms:
    - {type: ReadGenerations, config: {path: in.parquet, columns: {instruction_id: instruction_id}}}
    - {type: GroupGenerations, config: {max_generations: 4}}
    - {type: WriteToJson, config: {path: groups}}
"""


def test_a_pipeline_in_yaml_finds_the_steps_that_are_installed(built, clean, elsewhere):
    pip(clean, f'{built[0]}[yaml]')
    (elsewhere / 'groups.yaml').write_text(PIPELINE)
    command = [clean / 'python', '-m', 'apache_beam.yaml.main', '--yaml_pipeline_file=groups.yaml']
    done = run(elsewhere, *command, '--runner=FnApiRunner')
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for f in elsewhere.glob('groups-*') for line in f.read_text().splitlines()]
    assert sorted(line['instruction_id'] for line in lines) == [f'i{g:04d}' for g in range(5)]


def test_a_worker_that_writes_imports_neither_argilla_nor_datasets(argilla_server):
    code = f"""
import os, sys
import apache_beam as beam
import beam_argilla as ba
os.environ['ARGILLA_API_KEY'] = {argilla_server.api_key!r}
rows = [dict(instruction='q', generation='a', model_name='m', rating=4)]
with beam.Pipeline(runner='FnApiRunner') as p:  # whose worker is this process
    connection = ba.ArgillaConnection({argilla_server.api_url!r})
    write = ba.WriteToArgilla('worker', task=ba.Preference(2), columns=ba.Columns(), connection=connection)
    _ = p | beam.Create(rows) | write
assert ba.counters(p.result)['records_created'] == 1
print(sorted({{'argilla', 'datasets'}} & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, '[]\n'), done.stderr
