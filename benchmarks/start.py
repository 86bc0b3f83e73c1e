"""Start-up: from the shell to the program's first request, beside importing Beam alone.

    python -m benchmarks.start [--repeat 9]

The server is a socket, whose first connection ends the run. In turn, each in a process of its own, files in the cache.
"""

from __future__ import annotations

import argparse
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

GROUP = {'instruction_id': ['a'] * 2, 'instruction': ['?'] * 2, 'generation': ['!', '.'], 'model_name': ['m', 'n']}


def until_first_request(arguments: Sequence[str]) -> float:
    """Seconds from starting the interpreter with the arguments and a server's URL to the first connection there."""
    with socket.create_server(('127.0.0.1', 0)) as server:
        server.settimeout(120)
        url = f'http://127.0.0.1:{server.getsockname()[1]}'
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *arguments, '--api_url', url],
            env={**os.environ, 'ARGILLA_API_KEY': 'none'},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            server.accept()[0].close()
            return time.perf_counter() - start
        finally:
            process.kill()
            process.wait()


def until_the_end(arguments: Sequence[str]) -> float:
    """Seconds that the interpreter takes with the arguments."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--repeat', type=int, default=9)
    args = p.parse_args()
    machine = platform.machine()
    print(f'{os.cpu_count()} cores ({machine}), load {os.getloadavg()[0]:.1f}; Python {platform.python_version()}')
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'generations.parquet'
        pq.write_table(pa.table(GROUP), path)
        program = ['-m', 'pipelines.parquet_to_argilla', '--dataset=d', '--num_generations=2', f'--input={path}']
        seconds: dict[str, list[float]] = {'import apache_beam': [], 'first request': []}
        for _ in range(args.repeat):
            seconds['import apache_beam'].append(until_the_end(['-c', 'import apache_beam']))
            seconds['first request'].append(until_first_request(program))
    base = statistics.median(seconds['import apache_beam'])
    for name, all_of_it in seconds.items():
        median = statistics.median(all_of_it)
        print(f'{name:20} {median:.2f} s (fastest {min(all_of_it):.2f}), {median / base:.2f} of importing Beam alone')


if __name__ == '__main__':
    main()
