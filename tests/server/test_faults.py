"""Whose word an answer is, and what becomes of the request: the table of `server/faults.py`, line by line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import httpx
import pytest
from apache_beam.utils.secret import RawSecret

import beam_argilla as ba
from beam_argilla.errors import (
    AuthenticationError,
    DatasetNotFoundError,
    GatewayError,
    JobError,
    NotArgillaError,
    PermissionDeniedError,
    RejectedBatchError,
    ServerUnavailableError,
    TransientError,
)
from beam_argilla.server.bulk import count_records, delete_suggestions, list_records, upsert
from beam_argilla.server.client import Client
from beam_argilla.server.datasets import check_server, ensure_dataset
from beam_argilla.server.faults import Verdict, fault, verdict
from beam_argilla.server.settings import rating_question, text_field

HTML = {'Content-Type': 'text/html; charset=utf-8'}
JSON = {'Content-Type': 'application/json'}
# Form → headers, body, and whether it is Argilla's own.
FORMS: dict[str, tuple[dict[str, str], bytes, bool]] = {
    'page': (HTML, b'<html><head><style>b{}</style><title>Oh</title></head><body>no</body></html>', False),
    'text': ({'Content-Type': 'text/plain'}, b'Oh no', False),
    'problem': (JSON, b'{"type":"about:blank","title":"Oh no","detail":"Dataset"}', False),
    'JSON': (JSON, b'{"message":"Oh no"}', False),
    'list': (JSON, b'["Oh no"]', False),
    'nothing': ({}, b'', False),
    'own': (JSON, b'{"detail":"Oh no"}', True),
}
STATUSES = [200, 201, 203, 204, 206, *range(300, 309), *range(400, 600)]
SETTINGS = ba.DatasetSettings(fields=[text_field('text')], questions=[rating_question('stars', 'stars', [1, 2])])


class Argilla:
    """A server that has no network: answers all that a job asks, but for one request.

    Args:
        meets: whether a request (method, path, body) gets the fault.
        answer: the fault; None: there is none.
        times: how often.
    """

    def __init__(
        self,
        meets: Callable[[str, str, bytes], bool] = lambda *request: False,
        answer: httpx.Response | None = None,
        times: float = 1,
    ):
        self.meets, self.answer, self.times = meets, answer, times
        self.asked: list[tuple[str, str]] = []
        self.made: set[str] = set()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        method, path = request.method, request.url.path.removeprefix('/api/v1')
        self.asked.append((method, path))
        if self.times > 0 and self.meets(method, path, request.content):
            self.times -= 1
            assert self.answer is not None
            return httpx.Response(self.answer.status_code, headers=self.answer.headers, content=self.answer.content)
        if method == 'DELETE':
            return httpx.Response(204)
        status, body = self.usual(method, path, request.content)
        return httpx.Response(status, json=body)

    def usual(self, method: str, path: str, content: bytes) -> tuple[int, Any]:
        if method == 'POST':
            self.made.add(path)
            return 201, {'id': 'd'}
        if method == 'PUT' and path.endswith('bulk'):
            items = json.loads(content)['items']
            stamp = '2026-01-01T00:00:00'
            return (
                (200, {'items': [{'id': 'r', 'inserted_at': stamp, 'updated_at': stamp} for _ in items]})
                if items
                else (422, OWN_422)
            )
        if method == 'PUT':
            self.made.add('published')
            return 200, {'id': 'd'}
        dataset = {
            'id': 'd',
            'name': 'd',
            'status': 'ready' if 'published' in self.made else 'draft',
            'allow_extra_metadata': False,
        }
        lists = {
            'workspaces': [{'name': 'default', 'id': 'w'}],
            'datasets': [dataset] if '/datasets' in self.made else [],
            'fields': [dict(f, id='f') for f in SETTINGS.fields] if '/datasets/d/fields' in self.made else [],
            'questions': [dict(q, id='q') for q in SETTINGS.questions] if '/datasets/d/questions' in self.made else [],
        }
        name = path.rpartition('/')[2]
        if name in ('fields', 'questions', 'metadata-properties', 'vectors-settings', 'records', *lists):
            return 200, {'items': lists.get(name, []), 'total': 0}
        return 200, {'version': '2.8.0', 'username': 'ada', **dataset}


OWN_422 = {'detail': {'code': 'x', 'params': {'errors': [{'loc': ['body', 'items'], 'msg': 'too short'}]}}}


@pytest.fixture
def client_of(monkeypatch) -> Iterator[Callable[..., Client]]:
    """A client of a server that has no network."""
    real = httpx.Client
    clients = []

    def client_of(server: Argilla, limit: float = 60, first_delay: float = 1e-6) -> Client:
        monkeypatch.setattr(httpx, 'Client', partial(real, transport=httpx.MockTransport(server)))
        retry = ba.RetryPolicy(limit, first_delay, max_delay=first_delay)
        clients.append(Client(ba.ArgillaConnection('http://localhost', api_key=RawSecret('k')), retry))
        return clients[-1]

    yield client_of
    for client in clients:
        client.close()


def job(client: Client) -> None:
    """Every request that a job makes."""
    assert check_server(client) == 'ada'
    ensure_dataset(client, 'd', 'default', SETTINGS)
    assert len(upsert(client, 'd', [b'{}', b'{}'])) == 2
    delete_suggestions(client, 'r', ['s'])
    assert (count_records(client, 'd'), list_records(client, 'd', 0, 10)) == (0, [])


def requests_of_a_job() -> list[tuple[str, str]]:
    server = Argilla()
    with pytest.MonkeyPatch.context() as m:
        m.setattr(httpx, 'Client', partial(httpx.Client, transport=httpx.MockTransport(server)))
        with Client(ba.ArgillaConnection('http://localhost', api_key=RawSecret('k'))) as client:
            job(client)
    return list(dict.fromkeys(server.asked))


ASKED = requests_of_a_job()


def test_a_job_makes_every_kind_of_request():
    assert {method for method, _ in ASKED} == {'GET', 'POST', 'PUT', 'DELETE'}
    assert len(ASKED) > 14


def test_the_table_is_this_one():
    own = {status: verdict(status, foreign=False) for status in range(400, 600)}
    assert {s for s, v in own.items() if v is Verdict.REFUSED} >= {400, 402, 409, 413, 422, 499}
    others = {v: s for s, v in own.items() if v not in (Verdict.REFUSED, Verdict.PASSING, Verdict.FAILING)}
    assert others == {Verdict.UNKNOWN_KEY: 401, Verdict.FORBIDDEN: 403, Verdict.ABSENT: 505}
    assert {s for s, v in own.items() if v is Verdict.ABSENT} == {404, 405, 501, 505}
    foreign = {status: verdict(status, foreign=True) for status in range(200, 1000)}
    assert {s for s, v in foreign.items() if v is Verdict.ODD} == {*range(200, 300), 404}
    tried = {408, 425, 429, *range(500, 600)} - {501, 505}
    assert {s for s, v in foreign.items() if v is Verdict.PASSING} == {425, 429}
    assert {s for s, v in foreign.items() if v is Verdict.FAILING} == tried - {425, 429}
    assert {s for s, v in foreign.items() if v is Verdict.BLOCKED} == foreign.keys() - tried - {*range(200, 300), 404}
    assert {s for s, v in own.items() if v is Verdict.PASSING} == {425, 429, 503}
    assert {s for s, v in own.items() if v is Verdict.FAILING} == tried - {425, 429, 503}
    assert verdict(None, foreign=False) is Verdict.FAILING
    assert verdict(403, foreign=True, waking=True) is Verdict.ODD
    assert verdict(503, foreign=True, waking=True) is Verdict.PASSING


# What becomes of a request, by the verdict on its answer: if it comes once, and if it stays; None: it succeeds.
ONCE = {
    Verdict.PASSING: None,
    Verdict.FAILING: None,
    Verdict.ODD: None,
    Verdict.BLOCKED: None,
    Verdict.REFUSED: RejectedBatchError,
    Verdict.UNKNOWN_KEY: AuthenticationError,
    Verdict.FORBIDDEN: PermissionDeniedError,
    Verdict.ABSENT: NotArgillaError,
}
STAYS = {
    **ONCE,
    Verdict.PASSING: ServerUnavailableError,
    Verdict.FAILING: ServerUnavailableError,
    Verdict.ODD: GatewayError,
    Verdict.BLOCKED: GatewayError,
}


def test_the_table_tells_what_becomes_of_every_verdict():
    assert set(ONCE) == set(STAYS) == set(Verdict)


def same_for(found: Verdict) -> float:
    return 0.0 if found in (Verdict.PASSING, Verdict.FAILING) else 60.0  # or it would be tried for so long


def send(client: Client, records: int) -> None:
    if records:
        upsert(client, 'd', [b'{}'] * records)
    else:
        list_records(client, 'd', 0, 1)


@pytest.mark.parametrize('form', ['page', 'problem', 'nothing', 'own'])
@pytest.mark.parametrize('records', [0, 1], ids=['a look', 'a record'])
def test_every_status_in_every_form_once_and_always(client_of, form, records):
    headers, body, own = FORMS[form]
    wrong = []
    for status in STATUSES:
        if own and status < 400:
            continue  # errors have a form; successes are asked for in another test
        found = verdict(status, not own)
        answer = httpx.Response(status, headers=headers, content=body)
        # Whether it is for what records hold, the sink finds out by itself.
        once = (STAYS if found is Verdict.BLOCKED and records else ONCE)[found]
        for times, expected in (1, once), (float('inf'), STAYS[found]):
            if found is Verdict.FAILING and times > 1 and records:
                expected = RejectedBatchError if own else GatewayError
            limit = 60.0 if times == 1 or expected is not ServerUnavailableError else same_for(found)
            server = Argilla(lambda method, path, body: path.endswith(('bulk', 'records')), answer, times)
            client = client_of(server, limit)
            try:
                send(client, records)
            except ba.BeamArgillaError as e:
                raised: BaseException | None = e
                told = str(status) in str(e)
            else:
                raised, told = None, True
            if type(raised) is not (expected or type(None)) or not told:
                wrong.append((status, times, raised, expected))
            client.close()
    assert wrong == []


@pytest.mark.parametrize(('method', 'path'), ASKED, ids=' '.join)
def test_every_request_of_a_job_meets_an_answer_of_each_kind(client_of, method, path):
    """The first status of each verdict, in each form."""
    of_verdict = {(verdict(s, f), f): s for s in reversed(STATUSES) for f in (True, False) if f or s >= 400}
    for (found, is_foreign), status in of_verdict.items():
        for name, (headers, body, own) in FORMS.items():
            if own is is_foreign or (method == 'POST' and own and status == 409):
                continue
            answer = httpx.Response(status, headers=headers, content=body)

            def meets(m: str, p: str, content: bytes) -> bool:
                return (m, p) == (method, path)

            attempt = client_of(Argilla(meets, answer))
            where = (status, name, found)
            many = path.endswith('bulk')  # which costs smaller batches and no record
            expected = GatewayError if found is Verdict.BLOCKED and many else ONCE[found]
            if path == '/version' and expected is RejectedBatchError:
                expected = NotArgillaError
            assert type(raised_by(job, attempt)) is (expected or type(None)), where
            # Without /me, nobody can say that the server is well, so it may wake up until the time limit.
            lasting = same_for(found) if path != '/me' or found is not Verdict.ODD else 0.0
            expected = STAYS[found]
            if path == '/version' and expected in (RejectedBatchError, GatewayError):
                expected = NotArgillaError
            elif path == '/me' and found is Verdict.ODD:
                expected = ServerUnavailableError
            attempt = client_of(Argilla(meets, answer, float('inf')), lasting)
            assert type(raised_by(job, attempt)) is expected, where


def raised_by(function: Callable[[Client], object], client: Client) -> BaseException | None:
    try:
        function(client)
    except ba.BeamArgillaError as e:
        return e
    finally:
        client.close()
    return None


# -- what an answer is taken for


@pytest.mark.parametrize(
    ('status', 'body', 'own'),
    [
        (404, b'{"detail":"Dataset with id `x` not found"}', True),
        (404, b'{"detail":"Dataset","status":404}', False),
        (404, b'<html>Dataset portal: not found</html>', False),
        (404, b'Dataset not found', False),
        (404, b'{"detail":{"code":"argilla.api.errors::EntityNotFoundError","params":{"name":"Dataset"}}}', True),
    ],
)
def test_that_a_dataset_is_gone_is_only_argillas_word(status, body, own):
    found = fault(answer_of(status, body), 'http://x', str)
    assert isinstance(found, DatasetNotFoundError if own else TransientError)


def answer_of(status: int, body: bytes, headers: dict[str, str] | None = None) -> httpx.Response:
    request = httpx.Request('PUT', 'http://x/api/v1/y')
    return httpx.Response(status, headers=headers or {}, content=body, request=request)


@pytest.mark.parametrize('status', [401, 403])
def test_a_page_says_nothing_about_the_key(status):
    found = fault(answer_of(status, b'<html><title>Request blocked</title>Incident&nbsp;17</html>'), 'http://x', str)
    said = 'a web page: Request blocked Incident 17'
    assert str(found) == f'Something between here and http://x answered {status} to PUT /api/v1/y: {said}'


def test_a_page_is_told_as_a_person_reads_it_and_not_all_of_it():
    shown = b'<!-- no --><style>no</style><SCRIPT>if (a < b) no()</SCRIPT ><p>Oh<br>&amp; ah</p>'
    shown += b'<b>long</b> ' * 999
    found = str(fault(answer_of(403, shown, HTML), 'http://x', str))
    assert 'a web page: Oh & ah long long' in found
    assert re.search(r'no\b', found) is None
    assert len(found) < 500


def test_the_last_resort_of_the_server_itself_is_its_own_word():
    """What its web framework says of an error that nobody caught; a page with the same status is a gateway's."""
    assert fault(answer_of(500, b'Internal Server Error'), 'x', str).foreign is False
    assert fault(answer_of(500, b'<h1>Internal Server Error</h1>'), 'x', str).foreign is True


