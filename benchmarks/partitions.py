"""The memory that a worker takes to group one partition, for the sizing of workers.

    python -m benchmarks.partitions [--megabytes 8 32] [--words 25 100 400]

A partition of so much Parquet, of groups of four generations with so many words each, is spilled; then, in a process of
its own, it is read, merged, cut into groups and made into records, as a worker does it. Prints what that process takes
before, and its peak above that, in all and for each group.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import deque
from pathlib import Path

from benchmarks.grouping import GENERATIONS

SLICES = 16  # that a partition comes in
MB = 1_000_000


def spill(folder: Path, megabytes: int, words: int) -> tuple[int, int]:
    """Spills a partition there, and returns how many bytes it has as Parquet, and how many in memory."""
    import beam_argilla as ba
    from beam_argilla.grouping.spilling import write_segments
    from beam_argilla.input.tables import to_canonical

    a_thousand = size_of(generations(1000, words), folder / 'some.parquet')
    table = generations(megabytes * MB * 1000 // a_thousand // GENERATIONS * GENERATIONS, words)
    canonical = to_canonical(table, ba.Columns(instruction_id='instruction_id')).table
    length = -(-len(canonical) // SLICES)
    slices = [(0, canonical.slice(start, length)) for start in range(0, len(canonical), length)]
    segments = [segment for _, segment in write_segments(str(folder / 'spill'), slices)]
    (folder / 'segments.json').write_text(json.dumps(segments))
    return size_of(table, folder / 'all.parquet'), canonical.nbytes


def size_of(table, path: Path) -> int:
    import pyarrow.parquet as pq

    pq.write_table(table, path)
    return path.stat().st_size


def generations(num_rows: int, words: int):
    """Long rows, in no order."""
    import numpy as np
    import pyarrow as pa

    rng = np.random.default_rng(0)
    vocabulary = np.array([f'word{i} ' for i in range(5000)])
    texts = [''.join(chunk) for chunk in vocabulary[rng.integers(0, 5000, (num_rows, words))]]
    keys = rng.permutation(np.repeat(np.arange(num_rows // GENERATIONS), GENERATIONS))
    return pa.table(
        {
            'instruction_id': [f'id-{k}' for k in keys],
            'instruction': [f'Instruction number {k}: ' + 'what do you make of this? ' * 8 for k in keys],
            'generation': texts,
            'model_name': [f'model-{i % 7}' for i in range(num_rows)],
            'rating': rng.integers(1, 6, num_rows),
            'rationale': [text[:120] for text in texts],
        }
    )


def work(segments: Path) -> None:
    """What a worker does with the partition; prints its memory before, its peak, and how many groups there were."""
    import apache_beam.runners.worker.sdk_worker  # noqa: F401  # as a worker has it

    import beam_argilla as ba
    from beam_argilla.grouping.arrange import merge
    from beam_argilla.grouping.spilling import Segment, read_segment

    task = ba.Preference(GENERATIONS)
    addresses = [Segment(*segment) for segment in json.loads(segments.read_text())]
    warm_up = read_segment(addresses[0]).slice(0, GENERATIONS)
    deque(merge([warm_up], ba.Policies()), maxlen=0)
    before = memory('VmRSS')
    groups = sum(len(list(task.records(part.table))) for part in merge(map(read_segment, addresses), ba.Policies()))
    print(json.dumps([before, memory('VmHWM'), groups]))


def memory(name: str) -> int:
    """Bytes of this process: VmRSS is what it has, VmHWM its peak (`getrusage` counts its parent's as well)."""
    [line] = [line for line in Path('/proc/self/status').read_text().splitlines() if line.startswith(f'{name}:')]
    return int(line.split()[1]) * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--megabytes', type=int, nargs='+', default=[8, 32])
    parser.add_argument('--words', type=int, nargs='+', default=[25, 100, 400])
    parser.add_argument('--worker', type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker is not None:
        work(args.worker)
        return
    print('| Parquet MB | in memory MB | groups | worker before MB | peak above MB | of Parquet | kB a group |')
    print('|---|---|---|---|---|---|---|')
    for words in args.words:
        for megabytes in args.megabytes:
            with tempfile.TemporaryDirectory() as folder:
                parquet, in_memory = spill(Path(folder), megabytes, words)
                command = [sys.executable, '-m', 'benchmarks.partitions', '--worker', f'{folder}/segments.json']
                done = subprocess.run(command, capture_output=True, text=True, check=True)
            before, peak, groups = json.loads(done.stdout)
            above = peak - before
            print(
                f'| {parquet / MB:.1f} | {in_memory / MB:.1f} | {groups:,} | {before / MB:.0f} | {above / MB:.0f} '
                f'| {above / parquet:.1f} | {above / groups / 1000:.1f} |',
                flush=True,
            )


if __name__ == '__main__':
    main()
