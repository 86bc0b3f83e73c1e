"""Created or updated: told apart exactly, whatever happens on the way and whoever else writes."""

from __future__ import annotations

import threading
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

import beam_argilla as ba
from beam_argilla.server.settings import text_field, text_question
from tests.faults import FAULTS, Fault, FaultProxy, Request, at
from tests.samples import counters, unique

SETTINGS = ba.DatasetSettings([text_field('t')], [text_question('q', 'q')])
PLAIN = [ba.Record(f'r{i}', {'t': 'x'}) for i in range(30)]
SUGGESTED = [r._replace(suggestions=[ba.Suggestion('q', 'a')]) for r in PLAIN]
PATIENCE = ba.RetryPolicy(limit=60, first_delay=0.05, max_delay=0.2)


def write(connection, name, records, **options: Any) -> tuple[int, int]:
    """How many were created, and how many updated."""
    p = beam.Pipeline(runner=FnApiRunner())
    write_it = ba.WriteRecords(name, connection=connection, settings=SETTINGS, retry=PATIENCE, **options)
    _ = p | beam.Create(records) | write_it
    result = p.run()
    counts = counters(result)
    return counts['records_created'], counts['records_updated']


@pytest.mark.parametrize('records', [PLAIN, SUGGESTED], ids=['plain', 'suggestions'])
def test_a_second_run_right_behind_the_first_creates_nothing(connection, records):
    name = unique('behind')
    assert write(connection, name, records[:20]) == (20, 0)
    assert write(connection, name, records, max_records=7) == (10, 20)
    assert write(connection, name, records) == (0, 30)


def test_what_a_runner_does_again_is_told_from_what_was_there_before(connection):
    name = unique('again')
    write(connection, name, SUGGESTED[:10])
    for expected in (20, 0):  # none was there before; all were
        p = beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions(['--direct_runner_bundle_repeat=1']))
        _ = p | beam.Create(SUGGESTED) | ba.WriteRecords(name, connection=connection, settings=SETTINGS)
        counts = counters(p.run())
        assert (counts['records_updated'], counts['records_repeated']) == (30, expected)


LOST = {
    'lost': {0: FAULTS['drop after']},
    'failed and committed': {0: FAULTS['500 after']},
    'refused before': {0: FAULTS['429'], 1: FAULTS['500 before']},
    'halved': dict.fromkeys(range(4), FAULTS['500 after']),
}


@pytest.mark.parametrize('faults', LOST.values(), ids=LOST)
@pytest.mark.parametrize('records', [PLAIN, SUGGESTED], ids=['plain', 'suggestions'])
def test_what_our_own_lost_request_created_was_created_by_us(argilla_server, connection, records, faults):
    name = unique('lost')
    write(connection, name, records[:10])
    with FaultProxy(argilla_server.api_url, at(faults)) as proxy:
        through = ba.ArgillaConnection(proxy.url, api_key=connection.api_key)
        assert write(through, name, records) == (20, 10)
        assert proxy.faulty_share > 0


def test_two_runs_at_the_same_time_add_up(argilla_server, connection):
    """Both have looked at what is there before either writes."""
    name, barrier = unique('both'), threading.Barrier(2, timeout=60)
    write(connection, name, [])
    counts: list[tuple[int, int]] = []

    def together(request: Request) -> None:
        if request.number == 0:
            barrier.wait()

    # A schedule is asked under a lock of its proxy, so each run has its own.
    proxies = [FaultProxy(argilla_server.api_url, together) for _ in range(2)]
    with proxies[0], proxies[1]:
        connections = [ba.ArgillaConnection(proxy.url, api_key=connection.api_key) for proxy in proxies]
        threads = [
            threading.Thread(target=lambda c=c: counts.append(write(c, name, SUGGESTED, max_records=10)))
            for c in connections
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sum(created for created, _ in counts) == 30
    assert sum(updated for _, updated in counts) == 30


@pytest.mark.parametrize('records', [PLAIN, SUGGESTED], ids=['plain', 'suggestions'])
def test_a_request_that_the_server_undid_since_another_made_the_records_created_none(
    argilla_server, connection, records
):
    """What argilla-server answers on PostgreSQL where two requests insert the same external ids."""
    name = unique('clash')
    write(connection, name, [])

    def clash(request: Request) -> Fault | None:
        if request.number:
            return None
        assert write(connection, name, records) == (30, 0)
        return Fault('clash', status=500, body=b'{"detail":{"code":"sqlalchemy.exc.IntegrityError","params":{}}}')

    with FaultProxy(argilla_server.api_url, clash) as proxy:
        through = ba.ArgillaConnection(proxy.url, api_key=connection.api_key)
        assert write(through, name, records) == (0, 30)