@pytest.mark.parametrize(
    ('said', 'waking'),
    [
        ('<h1>Your space is starting</h1>', True),
        ('<title>Building</title>', True),
        ('This Space is sleeping due to inactivity. Restart this Space', True),
        ('Preparing Space', True),
        ('Restarting...', True),
        ('{"error":"The application is waking up"}', True),
        ('Service not ready', True),
        ('Initializing', True),
        ('This app has gone to sleep due to inactivity. Would you like to wake it back up?', True),
        ('<meta http-equiv="refresh" content="5"><p>Un momento, por favor.</p>', True),
        ("<META content='2.5' http-equiv=Refresh />Einen Moment bitte", True),
        ('<meta http-equiv="refresh" content="0; url=/login">', False),
        ('<title>Getting started</title> Read how to start.', False),
        ('The AI community building the future.', False),
        ('Plans starting at $5', False),
        ('Welcome to our wiki', False),
        ('<p>sleeping</p>' + 'A long read. ' * 200, False),
        ('<script>starting()</script>Not found', False),
        ('', False),
    ],
)
def test_what_says_that_a_server_is_being_started(said, waking):
    assert fault(answer_of(404, said.encode()), 'x', str).waking is waking


def test_argillas_own_answer_is_never_a_page_of_something_that_wakes_up():
    assert isinstance(fault(answer_of(422, b'{"detail":"starting"}'), 'x', str), RejectedBatchError)


