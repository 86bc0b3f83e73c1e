"""What is sent to Dataflow, by Google's own client, to a cloud of this machine.

`make test-dataflow` installs that client, which does not go together with the local Argilla, in an environment of its
own: the one in which jobs are launched, and that of their workers. Ours is in it as workers get it, as the sdist that
`--setup_file` makes, and nothing else of this checkout is on its path.
"""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.dataflow.fake_cloud import BUCKET, JOB, PROJECT, Cloud, serve
from tests.samples import rows, unique
from tests.unpacked import unpacked

ROOT = Path(__file__).parents[2]
BIN = ROOT / '.engines' / 'gcp' / 'bin'
HERE = Path(__file__).parent
KEY = 'a-very-secret-key'
SECRET = 'projects/p/secrets/argilla/versions/latest'
BATCH, STREAMING = 1, 2  # JobType, as the client sends it
SPEC = f'type:GcpSecret;version_name:{SECRET}'

pytestmark = pytest.mark.skipif(
    not BIN.exists(), reason="make test-dataflow installs Google's client, which this needs"
)


@pytest.fixture(scope='session')
def account(tmp_path_factory) -> dict[str, str]:
    """A service account that is nobody's."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {
        'type': 'service_account',
        'project_id': PROJECT,
        'private_key_id': '1',
        'private_key': key.decode(),
        'client_email': f'tests@{PROJECT}.iam.gserviceaccount.com',
    }


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    """A cloud with some generations in its bucket."""
    with serve() as cloud:
        parquet = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows(5)), parquet)
        cloud.objects['in/0.parquet'] = parquet.getvalue()
        yield cloud


class Done(NamedTuple):
    """A program that has ended."""

    status: int
    out: str
    err: str


@pytest.fixture(scope='session')
def launcher() -> Iterator[subprocess.Popen]:
    """See `launcher.py`."""
    pipes = {'stdin': subprocess.PIPE, 'stdout': subprocess.PIPE, 'text': True, 'bufsize': 1}
    with subprocess.Popen([BIN / 'python', HERE / 'launcher.py'], stderr=subprocess.DEVNULL, **pipes) as process:
        yield process
        process.stdin.close()


@pytest.fixture
def run(cloud, account, launcher, tmp_path):
    """Runs a program of that environment, by default in an empty folder, with Google's client sent to the cloud."""
    credentials = tmp_path / 'credentials.json'
    credentials.write_text(json.dumps({**account, 'token_uri': f'{cloud.url}/token'}))
    folder = tmp_path / 'empty'
    folder.mkdir()
    environment = {name: os.environ[name] for name in ('HOME', 'PATH', 'TMPDIR') if name in os.environ}
    environment |= {
        'STORAGE_EMULATOR_HOST': cloud.url,
        'GOOGLE_APPLICATION_CREDENTIALS': str(credentials),
        'GOOGLE_CLOUD_PROJECT': PROJECT,
        'ARGILLA_API_KEY': KEY,
    }
    out, err = tmp_path / 'out', tmp_path / 'err'

    def run(*command: str | Path, cwd: Path = folder) -> Done:
        program = {
            'command': [str(part) for part in command],
            'cwd': str(cwd),
            'environment': environment,
            'stdout': str(out),
            'stderr': str(err),
        }
        launcher.stdin.write(json.dumps(program) + '\n')
        status = int(launcher.stdout.readline())
        return Done(status, out.read_text(), err.read_text())

    return run


def dataflow(cloud: Cloud) -> list[str]:
    """Options of Beam's that send a job there."""
    return [
        '--runner=DataflowRunner',
        f'--project={PROJECT}',
        '--region=europe-west1',
        f'--temp_location=gs://{BUCKET}/tmp',
        f'--staging_location=gs://{BUCKET}/staging',
        '--job_name=load',
        f'--dataflow_endpoint={cloud.url}',
    ]


PROGRAM = [
    f'--input=gs://{BUCKET}/in/*.parquet',
    '--num_generations=4',
    '--instruction_id_column=instruction_id',
    '--api_url=https://argilla.example',
]
WITH_SECRET = [*PROGRAM, '--dataset=ultrafeedback', f'--api_key_secret={SPEC}']


def staged(cloud: Cloud) -> dict[str, bytes]:
    """File name → content, of what was staged for the job."""
    return {name.rsplit('/', 1)[1]: cloud.objects[name] for name in cloud.under('staging/')}


def definition(cloud: Cloud, job: dict[str, Any]) -> beam_runner_api_pb2.Pipeline:
    location = options_sent(job)['pipelineUrl'].removeprefix(f'gs://{BUCKET}/')
    return beam_runner_api_pb2.Pipeline.FromString(cloud.objects[location])


def everything_sent(cloud: Cloud) -> bytes:
    """The job, and all that was staged for it, with nothing packed."""
    parts = [json.dumps(cloud.jobs).encode()]
    for name, content in staged(cloud).items():
        if name.endswith('.tar.gz'):
            with tarfile.open(fileobj=io.BytesIO(content)) as archive:
                parts += [archive.extractfile(member).read() for member in archive if member.isfile()]
        else:
            parts.append(unpacked(content))
    return b'\n'.join(parts)


