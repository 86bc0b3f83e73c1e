"""As much of Google Cloud as its clients need to launch a job: Storage, Dataflow, Secret Manager and tokens.

Real clients talk to it over HTTP; nothing of theirs is patched but where Secret Manager is.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

BUCKET = 'the-bucket'
PROJECT = 'the-project'
JOB = '2026-11-27_fake'


@dataclass
class Cloud:
    """What is in it."""

    url: str = ''
    objects: dict[str, bytes] = field(default_factory=dict)  # of the one bucket there is
    jobs: list[dict[str, Any]] = field(default_factory=list)  # as they were submitted
    states: list[str] = field(default_factory=lambda: ['JOB_STATE_DONE'])  # of the job, each time it is looked at
    messages: list[str] = field(default_factory=list)  # errors that the job reports
    when_submitted: Callable[[], object] = lambda: None
    when_looked_at: Callable[[int], object] = lambda number: None  # for which time
    looks: int = 0
    metrics: dict[str, int] = field(default_factory=dict)  # our counters, as the job reports them
    secrets: dict[str, str] = field(default_factory=dict)  # version → value
    uploads: dict[str, tuple[str, bytearray]] = field(default_factory=dict)

    def under(self, prefix: str) -> list[str]:
        """The names of the objects that begin so."""
        return sorted(name for name in self.objects if name.startswith(prefix))

    def uploads_under(self, prefix: str) -> int:
        """How many objects that begin so were made, whether or not they are still there."""
        return sum(name.startswith(prefix) for name, _ in self.uploads.values())


def job_metrics(counts: dict[str, int]) -> list[dict[str, Any]]:
    """Counters as Dataflow tells them: as attempted, and as committed."""
    return [
        {
            'name': {
                'origin': 'user',
                'name': name,
                'context': {'namespace': 'beam_argilla', 'step': 's1', **tentative},
            },
            'scalar': value,
        }
        for name, value in counts.items()
        for tentative in ({}, {'tentative': 'true'})
    ]


def _crc32c(content: bytes) -> str:
    """By which Google's client sees that an object has arrived as it was sent."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc = _CRC32C[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return base64.b64encode((crc ^ 0xFFFFFFFF).to_bytes(4, 'big')).decode()


def _of_one_byte(value: int) -> int:
    for _ in range(8):
        value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value