@pytest.mark.parametrize(
    'value', ['Wed, 21 Oct 99999999 07:28:00 GMT', 'Wed, 21 Oct 0000 07:28:00', 'Mon, 01 Jan 0001 00:00:00 +1400',
              'Fri, 31 Dec 9999 23:59:59 -2300', '9' * 5000, '1e999'],
)  # fmt: skip
def test_a_retry_after_of_another_age_is_no_trouble_of_ours(value):
    found = fault(answer_of(503, b'', {'Retry-After': value}), 'x', str)
    assert isinstance(found, TransientError)


CHARSETS = ['base64', 'hex', 'zlib', 'bz2', 'rot13', 'utf-16', 'utf-7', 'undefined', 'idna', 'punycode', 'mbcs',
            'nonsense', 'unicode_escape', '\x00', '', 'utf-8-sig', 'latin-1']  # fmt: skip


@pytest.mark.parametrize('charset', CHARSETS)
@pytest.mark.parametrize('status', [200, 404, 500, 503])
def test_a_page_in_whatever_it_says_that_it_is_written_in_is_told(charset, status):
    for body in (b'<h1>Oh</h1>', b'{"detail":"Oh"}', b'Internal Server Error', b'\xff\xfe\x00', b'xn--a', b''):
        found = fault(answer_of(status, body, {'Content-Type': f'text/html; charset={charset}'}), 'http://x', str)
        assert str(status) in str(found)


