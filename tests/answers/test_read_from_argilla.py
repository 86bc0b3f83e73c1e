"""What people answered comes back: complete, exact, each record once."""

from __future__ import annotations

import json
import re
import threading
import time
from datetime import datetime, timedelta, timezone
from typing import Any

import apache_beam as beam
import argilla as rg
import msgspec
import pytest
from apache_beam.transforms.window import FixedWindows
from apache_beam.utils.secret import RawSecret

import beam_argilla as ba
from beam_argilla.answers import read_from_argilla, slices, source, watch
from beam_argilla.errors import DatasetNotFoundError, JobError, PermissionDeniedError
from beam_argilla.server.listing import ListedRecord
from tests.answers.people import Person, crew, dataset_id, record_ids
from tests.faults import FAULTS, FaultProxy, seeded
from tests.samples import pipeline, unique

__all__ = ['crew']  # a fixture


FOUND: list[ba.AnsweredRecord] = []  # by a runner in this process


def keep(record: ba.AnsweredRecord) -> None:
    FOUND.append(record)


def read(connection: ba.ArgillaConnection, name: str, **options: Any) -> list[ba.AnsweredRecord]:
    FOUND.clear()
    with pipeline() as p:
        records = p | ba.ReadFromArgilla(name, connection=connection, **options)
        _ = records | beam.Map(keep)
    return sorted(FOUND, key=lambda record: str(record.external_id))


def simple(connection: ba.ArgillaConnection, count: int) -> str:
    """A dataset with a rating question and so many records."""
    name = unique('answers')
    settings = ba.DatasetSettings([ba.text_field('text')], [ba.rating_question('good', 'Good?', [1, 2, 3], True)])
    records = [ba.Record(f'r{i:04d}', {'text': f'Text {i}'}) for i in range(count)]
    with pipeline() as p:
        _ = p | beam.Create(records) | ba.WriteRecords(name, settings=settings, connection=connection)
    return name


def test_every_kind_of_field_and_answer_comes_back_as_it_was_given(connection, sdk, api, crew):
    """Of a dataset that the SDK made."""
    labels = ['a', 'b', 'c']
    settings = rg.Settings(
        fields=[
            rg.TextField('text'),
            rg.ChatField('chat'),
            rg.ImageField('image'),
            rg.CustomField('page', template='<p>{{record.fields.page.a}}</p>'),
        ],
        questions=[
            rg.RatingQuestion('rating', values=[1, 2, 3]),
            rg.RankingQuestion('ranking', values=labels, required=False),
            rg.LabelQuestion('label', labels=labels, required=False),
            rg.MultiLabelQuestion('labels', labels=labels, required=False),
            rg.SpanQuestion('spans', field='text', labels=labels, required=False),
            rg.TextQuestion('comment', required=False),
        ],
        metadata=[rg.TermsMetadataProperty('topic')],
    )
    name = unique('kinds')
    dataset = rg.Dataset(name, settings=settings, client=sdk)
    dataset.create()
    chat = [{'role': 'user', 'content': 'Hi'}, {'role': 'assistant', 'content': 'Hello'}]
    fields = {'text': 'Zürich 🎈', 'chat': chat, 'image': 'https://example.org/a.png', 'page': {'a': [1, None]}}
    record = rg.Record(
        id='one', fields=fields, metadata={'topic': 't'}, suggestions=[rg.Suggestion('rating', 2, agent='m', score=0.5)]
    )
    dataset.records.log([record, rg.Record(id='two', fields=fields)])
    values = {
        'rating': 3,
        'ranking': [{'value': 'b', 'rank': 1}, {'value': 'a', 'rank': 2}, {'value': 'c', 'rank': 2}],
        'label': 'a',
        'labels': ['a', 'c'],
        'spans': [{'label': 'b', 'start': 0, 'end': 6}],
        'comment': 'schön',
    }
    ids = record_ids(api, name)
    ada, bob, _ = crew
    ada.answers(ids['one'], values)
    bob.answers(ids['one'], {'rating': 1}, 'draft')
    bob.answers(ids['two'], None, 'discarded')
    (one,) = read(connection, name)
    assert one.fields == fields
    assert (one.external_id, one.record_id, one.metadata, one.status) == (
        'one',
        ids['one'],
        {'topic': 't'},
        'completed',
    )
    assert one.suggestions == [ba.Suggestion('rating', 2, 'm', 0.5, None)]
    kinds = ['rating', 'ranking', 'label_selection', 'multi_label_selection', 'span', 'text']
    assert list(one.questions.items()) == list(zip(values, kinds, strict=True))
    (response,) = one.responses
    assert (response.user, response.user_id, response.status, response.values) == (
        ada.name,
        ada.id,
        'submitted',
        values,
    )
    assert timedelta() <= datetime.now(timezone.utc) - response.updated_at < timedelta(minutes=5)
    one, two = read(connection, name, response_status=['submitted', 'draft', 'discarded'], suggestions=False)
    assert one.suggestions == []
    assert [(r.user, r.status) for r in one.responses] == [(ada.name, 'submitted'), (bob.name, 'draft')]
    assert [(r.user, r.status, r.values) for r in two.responses] == [(bob.name, 'discarded', {})]


