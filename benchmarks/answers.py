"""Reading answers: against pages that are thrown away, and against the argilla SDK's export.

    python -m benchmarks.answers [--records 20000] [--repeat 3] [--memory 100000]

On the real local server, in turn, in one run: `ReadFromArgilla`; the server's own pages, asked for by a fixed number of
requests side by side and thrown away; the SDK's ``dataset.records(...).to_datasets()`` (once, for it takes long).
Prints records/s and ratios. ``--memory N`` also reads a dataset of N records, and prints how much more memory that took
than the first dataset, each in a process of its own.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import apache_beam as beam
import httpx
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.utils.secret import RawSecret

import beam_argilla as ba
from beam_argilla.local import LocalServer, serve
from benchmarks.samples import GENERATIONS, TASK, records

_PAGE, _BATCH = 1000, 250  # records


def load(server: LocalServer, api: httpx.Client, name: str, count: int) -> str:
    """A dataset of which each record has been answered by one person; its id."""
    connection = ba.ArgillaConnection(server.api_url, api_key=RawSecret(server.api_key))
    p = beam.Pipeline(runner=FnApiRunner())
    _ = (
        p
        | beam.Create([1])
        | beam.FlatMap(records)
        | ba.WriteRecords(name, connection=connection, settings=TASK.settings())
    )
    p.run().wait_until_finish()
    me = api.get('/me').raise_for_status().json()['id']
    dataset = next(d['id'] for d in api.get('/me/datasets').raise_for_status().json()['items'] if d['name'] == name)
    questions = api.get(f'/datasets/{dataset}/questions').raise_for_status().json()['items']
    ids = {q['name']: q['id'] for q in questions}
    values = {f'generations-{i}-rating': {'value': 1 + i % 5} for i in range(GENERATIONS)}
    made = records(count)
    for start in range(0, count, _BATCH):
        items = [
            {
                'external_id': record.external_id,
                'fields': record.fields,
                'metadata': record.metadata,
                'suggestions': [
                    {'question_id': ids[s.question], 'value': s.value, 'agent': s.agent} for s in record.suggestions
                ],
                'responses': [{'user_id': me, 'status': 'submitted', 'values': values}],
            }
            for record in made[start : start + _BATCH]
        ]
        api.put(f'/datasets/{dataset}/records/bulk', json={'items': items}).raise_for_status()
    return dataset


def read(api_url: str, api_key: str, name: str) -> int:
    """How many records came."""
    connection = ba.ArgillaConnection(api_url, api_key=RawSecret(api_key))
    p = beam.Pipeline(runner=FnApiRunner())
    _ = p | ba.ReadFromArgilla(name, connection=connection) | beam.combiners.Count.Globally()
    result = p.run()
    result.wait_until_finish()
    return ba.counters(result)['records_answered']


def thrown_away(api: httpx.Client, dataset: str, count: int, in_flight: int) -> int:
    def page(offset: int) -> int:
        params = {'offset': offset, 'limit': _PAGE, 'include': ['suggestions', 'responses']}
        api.get(f'/datasets/{dataset}/records', params=params).raise_for_status()
        return min(_PAGE, count - offset)

    with ThreadPoolExecutor(in_flight) as pool:
        return sum(pool.map(page, range(0, count, _PAGE)))


def exported(server: LocalServer, name: str) -> int:
    import argilla as rg

    client = rg.Argilla(api_url=server.api_url, api_key=server.api_key)
    dataset = client.datasets(name)
    assert dataset is not None
    return len(dataset.records(with_suggestions=True, with_responses=True).to_datasets())


def rate(function: Callable[[], int], count: int) -> float:
    started = time.perf_counter()
    found = function()
    assert found == count, (found, count)
    return count / (time.perf_counter() - started)


def peak(server: LocalServer, name: str) -> float:
    """MiB that a process of its own had at most while it read the dataset."""
    environment = {**os.environ, 'ARGILLA_API_URL': server.api_url, 'ARGILLA_API_KEY': server.api_key}
    done = subprocess.run(
        [sys.executable, '-m', 'benchmarks.answers', '--read', name], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


def cases(
    server: LocalServer, api: httpx.Client, name: str, dataset: str, count: int
) -> Iterator[tuple[str, Callable]]:
    yield 'ReadFromArgilla', lambda: read(server.api_url, server.api_key, name)
    for n in (1, 2, 3, 4):
        yield f'pages thrown away, {n} at a time', lambda n=n: thrown_away(api, dataset, count, n)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--records', type=int, default=20_000)
    parser.add_argument('--repeat', type=int, default=3)
    parser.add_argument('--memory', type=int, default=0)
    parser.add_argument('--read', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.read:
        read(os.environ['ARGILLA_API_URL'], os.environ['ARGILLA_API_KEY'], args.read)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        return
    with serve() as server:
        headers = {'X-Argilla-Api-Key': server.api_key}
        with httpx.Client(base_url=f'{server.api_url}/api/v1', headers=headers, timeout=300) as api:
            dataset = load(server, api, 'answers', args.records)
            rates: dict[str, list[float]] = {}
            for _ in range(args.repeat):
                for title, function in cases(server, api, 'answers', dataset, args.records):
                    rates.setdefault(title, []).append(rate(function, args.records))
            rates['argilla SDK, to_datasets()'] = [rate(lambda: exported(server, 'answers'), args.records)]
            medians = {title: statistics.median(found) for title, found in rates.items()}
            ours = medians['ReadFromArgilla']
            for title, median in medians.items():
                print(f'{title:35} {median:8.0f} records/s   ours is {ours / median:.2f} of it')
            if args.memory:
                load(server, api, 'more', args.memory)
                small, large = peak(server, 'answers'), peak(server, 'more')
                print(f'peak memory: {small:.0f} MiB of {args.records:,} records, {large:.0f} of {args.memory:,}')


if __name__ == '__main__':
    main()
