"""The local Argilla against argilla-server as it is (`--stock`): writing, writing the same again, and reading.

    python -m benchmarks.local [--records 10000] [--stock_records 1000] [--large 50000]
    python -m benchmarks.local --database_url postgresql+asyncpg://... --elasticsearch URL

Both run in the same minutes, one after the other, on preference records of 4 kB with 8 suggestions. Beside the clock
stands the CPU time of the server's processes, which says the same on a machine that has other things to do. With a
database that is all that is measured, written to by one process and by two.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.utils.secret import RawSecret

import beam_argilla as ba
from beam_argilla.local import LocalServer, serve
from beam_argilla.server.client import Client
from beam_argilla.server.datasets import Dataset, ensure_dataset
from beam_argilla.server.encoder import Encoder
from benchmarks.samples import GENERATIONS, TASK, records

BATCH = 250
CLIENTS = 2
SETTINGS = ba.DatasetSettings(**vars(TASK.settings()) | {'metadata': [ba.metadata_property('length', 'integer')]})


class Time(NamedTuple):
    """Seconds by the clock, and of CPU in the server's process."""

    wall: float
    cpu: float


class Bench:
    """A server, and what is measured on it.

    Attributes:
      times: What was measured → what it took: a record, or a request.
    """

    def __init__(self, server: LocalServer) -> None:
        assert server.pid is not None
        self._process = psutil.Process(server.pid)
        self._url = server.api_url
        self._key = server.api_key
        self._connection = ba.ArgillaConnection(server.api_url, api_key=RawSecret(server.api_key))
        self._api = httpx.Client(
            base_url=f'{server.api_url}/api/v1', headers={'X-Argilla-Api-Key': server.api_key}, timeout=600
        )
        self.times: dict[str, Time] = {}

    @contextlib.contextmanager
    def _timed(self, name: str, count: int = 1) -> Iterator[None]:
        wall, cpu = time.perf_counter(), self._cpu()
        yield
        self.times[name] = Time((time.perf_counter() - wall) / count, (self._cpu() - cpu) / count)

    def _cpu(self) -> float:
        times = [process.cpu_times() for process in (self._process, *self._process.children())]
        return sum(one.user + one.system for one in times)

    def write(self, count: int) -> None:
        """Straight at the bulk endpoint, twice; then a page of it, with an answer to each record."""
        dataset = self._new_dataset()
        bodies = list(bulk_bodies(dataset, count))
        for name in ('first load', 'the same again'):
            with self._timed(name, count):
                self._put(dataset, bodies)
        self._answer(dataset)
        for size in (250, 1000):
            page = f'/datasets/{dataset.id}/records?limit={size}&include=responses&include=suggestions'
            if size <= count:
                self._repeat(f'a page of {size}', lambda page=page: self._api.get(page))  # type: ignore[misc]

    def write_by_program(self, count: int, parts: tuple[str, ...]) -> None:
        """The program in a process of its own. The start of it, without records to write, is no part of its time."""
        with tempfile.TemporaryDirectory() as folder:
            for name, rows in (('one', 1), ('all', count)):
                write_generations(Path(folder, f'{name}.parquet'), rows)
            starts = [self._run(f'{folder}/one.parquet', 'start') for _ in range(3)]
            start = Time(*(statistics.median(figures) for figures in zip(*starts, strict=True)))
            for part in parts:
                options = ['--skip_unchanged'] if 'skip' in part else []
                took = self._run(f'{folder}/all.parquet', 'program', *options)
                self.times[part] = Time(*((all - one) / count for all, one in zip(took, start, strict=True)))

    def _run(self, file: str, dataset: str, *options: str) -> Time:
        command = [sys.executable, '-m', 'pipelines.parquet_to_argilla', '--input', file, '--dataset', dataset]
        command += ['--num_generations', str(GENERATIONS), '--api_url', self._url, *options]
        with self._timed('run'):
            subprocess.run(command, check=True, capture_output=True, env=os.environ | {'ARGILLA_API_KEY': self._key})
        return self.times.pop('run')

    def read(self, count: int) -> None:
        """What a person at the web page of a large dataset waits for."""
        dataset = self._new_dataset()
        for start in range(0, count, 5000):
            self._put(dataset, list(bulk_bodies(dataset, min(5000, count - start), start)))
        path = f'/datasets/{dataset.id}'
        search = f'/me{path}/records/search?limit=10&include=suggestions&include=responses'
        length = {'entity': 'metadata', 'metadata_property': 'length'}
        some = {'type': 'range', 'scope': length, 'ge': 10, 'le': count // 2}
        queries: dict[str, dict[str, Any]] = {
            'first page': {},
            'page at the end': {'offset': count - 10},
            'search': {'json': {'query': {'text': {'q': f'answer {count // 3}'}}}},
            'filter with sort': {
                'json': {
                    'filters': {'type': 'and', 'and': [some]},
                    'sort': [{'scope': length, 'order': 'desc'}],
                }
            },
        }
        for name, query in queries.items():
            address = f'{search}&offset={query.get("offset", 0)}'
            self._repeat(f'{count:,}: {name}', lambda a=address, q=query: self._api.post(a, json=q.get('json', {})))
        listed = f'{path}/records?limit=10&offset={count - 10}&include=suggestions&include=responses'
        self._repeat(f'{count:,}: listed at the end', lambda: self._api.get(listed))
        self._repeat(f'{count:,}: progress', lambda: self._api.get(f'{path}/progress'))

    def _new_dataset(self) -> Dataset:
        with Client(self._connection) as client:
            return ensure_dataset(client, f'd-{uuid.uuid4().hex}', 'default', SETTINGS)

    def _put(self, dataset: Dataset, bodies: list[bytes]) -> None:
        def put(body: bytes) -> None:
            path = f'/datasets/{dataset.id}/records/bulk'
            self._api.put(path, content=body, headers={'Content-Type': 'application/json'}).raise_for_status()

        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(put, bodies))

    def _answer(self, dataset: Dataset) -> None:
        page = self._api.get(f'/datasets/{dataset.id}/records', params={'limit': 1000}).raise_for_status().json()
        me = self._api.get('/me').json()['id']
        answer = {'user_id': me, 'status': 'submitted', 'values': {'generations-0-rating': {'value': 3}}}
        for start in range(0, len(page['items']), BATCH):
            items = [{'id': item['id'], 'responses': [answer]} for item in page['items'][start : start + BATCH]]
            self._api.put(f'/datasets/{dataset.id}/records/bulk', json={'items': items}).raise_for_status()

    def _repeat(self, name: str, request: Callable[[], httpx.Response], times: int = 7) -> None:
        taken = []
        for _ in range(times):
            with self._timed(name):
                request().raise_for_status()
            taken.append(self.times[name])
        self.times[name] = Time(*(statistics.median(figures) for figures in zip(*taken, strict=True)))


