"""Reading, grouping and record building, side by side with the plain ways, into a null sink.

    python -m benchmarks.grouping [--rows 200000 ...] [--contenders plain memory ...] [--repeat 3]
    python -m benchmarks.grouping --runner FnApiRunner PrismRunner multi_processing

Each contender runs in its own process on the same files; construction (imports, building the pipeline) and running
are timed apart. Prints wall and CPU seconds, the peak resident memory of the largest process, and each contender's
ratio to `plain`. With `--runner`, it is this package, spilling, on several runners, and what each takes for 16 groups,
its own start-up above all, is taken off.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

GENERATIONS = 4
FILES = 8
RUNNER = 'apache_beam.runners.portability.fn_api_runner.FnApiRunner'


def write_input(folder: Path, num_rows: int) -> None:
    """Long rows of about 1.2 kB, shuffled over the files."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    words = np.array([f'word{i} ' for i in range(5000)])
    keys = rng.permutation(np.repeat(np.arange(num_rows // GENERATIONS), GENERATIONS))
    members = np.zeros(num_rows, np.int64)
    members[np.argsort(keys, kind='stable')] = np.tile(np.arange(GENERATIONS), num_rows // GENERATIONS)
    per_file = -(-num_rows // FILES)
    for i in range(FILES):
        key, member = keys[i * per_file : (i + 1) * per_file], members[i * per_file : (i + 1) * per_file]
        texts = [''.join(chunk) for chunk in words[rng.integers(0, 5000, (len(key), 100))]]
        table = pa.table(
            {
                'instruction_id': [f'id-{k}' for k in key],
                'instruction': [f'Instruction number {k}: ' + 'what do you make of this? ' * 8 for k in key],
                'generation': texts,
                'model_name': [f'model-{m}' for m in member],
                'rating': rng.integers(1, 6, len(key)),
                'rationale': [t[:120] for t in texts],
            }
        )
        pq.write_table(table, folder / f'{i:03d}.parquet', row_group_size=25_000)


# Each contender builds what it needs and returns the function that runs it, which returns the number of records.


def plain(pattern: str) -> Callable[[], int]:
    """Beam's own parts, a dict per row."""
    import apache_beam as beam

    def record(group):
        key, rows = group
        rows = sorted(rows, key=lambda r: (r['model_name'], r['generation']))
        fields = {'id': key, 'instruction': rows[0]['instruction']}
        fields |= {f'generations-{i}': r['generation'] for i, r in enumerate(rows)}
        suggestions = []
        for i, r in enumerate(rows):
            suggestions.append({'question': f'generations-{i}-rating', 'value': r['rating']})
            suggestions.append({'question': f'generations-{i}-rationale', 'value': r['rationale']})
        return json.dumps({'external_id': key, 'fields': fields, 'metadata': {}, 'suggestions': suggestions})

    p = beam.Pipeline(runner=RUNNER)
    rows = p | beam.io.ReadFromParquet(pattern)
    items = rows | beam.Map(lambda r: (r['instruction_id'], r)) | beam.GroupByKey() | beam.Map(record)
    _ = items | beam.ParDo(_null_sink(len))
    return lambda: _run(p)


def memory(pattern: str) -> Callable[[], int]:
    """This package, shuffling in the runner's memory."""
    return _ours(pattern, spill=False)


def spilled(pattern: str) -> Callable[[], int]:
    """This package, shuffling through files, as it does by default."""
    return _ours(pattern)


def two_processes(pattern: str) -> Callable[[], int]:
    """As `spilled`, with two worker processes, which the runner starts and talks to over gRPC."""
    return _ours(pattern, [f'--runner={RUNNER}', '--direct_num_workers=2', '--direct_running_mode=multi_processing'])


def prism(pattern: str) -> Callable[[], int]:
    """As `spilled`, on Prism, whose own process is not part of the CPU seconds."""
    from tests.engines import installed

    return _ours(pattern, ['--runner=PrismRunner', f'--prism_location={installed.prism()}'])


def _ours(pattern: str, options: Sequence[str] = (f'--runner={RUNNER}',), spill: bool = True) -> Callable[[], int]:
    import apache_beam as beam

    import beam_argilla as ba
    from beam_argilla.server.encoder import Encoder

    task = ba.Preference(GENERATIONS)
    encode = Encoder(task.settings()).encode
    p = beam.Pipeline(argv=list(options))
    columns = ba.Columns(instruction_id='instruction_id')
    groups = p | ba.ReadGenerations(pattern, columns) | ba.GroupGenerations(spill=spill)
    _ = groups | ba.BuildRecords(task) | beam.ParDo(_null_sink(encode))  # encoding is the sink's, in WriteRecords too
    return lambda: _run(p)


def _null_sink(take):
    """Hands each element to `take`, counts, and tells when a bundle ends."""
    import apache_beam as beam
    from apache_beam.metrics import Metrics

    class NullSink(beam.DoFn):
        def start_bundle(self):
            self.count = 0

        def process(self, element):
            take(element)
            self.count += 1

        def finish_bundle(self):
            Metrics.counter('benchmark', 'records').inc(self.count)

    return NullSink()


def _run(p) -> int:
    result = p.run()
    result.wait_until_finish()
    counts = result.metrics().query()['counters']
    return sum(c.committed for c in counts if c.key.metric.namespace == 'benchmark')


def polars(pattern: str) -> Callable[[], int]:
    """Polars and orjson in one process, without Beam: the floor."""
    import orjson
    import polars as pl

    def run() -> int:
        frame = pl.scan_parquet(pattern).sort('instruction_id', 'model_name', 'generation')
        groups = frame.group_by('instruction_id', maintain_order=True).agg(pl.all()).collect()
        count = 0
        for key, instruction, generations, _, ratings, rationales in groups.iter_rows():
            fields = {'id': key, 'instruction': instruction[0]}
            fields |= {f'generations-{i}': g for i, g in enumerate(generations)}
            suggestions = []
            for i, (rating, rationale) in enumerate(zip(ratings, rationales, strict=True)):
                suggestions.append({'question': f'generations-{i}-rating', 'value': rating})
                suggestions.append({'question': f'generations-{i}-rationale', 'value': rationale})
            orjson.dumps({'external_id': key, 'fields': fields, 'metadata': {}, 'suggestions': suggestions})
            count += 1
        return count

    return run


CONTENDERS: dict[str, Callable[[str], Callable[[], int]]] = {
    'plain': plain,
    'memory': memory,
    'spilled': spilled,
    'two_processes': two_processes,
    'polars': polars,
    'prism': prism,
}
BY_DEFAULT = ['plain', 'memory', 'spilled', 'two_processes', 'polars']
RUNNERS = {'FnApiRunner': 'spilled', 'PrismRunner': 'prism', 'multi_processing': 'two_processes'}


def measure(name: str, pattern: str) -> dict[str, float]:
    """Runs one contender in this process."""
    started = time.perf_counter()
    run = CONTENDERS[name](pattern)
    built = time.perf_counter()
    before = _cpu()
    records = run()
    wall, cpu = time.perf_counter() - built, _cpu() - before
    usage = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    unit = 1 if sys.platform == 'darwin' else 1024  # ru_maxrss is in bytes there, in kB elsewhere
    return {'build': built - started, 'wall': wall, 'cpu': cpu, 'rss_mb': usage * unit / 1e6, 'records': records}


def _cpu() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in usages)


def main() -> None:
    p = argparse.ArgumentParser('python -m benchmarks.grouping', description=__doc__)
    p.add_argument('--rows', type=int, nargs='+', default=[200_000])
    p.add_argument('--contenders', nargs='+', default=BY_DEFAULT, choices=list(CONTENDERS))
    p.add_argument('--runner', nargs='+', choices=list(RUNNERS), help='compare these, without their start-up')
    p.add_argument('--repeat', type=int, default=3, help='runs of each, in turn; medians are printed')
    p.add_argument('--measure', nargs=2, metavar=('CONTENDER', 'PATTERN'), help=argparse.SUPPRESS)
    args = p.parse_args()
    if args.measure:
        print(json.dumps(measure(*args.measure)))
        return
    print(f'{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}')
    contenders = [RUNNERS[name] for name in args.runner] if args.runner else args.contenders
    with tempfile.TemporaryDirectory() as few, contextlib.ExitStack() as made:
        _make(few, 16 * GENERATIONS)
        for num_rows in args.rows:
            folder = made.enter_context(tempfile.TemporaryDirectory())
            size = _make(folder, num_rows)
            print(f'\n{num_rows:,} rows, {num_rows // GENERATIONS:,} groups, {FILES} files, {size:,.0f} MB of Parquet')
            runs: dict[str, list[dict[str, float]]] = {name: [] for name in contenders}
            for _ in range(args.repeat):
                for name in contenders:
                    run = _measured(name, folder, num_rows)
                    if args.runner:
                        start_up = _measured(name, few, 16 * GENERATIONS)
                        run.update({key: run[key] - start_up[key] for key in ('wall', 'cpu')})
                    runs[name].append(run)
            _table(runs)


def _make(folder: str, num_rows: int) -> float:
    """Writes the input, and returns how many megabytes it has."""
    # In another process: Linux counts a parent's memory towards the peak of the children it starts.
    make = f'from benchmarks.grouping import *; write_input(Path({folder!r}), {num_rows})'
    subprocess.run([sys.executable, '-c', make], check=True)
    return sum(f.stat().st_size for f in Path(folder).iterdir()) / 1e6


def _measured(name: str, folder: str, num_rows: int) -> dict[str, float]:
    """Runs one contender in a process of its own."""
    command = [sys.executable, '-m', 'benchmarks.grouping', '--measure', name, f'{folder}/*.parquet']
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    run = next(json.loads(line) for line in reversed(done.stdout.splitlines()) if line.startswith('{"build"'))
    assert run['records'] == num_rows // GENERATIONS, (name, run)
    return run


def _table(runs: dict[str, list[dict[str, float]]]) -> None:
    medians = {
        name: {k: statistics.median(r[k] for r in results) for k in ('build', 'wall', 'cpu', 'rss_mb')}
        for name, results in runs.items()
    }
    base = medians.get('plain') or next(iter(medians.values()))
    print(f'{"":14}{"build s":>9}{"wall s":>9}{"cpu s":>9}{"peak MB":>9}   ratio to the first: wall, cpu, peak')
    for name, m in medians.items():
        ratios = ', '.join(f'{m[k] / base[k]:.2f}' for k in ('wall', 'cpu', 'rss_mb'))
        print(f'{name:14}{m["build"]:9.2f}{m["wall"]:9.2f}{m["cpu"]:9.2f}{m["rss_mb"]:9.0f}   {ratios}')


if __name__ == '__main__':
    main()
