"""Writing through everything that goes wrong between a client and a server, and inside the server.

The server is a real one; `tests.faults` breaks the way to it. What counts is what the server holds afterwards.
"""

from __future__ import annotations

import json
import logging
import random
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import apache_beam as beam
import argilla as rg
import httpx
import pytest
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.utils.secret import RawSecret

import beam_argilla as ba
from beam_argilla.errors import (
    AuthenticationError,
    DatasetNotFoundError,
    GatewayError,
    InvalidRecordsError,
    JobError,
    NotArgillaError,
    PermissionDeniedError,
    RejectedBatchError,
    ServerUnavailableError,
)
from beam_argilla.local import serve
from beam_argilla.server.bulk import upsert
from beam_argilla.server.client import Client
from beam_argilla.server.datasets import check_server
from beam_argilla.server.settings import label_question, metadata_property, rating_question, text_field, text_question
from tests.faults import (
    FAULTS,
    PASS,
    Answer,
    FakeServer,
    Fault,
    FaultProxy,
    Request,
    at,
    http_date,
    is_bulk,
    page,
    seeded,
)
from tests.samples import pipeline, unique

QUICK = ba.RetryPolicy(limit=60, first_delay=0.05, max_delay=0.5)

MULTI_LABEL = {
    'name': 'topics',
    'title': 'topics',
    'required': False,
    'settings': {
        'type': 'multi_label_selection',
        'options': [{'value': v, 'text': v} for v in ('one', 'two', 'three')],
    },
}
SETTINGS = ba.DatasetSettings(
    fields=[text_field('prompt'), text_field('answer', required=False)],
    questions=[
        rating_question('stars', 'stars', [1, 2, 3, 4, 5]),
        text_question('why', 'why', required=False),
        label_question('quality', 'quality', {'good': 'good', 'bad': 'bad'}, required=False),
        MULTI_LABEL,
    ],
    metadata=[
        metadata_property('source', 'terms'),
        metadata_property('length', 'integer'),
        metadata_property('share', 'float'),
    ],
)

# A piece of each kind of text that software is known to stumble over.
PIECES = (
    'plain', ' ', '\n', '\r\n', '\t', '"', "'", '\\', '\\n', '\\u0041', '%s', '{}', '</script>', '\x00', '\x07', '\x1f',
    '\x7f', '\x85', '\xa0', 'ß', 'é', 'e\u0301', 'ﬁ', 'ǅ', 'İ', 'Ωμέγα', 'Привет', 'שלום', 'مرحبا', 'हिन्दी', 'ไทย',
    '한국어', '한', '日本語', '𠮷', '👩‍👩‍👧‍👦', '🏳️‍🌈', '🇩🇪', '𝔘𝔫𝔦', '\u200b', '\u200d', '\u202e', '\u2066',
    '\u2028', '\u2029', '\ufeff', '\ufffd', '\uffff', '\ue000', '\U000e0041', '\U0010ffff', 'ﷺ', 'Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢',
)  # fmt: skip


def text(choice: random.Random) -> str:
    return ''.join(choice.choices(PIECES, k=choice.randint(1, 40)))


def sample(number: int, seed: int = 0) -> ba.Record:
    """A record with everything that a record can have."""
    choice = random.Random(f'{seed}/{number}')
    suggestions = [
        ba.Suggestion('stars', choice.randint(1, 5), choice.choice(['gpt-4', 'org/model:v1', None]), choice.random()),
        ba.Suggestion('why', text(choice), 'some model', choice.choice([None, 0.0, 1.0])),
        ba.Suggestion('quality', choice.choice(['good', 'bad']), type='model'),
    ]
    if number % 3 == 0:
        labels = choice.sample(['one', 'two', 'three'], choice.randint(1, 3))
        suggestions.append(ba.Suggestion('topics', labels, 'a', [choice.random() for _ in labels]))
    metadata: dict[str, Any] = {
        'source': choice.choice([text(choice), [text(choice), 'other']]),
        'length': choice.choice([0, -1, 2**63 - 1, -(2**63), choice.getrandbits(40)]),
        'share': choice.choice([0.0, 1e-300, -2.5, 3.4e38, choice.random()]),
    }
    for name in choice.sample(sorted(metadata), choice.choice([0, 0, 1])):
        del metadata[name]
    fields = {'prompt': f'{number}: {text(choice)}'}
    if number % 5:
        fields['answer'] = text(choice) * choice.choice([1, 1, 1, 50])
    return ba.Record(f'{seed}/é{number:05d}', fields, choice.sample(suggestions, choice.randint(0, 3)), metadata)


def samples(count: int, seed: int = 0) -> list[ba.Record]:
    return [sample(number, seed) for number in range(count)]


Plain = tuple[dict[str, Any], dict[str, tuple[Any, Any, Any]], dict[str, Any]]