def test_which_records_and_what_people_are_called(connection, api, crew, argilla_server):
    name = simple(connection, 5)
    ids = record_ids(api, name)
    ada, bob, eve = crew
    bob.answers(ids['r0000'], {'good': 1})
    ada.answers(ids['r0000'], {'good': 2})
    ada.answers(ids['r0001'], {'good': 3}, 'draft')
    (first,) = read(connection, name)
    since = first.responses[-1].updated_at + timedelta(microseconds=1)
    eve.answers(ids['r0002'], {'good': 3})
    bob.answers(ids['r0000'], {'good': 3})

    def ratings(**options: Any) -> list[tuple[str | None, list[tuple[str, int]]]]:
        found = read(connection, name, **options)
        return [(r.external_id, [(a.user, a.values['good']) for a in r.responses]) for r in found]

    assert ratings(since=since) == [('r0000', [(bob.name, 3), (ada.name, 2)]), ('r0002', [(eve.name, 3)])]
    assert ratings(since=since.astimezone(timezone(timedelta(hours=5))) + timedelta(days=1)) == []
    assert [id for id, _ in ratings(unanswered=True)] == [f'r{i:04d}' for i in range(5)]
    assert [id for id, _ in ratings(unanswered=True, record_status=['pending'])] == ['r0001', 'r0003', 'r0004']
    assert ratings(response_status=['draft']) == [('r0001', [(ada.name, 3)])]
    assert ratings(anonymous=True, unanswered=True)[0] == ('r0000', [('annotator-1', 3), ('annotator-2', 2)])
    assert {r.user_id for record in read(connection, name, anonymous=True) for r in record.responses} == {None}
    # An admin sees the names of the workspace, and not those of others.
    admin, guest = Person(api, unique('adm'), 'admin'), Person(api, unique('own'), 'owner', member=False)
    guest.answers(ids['r0003'], {'good': 1})
    theirs = ba.ArgillaConnection(argilla_server.api_url, api_key=RawSecret(admin.key))
    found = {r.external_id: r.responses[0].user for r in read(theirs, name)}
    assert found == {'r0000': bob.name, 'r0002': eve.name, 'r0003': guest.id}
    unnamed = {r.external_id: r.responses[0].user for r in read(theirs, name, anonymous=True)}
    assert re.fullmatch('annotator-[0-9a-f]{8}', unnamed['r0003'])
    named = ba.names_of_people(name, connection=theirs)
    assert (named[:2], guest.name in named) == ([bob.name, ada.name], False)
    numbered = ba.names_of_people(name, connection=theirs, anonymous=True)
    assert numbered == [f'annotator-{n}' for n in range(1, len(named) + 1)]
    with pytest.raises(PermissionDeniedError, match='must be an owner, or an admin'):
        read(ba.ArgillaConnection(argilla_server.api_url, api_key=RawSecret(ada.key)), name)


@pytest.mark.parametrize('indexed', [True, False], ids=['search', 'listing'])
def test_all_of_many_slices_and_pages_comes_while_the_server_fails(
    indexed, connection, api, crew, argilla_server, monkeypatch
):
    name = many(connection, api, crew)
    monkeypatch.setattr(slices, 'MAX_LIMIT', 40)
    monkeypatch.setattr(slices, '_FEWEST', 130)
    monkeypatch.setattr(source, 'is_cheaper', lambda *_: indexed)
    faults = [FAULTS[fault] for fault in ('500 after', '503', 'drop after', 'truncated')]
    with FaultProxy(argilla_server.api_url, seeded(3, 0.3, faults), lambda method, path: 'records' in path) as proxy:
        through = ba.ArgillaConnection(proxy.url, api_key=RawSecret(argilla_server.api_key))
        found = read(through, name, unanswered=True, retry=ba.RetryPolicy(first_delay=0.01))
    assert proxy.faulty_share > 0.1
    assert [r.external_id for r in found] == [f'r{i:04d}' for i in range(600)]
    assert sum(len(r.responses) for r in found) == 600 // 3 * 2


def many(connection: ba.ArgillaConnection, api: Any, crew: list[Person]) -> str:
    """600 records, every third of them answered by two people."""
    name = simple(connection, 600)
    items = []
    for i in range(0, 600, 3):
        given = [
            {'user_id': person.id, 'status': 'submitted', 'values': {'good': {'value': 1 + i % 3}}}
            for person in crew[:2]
        ]
        items.append({'external_id': f'r{i:04d}', 'fields': {'text': f'Text {i}'}, 'responses': given})
    api.put(f'/datasets/{dataset_id(api, name)}/records/bulk', json={'items': items}).raise_for_status()
    return name


