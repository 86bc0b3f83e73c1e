"""The Hugging Face Hub as a Beam file system: ``hf://datasets/OWNER/NAME[@REVISION]/PATH``, to read from.

Beam knows it as soon as this module is imported, which `beam_argilla.files` does, on workers, too. huggingface_hub is
imported when such a path is used first.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, NoReturn
from urllib.parse import unquote

from apache_beam.io.filesystem import BeamIOError, CompressedFile, CompressionTypes, FileMetadata, FileSystem
from apache_beam.utils import retry

from beam_argilla.errors import InputError

_PATH = re.compile(
    r'hf://(?P<kind>datasets/|spaces/|(?!datasets/|spaces/))(?P<repo>[^/@]+/[^/@]+)'
    r'(@(?P<revision>refs/(?:convert|pr)/[^/]+|[^/]+))?(?P<rest>/.*|)'
)
_KINDS = {'datasets/': 'dataset', 'spaces/': 'space', '': 'model'}
_COMMIT = re.compile('[0-9a-f]{40}')
# Read ahead of what was asked for. A column of a row group, or the lines of a block, come in one request each of 4 MiB
# and more, so that this costs little, while a footer's many small reads come in one.
_BLOCK_BYTES = 1 << 20
_TRIES, _FIRST_DELAY = 5, 1.0  # as huggingface_hub has for what it tries again itself: ranges of files, pages of lists


class _Place(NamedTuple):
    """What a path says."""

    kind: str
    repo: str
    revision: str | None
    rest: str

    @property
    def url(self) -> str:
        at = f'@{self.revision}' if self.revision else ''
        return f'hf://{self.kind}{self.repo}{at}{self.rest}'


def _place(path: str) -> _Place:
    match = _PATH.fullmatch(path)
    if match is None:
        raise InputError(f'{path!r} is no place on the Hub: write hf://datasets/OWNER/NAME[@REVISION][/FILE].')
    return _Place(match['kind'], match['repo'], match['revision'], match['rest'])


def _is_transient(error: Exception) -> bool:
    """Whether it may go better the next time: the network, or the Hub, is busy or fails."""
    status = getattr(getattr(error, 'response', None), 'status_code', None)
    if status is not None:
        return status in (408, 429) or status >= 500
    return any(kind.__name__ in ('NetworkError', 'TimeoutException', 'ProtocolError') for kind in type(error).__mro__)


_again = retry.with_exponential_backoff(_TRIES, _FIRST_DELAY, retry_filter=_is_transient)


class HubFileSystem(FileSystem):
    """Reads what is on the Hub, with the token of the worker's environment (``HF_TOKEN``), if there is one.

    Files that match a pattern are called by the commit that the revision is at that moment: all workers read the same
    of them, whatever is pushed meanwhile.
    """

    @classmethod
    def scheme(cls) -> str:
        return 'hf'

    def join(self, basepath: str, *paths: str) -> str:
        return '/'.join([basepath.rstrip('/'), *(path.strip('/') for path in paths)])

    def split(self, path: str) -> tuple[str, str]:
        head, _, tail = path.rpartition('/')
        return head, tail

    def has_dirs(self) -> bool:
        return False

    def match(self, patterns: list[str], limits: list[int | None] | None = None) -> Any:
        return super().match([pinned(pattern) for pattern in patterns], limits)

    def _list(self, dir_or_prefix: str) -> Iterator[FileMetadata]:
        place = _place(dir_or_prefix)
        folder = place._replace(rest=place.rest.rpartition('/')[0]).url
        with contextlib.suppress(FileNotFoundError):
            found = _asked(folder, lambda hub: hub.find(folder, detail=True))
            for name, info in found.items():
                yield FileMetadata(f'hf://{name}', info['size'] or 0)  # by the revision that was asked for

    def exists(self, path: str) -> bool:
        with contextlib.suppress(FileNotFoundError):
            return _asked(path, lambda hub: hub.info(path))['type'] == 'file'
        return False

    def size(self, path: str) -> int:
        return self.metadata(path).size_in_bytes

    def metadata(self, path: str) -> FileMetadata:
        return FileMetadata(path, _asked(path, lambda hub: hub.info(path))['size'] or 0)

    def checksum(self, path: str) -> str:
        return str(_asked(path, lambda hub: hub.info(path)).get('blob_id'))

    def last_updated(self, path: str) -> float:
        return _asked(path, lambda hub: hub.modified(path)).timestamp()

    def open(
        self,
        path: str,
        mime_type: str = 'application/octet-stream',
        compression_type: str = CompressionTypes.AUTO,
    ) -> Any:
        file = io.BufferedReader(_File(path, _asked(path, lambda hub: hub.open(path, 'rb'))), io.DEFAULT_BUFFER_SIZE)
        compression = self._get_compression_type(path, compression_type)
        if compression == CompressionTypes.UNCOMPRESSED:
            return file
        return CompressedFile(file, compression_type=compression)

    def create(self, path: str, mime_type: str = '', compression_type: str = CompressionTypes.AUTO) -> NoReturn:
        _only_read(path)

    def mkdirs(self, path: str) -> NoReturn:
        _only_read(path)

    def copy(self, source_file_names: list[str], destination_file_names: list[str]) -> NoReturn:
        _only_read(destination_file_names[0])

    def rename(self, source_file_names: list[str], destination_file_names: list[str]) -> NoReturn:
        _only_read(destination_file_names[0])

    def delete(self, paths: list[str]) -> NoReturn:
        _only_read(paths[0])


def _only_read(path: str) -> NoReturn:
    raise BeamIOError(f'{path}: the Hub is only read from here. Write to another place, and push that.')


class _File(io.RawIOBase):
    """A file of the Hub. What it cannot read is an OSError, as of any other file."""

    def __init__(self, path: str, file: Any):
        self._path = path
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            content = self._file.read(len(buffer))
        except Exception as e:  # of whatever huggingface_hub is made of
            raise OSError(f'{self._path} cannot be read from the Hub: {_first_line(e)}') from e
        buffer[: len(content)] = content
        return len(content)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def pinned(path: str) -> str:
    """The path with the commit that its revision is now.

    Raises:
        InputError: there is no such repository or revision, or not for everybody; or the Hub cannot be asked.
    """
    from huggingface_hub import HfApi

    place = _place(path)
    if place.revision is not None and _COMMIT.fullmatch(place.revision):
        return path
    api = HfApi(**_environment())
    name = None if place.revision is None else unquote(place.revision)
    info = _asked(path, lambda hub: api.repo_info(place.repo, repo_type=_KINDS[place.kind], revision=name))
    return place._replace(revision=info.sha).url


def _asked(path: str, ask: Callable[[Any], Any]) -> Any:
    """What the Hub answers.

    Raises:
        FileNotFoundError: there is no such file in the repository.
        InputError: there is no such repository or revision, or not for everybody; or the Hub cannot be asked.
    """
    from huggingface_hub import HfFileSystem
    from huggingface_hub.errors import EntryNotFoundError

    hub = HfFileSystem(**_environment(), block_size=_BLOCK_BYTES)
    try:
        return _again(ask)(hub)
    except Exception as e:
        error = e.__cause__ if isinstance(e, FileNotFoundError) and isinstance(e.__cause__, Exception) else e
        if isinstance(error, (FileNotFoundError, EntryNotFoundError)):
            raise FileNotFoundError(f'{path} is not there') from e
        raise InputError(_reason(path, error)) from e


def _environment() -> dict[str, Any]:
    return {'endpoint': os.environ.get('HF_ENDPOINT') or None, 'token': os.environ.get('HF_TOKEN') or None}


def _reason(path: str, error: Exception) -> str:
    from huggingface_hub import errors

    place = _place(path)
    what = f'{_KINDS[place.kind]} {place.repo!r}'
    if isinstance(error, errors.GatedRepoError):
        return f'{path}: the {what} is gated. Ask for access on its page, and set HF_TOKEN to a token that has it.'
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            f'{path}: there is no {what} on the Hub, or it is private: then set HF_TOKEN, here and on the workers, to '
            'a token that may read it.'
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return f'{path}: the {what} has no revision {place.revision!r}.'
    return f'{path} cannot be read from the Hub: {_first_line(error)}'


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