def plain(record: ba.Record) -> Plain:
    suggestions = {s.question: (s.value, s.agent, s.score) for s in record.suggestions}
    return dict(record.fields), suggestions, dict(record.metadata)


def plain_by_id(records: Iterable[ba.Record]) -> dict[str, Plain]:
    return {r.external_id: plain(r) for r in records}


def read_back(sdk: rg.Argilla, name: str) -> dict[str, Plain]:
    """All records of a dataset as the Argilla SDK gives them. A record that is there twice is an error."""
    dataset = sdk.datasets(name)
    assert dataset is not None
    records = [r.to_dict() for r in dataset.records(with_suggestions=True, batch_size=1000)]
    twice = [i for i, n in Counter(r['id'] for r in records).items() if n > 1]
    assert not twice, f'{len(twice)} records are there more than once'
    return {
        r['id']: (
            r['fields'],
            {question: (s['value'], s['agent'], s['score']) for question, s in r['suggestions'].items()},
            r['metadata'],
        )
        for r in records
    }


def assert_holds(sdk: rg.Argilla, name: str, records: Sequence[ba.Record]) -> None:
    """The dataset holds these records, each once and to the letter, and no others."""
    expected, found = plain_by_id(records), read_back(sdk, name)
    assert len(expected) == len(records)
    assert sorted(found) == sorted(expected)
    wrong = [i for i in expected if found[i] != expected[i]]
    assert not wrong, f'{len(wrong)} differ, such as {found[wrong[0]]!r} instead of {expected[wrong[0]]!r}'


def load(
    url: str,
    key: str | None,
    name: str,
    records: Sequence[ba.Record],
    *,
    timeout: float = 60.0,
    failed: Sequence[tuple[str, str, int | None]] | None = (),
    **options: Any,
) -> None:
    """Writes records in a pipeline, which succeeds only if exactly the records of `failed` are not written.

    Args:
        failed: (external id, stage, status); None to leave the outputs alone, so that a failed record is an error.
    """
    connection = ba.ArgillaConnection(url, api_key=RawSecret(key) if key else None, timeout=timeout)
    options = {'settings': SETTINGS, 'retry': QUICK, 'max_records': 10, **options}
    with pipeline() as p:
        result = p | beam.Create(records) | ba.WriteRecords(name, connection=connection, **options)
        if failed is not None:
            lost = {external_id for external_id, _, _ in failed}
            written = [r.external_id for r in records if r.external_id not in lost]
            assert_that(result.written | beam.Map(lambda w: w.external_id), equal_to(written), 'written')
            refused = result.failed | beam.Map(lambda f: (f.external_id, f.stage, f.status))
            assert_that(refused, equal_to(list(failed)), 'failed')


def dataset_id(api: httpx.Client, name: str) -> str:
    (dataset,) = [d for d in api.get('/me/datasets').json()['items'] if d['name'] == name]
    return dataset['id']


# -- single faults


LATE = {
    # Longer than the client waits: it asks again, and the server gets both.
    'asked again': Fault('asked again', delay=3.0),
    # A gateway that gave up on a server that did not.
    'gateway': Fault('gateway', **page(504), forward=True, delay=0.5),
}


@pytest.mark.parametrize('fault', [*FAULTS.values(), *LATE.values()], ids=lambda f: f.name.replace(' ', '-'))
def test_every_record_is_written_once_whatever_happens_to_the_first_request(argilla_server, sdk, fault):
    name = unique('fault')
    records = samples(30)
    with FaultProxy(argilla_server.api_url, at({0: fault})) as proxy:
        timeout = 2.0 if fault.name == 'asked again' else 60.0
        load(proxy.url, argilla_server.api_key, name, records, timeout=timeout, failed=None)
        proxy.settle()
    assert proxy.counts[fault.name] == 1
    first = proxy.events[0]
    assert first.server_status == (200 if fault.forwards else None)  # the fault was what its name says
    if fault.name != 'delay':
        assert len(proxy.events) >= 4  # three batches, one of them sent again
    assert_holds(sdk, name, records)


def test_a_connection_that_is_lost_again_and_again_loses_nothing(argilla_server, sdk):
    """All kinds of loss one after the other, for each batch."""
    name = unique('again')
    records = samples(20)
    faults = [f for f in FAULTS.values() if f.drop and f.status is None]
    with FaultProxy(argilla_server.api_url, lambda r: faults[r.number] if r.number < len(faults) else None) as proxy:
        load(proxy.url, argilla_server.api_key, name, records, max_in_flight=1)
    assert all(proxy.counts[f.name] == 1 for f in faults)
    assert_holds(sdk, name, records)


def test_more_faults_than_a_batch_is_sent_for_do_not_lose_it(argilla_server, sdk):
    """A 500 that comes back a few times may be the batch's own fault: it is cut, and the pieces get through."""
    name = unique('pieces')
    records = samples(10)
    with FaultProxy(argilla_server.api_url, lambda r: FAULTS['500 after'] if r.number < 6 else None) as proxy:
        load(proxy.url, argilla_server.api_key, name, records)
    assert proxy.counts['500 after'] == 6
    assert_holds(sdk, name, records)