def install(sdist: bytes, folder: Path) -> None:
    """As workers do."""
    (folder / 'workflow.tar.gz').write_bytes(sdist)
    pip = ['-m', 'pip', 'install', '--quiet', '--no-compile', '--no-deps', '--force-reinstall', 'workflow.tar.gz']
    done = subprocess.run([BIN / 'python', *pip], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr


def options_sent(job: dict[str, Any]) -> dict[str, Any]:
    return job['environment']['sdkPipelineOptions']['options']


def test_the_program_submits_a_job_waits_for_it_and_sums_it_up(cloud, run, account, tmp_path):
    """And what it ships for the workers is installed for the tests below, which take their place."""
    cloud.metrics = {'rows_read': 20, 'groups': 5, 'records_created': 5}
    done = run(
        '-m',
        'pipelines.parquet_to_argilla',
        *WITH_SECRET,
        *dataflow(cloud),
        '--setup_file=./setup.py',
        '--max_num_workers=3',
        cwd=ROOT,
    )
    assert (done.status, done.err) == (0, '')
    page = f'https://console.cloud.google.com/dataflow/jobs/europe-west1/{JOB}?project={PROJECT}'
    assert done.out.startswith(f'The job: {page}\n20 rows read, 5 groups\n5 records written: 5 created, 0 updated\n')
    (job,) = cloud.jobs
    assert (job['name'], job['type']) == ('load', BATCH)
    (pool,) = job['environment']['workerPools']
    assert pool['autoscalingSettings']['maxNumWorkers'] == 3
    # Of __main__, workers need nothing, and what it imports is called otherwise there.
    assert 'pickled_main_session' not in staged(cloud)
    sent = everything_sent(cloud)
    assert SECRET.encode() in sent  # where workers look the key up
    for secret in (KEY, account['private_key'].splitlines()[1]):
        assert secret.encode() not in sent
    install(staged(cloud)['workflow.tar.gz'], tmp_path)


def test_ctrl_c_leaves_the_job_and_says_where_it_is(cloud, run, launcher):
    cloud.states = ['JOB_STATE_RUNNING']

    def interrupt(number: int) -> None:
        if number == 4:  # while it is waited for
            (program,) = psutil.Process(launcher.pid).children()
            program.send_signal(signal.SIGINT)

    cloud.when_looked_at = interrupt
    done = run('-m', 'pipelines.parquet_to_argilla', *WITH_SECRET, *dataflow(cloud), cwd=ROOT)
    page = f'https://console.cloud.google.com/dataflow/jobs/europe-west1/{JOB}?project={PROJECT}'
    assert (done.status, done.out) == (130, f'The job: {page}\n')
    assert done.err == (
        f'Stopped watching. The job goes on: {page}\n'
        f'To cancel it: gcloud dataflow jobs cancel {JOB} --region=europe-west1 --project={PROJECT}\n'
    )


def test_a_job_that_fails_is_told_in_one_message_and_what_it_spilled_removed(cloud, run):
    cloud.states = [*['JOB_STATE_RUNNING'] * 4, 'JOB_STATE_FAILED']
    cloud.messages = ['Traceback:\nbeam_argilla.errors.AuthenticationError: The key is wrong. [while running Write]']

    def spill() -> None:
        place = re.search(rb'tmp/beam-argilla-spill-[0-9a-f]{32}', unpacked(staged(cloud)['pipeline.pb']))
        cloud.objects.update({f'{place[0].decode()}/0.arrows': b'rows', 'tmp/other': b"somebody else's"})

    cloud.when_submitted = spill
    # Where what a job leaves behind is tidied up, there is none to tidy up.
    program = [option.replace('https://argilla.example', cloud.url) for option in PROGRAM]
    key = '--api_key_secret=type:EnvironmentSecret;variable:ARGILLA_API_KEY'
    done = run(BIN / 'parquet-to-argilla', *program, '--dataset=ultrafeedback', key, *dataflow(cloud))
    assert (done.status, done.err) == (2, 'error: The key is wrong.\n')
    assert cloud.under('tmp/') == ['tmp/other']


def test_a_key_in_the_environment_is_refused_before_anything_is_sent(cloud, run):
    done = run(BIN / 'parquet-to-argilla', *PROGRAM, '--dataset=ultrafeedback', *dataflow(cloud))
    assert done.status == 2
    assert re.match(r'error: .*ARGILLA_API_KEY, which the workers .*--api_key_secret .*\n$', done.err)
    assert (cloud.jobs, staged(cloud)) == ([], {})
    assert KEY not in done.err


def test_a_dry_run_of_beams_translates_and_sends_nothing(cloud, run):
    done = run(BIN / 'parquet-to-argilla', *WITH_SECRET, *dataflow(cloud), '--', '--dry_run=True')
    assert (done.status, done.err) == (0, '')
    assert done.out == "Translated for Dataflow and not submitted (Beam's own --dry_run).\n"
    assert (cloud.jobs, staged(cloud)) == ([], {})


def test_training_data_is_made_there_too(cloud, run):
    cloud.metrics = {'records_answered': 5, 'responses_read': 5, 'training_rows': 3}
    output = (f'--output=gs://{BUCKET}/dpo', '--dataset=ultrafeedback', '--api_url=https://argilla.example')
    done = run(BIN / 'argilla-to-parquet', *output, f'--api_key_secret={SPEC}', *dataflow(cloud))
    assert (done.status, done.err) == (0, '')
    assert '5 records read, with 5 responses\n3 rows of pairs\n' in done.out
    assert len(cloud.jobs) == 1


DESCRIPTION = """
import sys
from google.cloud.dataflow_v1beta3 import TemplateMetadata
from google.protobuf import json_format

with open(sys.argv[1]) as file:
    json_format.Parse(file.read(), TemplateMetadata.pb()())  # which raises at what it does not know
"""


def test_what_is_said_of_the_templates_parameters_is_in_dataflows_own_form(run, tmp_path):
    (tmp_path / 'description.py').write_text(DESCRIPTION)
    done = run(tmp_path / 'description.py', ROOT / 'pipelines/dataflow/metadata.json')
    assert done.status == 0, done.err


def launched(cloud: Cloud, **parameters: str) -> list[str]:
    """The command line with which a template's launcher runs it."""
    location = f'gs://{BUCKET}/launches/job_object'
    options = [option for option in dataflow(cloud) if 'endpoint' not in option]
    return [*(f'--{n}={v}' for n, v in parameters.items()), *options, f'--template_location={location}', '--unknown=1']


def test_the_template_writes_a_job_that_runs_as_the_program_does(cloud, run, argilla_server, sdk):
    """From the launcher's command line to the records in Argilla, with rows spilled to the bucket meanwhile."""
    dataset = unique('template')
    more = {**rows(1)[0], 'instruction': 'Another one?', 'generation': 'x'}  # one too many in its group
    parquet = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([more]), parquet)
    cloud.objects['more/1.parquet'] = parquet.getvalue()
    cloud.objects['how.md'] = b'Rate them.'
    parameters = {
        'input': json.dumps([f'gs://{BUCKET}/in/*.parquet', f'gs://{BUCKET}/more/*']),
        'dataset': dataset,
        'num_generations': '4',
        'instruction_id_column': 'instruction_id',
        'metadata_column': '["topic", "length"]',
        'guidelines_file': f'gs://{BUCKET}/how.md',
        'failed': f'gs://{BUCKET}/failed',
        'model_names': 'true',
        'dry_run': 'false',
        'api_url': argilla_server.api_url,
        'api_key_secret': SPEC,
    }
    done = run(ROOT / 'pipelines/dataflow/main.py', *launched(cloud, **parameters))
    assert (done.status, done.err) == (0, '')
    assert f'The template is written to gs://{BUCKET}/launches/job_object' in done.out
    assert cloud.jobs == []  # its launcher submits it
    job = json.loads(cloud.objects['launches/job_object'])
    cloud.secrets[SECRET] = argilla_server.api_key
    done = run(HERE / 'run_job.py', options_sent(job)['pipelineUrl'], cloud.url)
    assert done.status == 0, done.err
    assert 'could not be removed' not in done.err
    counts = json.loads(done.out.splitlines()[-1])
    assert (counts['rows_read'], counts['records_created'], counts['failed_TooManyGenerations']) == (21, 4, 1)
    found = sdk.datasets(dataset)
    assert found.settings.guidelines == 'Rate them.'
    assert sorted(record.fields['id'] for record in found.records) == [f'i{g:04d}' for g in range(1, 5)]
    assert {metadata.name for metadata in found.settings.metadata} >= {'topic', 'length'}
    (failed,) = cloud.under('failed-')
    assert 'Another one?' in cloud.objects[failed].decode()
    assert cloud.under('tmp/beam-argilla-spill') == []
    assert cloud.uploads_under('tmp/beam-argilla-spill') > 0


def test_both_streaming_modes_translate(cloud, run):
    modes = ('streaming_mode_exactly_once', 'streaming_mode_at_least_once')
    for mode in modes:
        options = ['--streaming', f'--dataflow_service_options={mode}', '--no_wait_until_finish']
        done = run(HERE / 'streams.py', 'https://argilla.example', *dataflow(cloud), *options)
        assert done.status == 0, done.err
    assert [job['type'] for job in cloud.jobs] == [STREAMING, STREAMING]
    assert [job['environment']['serviceOptions'] for job in cloud.jobs] == [[mode] for mode in modes]
    for job in cloud.jobs:
        components = definition(cloud, job).components
        labels = {transform.unique_name.split('/')[0].split('(')[0] for transform in components.transforms.values()}
        assert {'WriteToArgilla', 'ReadFromArgilla'} <= labels
        (upsert,) = (
            transform
            for transform in components.transforms.values()
            if 'Upsert' in transform.unique_name and transform.spec.urn == common_urns.primitives.PAR_DO.urn
        )
        unbounded = beam_runner_api_pb2.IsBounded.UNBOUNDED
        assert unbounded in {components.pcollections[name].is_bounded for name in upsert.inputs.values()}
