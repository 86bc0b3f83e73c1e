"""Datasets of the Hugging Face Hub as an input, against one of this machine (`fake_hub`)."""

from __future__ import annotations

import gzip
import io
import json
from typing import Any

import apache_beam as beam
import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.io.filesystem import BeamIOError
from apache_beam.io.filesystems import FileSystems
from apache_beam.metrics.metric import Lineage
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to

import beam_argilla as ba
from beam_argilla.errors import InputError
from beam_argilla.files import open_file
from beam_argilla.input.matching import matching_files, patterns_of
from beam_argilla.refusing import Collect
from tests.samples import COLUMNS, pipeline, rows

NAME = 'hf://datasets/owner/name'
TRIES = 6


def parquet(elements: list[dict[str, Any]], beside: int = 0) -> bytes:
    """A file of these rows; with so many bytes a row in a column that nobody reads."""
    table = pa.Table.from_pylist(elements)
    if beside:
        noise = np.random.default_rng(0)
        table = table.append_column('picture', pa.array([noise.bytes(beside) for _ in elements]))
    file = io.BytesIO()
    pq.write_table(table, file, row_group_size=8)
    return file.getvalue()


def lines(elements: list[dict[str, Any]]) -> bytes:
    return ''.join(json.dumps(row) + '\n' for row in elements).encode()


def names(pattern: str) -> list[str]:
    """What it stands for, without the commit."""
    return [file.path.split('@')[1].partition('/')[2] for file in matching_files(patterns_of(pattern))]


def read(path: str) -> bytes:
    with open_file(path) as file:
        return file.read(file.seek(0, 2) - file.seek(0))


def test_a_dataset_of_several_files_is_read_as_the_same_files_here_whatever_goes_wrong(hub, tmp_path, waits):
    elements = rows(12)
    files = {
        'data/model_name=x/0.parquet': parquet(elements[:16], beside=500_000),
        'data/model_name=y/1.parquet': parquet(elements[16:32], beside=500_000),
        'more/2.jsonl.gz': gzip.compress(lines(elements[32:])),
        'README.md': b'# A dataset',
    }
    hub.dataset('owner/name', files)
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    hub.faults = {
        'revision': ['503'],
        'tree': ['500', 'break'],
        'resolve': ['429 in 2', '502'],
        'file': ['break', '503', 'silent', 'ok', 'break'],
    }
    with pipeline() as p:
        places = {
            place: p
            | f'Read {place}' >> ba.ReadGenerations([f'{place}/data', f'{place}/more/*.gz'], COLUMNS)
            | f'Rows {place}' >> beam.FlatMap(lambda table: [(repr(row), 1) for row in table.to_pylist()])
            for place in (str(tmp_path), NAME)
        }
        assert_that(places[NAME] | beam.combiners.Count.Globally(), equal_to([48]), 'All')
        both = places | beam.CoGroupByKey() | beam.MapTuple(lambda row, found: {*map(len, map(list, found.values()))})
        assert_that(both, equal_to([{1}] * 48), 'Each in both')
    assert [fault for left in hub.faults.values() for fault in left] == []
    assert 3.0 in waits
    for path in list(files)[:2]:  # footers and columns that are needed
        assert 0 < hub.bytes_of(path) < len(files[path]) / 4


@pytest.mark.parametrize(
    'faults',
    [['break', 'break'], ['429 in 70', '500', '502', '504'], ['silent', '408'], ['whole'], ['503'] * (TRIES - 1)],
)
def test_the_bytes_are_right_in_the_end(hub, waits, faults):
    content = np.random.default_rng(1).bytes(300_000)
    hub.dataset('owner/name', {'a.bin': content})
    hub.faults = {'file': [*faults]}
    with open_file(f'{NAME}/a.bin') as file:
        file.seek(100_001)
        assert file.read(70_000) == content[100_001:170_001]
        assert file.seek(-10, 2) == 299_990
        assert file.read() == content[-10:]
        assert file.read(5) == b''
    assert hub.faults == {'file': []}
    assert (71.0 in waits) == ('429 in 70' in faults)  # what it asked for, and a second