@pytest.mark.parametrize('fault', [FAULTS['429 seconds'], FAULTS['429 date']], ids=lambda f: f.name.replace(' ', '-'))
def test_nothing_is_sent_again_before_the_time_that_the_server_asks_for(argilla_server, sdk, fault):
    name = unique('patience')
    records = samples(10)
    with FaultProxy(argilla_server.api_url, at({0: fault, 1: fault})) as proxy:
        load(proxy.url, argilla_server.api_key, name, records)
    first, second, third = proxy.events
    assert second.arrived - first.done >= 1.0
    assert third.arrived - second.done >= 1.0
    assert_holds(sdk, name, records)


def test_a_503_can_ask_for_time_as_well(argilla_server):
    with FaultProxy(argilla_server.api_url, at({0: Fault('busy', status=503, headers={'Retry-After': '1'})})) as proxy:
        load(proxy.url, argilla_server.api_key, unique('busy'), samples(3))
    first, second = proxy.events
    assert second.arrived - first.done >= 1.0


# -- many faults


def test_soak(argilla_server, sdk):
    """More than a thousand records through a way on which a third of all requests fail, in every way there is."""
    name = unique('soak')
    records = samples(1_200, seed=11)
    short = [Fault('429 seconds', status=429, headers={'Retry-After': '0'}), Fault('delay', delay=0.05)]
    faults = [f for f in FAULTS.values() if f.name not in ('429 seconds', '429 date', 'delay')] + short
    with FaultProxy(argilla_server.api_url, seeded(7, 0.35, faults)) as proxy:
        load(proxy.url, argilla_server.api_key, name, records, max_records=15, max_in_flight=4)
    assert proxy.faulty_share >= 0.2
    assert len(proxy.events) > 80
    assert set(proxy.counts) == {PASS.name, *(f.name for f in faults)}
    assert proxy.most_at_once() > 1
    assert_holds(sdk, name, records)


def test_the_same_records_written_again_through_faults_are_the_same_records(argilla_server, sdk):
    name = unique('rerun')
    records = samples(60, seed=1)
    changed = [r._replace(fields={'prompt': f'new {r.external_id}', 'answer': None}) for r in records]
    faults = [FAULTS[n] for n in ('drop before', 'drop after', '500 after', 'truncated', '503')]
    with FaultProxy(argilla_server.api_url, seeded(3, 0.4, faults)) as proxy:
        load(proxy.url, argilla_server.api_key, name, records)
        assert_holds(sdk, name, records)
        load(proxy.url, argilla_server.api_key, name, changed)
    assert proxy.faulty_share >= 0.2
    found = read_back(sdk, name)
    assert len(found) == 60
    assert {f['prompt'] for f, _, _ in found.values()} == {f'new {r.external_id}' for r in records}


def test_every_request_can_fail_not_only_those_that_write_records(argilla_server, sdk):
    """Also while the dataset is made, suggestions are removed, and what is there is read."""
    name = unique('everything')
    records = samples(60, seed=3)
    changed = [r._replace(suggestions=r.suggestions[1:]) for r in records]
    faults = [f for f in FAULTS.values() if not f.name.startswith('429 ') and f.name != 'delay']
    schedule = seeded(5, 0.4, faults)
    with FaultProxy(argilla_server.api_url, schedule, applies=lambda method, path: True) as proxy:
        load(proxy.url, argilla_server.api_key, name, records, suggestions='replace')
        assert_holds(sdk, name, records)
        load(proxy.url, argilla_server.api_key, name, changed, suggestions='replace')
        assert_holds(sdk, name, changed)
        sent = len(proxy.events)
        load(proxy.url, argilla_server.api_key, name, changed, suggestions='replace', skip_unchanged=True)
        assert not [e for e in proxy.events[sent:] if is_bulk(e.method, e.path)]
    assert proxy.faulty_share >= 0.2
    assert {'GET', 'POST', 'PUT', 'DELETE'} <= {e.method for e in proxy.events if e.fault != PASS.name}
    assert_holds(sdk, name, changed)


# -- faults that stay


@pytest.mark.parametrize('forward', [False, True], ids=['before', 'after'])
def test_a_record_that_the_server_always_fails_on_fails_alone(argilla_server, sdk, forward):
    name = unique('poison')
    records = samples(40)
    poison = records[23].external_id
    crash = Fault('crash', status=500, body=b'Internal Server Error', headers={'Content-Type': 'text/plain'})
    crash = Fault(**{**crash.__dict__, 'forward': forward})

    def schedule(request: Request) -> Fault | None:
        return crash if poison in ids(request.body()) else None

    with FaultProxy(argilla_server.api_url, schedule) as proxy:
        load(proxy.url, argilla_server.api_key, name, records, failed=[(poison, 'write', 500)])
    assert proxy.counts['crash'] > 1
    # What the server commits and then fails to answer for is there, which nobody but the server can know.
    assert_holds(sdk, name, records if forward else [r for r in records if r.external_id != poison])


