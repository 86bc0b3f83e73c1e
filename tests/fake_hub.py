"""A Hugging Face Hub of this machine: what its API says of datasets, and their files on a host of their own, as there.

What goes wrong is on a schedule: `Hub.faults` holds, for a kind of request, what is done to the next ones.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import parse_qs, quote, unquote, urlsplit

PAGE = 3  # entries of a listing; the real one has 1,000


@dataclass
class Dataset:
    """Commits are pictures of the files; revisions are names of them."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    revisions: dict[str, str] = field(default_factory=dict)
    private: bool = False
    gated: bool = False

    def commit(self, files: dict[str, bytes], revision: str = 'main') -> str:
        sha = hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()
        self.commits[sha] = dict(files)
        self.revisions[revision] = sha
        return sha


class Asked(NamedTuple):
    """A request: its kind (``revision``, ``tree``, ``resolve``, ``file``), the path in it, and the bytes answered."""

    kind: str
    path: str
    range: tuple[int, int] | None
    token: str | None
    sent: int


@dataclass
class Hub:
    """Attributes:
    faults: kind of request → what is done to each of the next ones: a status, ``'429 in 7'``, ``'break'`` (off in
        the middle of the answer), ``'silent'`` (none within the client's time), ``'whole'`` (as if there were no
        ranges), ``'page'`` (one for people), ``'ok'``.
    """

    url: str = ''
    datasets: dict[str, Dataset] = field(default_factory=dict)  # by name; others by models/OWNER/NAME
    token: str = 'hf_secret'
    faults: dict[str, list[str]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def dataset(self, name: str, files: dict[str, bytes]) -> Dataset:
        self.datasets[name] = Dataset()
        self.datasets[name].commit(files)
        return self.datasets[name]

    def count(self, kind: str) -> int:
        return sum(asked.kind == kind for asked in self.asked)

    def bytes_of(self, path: str) -> int:
        """How many were sent of a file."""
        return sum(asked.sent for asked in self.asked if asked.kind == 'file' and asked.path == path)


@contextlib.contextmanager
def serve() -> Iterator[Hub]:
    hub, files = Hub(), _server()
    api = _server()
    hub.url = f'http://127.0.0.1:{api.server_port}'
    stop = threading.Event()
    handlers = {'hub': hub, 'stop': stop, 'files_url': f'http://127.0.0.1:{files.server_port}'}
    api.RequestHandlerClass = type('Api', (_Api,), handlers)
    files.RequestHandlerClass = type('Files', (_Files,), handlers)
    try:
        yield hub
    finally:
        stop.set()
        for server in (api, files):
            server.shutdown()
            server.server_close()


def _server() -> ThreadingHTTPServer:
    server = ThreadingHTTPServer(('127.0.0.1', 0), BaseHTTPRequestHandler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.02}, daemon=True).start()
    return server


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    stop: threading.Event
    files_url: str
    protocol_version = 'HTTP/1.1'

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, status: int, body: bytes = b'', fault: str = 'ok', **headers: str) -> None:
        self.send_response(status)
        self.send_header('Content-Length', str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace('_', '-'), value)
        self.end_headers()
        if fault == 'break':
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            self.close_connection = True
            self.connection.close()
            return
        self.wfile.write(body)

    def no(self, status: int, code: str, message: str = '') -> None:
        self.answer(status, json.dumps({'error': message or code}).encode(), X_Error_Code=code, X_Error_Message=message)

    def goes_wrong(self, kind: str) -> str | None:
        """What to do to the answer; None if it was given."""
        faults = self.hub.faults.get(kind, [])
        fault = faults.pop(0) if faults else 'ok'
        if fault == 'silent':
            self.stop.wait(60)
            self.close_connection = True
            return None
        if fault == 'page':
            self.answer(200, b'<html>Log in</html>')
            return None
        if fault[:3].isdigit():
            status, _, seconds = fault.partition(' in ')
            self.answer(int(status), **({'Retry_After': seconds} if seconds else {}))
            return None
        return fault

    def note(self, kind: str, path: str, range: tuple[int, int] | None = None, sent: int = 0) -> None:
        token = self.headers.get('Authorization')
        self.hub.asked.append(Asked(kind, path, range, token and token.removeprefix('Bearer '), sent))