@pytest.mark.parametrize('kind', ['revision', 'tree', 'file'])
def test_tries_come_to_an_end(hub, waits, kind):
    hub.dataset('owner/name', {'a.bin': b'content'})
    hub.faults = {kind: ['503'] * 100}
    with pytest.raises(InputError, match=rf'^{NAME}.* cannot be read: {hub.url} answers 503\. Try again later\.$'):
        read(f'{NAME}/a.bin')
    assert len(hub.faults[kind]) == 100 - TRIES


def test_what_could_not_be_read_can_be_later(hub):
    content = np.random.default_rng(2).bytes(300_000)
    hub.dataset('owner/name', {'a.bin': content})
    with open_file(f'{NAME}/a.bin') as file:
        assert file.read(10) == content[:10]
        hub.faults = {'file': ['503'] * TRIES}
        file.seek(200_000)
        with pytest.raises(InputError):
            file.read(10)
        assert file.read(10) == content[200_000:200_010]


def test_small_steps_cost_few_requests_and_lines_are_lines(hub):
    content = b''.join(b'%0100d\n' % i for i in range(30_000))
    hub.dataset('owner/name', {'a.txt': content})
    with FileSystems.open(f'{NAME}/a.txt') as file:
        assert list(file) == content.splitlines(keepends=True)
    assert hub.count('file') < 10
    with open_file(f'{NAME}/a.txt') as file:
        assert b''.join(iter(lambda: file.read(2048), b'')) == content
    assert hub.bytes_of('a.txt') == 2 * len(content)


@pytest.mark.parametrize(
    ('pattern', 'found'),
    [
        (NAME, ['a/b/3.parquet', 'a/b[1]/4.parquet', 'a/model_name=x/2.parquet', 'a/1.parquet', '0.parquet']),
        (f'{NAME}/', ['a/b/3.parquet', 'a/b[1]/4.parquet', 'a/model_name=x/2.parquet', 'a/1.parquet', '0.parquet']),
        (f'{NAME}/a', ['a/1.parquet', 'a/b/3.parquet', 'a/b[1]/4.parquet', 'a/model_name=x/2.parquet']),
        (f'{NAME}@main/*.parquet', ['0.parquet']),
        (f'{NAME}/a/**.parquet', ['a/1.parquet', 'a/b/3.parquet', 'a/b[1]/4.parquet', 'a/model_name=x/2.parquet']),
        (f'{NAME}/a/*/[23].parquet', ['a/b/3.parquet', 'a/model_name=x/2.parquet']),
        (f'{NAME}/a/b[1]/*', ['a/b[1]/4.parquet']),
        (f'{NAME}/README.md', ['README.md']),
        (f'{NAME}@refs/convert/parquet/default/train', ['default/train/0000.parquet']),
        (f'{NAME}@refs%2Fconvert%2Fparquet', ['default/train/0000.parquet']),
        (f'{NAME}@a%2Fb', ['branch.parquet']),
        (f'{NAME}@v1.0/branch.parquet', ['branch.parquet']),
    ],
)
def test_which_files_a_pattern_stands_for(hub, pattern, found):
    paths = ['0.parquet', 'a/1.parquet', 'a/model_name=x/2.parquet', 'a/b/3.parquet', 'a/b[1]/4.parquet']
    others = ['README.md', '.gitattributes', '.hidden/5.parquet', '_tmp/6.parquet', 'a/dataset_infos.json']
    dataset = hub.dataset('owner/name', dict.fromkeys([*paths, *others], b'x'))
    dataset.commit({'branch.parquet': b'b'}, 'a/b')
    dataset.commit({'branch.parquet': b't'}, 'v1.0')
    dataset.commit({'default/train/0000.parquet': b'p'}, 'refs/convert/parquet')
    assert sorted(names(pattern)) == sorted(found)