CUT = {
    'reset': Fault('cut', drop='before'),
    'no answer': Fault('cut', drop='after'),
    '503': Fault('cut', **page(503)),
    '504': Fault('cut', **page(504)),
}


@pytest.mark.parametrize('how', CUT)
def test_a_record_for_which_the_connection_is_always_lost_is_refused_alone(argilla_server, sdk, how):
    name = unique('cut')
    records = samples(40)
    disliked = [records[7].external_id, records[8].external_id, records[30].external_id]

    def schedule(request: Request) -> Fault | None:
        return CUT[how] if set(disliked) & set(ids(request.body())) else None

    status = CUT[how].status
    with FaultProxy(argilla_server.api_url, schedule) as proxy:
        load(proxy.url, argilla_server.api_key, name, records, failed=[(i, 'write', status) for i in disliked])
    written = CUT[how].forwards  # which nobody but the server can know
    assert_holds(sdk, name, records if written else [r for r in records if r.external_id not in disliked])


def test_where_no_batch_gets_through_single_records_do_and_it_is_learnt(argilla_server, sdk):
    name = unique('single')
    records = samples(40)

    def schedule(request: Request) -> Fault | None:
        return CUT['504'] if len(ids(request.body())) > 1 else None

    with FaultProxy(argilla_server.api_url, schedule) as proxy:
        load(proxy.url, argilla_server.api_key, name, records, max_records=16, max_in_flight=1)
    assert_holds(sdk, name, records)
    # The first batch is tried again and again; the second was made up before it was known that it is too large.
    assert proxy.counts['cut'] < 40


@pytest.mark.parametrize(
    ('open_without_records', 'limit', 'error'), [(False, 3, ServerUnavailableError), (True, 200, GatewayError)]
)
def test_where_no_record_gets_through_the_job_ends_and_no_record_is_to_blame(
    argilla_server, open_without_records, limit, error
):
    retry = ba.RetryPolicy(limit, first_delay=0.01, max_delay=0.05)

    def schedule(request: Request) -> Fault | None:
        return None if open_without_records and not ids(request.body()) else CUT['reset']

    told = pytest.raises(error, match='disconnected')
    with FaultProxy(argilla_server.api_url, schedule) as proxy, told:
        load(proxy.url, argilla_server.api_key, unique('none'), samples(40), max_records=10, retry=retry)


def ids(body: bytes) -> list[str]:
    return [item['external_id'] for item in json.loads(body)['items']]


def test_batches_that_are_too_large_for_a_gateway_are_halved_until_they_fit(argilla_server, sdk):
    """nginx answers 413 with a web page, which is not to be taken for a wrong address."""
    name = unique('large')
    records = [sample(n)._replace(fields={'prompt': f'{n} ' + 'x' * 3_000}) for n in range(30)]
    records[17] = records[17]._replace(fields={'prompt': 'y' * 30_000})
    too_large = Fault('413', **page(413))

    def schedule(request: Request) -> Fault | None:
        return too_large if len(request.body()) > 20_000 else None

    with FaultProxy(argilla_server.api_url, schedule) as proxy:
        failed = [(records[17].external_id, 'write', 413)]
        load(proxy.url, argilla_server.api_key, name, records, max_records=30, failed=failed)
    assert proxy.counts['413'] >= 2
    assert max(len(e.body) for e in proxy.events if e.fault == 'pass') <= 20_000
    assert_holds(sdk, name, records[:17] + records[18:])


BLOCKED = {'body': b'<html><title>Request blocked</title><h1>Rule 77</h1></html>', 'headers': page(403)['headers']}


@pytest.mark.parametrize('status', [403, 200])
def test_a_record_that_a_firewall_dislikes_is_refused_alone_and_what_it_said_is_told(argilla_server, sdk, status):
    """Some firewalls answer with a page and the status 200."""
    name = unique('firewall')
    records = samples(12)
    disliked = records[7].external_id
    blocked = Fault('blocked', status=status, **BLOCKED)

    def schedule(request: Request) -> Fault | None:
        return blocked if disliked in ids(request.body()) else None

    with FaultProxy(argilla_server.api_url, schedule) as proxy, pipeline() as p:
        connection = ba.ArgillaConnection(proxy.url, api_key=RawSecret(argilla_server.api_key))
        write = ba.WriteRecords(name, connection=connection, settings=SETTINGS, retry=QUICK)
        result = p | beam.Create(records) | write
        told = beam.Map(lambda f: (f.external_id, f.error, f.status, 'Request blocked Rule 77' in f.message))
        assert_that(result.failed | told, equal_to([(disliked, 'Blocked', status, True)]))
    assert_holds(sdk, name, records[:7] + records[8:])


