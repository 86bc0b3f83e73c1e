"""A proxy that injects faults between a client and a real server, and a server that answers whatever it is told to.

Standard library only. What happens to a request is a function of the request (`Schedule`), so that a test says exactly
where it hurts, or leaves it to a seed (`seeded`).
"""

from __future__ import annotations

import contextlib
import email.utils
import http.client
import random
import socket
import ssl
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import urlsplit

# Connection headers are between two neighbours, and each side of the proxy has its own.
_HOP_BY_HOP = ('connection', 'keep-alive', 'transfer-encoding', 'content-length')
_HTML = b'<html><head><title>%d</title></head><body><center><h1>%d</h1></center><hr>nginx</body></html>'


@dataclass(frozen=True)
class Fault:
    """What happens to a request.

    Args:
        name: what it is counted as.
        drop: when the connection is lost: ``'in body'`` (half of the request's body was read), ``'before'`` (nothing
            is forwarded), ``'after'`` (the server answered, the client never learns), ``'in answer'`` (half of the
            answer's body is sent), ``'behind'`` (the answer is sent, the next request on it fails).
        delay: seconds before anything is forwarded or answered.
        status: answered instead of what the server says; None: what the server says.
        headers: of that answer; a value can be a function, called when it is sent.
        body: of that answer.
        forward: whether the server gets the request. Default: if its answer is wanted.
        half: half of the answer's body, and a Content-Length that says that this is all.
    """

    name: str
    drop: str | None = None
    delay: float = 0.0
    status: int | None = None
    headers: Mapping[str, str | Callable[[], str]] = field(default_factory=dict)
    body: bytes = b'{"detail":"injected"}'
    forward: bool | None = None
    half: bool = False

    @property
    def forwards(self) -> bool:
        if self.forward is not None:
            return self.forward
        return self.status is None and self.drop not in ('in body', 'before')


def http_date(seconds: float) -> Callable[[], str]:
    """The time in so many seconds, as HTTP writes it."""
    # An HTTP date has no fractions: one more second, lest it mean less than was asked for.
    return lambda: email.utils.formatdate(int(time.time() + seconds) + 1, usegmt=True)


def page(status: int) -> dict[str, Any]:
    """The web page that a reverse proxy answers with."""
    return {'status': status, 'headers': {'Content-Type': 'text/html'}, 'body': _HTML % (status, status)}


PASS = Fault('pass')
FAULTS = {
    fault.name: fault
    for fault in (
        Fault('drop before', drop='before'),
        Fault('drop in body', drop='in body'),
        Fault('drop after', drop='after'),
        Fault('delay', delay=0.3),
        Fault('429 seconds', status=429, headers={'Retry-After': '1'}),
        Fault('429 date', status=429, headers={'Retry-After': http_date(1)}),
        Fault('429', status=429),
        Fault('500 before', status=500),
        Fault('500 after', status=500, forward=True),
        Fault('500 close', status=500, drop='behind'),
        Fault('502 page', **page(502)),
        Fault('503', status=503),
        Fault('504 after', **page(504), forward=True),
        Fault('truncated', drop='in answer'),
        Fault('half', half=True),
        Fault('garbled', status=200, headers={'Content-Encoding': 'gzip'}, body=b'{"items":[]}', forward=True),
    )
}


class Request(NamedTuple):
    """A request that a schedule is asked about.

    Attributes:
        number: 0 for the first one that faults apply to.
        method: such as ``'PUT'``.
        path: with the query.
        body: the whole of it. A callable, for a fault can lie in reading it.
    """

    number: int
    method: str
    path: str
    body: Callable[[], bytes]


Schedule = Callable[[Request], Fault | None]  # None is PASS


