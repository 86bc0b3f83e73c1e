"""What the words of a record cost when it comes in: cutting them, and FTS5's indexing of them.

    python -m benchmarks.words [--repeat 9]

A record is four texts of 2,000 characters. Beside it: FTS5's own Unicode tokenizer, whose words are others.
"""

from __future__ import annotations

import argparse
import platform
import sqlite3
import statistics
import time
from collections.abc import Callable

from beam_argilla.local.words import TOKENIZER, spaced

TEXTS, CHARACTERS, RECORDS = 4, 2000, 100
SAMPLES = {
    'English, ASCII': "The quick brown fox doesn't jump over 3.14 lazy dogs, e.g. at example.com; it costs $1,000. ",
    'English, typeset': "The “quick” brown fox doesn't jump over 3.14 lazy dogs, e.g. at x.org — it costs $1,000. "
    'Nobody knows why it does so, and those who have asked it were told to mind their own business, or so they say. '
    "It's said that there are 12 of them; none was seen since last year, when the weather was better than it is now. ",
    'French': 'Le renard brun doesn’t sauté par-dessus 3,14 chiens “paresseux”, déjà — à l’été, très loin. ',
    'Chinese': '快速的棕色狐狸跳过了懒狗，每个人都知道。',
}


def cpu_microseconds(work: Callable[[], object], repeat: int) -> float:
    """The median of what it takes for a record, where it does `RECORDS` of them."""
    taken = []
    for _ in range(repeat):
        start = time.process_time()
        work()
        taken.append((time.process_time() - start) / RECORDS * 1e6)
    return statistics.median(taken)


def index(tokenizer: str, texts: list[str]) -> None:
    """Indexes `RECORDS` records."""
    connection = sqlite3.connect(':memory:')
    connection.execute(f'CREATE VIRTUAL TABLE texts USING fts5(body, content="", tokenize="{tokenizer}")')
    connection.executemany('INSERT INTO texts VALUES (?)', ((text,) for _ in range(RECORDS) for text in texts))
    connection.commit()
    connection.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--repeat', type=int, default=9)
    repeat = parser.parse_args().repeat
    print(f'{platform.machine()}, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}')
    print(f'{"CPU µs a record":16} {"cut":>7} {"index":>7} {"both":>7} {"unicode61":>10}')
    for name, sample in SAMPLES.items():
        texts = [(sample * CHARACTERS)[i : i + CHARACTERS] for i in range(TEXTS)]
        cut = [spaced(text) for text in texts]
        cutting = cpu_microseconds(lambda texts=texts: [spaced(t) for _ in range(RECORDS) for t in texts], repeat)
        indexing = cpu_microseconds(lambda cut=cut: index(TOKENIZER, cut), repeat)
        other = cpu_microseconds(lambda texts=texts: index('unicode61 remove_diacritics 0', texts), repeat)
        print(f'{name:16} {cutting:7.0f} {indexing:7.0f} {cutting + indexing:7.0f} {other:10.0f}')


if __name__ == '__main__':
    main()