@pytest.mark.parametrize(
    ('own', 'status'),
    [(False, 401), (False, 404), (False, 413), (True, 404), (True, 405)],
)
def test_a_gateway_that_lets_no_request_through_ends_the_job_and_no_record_is_to_blame(argilla_server, own, status):
    blocked = Fault('blocked', status=status, **({'body': b'{"detail":"Request blocked"}'} if own else BLOCKED))
    told = pytest.raises(JobError, match=rf'{status}.*Request blocked')
    with FaultProxy(argilla_server.api_url, lambda r: blocked) as proxy, told:
        load(proxy.url, argilla_server.api_key, unique('closed'), samples(30))
    assert len(proxy.events) < 30


def test_a_firewall_that_dislikes_every_record_ends_the_job_before_it_has_refused_many(argilla_server):
    blocked = Fault('blocked', status=403, **BLOCKED)
    records = samples(60)
    told = pytest.raises(GatewayError, match=r'10 records .* none got through.*Request blocked')
    with FaultProxy(argilla_server.api_url, lambda r: blocked if ids(r.body()) else None) as proxy, told:
        load(proxy.url, argilla_server.api_key, unique('dislikes'), records)


@pytest.mark.parametrize('status', [200, 403, 520])
def test_an_answer_of_a_gateway_that_passes_refuses_nothing(argilla_server, sdk, status):
    """Also where all requests get it, and each batch is one record."""
    name = unique('passes')
    records = samples(3)
    odd = Fault('odd', **page(status))
    with FaultProxy(argilla_server.api_url, at({0: odd})) as proxy:
        load(proxy.url, argilla_server.api_key, name, records, max_records=1, max_in_flight=1)
    assert proxy.counts['odd'] == 1
    assert_holds(sdk, name, records)


def test_an_answer_that_blames_a_record_that_was_not_sent_ends(argilla_server):
    """Nonsense, but the records must come out somewhere, and the requests must come to an end."""
    nonsense = Fault(
        'nonsense', status=422, body=b'{"detail":"Record at position 99 is not valid because of the moon"}'
    )
    records = samples(4)
    with FaultProxy(argilla_server.api_url, lambda r: nonsense) as proxy:
        failed = [(r.external_id, 'write', 422) for r in records]
        load(proxy.url, argilla_server.api_key, unique('nonsense'), records, failed=failed)
    assert len(proxy.events) < 50


def test_without_anybody_who_takes_failed_records_the_first_one_stops_the_pipeline(argilla_server):
    gone = Fault('413', **page(413))
    with FaultProxy(argilla_server.api_url, lambda r: gone) as proxy, pytest.raises(ba.BeamArgillaError, match='413'):
        load(proxy.url, argilla_server.api_key, unique('stop'), samples(1), failed=None)


# -- the whole job


class Admin:
    """A user of one's own, who may be deleted."""

    def __init__(self, api: httpx.Client):
        self.api = api
        (self.workspace,) = [w['id'] for w in api.get('/me/workspaces').json()['items'] if w['name'] == 'default']
        body = {'username': unique('admin'), 'first_name': 'Ada', 'password': 'a password', 'role': 'admin'}
        user = api.post('/users', json=body).json()
        self.id, self.key = user['id'], user['api_key']
        assert api.post(f'/workspaces/{self.workspace}/users', json={'user_id': self.id}).status_code == 201

    def delete(self) -> None:
        assert self.api.delete(f'/users/{self.id}').status_code == 200

    def leave(self) -> None:
        assert self.api.delete(f'/workspaces/{self.workspace}/users/{self.id}').status_code == 200