def test_what_was_looked_at_is_what_is_read_though_the_branch_goes_on(hub):
    dataset = hub.dataset('owner/name', {'a.jsonl': lines(rows(1)) + b'no row\n'})
    read = ba.ReadGenerations(NAME, COLUMNS)
    (sha,) = dataset.commits
    dataset.commit({'a.jsonl': b'', 'b.jsonl': lines(rows(50))})
    p = beam.Pipeline(runner=FnApiRunner())
    refused = Collect()
    tables = p | read.with_error_handler(refused)
    assert_that(tables | beam.FlatMap(lambda table: table['instruction_id'].to_pylist()), equal_to(['i0000'] * 4))
    (failed,) = refused.pcollections
    assert_that(failed | beam.Map(lambda f: (f.source, f.row)), equal_to([(f'{NAME}@{sha}/a.jsonl', 4)]), 'Refused')
    result = p.run()
    assert Lineage.query(result.metrics(), Lineage.SOURCE) == {f'hf:datasets.owner/name@{sha}.a.jsonl'}


@pytest.mark.parametrize('kind', ['models', 'spaces'])
def test_models_and_spaces_have_files_as_well(hub, kind):
    hub.dataset(f'{kind}/owner/name', {'a/b c.bin': b'content'})
    path = f'hf://{kind}/owner/name/a/b c.bin'.replace('models/', '')
    assert names(path) == ['a/b c.bin']
    assert read(path) == b'content'


def test_the_token_goes_to_the_hub_and_nowhere_else(hub, monkeypatch):
    hub.dataset('owner/name', {'a/0.bin': b'content'}).private = True
    monkeypatch.setenv('HF_TOKEN', hub.token)
    assert read(f'{NAME}/a/0.bin') == b'content'
    tokens = {asked.kind: asked.token for asked in hub.asked}
    assert tokens == {'revision': hub.token, 'tree': hub.token, 'resolve': hub.token, 'file': None}


