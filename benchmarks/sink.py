"""The sink: flow control against every fixed setting, client CPU against the argilla SDK, and reruns.

    python -m benchmarks.sink [--records 2000]

Everything runs side by side in one run: on the real local server (for reruns, also without its speed-ups), and on a
fake one that answers at once, so that only the client is measured. Prints records/s, CPU and ratios.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import platform
import socket
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import apache_beam as beam
import httpx
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.utils.secret import RawSecret

import beam_argilla as ba
from beam_argilla.local import LocalServer, serve
from benchmarks.samples import GENERATIONS, TASK, records


def write(connection: ba.ArgillaConnection, name: str, count: int, **options: Any) -> tuple[float, float]:
    """Seconds and CPU seconds of one pipeline."""
    records(count)  # made once, not in the measured time
    p = beam.Pipeline(runner=FnApiRunner())
    bundle = p | beam.Create([count]) | beam.FlatMap(records)
    _ = bundle | ba.WriteRecords(name, connection=connection, settings=TASK.settings(), distinct=False, **options)
    started, cpu = time.perf_counter(), time.process_time()
    p.run().wait_until_finish()
    return time.perf_counter() - started, time.process_time() - cpu


@contextlib.contextmanager
def fixed(records_per_request: int, in_flight: int) -> Iterator[None]:
    """Flow control that does not adapt."""
    from beam_argilla.writing import flow as _flow

    def init(self: Any, max_records: int, max_in_flight: int) -> None:
        adaptive(self, max_records, max_in_flight)
        self._records, self._limit = float(records_per_request), float(in_flight)

    adaptive, succeeded = _flow.FlowControl.__init__, _flow.FlowControl.succeeded
    _flow.FlowControl.__init__ = init  # type: ignore[method-assign]
    _flow.FlowControl.succeeded = lambda self, records, seconds: None  # type: ignore[method-assign]
    try:
        yield
    finally:
        _flow.FlowControl.__init__ = adaptive  # type: ignore[method-assign]
        _flow.FlowControl.succeeded = succeeded  # type: ignore[method-assign]


def sweep(title: str, connection: ba.ArgillaConnection, count: int, repeat: int, new_name: Callable[[], str]) -> None:
    """Fixed settings in turn, `repeat` times; then the best of them and flow control in turn, twice as often; medians.

    The best is measured again, for the best of a dozen medians is partly the luckiest.
    """

    def rate(setting: tuple[int, int] | None) -> float:
        with fixed(*setting) if setting else contextlib.nullcontext():
            seconds, _ = write(connection, new_name(), count)
        return count / seconds

    sizes, in_flight = (50, 100, 200, 400), (1, 2, 4)
    settings = [(b, k) for b in sizes for k in in_flight]
    write(connection, new_name(), 200)  # warm up
    turns = [{setting: rate(setting) for setting in settings} for _ in range(repeat)]
    medians = {setting: statistics.median(turn[setting] for turn in turns) for setting in settings}
    print(f'\n{title}: {count:,} records, records/s by records per request x requests in flight')
    for b in sizes:
        print(f'{b:6}: ' + ''.join(f'{medians[b, k]:9.0f}' for k in in_flight))
    best = max(settings, key=lambda setting: medians[setting])
    pairs = [(rate(None), rate(best)) for _ in range(2 * repeat)]
    ours, theirs = (statistics.median(rates) for rates in zip(*pairs, strict=True))
    print(f'no option set: {ours:.0f}; best fixed ({best[0]} x {best[1]}), again: {theirs:.0f}; ', end='')
    print(f'ratio {ours / theirs:.2f}')


def client_cpu(connection: ba.ArgillaConnection, url: str, count: int) -> None:
    """CPU per record of the client, ours in a pipeline and the SDK's `records.log`."""
    import argilla as rg

    write(connection, 'fake', 100)
    _, ours = write(connection, 'fake', count)
    client = rg.Argilla(api_url=url, api_key='key')
    dataset = client.datasets('fake', workspace='default')
    theirs = [
        rg.Record(
            id=r.external_id,
            fields=dict(r.fields),
            suggestions=[rg.Suggestion(s.question, s.value) for s in r.suggestions],
        )
        for r in records(count)
    ]
    started = time.process_time()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        dataset.records.log(theirs, batch_size=100)
    sdk = time.process_time() - started
    print(f'\nclient CPU per record, server that answers at once, {count:,} records:')
    print(f'  beam_argilla (whole pipeline) {ours / count * 1e6:7.0f} us')
    print(f'  argilla SDK (records.log)     {sdk / count * 1e6:7.0f} us; ratio {ours / sdk:.3f}')


def rerun(title: str, server: LocalServer, count: int, repeat: int) -> None:
    """First loads, and reruns on the unchanged dataset."""
    connection = ba.ArgillaConnection(server.api_url, api_key=RawSecret(server.api_key))
    write(connection, 'warm-up', 200)
    first, again = [], []
    for _ in range(repeat):
        name = uuid.uuid4().hex
        first.append(write(connection, name, count)[0])
        again.append(write(connection, name, count, skip_unchanged=True)[0])
    loaded, skipped = statistics.median(first), statistics.median(again)
    print(
        f'\n{title}: {count:,} records: first load {loaded:.2f} s, rerun with skip_unchanged {skipped:.2f} s: ', end=''
    )
    print(f'{loaded / skipped:.1f} times')


@contextlib.contextmanager
def fake_server() -> Iterator[str]:
    """A server that answers at once, in a process of its own."""
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
    process = subprocess.Popen([sys.executable, '-m', 'benchmarks.fake_argilla', str(port), str(GENERATIONS)])
    url = f'http://127.0.0.1:{port}'
    try:
        for _ in range(200):
            with contextlib.suppress(httpx.TransportError):
                httpx.get(f'{url}/api/v1/version')
                break
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    p = argparse.ArgumentParser('python -m benchmarks.sink', description=__doc__)
    p.add_argument('--records', type=int, default=2000)
    p.add_argument('--repeat', type=int, default=3)
    args = p.parse_args()
    print(f'{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}')
    with fake_server() as url:
        connection = ba.ArgillaConnection(url, api_key=RawSecret('key'))
        client_cpu(connection, url, 5 * args.records)
        sweep('fake server', connection, 5 * args.records, args.repeat, lambda: 'fake')
    with serve(stock=True) as server:
        rerun('local Argilla without its speed-ups', server, args.records, args.repeat)
    with serve() as server:
        rerun('local Argilla', server, args.records, args.repeat)
        connection = ba.ArgillaConnection(server.api_url, api_key=RawSecret(server.api_key))
        sweep('local Argilla', connection, args.records, args.repeat, lambda: uuid.uuid4().hex)


if __name__ == '__main__':
    main()