@pytest.mark.parametrize(
    ('misfortune', 'error', 'message'),
    [
        ('user deleted', AuthenticationError, 'does not know the API key'),
        ('user sent away', PermissionDeniedError, 'may not do this'),
        ('dataset deleted', DatasetNotFoundError, 'The dataset is gone'),
        ('key told', RejectedBatchError, ''),
        ('key told in 401', AuthenticationError, 'does not know the API key'),
    ],
)
def test_what_ends_a_job_in_the_middle_of_it_is_told_without_the_key(
    argilla_server, api, sdk, monkeypatch, caplog, misfortune, error, message
):
    """The server really says so: the user or the dataset is removed while the records are being written."""
    name = unique('middle')
    admin = Admin(api)
    monkeypatch.setenv('ARGILLA_API_KEY', admin.key)
    caplog.set_level(logging.DEBUG)
    happened = threading.Lock()

    def happens() -> Fault | None:
        if misfortune == 'user deleted':
            admin.delete()
        elif misfortune == 'user sent away':
            admin.leave()
        else:
            assert api.delete(f'/datasets/{dataset_id(api, name)}').status_code == 200
        return None

    def schedule(request: Request) -> Fault | None:
        if request.number < 3:
            return None
        if misfortune.startswith('key told'):  # an answer that repeats what it was asked with
            told = json.dumps({'detail': f'I do not like X-Argilla-Api-Key: {admin.key}!'}).encode()
            return Fault('told', status=401 if '401' in misfortune else 400, body=told)
        if happened.acquire(blocking=False):
            happens()
        return None

    lines: list[str] = []
    with FaultProxy(argilla_server.api_url, schedule) as proxy:
        if error is RejectedBatchError:
            connection = ba.ArgillaConnection(proxy.url)
            with pipeline() as p:
                result = (
                    p
                    | beam.Create(samples(40))
                    | ba.WriteRecords(name, connection=connection, settings=SETTINGS, retry=QUICK, max_records=10)
                )
                told = result.failed | beam.Map(lambda f, key: (f.status, key in str(f)), admin.key)
                assert_that(told, equal_to([(400, False)] * 10))
        else:
            with pytest.raises(error, match=message) as raised:
                load(proxy.url, None, name, samples(60))
            lines += traceback.format_exception(raised.value)
            assert isinstance(raised.value, ba.BeamArgillaError)
    lines += [record.getMessage() + str(record.exc_info or '') for record in caplog.records]
    assert len(lines) > 10
    assert not [line for line in lines if admin.key in line]


def test_a_job_that_has_failed_sends_nothing_any_more(argilla_server):
    """Other batches, which may wait for their next try, would keep its process alive up to the time limit."""
    waiting: list[str] = []  # the batch that is tried again and again
    another = threading.Event()  # another one came while it was being answered

    def schedule(request: Request) -> Fault | None:
        batch = ids(request.body())
        if request.number < 10 and not waiting:
            return None
        if not waiting:
            waiting.append(batch[0])
        if waiting[0] in batch:
            another.wait(20)
            return FAULTS['503']
        another.set()
        return Fault('401', status=401, delay=0.5)

    retry = ba.RetryPolicy(limit=200, first_delay=0.05, max_delay=0.2)
    with FaultProxy(argilla_server.api_url, schedule) as proxy:
        with pytest.raises(AuthenticationError):
            load(proxy.url, argilla_server.api_key, unique('failed'), samples(200), retry=retry)
        assert proxy.counts['503'] >= 1
        for _ in range(10):
            seen = len(proxy.events)
            time.sleep(1.0)
            if len(proxy.events) == seen:
                return
    raise AssertionError(f'{seen} requests, and still more of them')


@pytest.mark.parametrize('how', ['refuses', 'answers 503'])
def test_a_server_that_is_gone_for_good_ends_the_job_after_the_time_limit(argilla_server, how):
    down = Fault('down', status=503, body=b'{"detail":"The cat is on the keyboard"}')

    def schedule(request: Request) -> Fault | None:
        if request.number < 2:
            return None
        if how == 'answers 503':
            return down
        threading.Thread(target=proxy.vanish).start()
        return FAULTS['drop before']

    expected = 'ConnectError' if how == 'refuses' else 'The cat is on the keyboard'
    retry = ba.RetryPolicy(limit=2, first_delay=0.05, max_delay=0.3)
    with FaultProxy(argilla_server.api_url, schedule) as proxy:
        started = time.monotonic()
        with pytest.raises(ServerUnavailableError, match=f'Is the server running.*{expected}'):
            load(proxy.url, argilla_server.api_key, unique('gone'), samples(60), retry=retry)
    if how == 'answers 503':  # it was tried for about as long as it says, not given up at once
        assert proxy.events[-1].arrived - started >= 1.5
        assert proxy.counts['down'] >= 5


# -- a server that crashes


def test_a_server_that_is_killed_and_comes_back_loses_and_doubles_nothing(tmp_path):
    records = samples(500, seed=5)
    name = 'crash'
    with serve(tmp_path / 'home') as server:
        client = rg.Argilla(api_url=server.api_url, api_key=server.api_key)
        watch = httpx.Client(base_url=f'{server.api_url}/api/v1', headers={'X-Argilla-Api-Key': server.api_key})
        with watch, ThreadPoolExecutor(1) as pool:
            job = pool.submit(load, server.api_url, server.api_key, name, records)
            before = wait_for_records(watch, name, 100, job.done)
            assert server.pid
            server.kill()
            assert not job.done()
            server.restart()
            job.result()
        assert 100 <= before < 500
        assert_holds(client, name, records)


def wait_for_records(api: httpx.Client, name: str, count: int, give_up: Callable[[], bool]) -> int:
    """How many records a dataset has as soon as it has so many."""
    while not give_up():
        ready = [d for d in api.get('/me/datasets').json()['items'] if d['name'] == name and d['status'] == 'ready']
        if ready:
            total = api.get(f'/datasets/{ready[0]["id"]}/records', params={'limit': 1}).json()['total']
            if total >= count:
                return total
        time.sleep(0.02)
    raise AssertionError('The job was over too early')


