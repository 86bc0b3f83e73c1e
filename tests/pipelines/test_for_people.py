"""What a person sees of the programs: answers at once, and no line of Beam's or an engine's own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines import messages, options
from tests.samples import rows, unique

PRISM = shutil.which('prism')
RUNNERS = {
    'none named': [],
    'FnApiRunner': ['--runner=FnApiRunner'],
    'multi-processing': ['--direct_running_mode=multi_processing', '--direct_num_workers=2'],
    'Prism': ['--runner=PrismRunner', f'--prism_location={PRISM}'],
}
ENGINES = [
    pytest.param(
        options, id=name, marks=pytest.mark.skipif(name == 'Prism' and PRISM is None, reason='no prism on the PATH')
    )
    for name, options in RUNNERS.items()
]


@pytest.fixture
def file(tmp_path) -> str:
    pq.write_table(pa.Table.from_pylist(rows(30)), tmp_path / 'in.parquet')
    return str(tmp_path / 'in.parquet')


@pytest.fixture
def run(argilla_server, tmp_path):
    """Runs the program as a process; its temporary files are in ``tmp_path / 'temporary'``."""
    folder = tmp_path / 'temporary'
    folder.mkdir()

    def run(*argv: str, **environment: str) -> tuple[int, str, str]:
        server = {'ARGILLA_API_URL': argilla_server.api_url, 'ARGILLA_API_KEY': argilla_server.api_key}
        command = [sys.executable, '-m', 'pipelines.parquet_to_argilla', '--num_generations', '4', *argv]
        env = {**os.environ, **server, 'TMPDIR': str(folder), **environment}
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=env)
        assert list(folder.glob('beam-[ap]*')) == []  # nothing is left, however it ends
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.mark.parametrize('engine', ENGINES)
def test_a_job_that_works_says_what_it_did_and_where_it_is_and_nothing_else(run, file, engine, argilla_server):
    elements = [*rows(3), {**rows(1)[0], 'generation': None}, {**rows(4)[-1], 'rating': 9}]
    pq.write_table(pa.Table.from_pylist(elements), file)
    failed = f'{file}-failed'
    status, out, err = run('--input', file, '--dataset', unique('said'), '--failed', failed, *engine)
    assert (status, err) == (0, '')
    assert out.splitlines()[:4] == [
        'Left out of ' + out.splitlines()[0].removeprefix('Left out of '),
        '14 rows read, 4 groups',
        '1 suggestion or metadata left out',
        '4 records written: 4 created, 0 updated',
    ]
    assert "rating '9' of generations-0 is not one of 1, 2, 3, 4, 5: not suggested" in out.splitlines()[0]
    assert out.splitlines()[4] == '1 refused: NullGeneration 1'
    assert out.splitlines()[-2:] == [f'What was refused, and why: {failed}-*.jsonl', out.splitlines()[-1]]
    assert re.fullmatch(rf'The dataset: {argilla_server.api_url}/dataset/\S+/annotation-mode', out.splitlines()[-1])


@pytest.mark.parametrize('engine', [ENGINES[0], *ENGINES[2:]])
def test_a_dry_run_shows_a_record_and_some_refusals(run, file, engine):
    pq.write_table(pa.Table.from_pylist([*rows(3), {**rows(1)[0], 'generation': None}]), file)
    status, out, err = run('--input', file, '--dataset', 'x', '--dry_run', *engine, ARGILLA_API_URL='')
    assert (status, err) == (1, '')
    assert 'The first record as it would be sent:\n{\n  "external_id": "' in out
    assert re.search(r'Refused: [0-9a-f]{64}: NullGeneration: The generation is null', out)
    assert (
        '13 rows read, 3 groups\n3 records would be written (dry run: nothing was)\n1 refused: NullGeneration 1' in out
    )


@pytest.mark.parametrize('engine', [engine for engine in ENGINES if engine.id != 'FnApiRunner'])  # the same as if none
def test_what_is_refused_is_told_in_one_line(run, file, engine):
    pq.write_table(pa.Table.from_pylist([*rows(3), {**rows(1)[0], 'generation': None}]), file)
    status, out, err = run('--input', file, '--dataset', unique('refused'), *engine)
    assert (status, out) == (1, '')
    assert re.fullmatch(r'error: NullGeneration: The generation is null .*give the program --failed PREFIX\.\n', err)


def test_a_wrong_key_and_a_dead_server_are_told_before_the_job(run, file):
    engine = ['--runner=FnApiRunner']  # named or not
    status, out, err = run('--input', file, '--dataset', 'x', ARGILLA_API_KEY='wrong.key')
    assert (status, out) == (2, '')
    assert re.fullmatch(r'error: \S+ does not know the API key\. .*\n', err)
    status, out, err = run('--input', file, '--dataset', 'x', *engine, ARGILLA_API_URL='http://127.0.0.1:9')
    assert (status, out) == (2, '')
    assert re.fullmatch(r'error: http://127\.0\.0\.1:9 gave no usable answer .*\n', err)


@pytest.mark.parametrize('crashes', [False, True], ids=['works', 'crashes'])
def test_a_crash_is_shown_with_all_that_was_said(file, crashes):
    """It is no message to a person, and whoever mends it needs everything."""
    code = f"""