@pytest.mark.parametrize(('method', 'path'), ASKED, ids=' '.join)
def test_every_request_of_a_job_meets_other_json_where_argillas_is_expected(client_of, method, path):
    if method == 'DELETE' and path.endswith('suggestions'):
        return  # whose answer is empty

    def meets(m: str, p: str, content: bytes) -> bool:
        return (m, p) == (method, path)

    for body in OTHER_JSON:
        client = client_of(Argilla(meets, httpx.Response(200, headers=JSON, content=body), float('inf')), 0.1)
        error = raised_by(job, client)
        expected = (NotArgillaError, GatewayError, ServerUnavailableError)
        if error is not None or body != b'{"items":[{"name":"default","id":"w"}]}':
            assert type(error) in expected, (body, error)


OTHER_JSON = [
    *(
        b'{}',
        b'null',
        b'["a"]',
        b'"a"',
        b'1',
        b'1e999',
        b'true',
        b'{"items":[{}]}',
        b'{"items":[null]}',
        b'{"items":{}}',
    ),
    *(b'{"items":null}', b'{"items":["a"],"total":"x"}', b'{"id":null}', b'{"version":{},"username":1}', b'\xff', b''),
    b'{"items":[{"name":1,"id":2}]}',
    b'{"items":[{"name":"default","id":"w"}]}',
    b'{"items":[{"id":"r","inserted_at":"then","updated_at":"then"},{"id":"r","inserted_at":"","updated_at":""}]}',
    b'{"items":' + b'[' * 900 + b']' * 900 + b'}',
]


