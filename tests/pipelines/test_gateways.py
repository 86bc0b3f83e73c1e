"""What a person sees of what is between the program and Argilla: a gateway, a certificate, a server that wakes up."""

from __future__ import annotations

import tempfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_argilla.server import retries
from pipelines import parquet_to_argilla
from tests.faults import Fault, FaultProxy, Request, is_bulk, page
from tests.samples import rows, unique


@pytest.fixture
def run(argilla_server, tmp_path, monkeypatch, capfd):
    """Runs the program on 30 groups; returns exit status, standard output and standard error."""
    monkeypatch.setenv('ARGILLA_API_KEY', argilla_server.api_key)
    pq.write_table(pa.Table.from_pylist(rows(30)), tmp_path / 'in.parquet')

    temporary = tmp_path / 'temporary'
    temporary.mkdir()
    monkeypatch.setattr(tempfile, 'tempdir', str(temporary))

    def run(url: str, *argv: str) -> tuple[int, str, str]:
        base = ['--input', str(tmp_path / 'in.parquet'), '--num_generations', '4', '--dataset', unique('gateway')]
        capfd.readouterr()
        status = parquet_to_argilla.main([*base, '--api_url', url, *argv])
        assert list(temporary.iterdir()) == []
        return status, *capfd.readouterr()

    return run


def test_a_gateway_that_lets_no_record_through_is_told_in_one_message_and_no_record_is_called_bad(
    run, argilla_server, tmp_path
):
    with FaultProxy(argilla_server.api_url, lambda r: Fault('405', **page(405))) as proxy:
        status, out, err = run(proxy.url, '--failed', str(tmp_path / 'failed'))
    assert (status, out) == (2, '')
    assert err.startswith(f'error: Something between here and {proxy.url} answered 405 to PUT')
    assert err.count('\n') == 1
    assert [line for path in tmp_path.glob('failed*') for line in path.read_text().splitlines()] == []


def test_a_server_that_wakes_up_is_waited_for_as_long_as_the_options_say(run, argilla_server, caplog, monkeypatch):
    monkeypatch.setattr(retries, '_SAID_AFTER', 2)
    starting = Fault('starting', **{**page(503), 'body': b'<html>Your space is starting</html>'})

    def schedule(request: Request) -> Fault | None:
        return starting if request.number < 3 else None

    with FaultProxy(argilla_server.api_url, schedule, lambda method, path: True) as proxy:
        status, out, _ = run(proxy.url, '--retry_seconds', '50')
    assert (status, '30 records written' in out) == (0, True)
    (said,) = [r.getMessage() for r in caplog.records if r.name.startswith('beam_argilla')]
    assert said.startswith(f'Waiting for {proxy.url}, for up to 50 seconds: ')
    assert 'Your space is starting' in said


def test_a_file_of_certificates_that_is_not_there_is_told(run):
    status, out, err = run('https://localhost:9', '--ca_file', 'nowhere.pem')
    assert (status, out) == (2, '')
    assert err == "error: ca_file='nowhere.pem' cannot be read where this code runs: No such file or directory\n"


def test_a_server_that_goes_to_sleep_once_all_is_written_costs_nothing(run, argilla_server):
    asleep = Fault('asleep', **{**page(404), 'body': b'<p>This app has gone to sleep.</p>'})
    written = []

    def schedule(request: Request) -> Fault | None:
        if is_bulk(request.method, request.path):
            written.append(request.number)
            return None
        return asleep if written else None

    with FaultProxy(argilla_server.api_url, schedule, lambda method, path: True) as proxy:
        status, out, err = run(proxy.url)
    assert (status, err, '30 records written' in out) == (0, '', True)
    assert f'The dataset: {proxy.url}/dataset/' in out
