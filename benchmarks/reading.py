"""Reading: JSON Lines against pyarrow.json's own reader over the same bytes; paths against plain columns.

    python -m benchmarks.reading [--rows 100000] [--repeat 5]

Both read the file from the page cache, in turn, in one process. Ours does more: it names no type by the looks of a
text, checks UTF-8, numbers the lines, and gives what each role means, on one core.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any


def write_lines(path: Path, num_rows: int, wide: bool) -> None:
    """Rows of about 1.3 kB: long ones, or wide ones with structs in a list."""
    words = 'the quick brown fox jumps over a lazy dog and then a few more words follow in this sentence '
    with path.open('w') as file:
        for i in range(num_rows):
            row = {'instruction_id': f'id-{i}', 'instruction': f'Instruction number {i}: {words}', 'length': i}
            if wide:
                row['completions'] = [
                    {'model': f'model-{m}', 'response': words * 3, 'scores': {'overall': m + 0.5}} for m in range(4)
                ]
            else:
                row |= {'generation': words * 12, 'model_name': f'model-{i % 4}', 'rating': i % 5, 'rationale': words}
            file.write(json.dumps(row) + '\n')


def write_parquet(folder: Path, num_rows: int) -> tuple[Path, Path]:
    """The same wide rows with lists in columns of their own, and in a list of structs."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    words = 'the quick brown fox jumps over a lazy dog and then a few more words follow in this sentence '
    ids = {'instruction_id': [f'id-{i}' for i in range(num_rows)]}
    ids['instruction'] = [f'Instruction number {i}: {words}' for i in range(num_rows)]
    texts = [[f'{m} {i} {words * 3}' for m in range(4)] for i in range(num_rows)]
    models = [[f'model-{m}' for m in range(4)] for _ in range(num_rows)]
    pairs = zip(models, texts, strict=True)
    structs = [[{'model': m, 'response': t} for m, t in zip(*pair, strict=True)] for pair in pairs]
    pq.write_table(pa.table({**ids, 'generations': texts, 'generation_models': models}), folder / 'plain.parquet')
    pq.write_table(pa.table({**ids, 'completions': structs}), folder / 'structs.parquet')
    return folder / 'plain.parquet', folder / 'structs.parquet'


def theirs(path: str, threads: bool) -> int:
    import pyarrow.json

    return len(pyarrow.json.read_json(path, pyarrow.json.ReadOptions(use_threads=threads)))


PATHS = {'generation': 'completions[].response', 'model_name': 'completions[].model'}


def ours(path: str, **columns: Any) -> int:
    import beam_argilla as ba
    from beam_argilla.failures import FailedRecord
    from beam_argilla.input.canonical import canonical_tables
    from beam_argilla.input.kinds import kind_of
    from beam_argilla.input.roles import columns_to_read
    from beam_argilla.input.sources import read
    from beam_argilla.input.tables import Origin

    meant = ba.Columns(instruction_id='instruction_id', **columns)
    count = 0
    for part in kind_of(path).parts(path, False):
        for piece in read(part, partial(columns_to_read, meant)):
            assert not isinstance(piece, FailedRecord)
            tables, failed = canonical_tables(piece.rows, meant, Origin(path, piece.numbers))
            assert tables and not failed
            count += len(piece.numbers)
    return count


def compare(contenders: dict[str, Callable[[], int]], rows: int, repeat: int) -> None:
    """Runs them in turn and prints medians, and ratios to the first."""
    runs: dict[str, list[tuple[float, float]]] = {contender: [] for contender in contenders}
    for i in range(repeat + 1):  # the first warms up
        for contender, run in contenders.items():
            wall, cpu = time.perf_counter(), time.process_time()
            assert run() == rows
            if i:
                runs[contender].append((time.perf_counter() - wall, time.process_time() - cpu))
    medians = {c: [statistics.median(figures) for figures in zip(*timed, strict=True)] for c, timed in runs.items()}
    base = next(iter(medians.values()))
    for contender, (wall, cpu) in medians.items():
        ratios = f'{wall / base[0]:.2f}, {cpu / base[1]:.2f}'
        print(f'{contender:28}{wall:8.3f} s wall {cpu:8.3f} s CPU   ratio to the first: {ratios}')


def main() -> None:
    p = argparse.ArgumentParser('python -m benchmarks.reading', description=__doc__)
    p.add_argument('--rows', type=int, default=100_000)
    p.add_argument('--repeat', type=int, default=5, help='runs of each, in turn; medians are printed')
    args = p.parse_args()
    print(f'{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}')
    with tempfile.TemporaryDirectory() as folder:
        for name, wide in (('long', False), ('wide, structs in a list', True)):
            path = str(Path(folder) / 'rows.jsonl')
            write_lines(Path(path), args.rows, wide)
            print(f'\n{args.rows:,} rows ({name}), {Path(path).stat().st_size / 1e6:,.0f} MB of JSON Lines')
            contenders: dict[str, Callable[[], int]] = {
                'pyarrow.json, one core': partial(theirs, path, False),
                'pyarrow.json, all cores': partial(theirs, path, True),
                'beam_argilla': partial(ours, path, metadata=['length'], **(PATHS if wide else {})),
            }
            compare(contenders, args.rows, args.repeat)
        plain, structs = map(str, write_parquet(Path(folder), args.rows))
        print(f'\n{args.rows:,} wide rows of Parquet')
        contenders = {'plain lists': partial(ours, plain), 'a list of structs': partial(ours, structs, **PATHS)}
        compare(contenders, args.rows, args.repeat)


if __name__ == '__main__':
    main()
