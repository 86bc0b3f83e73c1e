"""Reading JSON Lines into canonical tables, against pyarrow.json's own reader over the same bytes.

    python -m benchmarks.reading [--rows 100000] [--repeat 5]

Both read the file from the page cache, in turn, in one process. Ours does more: it names no type by the looks of a
text, checks UTF-8, numbers the lines, and gives what each role means. pyarrow.json may use all cores; ours uses one.
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


def theirs(path: str) -> int:
    import pyarrow.json

    return len(pyarrow.json.read_json(path))


def ours(path: str, wide: bool) -> int:
    import beam_argilla as ba
    from beam_argilla.failures import FailedRecord
    from beam_argilla.input.canonical import canonical_tables
    from beam_argilla.input.kinds import kind_of
    from beam_argilla.input.roles import columns_to_read
    from beam_argilla.input.sources import read
    from beam_argilla.input.tables import Origin

    beside = {'generation': 'completions[].response', 'model_name': 'completions[].model'} if wide else {}
    columns = ba.Columns(instruction_id='instruction_id', metadata=['length'], **beside)
    count = 0
    for part in kind_of(path).parts(path, False):
        for piece in read(part, partial(columns_to_read, columns)):
            assert not isinstance(piece, FailedRecord)
            tables, failed = canonical_tables(piece.rows, columns, Origin(path, piece.numbers))
            assert tables and not failed
            count += len(piece.numbers)
    return count


def main() -> None:
    p = argparse.ArgumentParser('python -m benchmarks.reading', description=__doc__)
    p.add_argument('--rows', type=int, default=100_000)
    p.add_argument('--repeat', type=int, default=5, help='runs of each, in turn; medians are printed')
    args = p.parse_args()
    print(f'{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}')
    with tempfile.TemporaryDirectory() as folder:
        for name, wide in (('long', False), ('wide, structs in a list', True)):
            path = Path(folder) / 'rows.jsonl'
            write_lines(path, args.rows, wide)
            print(f'\n{args.rows:,} rows ({name}), {path.stat().st_size / 1e6:,.0f} MB of JSON Lines')
            contenders: dict[str, Callable[[], int]] = {
                'pyarrow.json': partial(theirs, str(path)),
                'beam_argilla': partial(ours, str(path), wide),
            }
            runs: dict[str, list[tuple[float, float]]] = {contender: [] for contender in contenders}
            for i in range(args.repeat + 1):  # the first warms up
                for contender, run in contenders.items():
                    wall, cpu = time.perf_counter(), time.process_time()
                    assert run() == args.rows
                    if i:
                        runs[contender].append((time.perf_counter() - wall, time.process_time() - cpu))
            base = [statistics.median(figures) for figures in zip(*runs['pyarrow.json'], strict=True)]
            for contender, timed in runs.items():
                wall, cpu = (statistics.median(figures) for figures in zip(*timed, strict=True))
                ratios = f'{wall / base[0]:.2f}, {cpu / base[1]:.2f}'
                print(f'{contender:14}{wall:8.3f} s wall {cpu:8.3f} s CPU   ratio to the first: {ratios}')


if __name__ == '__main__':
    main()
