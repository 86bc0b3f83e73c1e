"""The whole way on one machine: a local Argilla, a sample of generations, the main program, and the page to look at.

python -m pipelines.demo [--exit] [--port 6900] [--home DIR]
"""

from __future__ import annotations

import argparse
import glob
import json
import os
import random
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from . import parquet_to_argilla, stopping

Row = dict[str, Any]
GUIDELINES = """# Which answer would you send?

Rate every answer on its own: 5 does all that was asked and is right, 1 does not help or is wrong. A suggestion is
another judge's word: keep it only if you agree. Where two answers deserve the same rating, give them the same.
"""
MODELS = ('atlas-70b', 'birch-8b', 'cobalt-mini', 'delta-base')

# (category, instruction, and per model an answer, its rating and the rationale)
Answers = tuple[tuple[str, int, str], ...]
_WRITTEN: tuple[tuple[str, str, Answers], ...] = (
    (
        'writing',
        'Write a polite two-sentence reply that declines a meeting on Friday and offers Monday instead.',
        (
            (
                'Thank you for the invitation; I am afraid I cannot make it on Friday. Would Monday suit you instead?',
                5,
                'Polite, two sentences, declines Friday and offers Monday.',
            ),
            (
                'Friday is not possible for me, sorry. How about Monday, at any time that suits you?',
                4,
                'Does all that was asked, if a little curt.',
            ),
            ('I cannot come on Friday.', 2, 'Declines, but offers nothing and is one sentence.'),
            ('Sure, see you on Friday!', 1, 'Accepts the meeting that should be declined.'),
        ),
    ),
    (
        'science',
        'Why is the sky blue? Explain it to a ten-year-old.',
        (
            (
                'Sunlight looks white, but it is a mix of all colours. When it meets the air, blue light bounces '
                'around far more than red light does, so blue comes to your eyes from all over the sky.',
                5,
                'Correct (Rayleigh scattering) and right for the age.',
            ),
            (
                'Because of Rayleigh scattering: the cross-section goes with the inverse fourth power of wavelength.',
                3,
                'Correct, but no ten-year-old would follow it.',
            ),
            (
                'Because the sky mirrors the blue of the sea.',
                1,
                'A common mistake; the sea is blue partly due to the sky.',
            ),
            ('The air scatters blue light more than red light, so the sky looks blue.', 4, 'Correct and short.'),
        ),
    ),
    (
        'code',
        'Write a Python function that returns the n-th Fibonacci number without recursion.',
        (
            (
                'def fib(n):\n    a, b = 0, 1\n    for _ in range(n):\n        a, b = b, a + b\n    return a',
                5,
                'Correct for all n >= 0, and iterative.',
            ),
            (
                'def fib(n):\n    return n if n < 2 else fib(n - 1) + fib(n - 2)',
                2,
                'Gives the right numbers, but by recursion, which was ruled out.',
            ),
            (
                'def fib(n):\n    seq = [0, 1]\n    while len(seq) <= n:\n        seq.append(seq[-1] + seq[-2])\n'
                '    return seq[n]',
                4,
                'Correct and iterative; keeps the whole sequence, which it need not.',
            ),
            ('print("1 1 2 3 5 8")', 1, 'Neither a function nor for any n.'),
        ),
    ),
    (
        'reasoning',
        'A bat and a ball cost 1.10 together. The bat costs 1.00 more than the ball. What does the ball cost?',
        (
            ('0.05: then the bat costs 1.05, and together that is 1.10.', 5, 'Correct, with the check.'),
            ('The ball costs 0.10.', 1, 'The tempting wrong answer: the bat would cost only 0.90 more.'),
            ('x + (x + 1.00) = 1.10, so x = 0.05.', 5, 'Correct, with the derivation.'),
            ('Five cents, I believe.', 4, 'Correct, but unsure and without a reason.'),
        ),
    ),
)
_CAPITALS = {
    'Australia': ('Canberra', 'Sydney'),
    'Brazil': ('Brasília', 'Rio de Janeiro'),
    'Canada': ('Ottawa', 'Toronto'),
    'Kazakhstan': ('Astana', 'Almaty'),
    'Morocco': ('Rabat', 'Casablanca'),
    'Myanmar': ('Naypyidaw', 'Yangon'),
    'New Zealand': ('Wellington', 'Auckland'),
    'Nigeria': ('Abuja', 'Lagos'),
    'Pakistan': ('Islamabad', 'Karachi'),
    'Switzerland': ('Bern', 'Zürich'),
    'Tanzania': ('Dodoma', 'Dar es Salaam'),
    'Türkiye': ('Ankara', 'Istanbul'),
    'Vietnam': ('Hanoi', 'Ho Chi Minh City'),
}