# -- others at the same time


def test_two_pipelines_that_write_the_same_records_at_the_same_time(argilla_server, sdk):
    name = unique('two')
    records = samples(300, seed=2)
    shuffled = random.Random(4).sample(records, len(records))
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(load, argilla_server.api_url, argilla_server.api_key, name, r) for r in (records, shuffled)]
        for job in jobs:
            job.result()
    assert_holds(sdk, name, records)


def test_what_people_answered_stays_whatever_is_written_again(argilla_server, api, sdk):
    name = unique('people')
    records = [
        ba.Record(
            f'r{n}',
            {'prompt': f'prompt {n}', 'answer': f'answer {n}'},
            [ba.Suggestion('stars', 1 + n % 5, 'first', 0.5), ba.Suggestion('why', f'because {n}', 'first')],
            {'length': n},
        )
        for n in range(12)
    ]
    load(argilla_server.api_url, argilla_server.api_key, name, records)
    server_ids = {e: r['id'] for e, r in stored(api, name).items()}
    for n, status in enumerate(['submitted', 'submitted', 'draft', 'discarded'] * 2):
        values = {'stars': {'value': 5 - n % 5}, 'why': {'value': f'a person says {n}'}, 'topics': {'value': ['one']}}
        body = {'values': values, 'status': status}
        assert api.post(f'/records/{server_ids[f"r{n}"]}/responses', json=body).status_code == 201
    before = stored(api, name)
    assert sum(len(r['responses']) for r in before.values()) == 8
    assert before['r0']['status'] == 'completed'

    changed = [
        r._replace(
            fields={'prompt': f'new prompt {n}', 'answer': f'new answer {n}'},
            suggestions=[ba.Suggestion('stars', 5 - n % 5, 'second', 0.25)] if n % 2 else (),
            metadata={'share': 0.5},
        )
        for n, r in enumerate(records)
    ]
    # Also where it matters most: every other request is sent twice.
    with FaultProxy(argilla_server.api_url, lambda r: FAULTS['drop after'] if r.number % 2 == 0 else None) as proxy:
        load(proxy.url, argilla_server.api_key, name, changed)
    assert proxy.counts['drop after'] >= 1
    after = stored(api, name)
    assert {e: r['responses'] for e, r in after.items()} == {e: r['responses'] for e, r in before.items()}
    assert {e: (r['id'], r['status'], r['inserted_at']) for e, r in after.items()} == {
        e: (r['id'], r['status'], r['inserted_at']) for e, r in before.items()
    }
    for n in range(12):
        assert after[f'r{n}']['fields'] == {'prompt': f'new prompt {n}', 'answer': f'new answer {n}'}
        assert after[f'r{n}']['metadata'] == {'share': 0.5}
    found = read_back(sdk, name)
    assert all(found[f'r{n}'][1]['stars'] == (5 - n % 5, 'second', 0.25) for n in range(12) if n % 2)


def stored(api: httpx.Client, name: str) -> dict[str, dict[str, Any]]:
    """The dataset's records with all that belongs to them, by external id."""
    params = {'limit': 1000, 'include': 'suggestions,responses'}
    items = api.get(f'/datasets/{dataset_id(api, name)}/records', params=params).json()['items']
    return {r['external_id']: r for r in items}


# -- what the client makes of answers


STAMP = '2026-01-01T00:00:00.000000'
OK = Answer(200, json.dumps({'items': [{'id': 'one', 'inserted_at': STAMP, 'updated_at': STAMP}]}).encode())
E = TypeVar('E', bound=Exception)


def refused(
    answer: Answer, error: type[E], match: str | None = None, count: int = 1, retry: ba.RetryPolicy | None = None
) -> E:
    """The error that the client makes of the one answer to `count` records."""
    with FakeServer(answer) as server, client_of(server, retry) as client:
        with pytest.raises(error, match=match) as raised:
            upsert(client, 'd', [b'{}'] * count)
        assert len(server.requests) == 1
    return raised.value


def client_of(server: FakeServer, retry: ba.RetryPolicy | None = None) -> Client:
    connection = ba.ArgillaConnection(server.url, api_key=RawSecret('a secret key'), timeout=5)
    return Client(connection, retry or ba.RetryPolicy(limit=20, first_delay=0.01, max_delay=0.02))


@pytest.mark.parametrize('status', [408, 425, 429, 500, 502, 503, 504])
def test_a_passing_failure_is_tried_again(status):
    with FakeServer(Answer(status), Answer(status), OK) as server, client_of(server) as client:
        assert [u.record_id for u in upsert(client, 'd', [b'{}'])] == ['one']
    assert [(m, p) for m, p, _ in server.requests] == [('PUT', '/api/v1/datasets/d/records/bulk')] * 3
    assert len({body for _, _, body in server.requests}) == 1