@dataclass
class Event:
    """What was done to a request that faults apply to.

    Attributes:
        number, method, path: as in `Request`.
        fault: its name.
        arrived: by `time.monotonic`.
        body: what was read of it.
        server_status: the server's answer, None if it was not asked or did not answer.
        done: by `time.monotonic`; None while it is being answered.
    """

    number: int
    method: str
    path: str
    arrived: float
    fault: str = ''
    body: bytes = b''
    server_status: int | None = None
    done: float | None = None


def at(faults: Mapping[int, Fault]) -> Schedule:
    """Faults by request number."""
    return lambda request: faults.get(request.number)


def seeded(seed: int, share: float, faults: Sequence[Fault]) -> Schedule:
    """A fault for about `share` of all requests; which requests and faults, the seed tells."""

    def schedule(request: Request) -> Fault | None:
        choice = random.Random(f'{seed}/{request.number}')  # not one generator: requests come from many threads
        return choice.choice(faults) if choice.random() < share else None

    return schedule


def is_bulk(method: str, path: str) -> bool:
    """Whether a request writes records."""
    return method == 'PUT' and path.partition('?')[0].endswith('/records/bulk')


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, handler: type[BaseHTTPRequestHandler]):
        super().__init__(('127.0.0.1', 0), handler)
        self.errors: list[BaseException] = []

    def handle_error(self, *args: Any) -> None:
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, OSError):  # lost connections are what this is for
            self.errors.append(error)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    disable_nagle_algorithm = True

    def log_message(self, *args: Any) -> None:
        pass

    def send_answer(
        self, status: int, headers: Mapping[str, Any], body: bytes, length: int | None = None, close: bool = False
    ) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value() if callable(value) else value)
        self.send_header('Content-Length', str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()
        self.close_connection |= close


class _Running:
    """A threaded HTTP server of its own port while the context is open; with `tls`, of HTTPS."""

    def __init__(self, handle: Callable[[_Handler], None], tls: ssl.SSLContext | None = None):
        self._connections: set[socket.socket] = set()
        self._gone = False
        running = self

        class Handler(_Handler):
            def setup(self) -> None:
                running._connections.add(self.request)
                super().setup()

            def finish(self) -> None:
                running._connections.discard(self.request)
                super().finish()

            def handle_any(self) -> None:
                handle(self)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_CONNECT = handle_any

        self._server = _Server(Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={'poll_interval': 0.02}, daemon=True)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f'{"https" if tls else "http"}://127.0.0.1:{self._server.server_address[1]}'

    def __enter__(self) -> Any:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.vanish()
        if self._server.errors and exc_info[0] is None:
            raise self._server.errors[0]  # a mistake in here or in a schedule

    def vanish(self) -> None:
        """Is gone: open connections are cut and new ones refused."""
        if self._gone:
            return
        self._gone = True
        self._server.shutdown()
        self._server.server_close()
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()


class FaultProxy(_Running):
    """A proxy in front of a server, at `url` while the context is open.

    Args:
        target: the server's address.
        schedule: the fault of each request. It is asked in the order of arrival, in the thread of the request, so it
            can also make something happen first. Can be replaced at any time.
        applies: which requests faults apply to; all others pass, and are not recorded.
        tls: of the proxy's own side; None for plain HTTP.

    Attributes:
        events: what was done, in the order of arrival.
    """

    def __init__(
        self,
        target: str,
        schedule: Schedule = lambda request: None,
        applies: Callable[[str, str], bool] = is_bulk,
        tls: ssl.SSLContext | None = None,
    ):
        super().__init__(self._handle, tls)
        parts = urlsplit(target)
        self._target = (parts.hostname or '', parts.port or 80)
        self.schedule = schedule
        self._applies = applies
        self._lock = threading.Lock()
        self.events: list[Event] = []

    @property
    def counts(self) -> Counter[str]:
        """How many requests met which fault, ``'pass'`` included."""
        return Counter(event.fault for event in self.events)

    @property
    def faulty_share(self) -> float:
        """The share of requests that met a fault."""
        return 1 - self.counts['pass'] / len(self.events)

    def most_at_once(self) -> int:
        """The largest number of requests that were in here at the same time."""
        changes = [(e.arrived, 1) for e in self.events] + [(e.done, -1) for e in self.events if e.done is not None]
        most = now = 0
        for _, change in sorted(changes):
            now += change
            most = max(most, now)
        return most

    def settle(self) -> None:
        """Waits until no request is on its way any more, also those that their client has given up."""
        while any(event.done is None for event in self.events):
            time.sleep(0.01)

    def _handle(self, handler: _Handler) -> None:
        arrived = time.monotonic()
        length = int(handler.headers.get('Content-Length') or 0)
        read: list[bytes] = []

        def body() -> bytes:
            if not read:
                read.append(handler.rfile.read(length))
            return read[0]

        if not self._applies(handler.command, handler.path):
            self._relay(handler, PASS, body(), None)
            return
        with self._lock:
            event = Event(len(self.events), handler.command, handler.path, arrived)
            self.events.append(event)
        fault = self.schedule(Request(event.number, handler.command, handler.path, body)) or PASS
        event.fault = fault.name
        try:
            if fault.drop == 'in body':
                event.body = handler.rfile.read(length // 2)
                handler.close_connection = True
                return
            event.body = body()
            time.sleep(fault.delay)
            self._relay(handler, fault, event.body, event)
        finally:
            event.done = time.monotonic()

    def _relay(self, handler: _Handler, fault: Fault, body: bytes, event: Event | None) -> None:
        answer: tuple[int, dict[str, Any], bytes] | None = None
        if fault.forwards:
            try:
                answer = self._forward(handler, body)
            except (OSError, http.client.HTTPException):  # the server is not there, or went away
                handler.close_connection = True
                return
            if event is not None:
                event.server_status = answer[0]
        if fault.drop in ('before', 'after'):
            handler.close_connection = True
            return
        if fault.status is not None:
            answer = fault.status, {'Content-Type': 'application/json', **fault.headers}, fault.body
        assert answer is not None
        status, headers, content = answer
        if fault.half:
            handler.send_answer(status, headers, content[: len(content) // 2])
        elif fault.drop == 'in answer':
            handler.send_answer(status, headers, content[: len(content) // 2], length=len(content), close=True)
        else:
            handler.send_answer(status, headers, content, close=fault.drop == 'behind')

    def _forward(self, handler: _Handler, body: bytes) -> tuple[int, dict[str, Any], bytes]:
        with contextlib.closing(http.client.HTTPConnection(*self._target, timeout=120)) as connection:
            headers = {n: v for n, v in handler.headers.items() if n.lower() not in (*_HOP_BY_HOP, 'accept-encoding')}
            connection.request(handler.command, handler.path, body=body or None, headers=headers)
            response = connection.getresponse()
            content = response.read()
            kept = {n: v for n, v in response.getheaders() if n.lower() not in _HOP_BY_HOP}
            return response.status, kept, content


class Answer(NamedTuple):
    """What `FakeServer` answers."""

    status: int
    body: bytes = b'{}'
    headers: Mapping[str, str] = {}


class FakeServer(_Running):
    """A server that gives prepared answers, one per request; the last one for ever.

    Attributes:
        requests: method, path and body of each request, in order.
    """

    def __init__(self, *answers: Answer):
        super().__init__(self._handle)
        self._answers: Iterator[Answer] = iter(answers)
        self._last = Answer(500)
        self._lock = threading.Lock()
        self.requests: list[tuple[str, str, bytes]] = []

    def _handle(self, handler: _Handler) -> None:
        body = handler.rfile.read(int(handler.headers.get('Content-Length') or 0))
        with self._lock:
            self.requests.append((handler.command, handler.path, body))
            self._last = answer = next(self._answers, self._last)
        handler.send_answer(answer.status, {'Content-Type': 'application/json', **answer.headers}, answer.body)
