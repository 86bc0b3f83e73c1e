"""The Hugging Face Hub as a Beam file system: ``hf://datasets/OWNER/NAME[@REVISION][/PATH]``. It is only read.

Beam knows it as soon as this module is imported, which `beam_argilla.files` does, on workers, too. huggingface_hub is
imported when such a path is used first.

A revision that may change (a branch, a tag, none) is pinned to its commit before anything is looked at, so whatever is
matched names its commit, and everybody who opens it reads the same bytes, whenever that is.

What is asked of the Hub is three routes of its API: which commit a revision is, what lies in a folder, and a range of
a file. Each request is tried again by huggingface_hub's own `http_backoff` (connections that fail, break off in the
middle or take too long, 429 as long as the Hub says, 5xx; six times in sum), and by nobody else.
"""

from __future__ import annotations

import functools
import io
import itertools
import os
import posixpath
import re
import threading
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, NoReturn
from urllib.parse import quote

from apache_beam.io.filesystem import (
    BeamIOError,
    CompressedFile,
    CompressionTypes,
    FileMetadata,
    FileSystem,
    MatchResult,
)

from beam_argilla.errors import InputError

_SCHEME = 'hf'
_KINDS = ('dataset', 'model', 'space')
_COMMIT = re.compile('[0-9a-f]{40}')
# What one request brings at least: over a usual line as much takes a few milliseconds, and a request 50 to 100.
_LEAST_BYTES = 64 << 10
_MOST_AHEAD_BYTES = 4 << 20
_COMMITS_KNOWN = 32  # datasets of which a process remembers what lies where


class HubFileSystem(FileSystem):
    """``hf://datasets/OWNER/NAME[@REVISION][/PATH]``; of models without ``datasets/``, and of ``spaces/``.

    The token is that of the environment (``HF_TOKEN``) or of ``hf auth login``, of the machine that reads; the Hub is
    that of ``HF_ENDPOINT``. Whatever cannot be read raises `InputError`, which says what to do.
    """

    @classmethod
    def scheme(cls) -> str:
        return _SCHEME

    def match(self, patterns: Sequence[str], limits: Sequence[int | None] | None = None) -> list[MatchResult]:
        return [
            MatchResult(pattern, list(itertools.islice(self._matching(pattern), limit)))
            for pattern, limit in zip(patterns, limits or itertools.repeat(None), strict=False)
        ]

    def _matching(self, pattern: str) -> Iterator[FileMetadata]:
        place = _pinned(f'{pattern}*' if pattern.endswith('/') else pattern)
        folder = posixpath.dirname(re.split(r'[\[*?]', place.path)[0])
        behind = place.path[len(folder) :].strip('/')
        below = '/' in behind or '**' in behind
        files = _commit(place).files(folder, below)
        found = [FileMetadata(str(place._replace(path=path)), entry.size) for path, entry in files]
        return self.match_files(found, str(place))

    def _list(self, dir_or_prefix: str) -> Iterator[FileMetadata]:
        return self._matching(f'{dir_or_prefix.rstrip("/")}/**')

    def open(
        self,
        path: str,
        mime_type: str = 'application/octet-stream',
        compression_type: str = CompressionTypes.AUTO,
    ) -> Any:
        compression_type = self._get_compression_type(path, compression_type)
        place, entry = self._entry(path)
        file = _HubFile(place, entry.size)
        if compression_type == CompressionTypes.UNCOMPRESSED:
            return file
        return CompressedFile(file, compression_type=compression_type)

    def exists(self, path: str) -> bool:
        """Whether there is such a file. Folders are there as far as files are in them."""
        place = _pinned(path)
        return _commit(place).file(place.path) is not None

    def metadata(self, path: str) -> FileMetadata:
        place, entry = self._entry(path)
        return FileMetadata(str(place), entry.size)

    def size(self, path: str) -> int:
        return self._entry(path)[1].size

    def checksum(self, path: str) -> str:
        """The SHA-256 of large files, Git's SHA-1 of others."""
        return self._entry(path)[1].checksum

    def last_updated(self, path: str) -> float:
        return 0.0  # which Beam takes for unknown: what a commit holds never changes

    def _entry(self, path: str) -> tuple[_Place, _Entry]:
        place = _pinned(path)
        entry = _commit(place).file(place.path)
        if entry is None:
            raise BeamIOError(f'There is no file {place}')
        return place, entry

    def report_lineage(self, path: str, lineage: Any) -> None:
        place = _place(path)
        repo = place.repo if place.revision is None else f'{place.repo}@{place.revision}'
        lineage.add(_SCHEME, f'{place.kind}s', repo, place.path, last_segment_sep='/')

    def has_dirs(self) -> bool:
        return True

    def join(self, basepath: str, *paths: str) -> str:
        return '/'.join([basepath.rstrip('/'), *(path.strip('/') for path in paths)])

    def split(self, path: str) -> tuple[str, str]:
        head, _, tail = path.rpartition('/')
        return head, tail

    def create(self, path: str, mime_type: str = '', compression_type: str = CompressionTypes.AUTO) -> NoReturn:
        _refuse_to_write(path)

    def mkdirs(self, path: str) -> NoReturn:
        _refuse_to_write(path)

    def copy(self, source_file_names: list[str], destination_file_names: list[str]) -> NoReturn:
        _refuse_to_write(destination_file_names[0])

    def rename(self, source_file_names: list[str], destination_file_names: list[str]) -> NoReturn:
        _refuse_to_write(destination_file_names[0])

    def delete(self, paths: list[str]) -> NoReturn:
        _refuse_to_write(paths[0])