_CRC32C = [_of_one_byte(value) for value in range(256)]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    cloud: Cloud

    def log_message(self, *args: object) -> None:
        pass

    def _answer(self, content: object, status: int = 200, **headers: str) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {'Content_Type': 'application/json', **headers}.items():
            self.send_header(name.replace('_', '-'), value)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        if self.command != 'HEAD':
            self.wfile.write(body)

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get('Content-Length') or 0))
        url = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        for method, pattern, answer in _ROUTES:
            found = re.fullmatch(pattern, url.path)
            if found and method == self.command:
                answer(self, body, query, *map(unquote, found.groups()))
                return
        self._answer({'error': {'code': 404, 'message': f'no {self.command} {self.path}'}}, 404)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _any

    # -- storage

    def _described(self, name: str) -> dict[str, Any]:
        return {
            'kind': 'storage#object',
            'bucket': BUCKET,
            'name': name,
            'id': name,
            'size': str(len(self.cloud.objects[name])),
            'crc32c': _crc32c(self.cloud.objects[name]),
            'generation': '1',
            'updated': '2026-11-27T00:00:00Z',
        }

    def bucket(self, body: bytes, query: dict[str, str], bucket: str) -> None:
        found = bucket == BUCKET
        self._answer({'kind': 'storage#bucket', 'name': bucket} if found else {}, 200 if found else 404)

    def listed(self, body: bytes, query: dict[str, str], bucket: str) -> None:
        names = self.cloud.under(query.get('prefix', ''))
        self._answer({'kind': 'storage#objects', 'items': [self._described(name) for name in names]})

    def described(self, body: bytes, query: dict[str, str], bucket: str, name: str) -> None:
        if name not in self.cloud.objects:
            self._answer({'error': {'code': 404, 'message': f'no object {name}'}}, 404)
        elif query.get('alt') == 'media':
            self.media(body, query, bucket, name)
        else:
            self._answer(self._described(name))

    def media(self, body: bytes, query: dict[str, str], bucket: str, name: str) -> None:
        content = self.cloud.objects.get(name)
        if content is None:
            self._answer(b'no such object', 404)
            return
        asked = re.fullmatch(r'bytes=(\d+)-(\d*)', self.headers.get('Range') or '')
        if asked is None:
            self._answer(content, Content_Type='application/octet-stream')
            return
        start, end = int(asked[1]), min(int(asked[2] or len(content)), len(content) - 1)
        if start >= len(content):
            self._answer(b'', 416)
            return
        part = {'Content_Range': f'bytes {start}-{end}/{len(content)}', 'Content_Type': 'application/octet-stream'}
        self._answer(content[start : end + 1], 206, **part)

    def upload(self, body: bytes, query: dict[str, str], bucket: str) -> None:
        if query['uploadType'] == 'multipart':
            description, content = message_from_bytes(
                b'Content-Type: ' + self.headers['Content-Type'].encode() + b'\r\n\r\n' + body
            ).get_payload()
            name = json.loads(description.get_payload())['name']
            self.cloud.objects[name] = content.get_payload(decode=True)
            self._answer(self._described(name))
            return
        name = query.get('name') or json.loads(body)['name']
        number = str(len(self.cloud.uploads))
        self.cloud.uploads[number] = (name, bytearray())
        self._answer({}, Location=f'{self.cloud.url}/continued/{number}')

    def continued(self, body: bytes, query: dict[str, str], number: str) -> None:
        name, content = self.cloud.uploads[number]
        content += body
        if self.headers['Content-Range'].endswith('/*'):
            self._answer(b'', 308, Range=f'bytes=0-{len(content) - 1}')
        else:
            self.cloud.objects[name] = bytes(content)
            self._answer(self._described(name))

    def delete(self, body: bytes, query: dict[str, str], bucket: str, name: str) -> None:
        self._answer(b'', 204 if self.cloud.objects.pop(name, None) is not None else 404)

    def rewrite(self, body: bytes, query: dict[str, str], bucket: str, name: str, _: str, to: str) -> None:
        self.cloud.objects[to] = self.cloud.objects[name]
        self._answer({'kind': 'storage#rewriteResponse', 'done': True, 'resource': self._described(to)})

    def batch(self, body: bytes, query: dict[str, str]) -> None:
        """Requests to delete, which are all that Beam sends so."""
        envelope = message_from_bytes(b'Content-Type: ' + self.headers['Content-Type'].encode() + b'\r\n\r\n' + body)
        answers = []
        for part in envelope.get_payload():
            asked = re.match(r'DELETE \S*/o/([^ ?]+)', part.get_payload())
            there = asked is not None and self.cloud.objects.pop(unquote(asked[1]), None) is not None
            answers.append(
                '--batch\r\nContent-Type: application/http\r\n\r\n'
                f'HTTP/1.1 {"204 No Content" if there else "404 Not Found"}\r\nContent-Length: 0\r\n\r\n\r\n'
            )
        self._answer(''.join([*answers, '--batch--']).encode(), Content_Type='multipart/mixed; boundary=batch')

    # -- the others

    def token(self, body: bytes, query: dict[str, str]) -> None:
        self._answer({'access_token': 'token', 'expires_in': 3600, 'token_type': 'Bearer'})

    def create_job(self, body: bytes, query: dict[str, str]) -> None:
        job = json.loads(body)
        self.cloud.jobs.append(job)
        self.cloud.when_submitted()
        self._answer(self._job('JOB_STATE_PENDING'))

    def _job(self, state: str) -> dict[str, Any]:
        return {'id': JOB, 'currentState': state, 'name': self.cloud.jobs[-1]['name']}

    def job(self, body: bytes, query: dict[str, str]) -> None:
        self.cloud.looks += 1
        self.cloud.when_looked_at(self.cloud.looks)
        self._answer(self._job(self.cloud.states.pop(0) if len(self.cloud.states) > 1 else self.cloud.states[0]))

    def job_messages(self, body: bytes, query: dict[str, str]) -> None:
        told = [
            {
                'id': str(n),
                'time': '2026-11-27T00:00:00Z',
                'messageText': text,
                'messageImportance': 'JOB_MESSAGE_ERROR',
            }
            for n, text in enumerate(self.cloud.messages)
        ]
        self._answer({'jobMessages': told})

    def job_metrics(self, body: bytes, query: dict[str, str]) -> None:
        self._answer({'metrics': job_metrics(self.cloud.metrics)})

    def secret(self, body: bytes, query: dict[str, str], version: str) -> None:
        value = self.cloud.secrets.get(version)
        if value is None:
            self._answer({'error': {'code': 404, 'message': 'no such secret', 'status': 'NOT_FOUND'}}, 404)
        else:
            self._answer({'name': version, 'payload': {'data': base64.b64encode(value.encode()).decode()}})


_JOBS = f'/v1b3/projects/{PROJECT}/locations/[^/]+/jobs'
_OBJECT = r'/storage/v1/b/([^/]+)/o/([^/]+)'
_ROUTES = [
    ('GET', r'/storage/v1/b/([^/]+)', _Handler.bucket),
    ('GET', r'/storage/v1/b/([^/]+)/o', _Handler.listed),
    ('GET', _OBJECT, _Handler.described),
    ('DELETE', _OBJECT, _Handler.delete),
    ('POST', rf'{_OBJECT}/rewriteTo/b/([^/]+)/o/([^/]+)', _Handler.rewrite),
    ('GET', r'/download/storage/v1/b/([^/]+)/o/([^/]+)', _Handler.media),
    ('POST', r'/(?:resumable/)?upload/storage/v1/b/([^/]+)/o', _Handler.upload),
    ('PUT', r'/continued/(\d+)', _Handler.continued),
    ('POST', r'/batch/storage/v1', _Handler.batch),
    ('POST', '/token', _Handler.token),
    ('POST', _JOBS, _Handler.create_job),
    ('GET', f'{_JOBS}/{JOB}', _Handler.job),
    ('GET', f'{_JOBS}/{JOB}/messages', _Handler.job_messages),
    ('GET', f'{_JOBS}/{JOB}/metrics', _Handler.job_metrics),
    ('GET', '/v1/(projects/[^/]+/secrets/[^/]+/versions/[^/:]+):access', _Handler.secret),
]


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):  # a program that was stopped reads no answer
            super().handle_error(request, client_address)


@contextlib.contextmanager
def serve() -> Iterator[Cloud]:
    """A cloud on this machine."""
    cloud = Cloud()
    handler = type('Handler', (_Handler,), {'cloud': cloud})
    with _Server(('127.0.0.1', 0), handler) as server:
        cloud.url = f'http://localhost:{server.server_port}'
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield cloud
        finally:
            server.shutdown()
            thread.join()