@pytest.mark.parametrize('status', [400, 402, 406, 409, 410, 411, 412, 413, 414, 415, 418, 431, 451])
def test_a_lasting_failure_is_not_tried_again(status):
    assert refused(Answer(status, b'{"detail":"so it is"}'), RejectedBatchError, 'so it is').status == status


@pytest.mark.parametrize(('status', 'error'), [(401, AuthenticationError), (403, PermissionDeniedError)])
def test_a_key_that_does_not_fit_is_not_tried_again(status, error):
    answer = Answer(status, b'{"detail":"no a secret key here"}')
    assert 'a secret key' not in str(refused(answer, error, r'no \*\*\* here'))


def test_the_server_names_the_first_bad_record():
    body = {'detail': 'Record at position 2 is not valid because metadata is not valid:\nshare is too large'}
    error = refused(Answer(422, json.dumps(body).encode()), InvalidRecordsError, count=4)
    assert error.reasons == {2: 'metadata is not valid:\nshare is too large'}


def test_the_server_names_all_records_that_break_its_schema():
    errors = [
        {'loc': ['body', 'items', 3, 'suggestions', 0, 'score'], 'msg': 'too large', 'type': 'value_error'},
        {'loc': ['body', 'items', 0, 'fields', 'text'], 'msg': 'not text', 'type': 'type_error'},
        {'loc': ['body', 'items', 3, 'external_id'], 'msg': 'not text either', 'type': 'type_error'},
    ]
    body = {'detail': {'code': 'argilla.api.errors::ValidationError', 'params': {'errors': errors}}}
    error = refused(Answer(422, json.dumps(body).encode()), InvalidRecordsError, count=4)
    assert sorted(error.reasons) == [0, 3]
    assert 'fields.text: not text' in error.reasons[0]
    assert 'suggestions.0.score: too large' in error.reasons[3]
    assert 'external_id: not text either' in error.reasons[3]


@pytest.mark.parametrize(
    'body',
    [
        b'{"detail":"Found duplicate external IDs"}', b'{"detail":{"code":"x"}}', b'{"detail":{"params":null}}',
        b'{"detail":{"params":{"errors":null}}}', b'{"detail":{"params":{"errors":["no"]}}}',
        b'{"detail":{"params":{"errors":[{"loc":null,"msg":null}]}}}', b'{"code":"missing_vector","message":"x"}',
        b'{"detail":{"params":{"errors":[{"loc":["body","items"],"msg":"too long"}]}}}',
    ],
)  # fmt: skip
def test_a_422_that_names_no_record_rejects_the_batch_whatever_it_looks_like(body):
    assert refused(Answer(422, body), RejectedBatchError).status == 422


@pytest.mark.parametrize(
    'version',
    [b'{}', b'[]', b'null', b'"2.8.0"', b'{"version":null}', b'{"version":2.8}', b'{"version":"1.29.0"}',
     b'{"version":"2.2.9"}', b'{"version":"3.0.0"}'],
)  # fmt: skip
def test_a_server_of_no_or_another_version_is_not_an_argilla_server(version):
    answer = Answer(200, version)
    with FakeServer(answer) as server, client_of(server) as client, pytest.raises(NotArgillaError, match='Argilla'):
        check_server(client)


@pytest.mark.parametrize('status', [400, 401, 403, 413, 422, 500, 503])
def test_a_message_holds_the_number_under_which_the_server_logged_the_request(status):
    answer = Answer(status, b'{"detail":"x"}', {'X-Request-ID': 'req-4711'})
    once = ba.RetryPolicy(limit=0.01, first_delay=1, max_delay=1)
    refused(answer, ba.BeamArgillaError, 'req-4711', retry=once)


@pytest.mark.parametrize(
    'value',
    [
        '', ' ', '-1', '0', '1.5', 'soon', '²', '0x10', 'Wed, 21 Oct 2015 07:28:00 GMT', '2015-10-21T07:28:00Z',
        'Wed, 21 Oct 2015 07:28:00 -0000', 'Wed, 21 Oct 2015 07:28:00', 'Wed, 99 Oct 2015 07:28:00 GMT',
    ],
)  # fmt: skip
def test_a_retry_after_that_is_past_or_makes_no_sense_is_an_ordinary_retry(value):
    answer = Answer(429, b'{}', {'Retry-After': value})
    with FakeServer(answer, OK) as server, client_of(server) as client:
        assert [u.record_id for u in upsert(client, 'd', [b'{}'])] == ['one']
    assert len(server.requests) == 2


@pytest.mark.parametrize('value', ['3600', '9' * 400, http_date(3600)()], ids=['hour', 'ages', 'date'])
def test_a_retry_after_beyond_the_time_limit_ends_the_job_and_is_told(value):
    refused(Answer(429, b'{"detail":"Not today"}', {'Retry-After': value}), ServerUnavailableError, 'Not today')