def _refuse_to_write(path: str) -> NoReturn:
    raise InputError(
        f'{path}: the Hub is only read here. Name another place, and upload what is there (hf upload, huggingface_hub).'
    )


# -- paths


class _Place(NamedTuple):
    """What a path names; the revision is a commit once it is pinned, None for the default branch."""

    kind: str  # dataset, model or space
    repo: str
    revision: str | None
    path: str  # in the repository; '' for all of it

    def __str__(self) -> str:
        at = '' if self.revision is None else f'@{self.revision}'
        return f'{_SCHEME}://{self.prefix}{self.repo}{at}/{self.path}'.rstrip('/')

    @property
    def prefix(self) -> str:
        """What is before its name, in paths and addresses."""
        return '' if self.kind == 'model' else f'{self.kind}s/'

    @property
    def api(self) -> str:
        return f'/api/{self.kind}s/{self.repo}'


def pinned(path: str) -> str:
    """The path or pattern with the commit that its revision is now.

    Raises:
        InputError: there is no such repository or revision, or it may not be read; or the Hub cannot be asked.
    """
    return str(_pinned(path))


def _pinned(path: str) -> _Place:
    place = _place(path)
    if place.revision is not None and _COMMIT.fullmatch(place.revision):
        return place
    revision = '' if place.revision is None else f'/revision/{quote(place.revision, safe="")}'
    return place._replace(revision=_json(_get(f'{place.api}{revision}', place))['sha'])


def _place(path: str) -> _Place:
    """Raises InputError if it names none."""
    try:
        from huggingface_hub.utils import parse_hf_uri
    except ImportError:
        raise InputError(f'{path}: hf:// needs a later huggingface_hub: pip install -U huggingface_hub.') from None
    try:
        uri = parse_hf_uri(path)
        why = None if uri.type in _KINDS else f'it names a {uri.type}'
    except ValueError as e:
        why = str(e).strip().rstrip('.')
    if why is not None:
        raise InputError(
            f'{path} is no place on the Hub that is read ({why}): hf://datasets/OWNER/NAME[@REVISION][/PATTERN], with '
            '%2F for a slash in the name of a branch.'
        )
    return _Place(uri.type, uri.id, uri.revision, uri.path_in_repo)


# -- folders


class _Entry(NamedTuple):
    size: int  # bytes
    checksum: str


def _commit(place: _Place) -> _Commit:
    """What is known of a pinned place's commit, by this process."""
    return _known(_endpoint(), place._replace(path=''))


@functools.lru_cache(_COMMITS_KNOWN)
def _known(endpoint: str, place: _Place) -> _Commit:
    return _Commit(place)


class _Commit:
    """Which files are in a commit. As it never changes, every folder is asked for once."""

    def __init__(self, place: _Place):
        self._place = place
        self._files: dict[str, _Entry] = {}
        self._folders: dict[str, bool] = {}  # that were listed; whether with all below
        self._lock = threading.Lock()

    def file(self, path: str) -> _Entry | None:
        self._learn(posixpath.dirname(path), below=False)
        return self._files.get(path)

    def files(self, folder: str, below: bool) -> list[tuple[str, _Entry]]:
        """The files that are known, those in the folder (and below it, if that is wanted) among them."""
        self._learn(folder, below)
        return list(self._files.items())

    def _learn(self, folder: str, below: bool) -> None:
        with self._lock:
            if not self._knows(folder, below):
                self._files.update(self._list(folder, below))
                self._folders[folder] = below

    def _knows(self, folder: str, below: bool) -> bool:
        if folder in self._folders and not below:
            return True
        above = itertools.accumulate(folder.split('/'), posixpath.join)
        return any(self._folders.get(known, False) for known in ('', *above))

    def _list(self, folder: str, below: bool) -> dict[str, _Entry]:
        way = f'/{quote(folder, safe="")}' if folder else ''
        tree = f'{self._place.api}/tree/{self._place.revision}{way}'
        route: str | None = f'{tree}?recursive={str(below).lower()}'
        found: dict[str, _Entry] = {}
        while route:
            try:
                response = _get(route, self._place)
            except _NoEntry:
                if found:  # not all of a list is worse than none
                    raise
                break
            for item in _json(response):
                if item['type'] == 'file':
                    found[item['path']] = _Entry(item['size'], (item.get('lfs') or item)['oid'])
            route = response.links.get('next', {}).get('url')
        return found


# -- bytes


