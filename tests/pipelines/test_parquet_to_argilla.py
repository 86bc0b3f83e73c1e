"""The main program and the demo, as a person runs them."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import random
import re
import subprocess
import sys
from hashlib import sha256

import argilla as rg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import beam_argilla as ba
from beam_argilla.failures import failed_rows
from pipelines import demo, load, options, parquet_to_argilla
from tests.answers.people import Person, record_ids
from tests.demonstration import demonstration
from tests.samples import rows, unique


@pytest.fixture
def server(argilla_server, monkeypatch):
    monkeypatch.setenv('ARGILLA_API_URL', argilla_server.api_url)
    monkeypatch.setenv('ARGILLA_API_KEY', argilla_server.api_key)
    return argilla_server


@pytest.fixture
def files(tmp_path) -> str:
    elements = rows(30)
    random.Random(0).shuffle(elements)
    for i in range(3):
        pq.write_table(pa.Table.from_pylist(elements[i::3]), tmp_path / f'in-{i}.parquet')
    return str(tmp_path / 'in-*.parquet')


@pytest.fixture
def run(capfd):
    """Runs the program; returns exit status, standard output and standard error."""

    def run(*argv: str) -> tuple[int, str, str]:
        capfd.readouterr()
        try:
            status = parquet_to_argilla.main(argv)
        except SystemExit as e:  # argparse
            status = e.code
        out, err = capfd.readouterr()
        return status, out, err

    return run


BASE = ('--num_generations', '4', '--instruction_id_column', 'instruction_id')


def records(server, name):
    client = rg.Argilla(api_url=server.api_url, api_key=server.api_key)
    return {r.id: r for r in client.datasets(name).records(with_suggestions=True)}


def test_it_fills_a_dataset_and_says_so_and_sends_again_only_what_has_changed(server, files, run):
    name = unique('program')
    metadata = ('--metadata_column', 'topic', '--metadata_column', 'length', '--metadata_column', 'share')
    job = ('--input', files, '--dataset', name, *BASE, *metadata, '--namespace', 'n', '--skip_unchanged')
    status, out, err = run(*job)
    assert (status, err) == (0, '')
    assert '120 rows read, 30 groups\n30 records written: 30 created, 0 updated\n0 refused\n  read   120 rows ' in out
    assert re.search(r'\d+\.\d seconds\nThe dataset: ' + re.escape(server.api_url) + '/dataset/.*/annotation-mode', out)
    written = records(server, name)
    assert set(written) == {f'n/i{g:04d}' for g in range(30)}
    # The types of the metadata are those of the files.
    assert dict(written['n/i0003'].metadata) == {'topic': 'counting', 'length': 3, 'share': 0.375}
    status, out, _ = run(*job)
    assert status == 0
    assert '0 records written: 0 created, 0 updated\n30 unchanged, so not sent\n' in out


def test_a_summary_for_programs_is_written_also_of_what_fails(server, spoilt, run, tmp_path):
    path = tmp_path / 'new' / 'summary.json'
    name = unique('program')
    job = ('--input', spoilt, '--dataset', name, *BASE, '--summary', str(path))
    status, out, _ = run(*job, '--failed', str(tmp_path / 'failed'))
    told = json.loads(path.read_text())
    assert (told['status'], told['error'], told['complete']) == (status, None, True) == (0, None, True)
    assert (told['dataset'], told['workspace'], told['dry_run']) == (name, 'default', False)
    assert (told['rows_read'], told['records_created'], told['warnings']) == (13, 2, 1)
    assert told['refused'] == {'InstructionConflict': 1, 'NullGeneration': 1}
    assert f'The dataset: {told["datasets"][0]}\n' in out

    status, _, err = run(*job)  # in the place of the first
    told = json.loads(path.read_text())
    assert (told['status'], told['complete'], told['rows_read']) == (status, False, 13) == (1, False, 13)
    assert err == f'error: {told["error"]}\n'
    assert told['num_refused'] > 0

    status, _, err = run(*job, '--summary=', '--dry_run', '--failed', str(tmp_path / 'failed'))
    assert (status, 'is given more than once' in err) == (2, True)
    status, _, err = run(*job[:-1], f'{spoilt}/summary.json')
    assert status == 2
    assert re.match(r'error: The summary cannot be written to .*\(--summary\)', err)


def test_an_unknown_option_is_told_without_its_value(server, files, run):
    status, _, err = run('--input', files, '--dataset', unique('x'), *BASE, '--api_key', 'hf_secret')
    assert status == 2
    assert 'did you mean --api_key_env' in err
    assert 'hf_secret' not in err


def test_text_generation_of_what_a_shell_makes_of_a_pattern(server, files, run):
    name, matched = unique('program'), sorted(glob.glob(files))
    status, out, _ = run('--input', *matched, '--dataset', name, '--task', 'text_generation', '--model_names')
    assert status == 0
    assert '120 rows read, 30 groups' in out
    assert '120 records written' in out
    assert {dict(r.metadata)['model_name'] for r in records(server, name).values()} == {
        'alpha',
        'beta',
        'gamma',
        'delta',
    }


@pytest.fixture
def spoilt(tmp_path) -> str:
    other = {**rows(1)[0], 'instruction': 'other', 'generation': 'o'}
    elements = [*rows(3)[1:], other, {**rows(2)[4], 'generation': None}]
    elements[-3] = {**elements[-3], 'rating': 9}
    pq.write_table(pa.Table.from_pylist(elements), tmp_path / 'spoilt.parquet')
    return str(tmp_path / 'spoilt.parquet')


def test_without_a_place_for_failures_the_first_one_stops_it(server, spoilt, run):
    status, _, err = run('--input', spoilt, '--dataset', unique('program'), *BASE)
    assert status == 1
    where = re.escape(f'({spoilt}, row 12 counted from 0)')
    assert re.match(rf'error: (NullGeneration: .*{where}|InstructionConflict: ).*--failed PREFIX', err)
    assert 'Traceback' not in err


def test_a_dry_run_shows_what_would_be_sent_and_writes_nothing(spoilt, run, monkeypatch):
    monkeypatch.delenv('ARGILLA_API_URL', raising=False)  # it needs no server
    status, out, _ = run('--input', spoilt, '--dataset', 'never', *BASE, '--dry_run')
    assert status == 1  # something is refused, and goes nowhere
    shown, _, rest = out[out.index('The first record') :].partition('\n}\n')
    record = json.loads(shown.split('\n', 1)[1] + '}')
    assert record['external_id'] == 'i0001'
    assert record['fields']['generations-3'] == 'gamma says 2.'
    assert '2 records would be written (dry run: nothing was)' in rest
    assert 'Refused: i0000: InstructionConflict: ' in out
    assert '2 refused: InstructionConflict 1, NullGeneration 1' in rest


def test_what_is_shown_costs_no_shuffle(server, spoilt):
    def shuffles(*more: str) -> int:
        argv = ['--input', spoilt, '--dataset', unique('never'), *BASE, *more]
        args, beam_args = options.parse(parquet_to_argilla.parser(), argv)
        with contextlib.ExitStack() as tidying:
            _, p = load.prepare(args, beam_args, tidying)
            transforms = p.to_runner_api().components.transforms.values()
        return sum(transform.spec.urn == 'beam:transform:group_by_key:v1' for transform in transforms)

    assert shuffles('--dry_run') == shuffles('--preview', '3', '--failed', 'f') <= shuffles()


def test_a_dry_run_leaves_what_earlier_runs_have_refused(spoilt, run, tmp_path, monkeypatch):
    monkeypatch.delenv('ARGILLA_API_URL', raising=False)
    line = failed_rows([{'instruction': 'q', 'generation': None}], 'format', 'NullGeneration', 'm', 'i', 'input')
    before = tmp_path / 'f-20260101T000000000000-0a0a0a0a.jsonl'
    before.write_text(line.to_json())
    place = ('--failed', str(tmp_path / 'f'))
    for again in ((), ('--retry_failed', str(tmp_path / 'f'))):
        status, out, err = run('--input', spoilt, '--dataset', 'never', *BASE, '--dry_run', *place, *again)
        assert (status, err) == (0, '')
        assert 'Refused: i0000: InstructionConflict: ' in out
        assert 'What was refused, and why' not in out
        assert [path.name for path in tmp_path.glob('f*')] == [before.name]
        assert before.read_text() == line.to_json()


def test_failures_go_to_a_file_with_what_it_takes_to_repair_them_and_can_be_sent_again(server, spoilt, run, tmp_path):
    """A whole group, by another policy; a record that the server refused, repaired; but no part of a group."""
    name, prefix = unique('program'), str(tmp_path / 'first' / 'failed')
    metadata = ('--metadata_column', 'length')
    status, out, err = run('--input', spoilt, '--dataset', name, *BASE, *metadata, '--failed', prefix)
    assert (status, err) == (0, '')
    assert '2 records written' in out
    assert '2 refused: InstructionConflict 1, NullGeneration 1' in out
    assert "Left out of i0002: rating '9' of generations-2 is not one of 1, 2, 3, 4, 5: not suggested" in out
    lines = [json.loads(line) for f in (tmp_path / 'first').iterdir() for line in f.read_text().splitlines()]
    assert {(line['external_id'], line['stage'], line['error']) for line in lines} == {
        ('i0000', 'group', 'InstructionConflict'),
        ('i0001', 'format', 'NullGeneration'),
    }
    assert all(line['data'].get('group') or line['data'].get('input') for line in lines)
    assert set(records(server, name)) == {'i0001', 'i0002'}
    again = ('--retry_failed', prefix, '--dataset', name, *BASE, *metadata)

    left = str(tmp_path / 'second' / 'failed')
    status, out, err = run(*again, '--on_conflict', 'first', '--overflow', 'truncate', '--failed', left)
    assert (status, err) == (0, '')
    assert '1 record written: 1 created' in out
    assert '1 refused: NullGeneration 1' in out  # for its own reason still: it was not repaired
    written = records(server, name)
    assert set(written) == {'i0000', 'i0001', 'i0002'}
    assert dict(written['i0000'].metadata) == {'length': 0}  # a number, as in the first run
    assert written['i0001'].fields['generations-3'] == 'gamma says 2.'  # the part did not overwrite the whole

    # With the input, the part is whole. Its generation is still null, until somebody repairs it.
    (file,) = (tmp_path / 'second').iterdir()
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    (part,) = lines
    part['data']['input'][0] |= {'generation': 'repaired', 'model_name': 'omega'}
    (tmp_path / 'repaired.jsonl').write_text(json.dumps(part) + '\nnot json\n')
    good = tmp_path / 'good.parquet'
    pq.write_table(pa.Table.from_pylist(rows(2)[4:]), good)
    status, out, _ = run(
        '--retry_failed', str(tmp_path / 'repaired.jsonl'), '--input', str(good), '--dataset',
        (name2 := unique('program')),
        '--num_generations', '5', '--instruction_id_column', 'instruction_id', '--failed', str(tmp_path / 'third'),
        '--num_partitions', '1',
    )  # fmt: skip
    assert status == 0
    assert 'NotAFailedRecord 1' in out
    assert records(server, name2)['i0001'].fields['generations-4'] == 'repaired'


def test_a_record_that_the_server_refused_is_sent_again_as_it_was_repaired(server, run, tmp_path):
    """Its own JSON is all it takes."""
    name = unique('program')
    pq.write_table(pa.Table.from_pylist([{**r, 'share': float('inf')} for r in rows(1)]), tmp_path / 'in.parquet')
    options = ('--dataset', name, *BASE, '--metadata_column', 'share')
    status, out, _ = run('--input', str(tmp_path / 'in.parquet'), *options, '--failed', str(tmp_path / 'failed'))
    assert status == 0
    assert '1 refused: MetadataValue 1' in out
    (file,) = tmp_path.glob('failed-*')
    line = json.loads(file.read_text())
    assert line['stage'] == 'validate'
    line['data']['record']['metadata']['share'] = 0.5
    (tmp_path / 'repaired.jsonl').write_text(json.dumps(line))
    status, out, err = run('--retry_failed', str(tmp_path / 'repaired.jsonl'), *options)
    assert (status, err) == (0, '')
    (written,) = records(server, name).values()
    assert dict(written.metadata) == {'share': 0.5}
    assert len(list(written.suggestions)) == 8


def test_an_input_without_rows_is_told_and_makes_no_dataset(server, run, tmp_path):
    pq.write_table(pa.Table.from_pylist(rows(1)).slice(0, 0), tmp_path / 'in.parquet')
    name = unique('program')
    status, out, err = run('--input', str(tmp_path / 'in.parquet'), '--dataset', name, *BASE)
    assert (status, err) == (0, '')
    assert out.startswith('0 rows read, 0 groups\n0 records written')
    assert out.endswith('The input has no rows: nothing was written, and no dataset was made.\n')
    assert rg.Argilla(api_url=server.api_url, api_key=server.api_key).datasets(name) is None


def test_beside_what_is_retried_wide_rows_that_share_an_id_are_refused_as_without_it(server, run, tmp_path):
    wide = [('a', ['x', 'y']), ('a', ['z']), ('b', [None]), ('c', ['x', 'y'])]
    elements = [{'instruction_id': i, 'instruction': f'Say {i}.', 'generations': texts} for i, texts in wide]
    pq.write_table(pa.Table.from_pylist(elements), tmp_path / 'in.parquet')
    options = ('--input', str(tmp_path / 'in.parquet'), '--dataset', unique('program'), *BASE)
    _, out, _ = run(*options, '--failed', str(tmp_path / 'failed'))
    assert '2 refused: NullGeneration 1, RepeatedId 1' in out
    lines = [json.loads(line) for file in tmp_path.glob('failed-*') for line in file.read_text().splitlines()]
    null, repeated = sorted(lines, key=lambda line: line['error'])
    null['data']['rows'][0]['generation'] = 'repaired'

    def retry(*lines: dict, more: tuple[str, ...] = ()) -> str:
        (tmp_path / 'again.jsonl').write_text('\n'.join(map(json.dumps, lines)))
        status, out, err = run(*options, '--retry_failed', str(tmp_path / 'again.jsonl'), '--dry_run', *more)
        assert (status, err) == (0 if more else 1, '')
        return out

    for out in (retry(null), retry(null, repeated)):  # what of it comes of the input, or of the files
        assert re.findall(r'Refused: (\w+: \w+)', out) == ['a: RepeatedId']
        assert '2 records would be written' in out
    assert '3 records would be written' in retry(null, repeated, more=('--shuffle',))


def test_records_that_distilabel_wrote_are_adopted(server, files, run):
    client = rg.Argilla(api_url=server.api_url, api_key=server.api_key)
    settings = ba.Preference(4).settings().to_argilla()
    dataset = rg.Dataset(unique('program'), workspace='default', settings=settings, client=client).create()
    instruction = rows(1)[0]['instruction']
    fields = {'id': sha256(instruction.encode()).hexdigest(), 'instruction': instruction, 'generations-0': 'Other.'}
    dataset.records.log([rg.Record(fields=fields)])
    options = ('--input', files, '--dataset', dataset.name, *BASE, '--adopt')
    status, out, _ = run(*options)
    assert status == 0
    assert '30 records written: 29 created, 1 updated\n1 record of others was adopted\n' in out
    assert len(records(server, dataset.name)) == 30


MISTAKES = {
    ('--input', '/none/*.parquet'): r"No file matches '/none/\*\.parquet'",
    ('--instruction_column', 'prompt'): r"no column 'prompt' for the instruction. Its columns are: 'instruction_id'",
    ('--metadata_column', 'nope'): "no column 'nope' for the metadata",
    ('--num_generation', '4'): 'did you mean --num_generations',
    ('--runer', 'FlinkRunner'): 'did you mean --runner',
    ('--runner=x', 'stray'): 'a word that belongs to no option',
    ('--ratings', '1-5'): 'write whole numbers with commas',
    ('--workspace', 'nowhere'): "no workspace 'nowhere'.*There are: 'default'",
    ('--api_url', 'http://127.0.0.1:9'): 'Is the server running',
    ('--api_key_env', 'NO_SUCH_VARIABLE'): 'NO_SUCH_VARIABLE is not set',
    ('--metadata_column', 'instruction'): "called 'instruction', but a field is called so as well",
    ('--create_workspace', '--workspace', 'a b'): "workspace='a b' cannot be created",
    ('--header', 'Authorization'): 'write NAME=ENV',
    ('--min_generations', '5'): 'min_generations=5',
    ('--api_key_secret', 'type:Nonsense'): 'Invalid secret type',
    ('--api_key_secret', 'type:EnvironmentSecret;variable:NO_SUCH'): 'NO_SUCH is not set',
    ('--header', 'X=type:Nonsense'): 'Invalid secret type',
    ('--runner', 'FlinkRunner', '--flink_master', 'f:1'): 'ARGILLA_API_KEY, which the workers .*--api_key_secret',
    ('--failed', ''): '--failed is empty: name a prefix',
    ('--retry_failed', ''): '--retry_failed is empty: name a prefix',
    ('--retry_failed', '/none/failed'): "No file matches '/none/failed",
    ('--instruction_column', 'length'): "'length' is .*; the instruction must be text",
}


@pytest.mark.parametrize(('options', 'message'), MISTAKES.items(), ids=lambda x: x[0].strip('-') if len(x) == 2 else '')
def test_a_mistake_is_told_in_one_message(server, files, run, options, message):
    status, _, err = run('--input', files, '--dataset', unique('x'), *BASE, *options)
    assert status == 2
    assert re.search(f'^error: .*{message}', err)
    assert 'Traceback' not in err


def test_what_goes_wrong_while_it_runs_is_told_in_one_message_too(server, tmp_path, run):
    pq.write_table(pa.Table.from_pylist(rows(1)), tmp_path / 'a.parquet')
    (tmp_path / 'b.parquet').write_bytes(b'PAR1 this is not Parquet')
    status, _, err = run('--input', str(tmp_path / '*.parquet'), '--dataset', unique('x'), *BASE)
    assert status == 2
    assert re.match(r'error: .*b\.parquet cannot be read as Parquet', err)
    assert 'Traceback' not in err


ENGINES = {
    ('--runner=PortableRunner', '--job_endpoint=localhost:1', '--job_server_timeout=1'): 'nothing answered in time',
    ('--runner=FlinkRunner', '--flink_job_server_jar=/none.jar', '--object_reuse', 'true'): 'Unable to parse jar URL',
    ('--runner=PrismRunner', '--prism_location=/none'): 'Unable to parse binary URL',
    ('--runner=NoSuchRunner',): 'Unexpected pipeline runner: NoSuchRunner',
    ('--runner=no.such.Runner',): "No module named 'no'",
}


@pytest.mark.parametrize(('options', 'message'), ENGINES.items(), ids=lambda x: x[0] if isinstance(x, tuple) else '')
def test_an_engine_that_fails_is_told_in_one_message(files, run, options, message):
    status, out, err = run('--input', files, '--dataset', 'x', *BASE, '--dry_run', *options)
    assert (status, out) == (2, '')
    assert re.fullmatch(f'error: .*{message}.*\n', err)


def test_a_place_for_failures_that_cannot_be_written_is_told_before_the_dataset_is_made(server, spoilt, run):
    name = unique('program')
    status, _, err = run('--input', spoilt, '--dataset', name, *BASE, '--failed', f'{spoilt}/failed')
    assert status == 2
    assert re.fullmatch(r'error: What is refused cannot be written to .*spoilt.parquet/failed-\*\.jsonl: .*\n', err)
    assert rg.Argilla(api_url=server.api_url, api_key=server.api_key).datasets(name) is None


def errors_in(folder) -> list[str]:
    return [json.loads(line)['error'] for file in folder.iterdir() for line in file.read_text().splitlines()]


def test_a_second_run_replaces_what_the_first_refused_and_a_retry_what_it_retries(server, spoilt, run, tmp_path):
    folder = f'{tmp_path}/refused/'
    job = ('--dataset', unique('program'), *BASE, '--failed', folder)
    for _ in range(2):
        status, out, _ = run('--input', spoilt, *job)
        assert status == 0
        assert f'What was refused, and why: {folder}failed-*.jsonl' in out
        assert sorted(errors_in(tmp_path / 'refused')) == ['InstructionConflict', 'NullGeneration']
    status, out, _ = run('--retry_failed', folder, *job, '--on_conflict', 'first')
    assert status == 0
    assert out.startswith('2 failed records read again, 1 group\n')
    assert errors_in(tmp_path / 'refused') == ['NullGeneration']


def test_a_refused_wide_row_is_repaired_by_hand_and_goes_in_alone(server, run, tmp_path):
    wide = {'instruction': ['q0', 'q1'], 'generations': [['a'], ['b', 'c']], 'ratings': [[1], [2]]}
    pq.write_table(pa.table(wide), tmp_path / 'in.parquet')
    job = ('--dataset', (name := unique('program')), '--num_generations', '2')
    assert run('--input', str(tmp_path / 'in.parquet'), *job, '--failed', str(tmp_path / 'f'))[0] == 0
    (file,) = tmp_path.glob('f-*')
    line = json.loads(file.read_text())
    assert line['error'] == 'UnequalLists'
    line['data']['input'][0]['ratings'] = [2, 5]
    file.write_text(json.dumps(line))
    status, out, err = run('--retry_failed', str(tmp_path / 'f'), *job)
    assert (status, err) == (0, '')
    assert '1 failed record read again, 1 group\n1 record written: 1 created, 0 updated\n0 refused' in out
    assert sorted(r.fields['instruction'] for r in records(server, name).values()) == ['q0', 'q1']


def test_guidelines_from_a_file(tmp_path):
    (tmp_path / 'guide.md').write_text('# Rate\n\nÄnswers.', encoding='utf-8')
    argv = ['--input', 'x', '--dataset', 'x', '--num_generations', '1', '--dry_run']
    args, _ = options.parse(parquet_to_argilla.parser(), [*argv, '--guidelines', f'@{tmp_path}/guide.md'])
    assert args.guidelines == '# Rate\n\nÄnswers.'


@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='no /dev/full')
def test_a_job_goes_on_where_what_it_prints_cannot_be_written(server, files):
    name = unique('program')
    command = [sys.executable, '-m', 'pipelines.parquet_to_argilla', '--input', files, '--dataset', name, *BASE]
    with open('/dev/full', 'w') as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=dict(os.environ))
    message = 'error: Standard output cannot be written: No space left on device.\n'
    assert (done.returncode, done.stderr) == (1, message)
    assert len(records(server, name)) == 30


def test_a_dataset_that_differs_and_a_wrong_key(server, files, run, monkeypatch):
    client = rg.Argilla(api_url=server.api_url, api_key=server.api_key)
    settings = ba.Preference(4).settings().to_argilla()
    rg.Dataset(name := unique('program'), workspace='default', settings=settings, client=client).create()
    status, _, err = run('--input', files, '--dataset', name, '--num_generations', '5')
    assert status == 2
    assert "field 'generations-4' is missing" in err
    monkeypatch.setenv('ARGILLA_API_KEY', 'wrong.key')
    status, _, err = run('--input', files, '--dataset', name, *BASE)
    assert status == 2
    assert 'does not know the API key' in err
    assert 'wrong.key' not in err


def test_the_demo_loads_its_sample_tells_what_it_refused_and_how_to_export(tmp_path):
    good = len({r['instruction_id'] for r in demo.good_rows()})
    with demonstration(tmp_path) as running:
        assert f'{good + 2} records written: {good + 2} created, 0 updated' in running.said
        for line in (
            '4 refused: EmptyInstruction 1, InstructionConflict 1, NullGeneration 1, TooManyGenerations 1',
            '  q-900: NullGeneration: ',
            '  q-903: TooManyGenerations: ',
            "Left out of q-904: rating '4.5'",
        ):
            assert line in running.said
        with running.owner() as owner:
            person = Person(owner, 'reader')
            ratings = {f'generations-{i}-rating': 5 - i for i in range(4)}
            person.answers(record_ids(owner, 'demo')['q-000'], ratings)
            person.close()
        assert '1 row of pairs' in running.run(running.export)  # as it is printed
    (file,) = tmp_path.glob('dpo-*.parquet')
    (pair,) = pq.read_table(file).to_pylist()
    assert (pair['id'], pair['chosen_score'], pair['rejected_score']) == ('q-000', 5, 2)


def test_a_repaired_row_takes_the_place_of_the_one_in_the_input(server, run, tmp_path):
    elements = rows(2)
    elements[5] = {**elements[5], 'generation': None}
    pq.write_table(pa.Table.from_pylist(elements), tmp_path / 'in.parquet')
    folder, name = tmp_path / 'refused', unique('program')
    job = ('--input', str(tmp_path / 'in.parquet'), '--dataset', name, *BASE)
    assert run(*job, '--failed', f'{folder}/')[0] == 0
    (file,) = folder.iterdir()
    line = json.loads(file.read_text())
    assert (line['source'], line['row']) == (str(tmp_path / 'in.parquet'), 5)
    line['data']['input'][0]['generation'] = 'repaired'
    file.write_text(json.dumps(line))
    status, out, err = run(*job, '--retry_failed', str(folder))  # nothing is refused, so no --failed is needed
    assert (status, err) == (0, '')
    assert out.startswith('8 rows read, 1 failed record read again, 2 groups\n')
    assert '\n0 refused\n' in out
    assert 'repaired' in records(server, name)['i0001'].fields.values()
