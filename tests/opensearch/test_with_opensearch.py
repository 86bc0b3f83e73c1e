"""There and back where OpenSearch searches, which finds nothing behind the 10,000th result of a query."""

from __future__ import annotations

import random
import threading
from datetime import datetime, timedelta, timezone

import apache_beam as beam
import pytest

import beam_argilla as ba
from beam_argilla.answers import source
from tests.answers.people import crew, record_ids
from tests.answers.test_read_from_argilla import read
from tests.samples import counters, unique

__all__ = ['crew']  # a fixture

pytestmark = pytest.mark.xdist_group('OpenSearch')

MANY = 10_400
SETTINGS = ba.DatasetSettings([ba.text_field('text')], [ba.rating_question('good', 'Good?', [1, 2, 3], True)])


def write(connection: ba.ArgillaConnection, name: str, count: int, **options: object) -> dict[str, int]:
    p = beam.Pipeline(runner='FnApiRunner')
    records = p | beam.Create([ba.Record(f'r{i:05d}', {'text': f'Text {i}'}) for i in range(count)])
    _ = records | ba.WriteRecords(name, settings=SETTINGS, connection=connection, **options)
    result = p.run()
    result.wait_until_finish()
    return counters(result)


@pytest.fixture(scope='module')
def many(connection) -> str:
    name = unique('many')
    assert write(connection, name, MANY)['records_created'] == MANY
    return name


def test_what_is_there_is_written_again_only_where_it_has_changed(connection, many):
    assert write(connection, many, MANY, skip_unchanged=True)['records_unchanged'] == MANY


@pytest.mark.parametrize('by_search', [True, False])
def test_every_record_comes_back_once(by_search, connection, many, monkeypatch):
    monkeypatch.setattr(source, 'is_cheaper', lambda *_: by_search)
    found = read(connection, many, unanswered=True)
    assert [record.external_id for record in found] == [f'r{i:05d}' for i in range(MANY)]


def test_answers_come_back_while_people_go_on(connection, api, crew):
    name = unique('going-on')
    write(connection, name, 600)
    ids = list(record_ids(api, name).items())
    random.Random(0).shuffle(ids)
    before = datetime.now(timezone.utc) - timedelta(minutes=1)
    for external_id, id in ids[:40]:
        crew[0].answers(id, {'good': 1 + int(external_id[1:]) % 3})
    later = threading.Thread(target=lambda: [crew[1].answers(id, {'good': 2}) for _, id in ids[20:120]])
    later.start()
    found = read(connection, name, since=before)
    later.join()
    answers = {record.external_id: {r.user: r.values['good'] for r in record.responses} for record in found}
    assert len(answers) == len(found)
    for external_id, _ in ids[:40]:
        assert answers[external_id][crew[0].name] == 1 + int(external_id[1:]) % 3
    assert {record.external_id for record in read(connection, name)} == {name for name, _ in ids[:120]}
    assert read(connection, name, response_status=['draft']) == []


def test_each_new_state_of_an_answer_comes_once(connection, api, crew):
    name = unique('states')
    write(connection, name, 3)
    ids = record_ids(api, name)
    crew[0].answers(ids['r00000'], {'good': 1})
    until = datetime.now(timezone.utc) + timedelta(seconds=7)

    def answer_more() -> None:
        crew[0].answers(ids['r00000'], {'good': 3})
        crew[1].answers(ids['r00002'], {'good': 2})

    more = threading.Timer(1, answer_more)
    more.start()
    states = [
        (record.external_id, response.user, response.values['good'])
        for record in read(connection, name, poll=0.5, until=until)
        for response in record.responses
    ]
    more.join()
    assert len(set(states)) == len(states)
    assert {('r00000', crew[0].name, 3), ('r00002', crew[1].name, 2)} <= set(states)