class _HubFile(io.RawIOBase):
    """A file, read in ranges.

    What is read in one place and then in another costs what it needs: a column of a Parquet file, not the file. What
    is read on and on is fetched ahead, twice as much each time, so that small steps cost few requests.
    """

    mode = 'rb'  # Beam asks for it

    def __init__(self, place: _Place, size: int):
        super().__init__()
        self._place = place
        self._size = size
        self._at = 0
        self._start, self._block = 0, b''  # what was fetched last
        self._step = _LEAST_BYTES

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence])
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        found = self._bytes(len(buffer))
        buffer[: len(found)] = found
        self._at += len(found)
        return len(found)

    def readall(self) -> bytes:
        found = self._bytes(self._size)
        self._at += len(found)
        return found

    def peek(self, size: int = 1) -> bytes:
        """What comes next, at least a byte, if there is one: lines are read by it."""
        self._bytes(1)
        position = self._at - self._start
        return self._block[position : position + io.DEFAULT_BUFFER_SIZE]

    def _bytes(self, size: int) -> bytes:
        """As many as there are."""
        size = max(0, min(size, self._size - self._at))
        position = self._at - self._start
        goes_on = 0 <= position <= len(self._block)
        found = self._block[position : position + size] if goes_on else b''
        if len(found) < size:
            self._step = min(2 * self._step, _MOST_AHEAD_BYTES) if goes_on and self._block else _LEAST_BYTES
            start, missing = self._at + len(found), size - len(found)
            self._block = self._fetch(start, min(max(missing, self._step), self._size - start))
            self._start = start
            found += self._block[:missing]
        return found

    def _fetch(self, start: int, size: int) -> bytes:
        place = self._place
        route = f'/{place.prefix}{place.repo}/resolve/{place.revision}/{quote(place.path)}'
        response = _get(route, place, Range=f'bytes={start}-{start + size - 1}')
        content = response.content
        if response.status_code == 200 and len(content) == self._size:  # something between does not know ranges
            content = content[start : start + size]
        if len(content) != size:
            raise InputError(f'Of {place}, {len(content)} bytes came where {size} were asked for.')
        return content


# -- the network


class _NoEntry(InputError):
    """The Hub has no such file or folder in this commit."""


def _endpoint() -> str:
    from huggingface_hub import constants

    return (os.environ.get('HF_ENDPOINT') or constants.ENDPOINT).rstrip('/')


def _get(route: str, place: _Place, **headers: str) -> Any:
    """The Hub's answer, of a route of its API or of a URL that it named.

    Raises:
        InputError: it gives none, after all tries, or says no.
    """
    from huggingface_hub import constants
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status, http_backoff

    endpoint = _endpoint()
    # Compressed on the way, a range would be one of other bytes.
    headers = {**build_hf_headers(), 'Accept-Encoding': 'identity', **headers}
    try:
        response = http_backoff(
            'GET',
            f'{endpoint}{route}' if route.startswith('/') else route,
            headers=headers,
            timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT,
        )
        hf_raise_for_status(response)
    except Exception as e:  # of whichever HTTP library it stands on
        raise _told(e, place, endpoint) from None
    return response


def _json(response: Any) -> Any:
    try:
        return response.json()
    except ValueError:
        raise InputError(
            f'What answers at {_endpoint()} is not the Hub: check the network, the proxy and HF_ENDPOINT, here and '
            'where the workers run.'
        ) from None


def _told(error: Exception, place: _Place, endpoint: str) -> InputError:
    """What a request's failure means; without the file where it is of all files, which is said once for them.

    (The library's own messages may hold a header, with the token, or the address that a file is at, with a signature.)
    """
    from huggingface_hub import errors
    from huggingface_hub.utils import get_token

    what, page = f'{place.kind} {place.repo}', f'{endpoint}/{place.prefix}{place.repo}'
    set_token = 'set HF_TOKEN, here and where the workers run, to a token that may read it'
    response = getattr(error, 'response', None)
    if isinstance(error, errors.GatedRepoError):
        return InputError(f'The {what} is gated: ask for access on {page}, and {set_token}.')
    if isinstance(error, errors.RevisionNotFoundError):
        return InputError(f'The {what} has no revision {place.revision!r}: see {page}.')
    if isinstance(error, errors.EntryNotFoundError):
        return _NoEntry(f'There is no {place.path!r} in {page}.')
    if response is None:
        token = get_token()
        why = str(error).replace(token, '…') if token else str(error)
        return InputError(
            f'{endpoint} cannot be reached ({type(error).__name__}: {why}): check the network, the proxy and '
            'HF_ENDPOINT, here and where the workers run.'
        )
    status, said = response.status_code, response.headers.get('X-Error-Message')
    if status == 401 and said == 'Invalid credentials in Authorization header':
        return InputError(f'{endpoint} does not accept the token: {set_token}, or to none.')
    if status in (401, 404):
        datasets = '' if place.kind == 'dataset' else ' (datasets are hf://datasets/OWNER/NAME)'
        return InputError(
            f'There is no {what} on {endpoint}{datasets}, or it is private: check the name, or {set_token}.'
        )
    if status == 403:
        return InputError(f'The {what} may not be read: {set_token}.')
    return InputError(f'{place} cannot be read: {endpoint} answers {status}. Try again later.')
