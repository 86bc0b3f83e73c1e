"""Files of this machine and of object stores: removed by their very names, and tried before a job runs."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest
from apache_beam.io.filesystem import BeamIOError

import beam_argilla as ba
from beam_argilla import files
from beam_argilla.errors import InputError, JobError
from tests.object_store import OBJECTS

NAMES = ['a[1].txt', 'a1.txt', 'b*.txt', 'bc.txt', 'd?.txt', 'de.txt', 'folder[1]/x', 'folder1/x']


@pytest.fixture(params=['local', 'objects'])
def folder(request, tmp_path) -> Iterator[str]:
    yield f'{tmp_path}/in' if request.param == 'local' else 'objects://bucket/in'
    OBJECTS.clear()


def there(folder: str) -> list[str]:
    """The names of all files in the folder."""
    found = OBJECTS if folder.startswith('objects') else [str(p) for p in Path(folder).rglob('*') if p.is_file()]
    return sorted(path.removeprefix(f'{folder}/') for path in found)


def test_exactly_what_is_named_is_removed(folder):
    for name in NAMES:
        files.write(f'{folder}/{name}', b'x')
    files.delete(f'{folder}/{name}' for name in ('a[1].txt', 'b*.txt', 'd?.txt', 'folder[1]/', 'gone', 'gone/'))
    assert there(folder) == ['a1.txt', 'bc.txt', 'de.txt', 'folder1/x']


def test_trying_leaves_nothing_and_changes_nothing(folder):
    files.check_writable(f'{folder}/new/file', 'x', 'It', '--x')
    assert there(folder) == []
    assert not Path(folder).exists()
    files.write(f'{folder}/file', b'kept')
    files.check_writable(f'{folder}/file', 'x', 'It', '--x')
    with files.open_file(f'{folder}/file') as file:
        assert file.read() == b'kept'


def test_what_cannot_be_written_is_told_in_a_line(tmp_path):
    (tmp_path / 'file').write_text('')
    message = r'^It cannot be written to x: (Not a directory|File exists)\. Name another place \(--x\), .*room\.$'
    with pytest.raises(JobError, match=message):
        files.check_writable(f'{tmp_path}/file/new', 'x', 'It', '--x')
    with pytest.raises(JobError, match=r'^It cannot be written to x: Is a directory\. Name'):
        files.check_writable(str(tmp_path), 'x', 'It', '--x')
    with pytest.raises(InputError, match='the Hub is only read here'), files.written_to('x', 'It', '--x'):
        files.delete(['hf://datasets/a/b/c'])
    assert [path.name for path in tmp_path.iterdir()] == ['file']


def test_to_the_hub_nothing_is_written_and_nobody_asked(hub):
    with pytest.raises(InputError, match=r'^hf://datasets/a/b/c-.*: the Hub is only read here'):
        files.check_writable('hf://datasets/a/b/c', 'x', 'It', '--x')
    assert not hub.asked


@pytest.mark.parametrize(
    ('error', 'said'),
    [
        (OSError(errno.ENOSPC, 'No space left on device', 'f'), 'No space left on device'),
        (OSError(OSError(errno.EACCES, 'Permission denied')), 'Permission denied'),
        (BeamIOError('Rename', {('a', 'b'): OSError(OSError(errno.EISDIR, 'Is a directory'))}), 'Is a directory'),
        (RuntimeError('two\n  lines'), 'two lines'),
        (RuntimeError(), 'RuntimeError'),
    ],
    ids=repr,
)
def test_what_a_file_system_says_is_a_line(error, said):
    assert files.reason(error) == said


@pytest.mark.parametrize(
    'make',
    [
        ba.WriteFailed,
        ba.WriteTrainingData,
        ba.WriteReport,
        lambda place: ba.WriteTrainingData(place, 'datasets'),
        lambda place: ba.ReadFailed(place, ba.Columns(), True),
        files.is_folder,
    ],
)
@pytest.mark.parametrize('place', ['foo://bucket/x', 'foo://bucket/', 'foo://'])
def test_a_file_system_that_is_not_installed_is_told(make, place):
    with pytest.raises(InputError, match=f'^{place}: no file system for foo:// is installed'):
        make(place)