def bulk_bodies(dataset: Dataset, count: int, start: int = 0) -> Iterator[bytes]:
    """The bodies of bulk requests with that many records."""
    encoder = Encoder(dataset.settings, dataset.question_ids)
    for first in range(start, start + count, BATCH):
        items = [
            encoder.encode(ba.Record(r.external_id, r.fields, r.suggestions, metadata={'length': first + i}))
            for i, r in enumerate(records(min(BATCH, start + count - first), first))
        ]
        yield b'{"items":[' + b','.join(items) + b']}'


def write_generations(path: Path, count: int) -> None:
    """The same records as generations, of which the program makes them."""
    rows = [
        {
            'instruction_id': record.external_id,
            'instruction': record.fields['instruction'],
            'generation': record.fields[f'generations-{g}'],
            'model_name': f'model-{g}',
            'rating': record.suggestions[2 * g].value,
            'rationale': record.suggestions[2 * g + 1].value,
        }
        for record in records(count)
        for g in range(GENERATIONS)
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)


def report(ours: Bench, stock: Bench | None = None) -> None:
    """Prints what was measured, side by side with the same on another server, once."""
    titles = f'{"--stock":>22}   times as fast (clock, CPU)' if stock else ''
    print(f'\n{"":28}{"local":>22}{titles}')
    for name, time_ in ours.times.items():
        theirs = stock.times.get(name) if stock else None
        ratio = f'{theirs.wall / time_.wall:10.1f}{theirs.cpu / max(time_.cpu, 1e-4):8.1f}' if theirs else ''
        print(f'{name:28}{shown(name, time_):>22}{shown(name, theirs):>22}{ratio}', flush=True)
    ours.times.clear()


def shown(name: str, time_: Time | None) -> str:
    """Of a page the milliseconds, of records how many a second; with CPU time in brackets."""
    if time_ is None:
        return ''
    if 'page' in name or ':' in name:
        return f'{1000 * time_.wall:,.0f} ms ({1000 * time_.cpu:,.0f})'
    return f'{1 / time_.wall:,.0f}/s ({1000 * time_.cpu:.2f} ms)'


def main() -> None:
    p = argparse.ArgumentParser('python -m benchmarks.local', description=__doc__)
    p.add_argument('--records', type=int, default=10_000)
    p.add_argument('--stock_records', type=int, default=1000, help='it takes its time')
    p.add_argument('--large', type=int, default=50_000, help='records in the dataset that is read; 0: none')
    p.add_argument('--database_url', metavar='URL', help='a PostgreSQL that is empty')
    p.add_argument('--elasticsearch', metavar='URL', help='what searches then')
    args = p.parse_args()
    print(f'{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}', flush=True)
    if args.database_url:
        for workers in (1, 2):
            more = {'database_url': args.database_url, 'elasticsearch': args.elasticsearch, 'workers': workers}
            with serve(**more, timeout=300) as server:
                bench = Bench(server)
                bench.write(args.records)
                print(f'\nworkers: {workers}')
                report(bench)
        return
    with serve(stock=True) as server:
        stock = Bench(server)
        stock.write(args.stock_records)
        stock.write_by_program(args.stock_records, ('program',))
    with serve() as server:
        ours = Bench(server)
        ours.write(args.records)
        report(ours, stock)
        ours.write_by_program(args.records, ('program', 'program, again', 'program, --skip_unchanged'))
        report(ours, stock)
        if args.large:
            ours.read(args.large)
            report(ours, stock)


if __name__ == '__main__':
    main()