@pytest.mark.parametrize(
    ('pattern', 'token', 'told'),
    [
        (NAME, 'hf_secret', None),
        (f'{NAME}@nowhere', None, "The dataset owner/name has no revision 'nowhere': see {url}/datasets/owner/name."),
        (f'{NAME}@{"0" * 40}', None, 'The dataset owner/name has no revision {zeros!r}: see {url}/datasets/'),
        *(
            (
                'hf://datasets/owner/gated', token,
                '{path}: The dataset owner/gated is gated: ask for access on {url}/datasets/owner/gated, and set '
                'HF_TOKEN, here and where the workers run, to a token that may read it.',
            )
            for token in (None, 'hf_secret')
        ),
        *(
            (
                f'hf://datasets/owner/{name}', token,
                f'There is no dataset owner/{name} on {{url}}, or it is private: check the name, or set HF_TOKEN, here '
                'and where the workers run, to a token that may read it.',
            )
            for name, token in (('private', None), ('other', None), ('other', 'hf_secret'))
        ),
        (
            NAME, 'hf_wrong',
            '{url} does not accept the token: set HF_TOKEN, here and where the workers run, to a token that may read '
            'it, or to none.',
        ),
        (f'{NAME}/*.csv', None, "No file matches '{at}/*.csv': name files, folders of them, or patterns"),
        (
            'hf://owner/name/a.parquet', None,
            'There is no model owner/name on {url} (datasets are hf://datasets/OWNER/NAME), or it is private: check',
        ),
        ('hf://buckets/owner/name', None, 'hf://buckets/owner/name is no place on the Hub that is read (it names a bu'),
        ('hf://datasets/name', None, "is read (Invalid HF URI 'hf://datasets/name'. Repository id must be 'namespace"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told_in_a_line_without_the_token(hub, monkeypatch, pattern, token, told, waits):
    for name in ('name', 'private', 'gated'):
        hub.dataset(f'owner/{name}', {'a.parquet': parquet(rows(1))})
    hub.datasets['owner/private'].private = hub.datasets['owner/gated'].gated = True
    if token:
        monkeypatch.setenv('HF_TOKEN', token)
    if told is None:
        assert ba.ReadGenerations(pattern).names
        return
    (sha,) = hub.datasets['owner/name'].commits
    path, at = f'hf://datasets/owner/gated@{sha}/a.parquet', f'{NAME}@{sha}'
    with pytest.raises(InputError) as e:
        ba.ReadGenerations(pattern)
    assert told.format(url=hub.url, zeros='0' * 40, path=path, at=at) in str(e.value)
    assert '\n' not in str(e.value) and 'hf_' not in str(e.value)
    assert waits == []


def test_a_page_in_the_place_of_the_hub_is_told(hub):
    hub.dataset('owner/name', {'a.bin': b'content'})
    for kind in ('revision', 'tree'):
        hub.faults = {kind: ['page']}
        with pytest.raises(InputError, match=rf'^What answers at {hub.url} is not the Hub: check the network'):
            ba.ReadGenerations(NAME)


def test_a_hub_that_cannot_be_reached_is_told(hub, monkeypatch, waits):
    monkeypatch.setenv('HF_ENDPOINT', 'http://127.0.0.1:1')
    with pytest.raises(
        InputError, match=r'^http://127.0.0.1:1 cannot be reached \(ConnectError: .*\): check the network'
    ):
        ba.ReadGenerations(NAME)
    assert len(waits) == TRIES - 1


def test_nothing_is_written_there(hub):
    hub.dataset('owner/name', {'a.jsonl': lines(rows(1))})
    for write in (FileSystems.create, FileSystems.mkdirs, lambda path: FileSystems.delete([path])):
        with pytest.raises(InputError, match=r'a\.jsonl: the Hub is only read here'):
            write(f'{NAME}/a.jsonl')
    for copy in (FileSystems.copy, FileSystems.rename):
        with pytest.raises(InputError, match=r'b\.jsonl: the Hub is only read here'):
            copy([f'{NAME}/a.jsonl'], [f'{NAME}/b.jsonl'])


def test_it_is_a_file_system_as_others_are(hub):
    content = gzip.compress(b'text')
    hub.dataset('owner/name', {'a/b.gz': content, 'large': b'x' * 2000, 'empty': b''})
    system, path = FileSystems.get_filesystem(NAME), f'{NAME}/a/b.gz'
    assert FileSystems.open(path).read() == b'text'
    assert (read(path), read(f'{NAME}/empty')) == (content, b'')
    assert (system.exists(path), system.exists(f'{NAME}/a'), system.exists(f'{NAME}/c/d')) == (True, False, False)
    assert system.size(path) == system.metadata(path).size_in_bytes == len(content)
    assert (len(system.checksum(path)), len(system.checksum(f'{NAME}/large'))) == (40, 64)
    assert FileSystems.join(NAME, 'a', 'b.gz') == path
    assert FileSystems.split(path) == (f'{NAME}/a', 'b.gz')
    (all_of_them,) = FileSystems.match([f'{NAME}/**'], [1])
    assert len(all_of_them.metadata_list) == 1
    with pytest.raises(BeamIOError, match='There is no file'):
        FileSystems.open(f'{NAME}/c')


def test_a_folder_that_datasets_saved_is_read_there_too(hub, tmp_path):
    both = datasets.DatasetDict(
        {name: datasets.Dataset.from_list(rows(2)[at:][:4]) for name, at in (('a', 0), ('b', 4))}
    )
    both.save_to_disk(tmp_path)
    files = {str(path.relative_to(tmp_path)): path.read_bytes() for path in tmp_path.rglob('*') if path.is_file()}
    hub.dataset('owner/name', {f'saved/{name}': content for name, content in files.items()})
    with pipeline() as p:
        tables = p | ba.ReadGenerations(f'{NAME}/saved', COLUMNS, split='b')
        assert_that(tables | beam.FlatMap(lambda t: {*t['instruction_id'].to_pylist()}), equal_to(['i0001']))