class _Api(_Handler):
    def do_GET(self) -> None:
        url = urlsplit(self.path)
        parts = url.path.strip('/').split('/')
        is_api = parts[0] == 'api'
        kind_of_repo = parts.pop(0) if is_api or parts[0] in ('datasets', 'spaces') else 'models'
        if is_api:
            kind_of_repo = parts.pop(0)
        if kind_of_repo not in ('datasets', 'spaces', 'models'):  # what else huggingface_hub asks for
            self.answer(404)
            return
        name, kind = '/'.join(parts[:2]), (parts[2:] or ['revision'])[0]
        name = name if kind_of_repo == 'datasets' else f'{kind_of_repo}/{name}'
        revision, path = unquote((parts[3:] or ['main'])[0]), unquote('/'.join(parts[4:]))
        self.note(kind, path)
        fault = self.goes_wrong(kind)
        if fault is None:
            return
        token = self.hub.asked[-1].token
        if token not in (None, self.hub.token):
            self.no(401, '', 'Invalid credentials in Authorization header')
            return
        dataset = self.hub.datasets.get(name)
        if dataset is None or (dataset.private and token is None):
            self.no(*((404, 'RepoNotFound') if token else (401, '', 'Invalid username or password.')))
            return
        sha = dataset.revisions.get(revision, revision)
        if sha not in dataset.commits:
            self.no(404, 'RevisionNotFound', f'Invalid rev id: {revision}')
            return
        files = dataset.commits[sha]
        if kind == 'revision':
            self.answer(200, json.dumps({'id': name, 'sha': sha}).encode(), fault)
        elif kind == 'tree':
            self.tree(files, path, parse_qs(url.query), fault)
        elif dataset.gated:
            self.no(401 if token is None else 403, 'GatedRepo', f'Access to dataset {name} is restricted.')
        elif path not in files:
            self.no(404, 'EntryNotFound', 'Entry not found')
        else:
            self.answer(302, b'', Location=f'{self.files_url}/{sha}/{quote(path)}?Signature=secret')

    def tree(self, files: dict[str, bytes], folder: str, query: dict[str, list[str]], fault: str) -> None:
        recursive = query['recursive'] == ['true']
        prefix = f'{folder}/' if folder else ''
        entries = {}
        for path in (path for path in files if path.startswith(prefix)):
            first, *rest = path[len(prefix) :].split('/')
            if rest:
                entries[prefix + first] = {'type': 'directory', 'oid': '0', 'size': 0, 'path': prefix + first}
            if recursive or not rest:
                oid = hashlib.sha256(files[path]).hexdigest()
                lfs = (
                    {'lfs': {'oid': oid, 'size': len(files[path]), 'pointerSize': 1}} if len(files[path]) > 1000 else {}
                )
                entries[path] = {'type': 'file', 'oid': oid[:40], 'size': len(files[path]), 'path': path, **lfs}
        if not entries:
            self.no(404, 'EntryNotFound', f'{folder} does not exist')
            return
        start = int(query.get('cursor', ['0'])[0])
        page = list(entries.values())[start : start + PAGE]
        after, headers = start + PAGE, {}
        if after < len(entries):
            way, _, _ = self.path.partition('?')
            recursive_text = str(recursive).lower()
            headers['Link'] = f'<{self.hub.url}{way}?recursive={recursive_text}&cursor={after}>; rel="next"'
        self.answer(200, json.dumps(page).encode(), fault, **headers)


class _Files(_Handler):
    def do_GET(self) -> None:
        sha, _, path = unquote(urlsplit(self.path).path).strip('/').partition('/')
        content = next(d.commits[sha] for d in self.hub.datasets.values() if sha in d.commits)[path]
        start, end = 0, len(content)
        asked = self.headers.get('Range')
        if asked:
            first, _, last = asked.removeprefix('bytes=').partition('-')
            start, end = int(first), min(int(last) + 1, len(content))
        fault = self.goes_wrong('file')
        if fault == 'whole':
            asked, start, end = None, 0, len(content)
        self.note('file', path, (start, end), end - start if fault else 0)
        if fault is None:
            return
        headers = {'Content_Range': f'bytes {start}-{end - 1}/{len(content)}'} if asked else {}
        self.answer(206 if asked else 200, content[start:end], fault, **headers)