import os
from pipelines import messages, parquet_to_argilla
messages.quieten()
from pipelines import load

def run(*_):
    os.write(2, b'an engine says something, ')
    return 1 / 0 if {crashes} else 0

load.run = run
parquet_to_argilla.command()
"""
    argv = ['--input', file, '--dataset', 'x', '--num_generations', '4', '--dry_run']
    env = {name: value for name, value in os.environ.items() if name != 'ARGILLA_API_URL'}
    done = subprocess.run([sys.executable, '-c', code, *argv], capture_output=True, text=True, env=env)
    if crashes:
        assert done.returncode == 1
        assert re.match(r'an engine says something, Traceback .*ZeroDivisionError: division by zero', done.stderr, re.S)
    else:
        assert (done.returncode, done.stderr) == (0, '')


def test_this_packages_warnings_go_on_to_the_person_those_of_worker_processes_as_well():
    code = """
import logging
from pipelines import messages
messages.quieten()
import apache_beam
def worker(message, file):
    logging.getLogger('apache_beam.runners.portability.local_job_service').warning(
        f'Worker: severity: WARN message: "{message}" log_location: "/site-packages/{file}:3"')
with messages.beam_aside():
    logging.getLogger('beam_argilla.writing.sink').warning('Argilla: %d, sent again', 503)
    logging.getLogger('apache_beam.runners').warning('not for people')
    worker('A worker, too', 'beam_argilla/writing/sink.py')
    worker('not for people', 'apache_beam/runners/worker/sdk_worker.py')