def test_less_than_the_server_counts_is_an_error(connection, api, crew, monkeypatch):
    name = simple(connection, 20)
    crew[0].answers(record_ids(api, name)['r0010'], {'good': 1})
    for way in ('by_search', 'by_listing'):
        monkeypatch.setattr(read_from_argilla, way, lambda ask, part: iter([]))
    with pytest.raises(JobError, match='gave 0 submitted responses, but counts 1'):
        read(connection, name)
    with pytest.raises(JobError, match='gave 0 records, but counts 20'):
        read(connection, name, unanswered=True, response_status=['draft'])


def test_an_answer_to_a_question_that_was_removed_is_refused_and_the_others_are_kept():
    values = {name: {'value': value} for name, value in (('good', 3), ('gone', 'x'))}
    times = {'inserted_at': '2026-01-01T00:00:00', 'updated_at': '2026-01-01T00:00:01.5'}
    response = {'status': 'submitted', 'user_id': 'u', 'values': values, **times}
    record = {'id': 'r', 'status': 'completed', 'fields': {}, 'external_id': 'e', 'responses': [response], **times}
    of = source.Source('d', {'good': 'rating'}, {}, {'u': 'ada'}, 1, {}, True, False)
    made, (refused,) = source.answered(msgspec.convert(record, ListedRecord), of, source.Selection())
    assert made is not None
    assert [(r.user, r.values) for r in made.responses] == [('ada', {'good': 3})]
    assert made.responses[0].updated_at == datetime(2026, 1, 1, 0, 0, 1, 500_000, timezone.utc)
    assert (refused.external_id, refused.stage, refused.error) == ('e', 'read', 'RemovedQuestion')
    assert refused.message == "An answer to 'gone', which the dataset does not ask any more."
    assert json.loads(refused.data) == {'response': {'user': 'ada', 'values': {'gone': 'x'}}}


def test_a_dataset_that_is_empty_or_gone(connection):
    assert read(connection, simple(connection, 0), unanswered=True) == []
    with pytest.raises(DatasetNotFoundError, match="There is no dataset 'nowhere'"):
        read(connection, 'nowhere')


@pytest.mark.parametrize(
    ('time', 'name'),
    [
        (datetime.max.replace(tzinfo=timezone(timedelta(hours=-12))), 'since'),
        (datetime.min.replace(tzinfo=timezone(timedelta(hours=14))), 'until'),
    ],
)
def test_a_time_that_is_none_in_utc_is_told(connection, time, name):
    with pytest.raises(ValueError, match=rf'^{name}=.*: in UTC, that is not in the years 1 to 9999$'):
        ba.ReadFromArgilla('x', connection=connection, poll=1, **{name: time})


@pytest.mark.parametrize('poll', [0, -1, float('nan'), float('inf')])
def test_seconds_between_two_looks_are_some(connection, poll):
    with pytest.raises(ValueError, match=r'^poll='):
        ba.ReadFromArgilla('x', connection=connection, poll=poll)


STATES: list[tuple[Any, ...]] = []


def see(record: ba.AnsweredRecord, window: Any = beam.DoFn.WindowParam, time: Any = beam.DoFn.TimestampParam) -> None:
    (response,) = record.responses
    assert time.to_utc_datetime(has_tz=True) == response.updated_at
    assert window.start <= time < window.end
    STATES.append((record.external_id, response.user, response.values['good']))


def test_while_people_answer_each_new_state_of_an_answer_comes_once_in_its_window(connection, api, crew, monkeypatch):
    monkeypatch.setattr(watch, '_SETTLED', timedelta(seconds=1))
    name = simple(connection, 3)
    ids = record_ids(api, name)
    ada, bob, _ = crew
    for person in (ada, bob):
        person.answers(ids['r0000'], {'good': 1})
    late = Person(api, unique('late'))

    def go_on() -> None:
        while len(STATES) < 2:
            time.sleep(0.1)
        bob.answers(ids['r0000'], {'good': 2})
        late.answers(ids['r0001'], {'good': 3})

    STATES.clear()
    answering = threading.Thread(target=go_on, daemon=True)
    answering.start()
    until = datetime.now(timezone.utc) + timedelta(seconds=12)
    with pipeline() as p:
        records = p | ba.ReadFromArgilla(name, connection=connection, poll=1, until=until)
        _ = records | beam.WindowInto(FixedWindows(2)) | beam.Map(see)
    answering.join(timeout=1)
    expected = [('r0000', ada.name, 1), ('r0000', bob.name, 1), ('r0000', bob.name, 2), ('r0001', late.name, 3)]
    assert expected == STATES


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'response_status': 'submitted'}, r"response_status='submitted': give a list of 'submitted', 'draft'"),
        ({'response_status': []}, 'response_status'),
        ({'poll': 0}, 'poll=0'),
        ({'poll': 5, 'unanswered': True}, 'unanswered=True: answers are waited for'),
        ({'until': datetime(2026, 1, 1)}, 'until=... is for poll=...'),
        ({'record_status': ['done']}, r"record_status=\['done'\]: give a list of 'pending', 'completed'"),
    ],
)
def test_what_cannot_be_is_told_at_once(connection, options, message):
    with pytest.raises(ValueError, match=message):
        ba.ReadFromArgilla('d', connection=connection, **options)
