"""What has arrived is counted by the server, and where it cannot be, nobody is the worse for it."""

from __future__ import annotations

import time

import apache_beam as beam

import beam_argilla as ba
from beam_argilla.server.arrivals import Arrivals
from tests.samples import pipeline, unique

RECORDS = [ba.Record(f'r{i}', {'instruction': 'q', 'generation': f'a{i}', 'id': f'r{i}'}) for i in range(20)]


def write(connection: ba.ArgillaConnection, name: str, records: list[ba.Record]) -> None:
    with pipeline() as p:
        settings = ba.TextGeneration().settings()
        _ = p | beam.Create(records) | ba.WriteRecords(name, connection=connection, settings=settings)


def test_what_is_made_and_changed_is_counted_and_what_was_there_is_not(connection):
    name = unique('arrivals')
    arrivals = Arrivals(connection, name)
    assert arrivals.count() == 0  # there is no such dataset yet
    write(connection, name, RECORDS[:15])
    assert arrivals.count() == 15

    time.sleep(2.1)  # the server tells the time in whole seconds, a second late at most
    arrivals = Arrivals(connection, name)
    changed = [record._replace(fields={**record.fields, 'generation': 'another'}) for record in RECORDS[:3]]
    write(connection, name, [*changed, *RECORDS[3:17]])
    assert arrivals.count() == 3 + 2


def test_a_server_that_does_not_count_says_nothing(connection, argilla_server, monkeypatch):
    monkeypatch.delenv('NOT_THERE', raising=False)
    for broken in (
        ba.ArgillaConnection('http://127.0.0.1:9', api_key=connection.api_key),
        ba.ArgillaConnection(argilla_server.api_url, api_key_env='NOT_THERE'),
    ):
        assert Arrivals(broken, 'any').count() is None
    assert Arrivals(connection, 'any', 'no workspace').count() == 0