"""
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, 'Argilla: 503, sent again\nA worker, too\n')


def interrupted(_: object) -> None:
    raise KeyboardInterrupt


def test_ctrl_c_is_known_whatever_beam_makes_of_it():
    with pytest.raises(BaseException) as raised, beam.Pipeline(runner='FnApiRunner') as p:
        _ = p | beam.Create([1]) | beam.Map(interrupted)
    assert messages.is_interrupt(raised.value)
    assert not messages.is_interrupt(ValueError('KeyboardInterrupt'))


def test_a_closed_standard_error_stops_nothing(file):
    argv = ['--input', file, '--dataset', 'x', '--num_generations', '4', '--dry_run']
    program = f'{sys.executable} -m pipelines.parquet_to_argilla'
    env = {name: value for name, value in os.environ.items() if name != 'ARGILLA_API_URL'}
    done = subprocess.run(['sh', '-c', f'{program} "$@" 2>&-', 'sh', *argv], capture_output=True, text=True, env=env)
    assert done.returncode == 0
    assert '30 records would be written' in done.stdout


# -- answers at once

LIGHT = """
import sys, types
from pipelines import parquet_to_argilla
# What comes once it is known that there is something to do.
sys.modules['pipelines.load'] = types.SimpleNamespace(load=lambda args, beam_args, aside: 0)
status = parquet_to_argilla.main(sys.argv[1:])
heavy = {'apache_beam', 'pyarrow', 'numpy', 'argilla', 'datasets', 'httpx'} & sys.modules.keys()
print(status, sorted(heavy))
"""
GOOD = ('--input', 'in', '--dataset', 'x', '--num_generations', '4', '--dry_run')


@pytest.mark.parametrize(
    ('argv', 'status', 'message'),
    [
        (['--help'], 0, ''),
        (['--dataset', 'x'], 2, '--input is missing'),
        ([*GOOD, '--num_generation', '4'], 2, 'did you mean --num_generations'),
        ([*GOOD, '--runer', 'x'], 2, 'did you mean --runner'),
        ([*GOOD, '--runner=x', 'stray'], 2, 'a word that belongs to no option'),
        ([*GOOD, '--ratings', '1'], 2, 'Rating values [1]: give 2 to 11'),
        ([*GOOD, '--ratings', 'a'], 2, 'write whole numbers with commas'),
        ([*GOOD, '--min_generations', '5'], 2, 'min_generations=5 is more than the 4'),
        ([*GOOD, '--num_partitions', '0'], 2, 'at least 1'),
        ([*GOOD, '--max_parallelism', '-1'], 2, 'at least 1'),
        ([*GOOD, '--header', 'x'], 2, 'write NAME=ENV'),
        ([*GOOD, '--api_url', 'localhost'], 2, 'give the address of a server'),
        (
            [*GOOD, '--api_url', 'http://localhost', '--ca_file', 'f'],
            2,
            'ca_file means nothing to http://localhost',
        ),
        ([*GOOD, '--workspace', ''], 2, 'workspace is empty'),
        ([*GOOD, '--rationale_column', 'instruction'], 2, "both name the column 'instruction'"),
        ([*GOOD, '--metadata_column', 'm', '--metadata_column', 'm'], 2, "A second metadata property is called 'm'"),
        ([*GOOD, '--task', 'text_generation'], 2, 'means nothing to --task text_generation'),
        ([*GOOD, '--guidelines', ''], 2, 'The guidelines have 0 characters'),
        ([*GOOD, '--guidelines', '@none.md'], 2, "--guidelines: the file 'none.md' cannot be read: No such file"),
        ([*GOOD, '--num_generations', 'four'], 2, 'error: --num_generations: four: give a whole number, at least 1\n'),
        ([*GOOD, '--task', 'rank'], 2, "error: --task: invalid choice: 'rank'"),
        ([*GOOD, '--dataset=y'], 2, 'error: --dataset is given more than once, and takes one value.\n'),
        ([*GOOD, '--input', 'more'], 0, ''),
        (['--input', 'in'], 2, 'error: --dataset is missing'),
        (['--version'], 0, ''),
        ([*GOOD[:-1], '--api_url', 'http://h', '--overflow', 'truncate'], 2, 'give --failed as well'),
        ([*GOOD, '--runner', 'FlinkRunner', '--num_generation', '4'], 2, 'did you mean --num_generations'),
        ([*GOOD, '--runner=SparkRunner', '--spark.executor', '4'], 0, ''),
        ([*GOOD, '--flink_conf_dir', 'd'], 2, '--flink_conf_dir is not an option'),
        ([*GOOD, '--spill_location', 'd', '--no_spill'], 2, '--no_spill contradicts --spill_location'),
    ],
    ids=lambda value: ' '.join(value[-2:]) if isinstance(value, list) else '',
)
def test_help_and_mistakes_need_nothing_heavy(argv, status, message):
    env = {name: value for name, value in os.environ.items() if not name.startswith('ARGILLA_')}
    done = subprocess.run([sys.executable, '-c', LIGHT, *argv], capture_output=True, text=True, env=env)
    assert done.stdout.splitlines()[-1] == f'{status} []', done.stderr
    assert message in done.stderr
    assert 'Traceback' not in done.stderr
    assert len(done.stderr.splitlines()) == bool(message)


def test_beams_options_are_known_without_importing_beam():
    names = set()

    class Names:
        def add_argument(self, *flags, **_):
            names.update(flag for flag in flags if flag.startswith('-'))

        add_value_provider_argument = add_argument

        def add_argument_group(self, *_, **__):
            return self

        add_mutually_exclusive_group = add_argument_group

    for kind in PipelineOptions.__subclasses__():
        if kind.__module__ == PipelineOptions.__module__:  # others may have been imported by now, such as YAML's
            kind._add_argparse_args(Names())
    assert names <= options.beam_options()
    assert len(options.beam_options() - names) < 20  # old names in messages and comments