@pytest.mark.parametrize(
    'version',
    [
        '9' * 5000,
        '2.' + '9' * 5000,
        '²',
        '٢.٨',
        '2',
        '',
        'v2.8.0',
        '4.8\x1b[31m' + 'x' * 5000,
        '1.9',
        '3.0',
        '-2.8',
        '02.2',
    ],
)
def test_a_version_that_is_none_or_another_is_told_in_a_line(client_of, version):
    answer = httpx.Response(200, json={'version': version})
    with pytest.raises(NotArgillaError, match=r'versions 2\.3 up to 3\.0 are supported') as raised:
        check_server(client_of(Argilla(lambda method, path, body: path == '/version', answer)))
    assert len(str(raised.value)) < 150
    assert str(raised.value).isprintable()


# -- an outage and its end


def test_a_page_that_ends_just_as_the_server_is_asked_about_is_no_refusal(client_of):
    """Otherwise well once is not enough: the outage may have ended between the two."""
    answer = httpx.Response(404, content=b'no backend')
    for times in range(1, 6):
        server = Argilla(lambda method, path, body: path.endswith('bulk'), answer, times)
        client = client_of(server)
        if times < 5:
            assert len(upsert(client, 'd', [b'{}'])) == 1
        else:
            with pytest.raises(GatewayError, match='no backend'):
                upsert(client, 'd', [b'{}'])
        client.close()


def test_an_outage_that_answers_everything_with_pages_blames_nobody(client_of):
    answer = httpx.Response(404, content=b'no backend')
    client = client_of(Argilla(lambda *request: True, answer, times=50))
    assert len(upsert(client, 'd', [b'{}'])) == 1
    client.close()


def test_an_answer_with_another_number_of_records_is_an_answer_to_something_else(client_of):
    answer = httpx.Response(200, json={'items': []})
    client = client_of(Argilla(lambda method, path, body: path.endswith('bulk'), answer))
    assert len(upsert(client, 'd', [b'{}'])) == 1


def test_a_newer_server_is_no_gateway(client_of):
    answer = httpx.Response(200, json={'items': [{'uuid': 'r'}]})
    client = client_of(Argilla(lambda method, path, body: path.endswith('bulk'), answer))
    with pytest.raises(NotArgillaError, match='newer version'):
        upsert(client, 'd', [b'{}'])
    assert issubclass(GatewayError, JobError)
