"""A Hugging Face Hub on this machine, as far as its file system asks for it, and as bad as a test wants it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

BREAKS_OFF = 'breaks off'  # in the middle of an answer
Schedule = Callable[[int, str], Any]  # number of the request, its path → a status, BREAKS_OFF, or None: all is well


class FakeHub:
    """Datasets on a server.

    Attributes:
        url: its address.
        datasets: OWNER/NAME → revision → path → content; ``main`` is there always.
        private: those that need the token ``hf_right``; `gated` those that need it, and say so.
        ranges: (path, first byte, number of bytes) of each range that was sent.
        commit: of each revision, which moves when `push` is called.
    """

    def __init__(self) -> None:
        self.datasets: dict[str, dict[str, dict[str, bytes]]] = {}
        self.commits: dict[str, dict[str, bytes]] = {}
        self.heads: dict[tuple[str, str], str] = {}
        self.private: set[str] = set()
        self.gated: set[str] = set()
        self.ranges: list[tuple[str, int, int]] = []
        self.paths: list[str] = []
        self.schedule: Schedule = lambda number, path: None
        self.page = 1000
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def do_GET(self) -> None:
                hub.answer(self)

            def do_HEAD(self) -> None:
                hub.answer(self)

            def do_POST(self) -> None:
                hub.answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self._lock = threading.Lock()
        self.url = f'http://127.0.0.1:{self._server.server_port}'

    def push(self, repo: str, files: dict[str, bytes], revision: str = 'main') -> str:
        """Makes the revision consist of these files; the commit."""
        commit = hashlib.sha1(f'{repo}{revision}{len(self.commits)}'.encode()).hexdigest()
        self.commits[commit] = files
        self.heads[repo, revision] = self.heads[repo, commit] = commit
        return commit

    @contextlib.contextmanager
    def running(self) -> Iterator[FakeHub]:
        thread = threading.Thread(target=self._server.serve_forever, kwargs={'poll_interval': 0.05}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        url = urlsplit(request.path)
        body = request.rfile.read(int(request.headers.get('Content-Length') or 0))
        with self._lock:
            fault = self.schedule(len(self.paths), url.path)
            self.paths.append(url.path)
        if isinstance(fault, int):
            self._send(request, fault, b'{"error":"busy"}', {'Retry-After': '0'})
            return
        match = re.fullmatch(r'(/api)?/datasets/(?P<repo>[^/]+/[^/]+)(/(?P<what>[a-z-]+)/(?P<rest>.*))?', url.path)
        if match is None:
            self._send(request, 404, b'{}')
            return
        repo, what, rest = match['repo'], match['what'], match['rest'] or ''
        if not any(known == repo for known, _ in self.heads) or (repo in self.private and not self._is_known(request)):
            self._send(request, 401, b'{}', {'X-Error-Code': 'RepoNotFound', 'X-Error-Message': 'Repository not found'})
            return
        if repo in self.gated and not self._is_known(request):
            self._send(request, 401, b'{}', {'X-Error-Code': 'GatedRepo', 'X-Error-Message': 'Access is restricted'})
            return
        revision, _, path = (unquote(part) for part in rest.partition('/'))
        commit = self.heads.get((repo, revision or 'main'))
        if commit is None:
            self._send(request, 404, b'{}', {'X-Error-Code': 'RevisionNotFound', 'X-Error-Message': 'Invalid rev id'})
            return
        files = self.commits[commit]
        if what in (None, 'revision'):
            info = {'id': repo, 'sha': commit, 'private': False, 'siblings': [], 'tags': [], 'downloads': 0, 'likes': 0}
            self._send(request, 200, json.dumps(info).encode())
        elif what == 'tree':
            query = parse_qs(url.query)
            self._tree(request, files, path, query, f'{self.url}{url.path}')
        elif what == 'paths-info':
            sent = parse_qs(body.decode()) if not body.startswith(b'{') else json.loads(body)
            wanted = [unquote(p) for p in sent.get('paths', [])]
            found = [entry for entry in _entries(files, '', True) if entry['path'] in wanted]
            self._send(request, 200, json.dumps(found).encode())
        elif what == 'resolve' and path in files:
            self._file(request, path, files[path], fault)
        else:
            self._send(request, 404, b'{}', {'X-Error-Code': 'EntryNotFound', 'X-Error-Message': 'Entry not found'})

    def _is_known(self, request: BaseHTTPRequestHandler) -> bool:
        return request.headers.get('Authorization') == 'Bearer hf_right'

    def _tree(self, request: Any, files: dict[str, bytes], path: str, query: dict[str, list[str]], url: str) -> None:
        recursive = query.get('recursive', ['False'])[0].lower() == 'true'
        entries = _entries(files, path, recursive)
        if path and not entries:
            self._send(request, 404, b'{}', {'X-Error-Code': 'EntryNotFound', 'X-Error-Message': 'Entry not found'})
            return
        at = int(query.get('cursor', ['0'])[0])
        more = {}
        if at + self.page < len(entries):
            more['Link'] = f'<{url}?recursive={recursive}&cursor={at + self.page}>; rel="next"'
        self._send(request, 200, json.dumps(entries[at : at + self.page]).encode(), more)

    def _file(self, request: Any, path: str, content: bytes, fault: Any) -> None:
        asked = re.fullmatch(r'bytes=(\d+)-(\d+)', request.headers.get('Range') or '')
        first, last = (int(asked[1]), min(int(asked[2]), len(content) - 1)) if asked else (0, len(content) - 1)
        part = content[first : last + 1]
        headers = {'ETag': '"x"', 'X-Repo-Commit': '0' * 40}
        if asked:
            headers['Content-Range'] = f'bytes {first}-{last}/{len(content)}'
        if request.command == 'GET':
            with self._lock:
                self.ranges.append((path, first, len(part)))
        self._send(request, 206 if asked else 200, part, headers, fault == BREAKS_OFF)

    def _send(
        self, request: Any, status: int, content: bytes, headers: dict[str, str] | None = None, broken: bool = False
    ) -> None:
        request.send_response(status)
        for name, value in (headers or {}).items():
            request.send_header(name, value)
        request.send_header('Content-Length', str(len(content)))
        request.end_headers()
        if request.command != 'HEAD':
            request.wfile.write(content[: len(content) // 2] if broken else content)
        if broken:
            request.close_connection = True


def _entries(files: dict[str, bytes], path: str, recursive: bool) -> list[dict[str, Any]]:
    prefix = f'{path}/' if path else ''
    found: dict[str, dict[str, Any]] = {}
    for name, content in files.items():
        if not name.startswith(prefix):
            continue
        parts = name[len(prefix) :].split('/')
        for depth in range(1, len(parts)):
            folder = prefix + '/'.join(parts[:depth])
            if recursive or depth == 1:
                found.setdefault(folder, {'type': 'directory', 'path': folder, 'oid': 'd', 'size': 0})
        if recursive or len(parts) == 1:
            oid = hashlib.sha1(content).hexdigest()
            found[name] = {'type': 'file', 'path': name, 'oid': oid, 'size': len(content)}
    return list(found.values())
