"""The Hub as an input, against a fake one on this machine."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.io.filesystem import BeamIOError
from apache_beam.io.filesystems import FileSystems

import beam_argilla as ba
from beam_argilla import hub as hub_file_system
from beam_argilla.errors import InputError
from pipelines import parquet_to_argilla
from tests.fake_hub import BREAKS_OFF, FakeHub
from tests.samples import pipeline, rows

REPO = 'hf://datasets/o/n'


@pytest.fixture
def hub(monkeypatch) -> Iterator[FakeHub]:
    with FakeHub().running() as running:
        monkeypatch.setenv('HF_ENDPOINT', running.url)
        monkeypatch.delenv('HF_TOKEN', raising=False)
        monkeypatch.setattr('time.sleep', lambda seconds: None)  # between what is tried again
        yield running


def parquet(elements: list[dict[str, Any]], **options: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(elements), file, **options)
    return file.getvalue()


FOUND: list[str] = []


def keep(table: pa.Table) -> None:
    FOUND.extend(table.column('generation').to_pylist())


def read(pattern: str, **options: Any) -> list[str]:
    FOUND.clear()
    with pipeline() as p:
        _ = p | ba.ReadGenerations(pattern, **options) | beam.Map(keep)
    return sorted(FOUND)


ELEMENTS = rows(6)
TEXTS = sorted(row['generation'] for row in ELEMENTS)
LINES = '\n'.join(map(json.dumps, ELEMENTS)).encode()


@pytest.mark.parametrize(
    ('files', 'pattern'),
    [
        ({'data/a.parquet': parquet(ELEMENTS[:9]), 'data/b.parquet': parquet(ELEMENTS[9:])}, REPO),
        ({'data/a.parquet': parquet(ELEMENTS[:9]), 'data/b.parquet': parquet(ELEMENTS[9:])}, f'{REPO}/data/*.parquet'),
        ({'a.parquet': parquet(ELEMENTS), 'b.txt': b'', 'README.md': b'x'}, f'{REPO}/a.parquet'),
        ({'x/y/a.jsonl.gz': gzip.compress(LINES), '.gitattributes': b'x', 'README.md': b'x'}, f'{REPO}@main'),
        ({'x/a.jsonl': LINES, 'x/b.jsonl': b''}, f'{REPO}/**.jsonl'),
    ],
)
def test_what_is_on_the_hub_is_what_it_is_here(hub, files, pattern):
    hub.page = 2  # of a list of files
    hub.push('o/n', files)
    assert read(pattern) == TEXTS


@pytest.mark.parametrize('revision', ['v1', 'refs/convert/parquet', 'a%2Fb'])
def test_a_revision_is_read_as_it_was_when_the_pipeline_was_built(hub, revision):
    commit = hub.push('o/n', {'a.parquet': parquet(ELEMENTS)}, revision.replace('%2F', '/'))
    hub.push('o/n', {'a.parquet': parquet(ELEMENTS[:1])})
    (file,) = FileSystems.match([f'{REPO}@{revision}/*.parquet'])[0].metadata_list
    assert file.path == f'{REPO}@{commit}/a.parquet'
    reader = ba.ReadGenerations(f'{REPO}@{revision}')
    hub.push('o/n', {'a.parquet': parquet(ELEMENTS[:2])}, revision.replace('%2F', '/'))
    FOUND.clear()
    with pipeline() as p:
        _ = p | reader | beam.Map(keep)
    assert sorted(FOUND) == TEXTS


def test_only_what_is_needed_is_asked_for(hub, monkeypatch):
    monkeypatch.setattr(hub_file_system, '_BLOCK_BYTES', 10_000)
    heavy = [{**row, 'heavy': f'{i}' + 'é' * 200_000} for i, row in enumerate(ELEMENTS)]
    content = parquet(heavy, compression='NONE', use_dictionary=False)
    hub.push('o/n', {'a.parquet': content})
    assert read(REPO) == TEXTS
    assert sum(size for _, _, size in hub.ranges) < len(content) / 10


def test_what_breaks_off_and_what_is_busy_is_asked_for_again(hub):
    hub.push('o/n', {'a.parquet': parquet(ELEMENTS), 'b/c.parquet': parquet(rows(1))})
    faults = [429, BREAKS_OFF, 503, None, 500, BREAKS_OFF, None]
    hub.schedule = lambda number, path: faults[number % len(faults)]
    assert read(f'{REPO}/a.parquet') == TEXTS
    assert len(hub.paths) > len(faults)


def test_what_cannot_be_read_is_told_in_a_line(hub):
    hub.push('o/n', {'data/a.parquet': parquet(ELEMENTS)})
    hub.push('o/secret', {'a.parquet': parquet(ELEMENTS)})
    hub.push('o/gated', {'a.parquet': parquet(ELEMENTS)})
    hub.private, hub.gated = {'o/secret'}, {'o/gated'}
    for pattern, message in [
        (f'{REPO}/data/b.parquet', 'No file matches'),
        (f'{REPO}/no/*.parquet', 'No file matches'),
        (f'{REPO}@v9', "the dataset 'o/n' has no revision 'v9'"),
        ('hf://datasets/o/nothing', "there is no dataset 'o/nothing' on the Hub, or it is private: then set HF_TOKEN"),
        ('hf://datasets/o/secret', "there is no dataset 'o/secret' on the Hub, or it is private: then set HF_TOKEN"),
        ('hf://datasets/o/gated', "the dataset 'o/gated' is gated. Ask for access on its page"),
        ('hf://datasets/n', 'is no place on the Hub: write hf://datasets/OWNER/NAME'),
    ]:
        with pytest.raises(InputError, match=message) as told:
            ba.ReadGenerations(pattern)
        assert '\n' not in str(told.value)
    hub.schedule = lambda number, path: 503
    with pytest.raises(InputError, match=r'cannot be read from the Hub: .*503'):
        ba.ReadGenerations(REPO)
    with pytest.raises(BeamIOError, match='the Hub is only read from here'):
        FileSystems.create(f'{REPO}/a.parquet')


def test_a_token_of_the_environment_opens_what_is_not_for_everybody(hub, monkeypatch):
    hub.push('o/gated', {'a.parquet': parquet(ELEMENTS)})
    hub.gated = {'o/gated'}
    monkeypatch.setenv('HF_TOKEN', 'hf_right')
    assert read('hf://datasets/o/gated') == TEXTS


def test_a_file_that_fails_for_good_is_refused_or_ends_the_job_with_a_line(hub, capsys):
    hub.push('o/n', {'a.parquet': parquet(ELEMENTS), 'b.parquet': parquet(ELEMENTS)})
    options = ['--dataset', 'd', '--num_generations', '4', '--dry_run']
    assert parquet_to_argilla.main(['--input', f'{REPO}/*.parquet', *options]) == 0
    assert '48 rows read, 6 groups' in capsys.readouterr().out
    hub.schedule = lambda number, path: 500 if path.endswith('b.parquet') and 'resolve' in path else None
    assert parquet_to_argilla.main(['--input', f'{REPO}/*.parquet', *options]) == 2
    assert 'b.parquet cannot be read' in capsys.readouterr().err


def test_a_folder_that_datasets_saved_is_read_there_too(hub, tmp_path):
    saved = {split: datasets.Dataset.from_list(ELEMENTS[i::2]) for i, split in enumerate(('train', 'test'))}
    datasets.DatasetDict(saved).save_to_disk(tmp_path / 'saved')
    files = {str(p.relative_to(tmp_path)): p.read_bytes() for p in tmp_path.rglob('*') if p.is_file()}
    hub.push('o/n', files)
    assert read(f'{REPO}/saved', split='test') == sorted(row['generation'] for row in ELEMENTS[1::2])


def test_the_token_is_in_no_message(hub, monkeypatch):
    monkeypatch.setenv('HF_TOKEN', 'hf_wrong_secret')
    hub.push('o/gated', {'a.parquet': parquet(ELEMENTS)})
    hub.gated = {'o/gated'}
    with pytest.raises(InputError, match='is gated') as told:
        ba.ReadGenerations('hf://datasets/o/gated')
    assert 'secret' not in str(told.value)