def good_rows() -> Iterator[Row]:
    """Rows as they should be: four models' answers to each instruction, rated."""
    written = list(_WRITTEN)
    for country, (capital, largest) in _CAPITALS.items():
        answers: Answers = (
            (f'The capital of {country} is {capital}.', 5, 'Correct.'),
            (
                f'{capital}. It is often confused with {largest}, the larger city.',
                5,
                'Correct, and heads off a mistake.',
            ),
            (f'The capital of {country} is {largest}.', 1, f'{largest} is the largest city, not the capital.'),
            (f'I think it is either {capital} or {largest}.', 2, 'Does not decide.'),
        )
        written.append(('geography', f'What is the capital of {country}?', answers))
    for kilometres in range(5, 45, 5):
        miles = kilometres * 0.621371
        answers = (
            (f'{kilometres} km is about {miles:.1f} miles.', 5, 'Correct to a tenth.'),
            (f'Divide by 1.609: {miles:.2f} miles.', 5, 'Correct, with the way to get there.'),
            (f'About {round(miles)} miles.', 4, 'Correct when rounded.'),
            (f'{kilometres * 1.609:.1f} miles.', 1, 'Multiplied where it should have divided.'),
        )
        written.append(('arithmetic', f'How many miles are {kilometres} kilometres?', answers))
    for number, (category, instruction, answers) in enumerate(written):
        for model, (generation, rating, rationale) in zip(MODELS, answers, strict=True):
            yield {
                'instruction_id': f'q-{number:03d}',
                'instruction': instruction,
                'generation': generation,
                'model_name': model,
                'rating': str(rating),
                'rationale': rationale,
                'category': category,
            }


def spoilt_rows(rows: Sequence[Row]) -> Iterator[Row]:
    """What real inputs hold besides: each is refused, merged or left out, and said so."""
    yield dict(rows[0])  # the same row twice: merged
    yield {**rows[4], 'instruction_id': 'q-900', 'generation': None}  # a model that gave no answer
    yield {**rows[5], 'instruction_id': 'q-901', 'instruction': ' '}  # an empty instruction
    for row in (rows[8], {**rows[9], 'instruction': rows[9]['instruction'] + ' Be brief.'}):
        yield {**row, 'instruction_id': 'q-902'}  # one id, two instruction texts
    for i in range(5):  # more answers than places
        yield {**rows[12], 'instruction_id': 'q-903', 'model_name': f'sampler-{i}'}
    yield {**rows[16], 'instruction_id': 'q-904', 'rating': '4.5'}  # between two ratings: not suggested
    yield {**rows[20], 'instruction_id': 'q-905', 'rating': 'N/A', 'rationale': ''}  # not rated at all


def write_sample(folder: Path, files: int = 3) -> str:
    """Writes the sample, shuffled over several Parquet files, and returns their pattern."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = list(good_rows())
    rows += spoilt_rows(rows)
    random.Random(0).shuffle(rows)
    for i in range(files):
        path = folder / f'generations-{i:05d}-of-{files:05d}.parquet'
        pq.write_table(pa.Table.from_pylist(rows[i::files], pa.schema([(n, pa.string()) for n in rows[0]])), path)
    return str(folder / 'generations-*.parquet')


def show_failed(prefix: str) -> None:
    """Prints the reasons of what was refused."""
    for path in sorted(glob.glob(f'{glob.escape(prefix)}-*.jsonl')):
        for line in Path(path).read_text(encoding='utf-8').splitlines():
            failed = json.loads(line)
            print(f'  {failed["external_id"]}: {failed["error"]}: {failed["message"]}')


def python() -> str:
    """This Python as a word for the shell, from where the demo was started."""
    path = Path(sys.executable)
    return shlex.quote(str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the demo and returns the exit status."""
    p = argparse.ArgumentParser('python -m pipelines.demo', description=__doc__)
    p.add_argument('--home', default='.demo', help="the local Argilla's directory; kept between runs (%(default)s)")
    p.add_argument('--port', type=int, default=6900, help='0: any free one (%(default)s)')
    p.add_argument('--exit', action='store_true', help='stop after the load instead of serving until Ctrl-C')
    args = p.parse_args(argv)
    serving = False
    from beam_argilla.local import LocalServerError, serve  # once a signal can be answered

    stopping.begin()
    try:
        print('Starting a local Argilla ...', flush=True)
        with serve(args.home, args.port) as server, tempfile.TemporaryDirectory() as folder:
            pattern = write_sample(Path(folder))
            guidelines = Path(folder, 'guidelines.md')
            guidelines.write_text(GUIDELINES, encoding='utf-8')
            failed = f'{folder}/failed'
            options = {
                '--input': pattern,
                '--dataset': 'demo',
                '--num_generations': '4',
                '--instruction_id_column': 'instruction_id',
                '--metadata_column': 'category',
                '--agent': 'demo-judge',
                '--guidelines': f'@{guidelines}',
                '--api_url': server.api_url,
                '--api_key_env': 'BEAM_ARGILLA_DEMO_KEY',
                '--failed': failed,
            }
            os.environ['BEAM_ARGILLA_DEMO_KEY'] = server.api_key
            words = [word for option in options.items() for word in option] + ['--model_names']
            print(f'$ {python()} -m pipelines.parquet_to_argilla {shlex.join(words)}', flush=True)
            status = parquet_to_argilla.main(words)
            show_failed(failed)
            if not args.exit and status == 0:
                print(f'\nLog in at {server.api_url} as {server.username} with the password {server.password}')
                print(
                    'What was answered so far, as pairs of a better and a worse generation:\n'
                    f'$ ARGILLA_API_KEY={server.api_key} {python()} -m pipelines.argilla_to_parquet --dataset demo '
                    f'--output dpo --api_url {server.api_url}'
                )
                print('Serving until Ctrl-C.', flush=True)
                serving = True
                while True:
                    server.check()
                    time.sleep(1)
            return status
    except LocalServerError as e:
        print(f'error: {e}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('Stopped.', flush=True)
        return 0 if serving else stopping.status() or 130


def command() -> None:
    """The demo as a process."""
    stopping.listen()
    stopping.leave(main())


if __name__ == '__main__':
    command()
