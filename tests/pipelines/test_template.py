"""The flex template: its parameters are the program's options, and the program gets what they say."""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path

import pytest

from pipelines import options, parquet_to_argilla, template

FOLDER = Path(template.__file__).parent / 'dataflow'
PARAMETERS = {parameter['name']: parameter for parameter in template.metadata()['parameters']}


def test_what_is_said_of_the_parameters_is_up_to_date():
    assert template.METADATA.read_text() == template.shown(), 'Run: python -m pipelines.template'


def test_every_option_that_says_what_a_job_does_is_a_parameter_and_described():
    named = {name.removeprefix('--') for a in parquet_to_argilla.parser()._actions for name in a.option_strings}
    assert PARAMETERS.keys() - named == {'sdk_container_image'}
    assert named - PARAMETERS.keys() == {'-h', 'help', 'version', 'list_layouts'}
    for parameter in PARAMETERS.values():
        assert parameter['helpText'] and parameter['label'] and len(parameter['regexes']) == 1, parameter


def test_what_the_environment_of_the_one_who_makes_it_holds_is_not_in_it(monkeypatch):
    monkeypatch.setenv('ARGILLA_API_URL', 'https://somewhere.example')
    assert 'somewhere' not in template.shown()


GOOD = {
    'input': ['gs://bucket/generations-*.parquet', '["gs://a/*", "gs://b/*"]', 'hf://datasets/o/n'],
    'dataset': ['ultra feedback'],
    'api_url': ['https://argilla.example', 'http://10.0.0.1:6900/path'],
    'api_key_secret': ['type:GcpSecret;version_name:projects/p/secrets/s/versions/latest'],
    'header': ['Authorization=type:GcpSecret;version_name:projects/p/secrets/s/versions/1', '["A=B", "C=D"]'],
    'num_generations': ['4', '10'],
    'seed': ['0'],
    'scale': ['0:10', '-1.5:1'],
    'metadata': ['length:integer', 'a:b:terms:name'],
    'ratings': ['1,2,3', '1, 2'],
    'task': ['preference', 'text_generation'],
    'skip_unchanged': ['true', 'false'],
    'guidelines': ['Two\nlines.'],
    'guidelines_file': ['gs://bucket/how.md'],
    'failed': ['gs://bucket/failed/'],
    'sdk_container_image': ['europe-west1-docker.pkg.dev/p/r/argilla:20261127'],
}
BAD = {
    'input': ['generations.parquet', ''],
    'api_url': ['argilla.example', 'https://user:key@argilla.example'],
    'api_key_secret': ['a-very-secret-key'],
    'header': ['Authorization'],
    'num_generations': ['0', '-1', 'four', '4.5'],
    'scale': ['10'],
    'metadata': ['length'],
    'ratings': ['1-5'],
    'task': ['other'],
    'skip_unchanged': ['yes', 'True'],
    'guidelines_file': ['how.md'],
    'failed': ['failed'],
}


def matches(name: str, value: str) -> bool:
    return re.fullmatch(PARAMETERS[name]['regexes'][0], value) is not None


def test_a_value_that_makes_sense_is_let_through_and_another_is_not():
    assert [(n, v) for n, values in GOOD.items() for v in values if not matches(n, v)] == []
    assert [(n, v) for n, values in BAD.items() for v in values if matches(n, v)] == []


def test_what_an_option_is_by_default_is_let_through():
    defaults = {name: p['defaultValue'] for name, p in PARAMETERS.items() if 'defaultValue' in p}
    assert defaults['task'] == 'preference'
    assert [name for name, value in defaults.items() if not matches(name, value)] == []


def test_the_program_gets_what_the_parameters_say(monkeypatch):
    monkeypatch.delenv('ARGILLA_API_URL', raising=False)
    launched = [
        '--input=["gs://a/*.parquet", "gs://b=c/*"]',
        '--rating_column=score',
        '--metadata_column=["topic", "a, b"]',
        '--dataset=d',
        '--num_generations=4',
        '--skip_unchanged=true',
        '--adopt=false',
        '--max_parallelism=2',
        '--dry_run=true',
        '--runner=DataflowRunner',
        '--template_location=gs://bucket/job',
        '--labels={"a": "b"}',
        '--something_new=1',
    ]
    args, beam_args = options.parse(parquet_to_argilla.parser(), template.arguments(launched))
    assert args.input == [['gs://a/*.parquet'], ['gs://b=c/*']]
    assert (args.rating_column, args.metadata_column) == (['score'], ['topic', 'a, b'])
    assert (args.skip_unchanged, args.adopt, args.max_parallelism, args.dry_run) == (True, False, 2, True)
    assert beam_args == launched[-4:]


def test_a_pattern_that_begins_with_a_bracket_is_no_list():
    assert template.arguments(['--input=[ab]*.parquet'])[0] == '--input=[ab]*.parquet'


def test_a_flag_is_true_or_false():
    with pytest.raises(ValueError, match='--adopt=yes: write true or false'):
        template.arguments(['--adopt=yes'])


def test_the_image_has_the_beam_of_this_checkout_and_copies_what_is_there():
    dockerfile = (FOLDER / 'Dockerfile').read_text()
    assert f'ARG BEAM={version("apache-beam")}' in dockerfile
    copied = [n for line in re.findall(r'^COPY (?!--)(.+)$', dockerfile, re.MULTILINE) for n in line.split()[:-1]]
    assert {'setup.py', 'pyproject.toml', 'beam_argilla', 'pipelines'} <= set(copied)
    assert [name for name in copied if not (FOLDER.parents[1] / name).exists()] == []
    main = re.search('FLEX_TEMPLATE_PYTHON_PY_FILE=/template/(.+)', dockerfile)
    assert main is not None and (FOLDER.parents[1] / main[1]).exists()
