"""Makes docs/loop.png, the picture of the whole loop: python -m docs.loop (needs Chromium).

Everything in it is real: the demo's generations, a local Argilla, what its page shows while somebody answers, what the
programs print, and what `datasets` reads.
"""

from __future__ import annotations

import contextlib
import html
import io
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import datasets
import httpx
from PIL import Image

from beam_argilla.local import LocalServer, serve
from pipelines import argilla_to_parquet, demo, parquet_to_argilla
from tests.answers.people import PASSWORD, Person, record_ids
from tests.browser import Annotator, signed_in

_TO_ARGILLA = (
    'parquet-to-argilla --input generations-*.parquet --dataset demo --num_generations 4 --model_names '
    '--instruction_id_column instruction_id --agent demo-judge --failed failed'
)
_TO_PARQUET = 'argilla-to-parquet --dataset demo --output dpo --pairs best_each --anonymous'
_STYLE = """
body { margin: 0; padding: 28px; width: 1400px; background: #fff; font: 17px/1.45 sans-serif; color: #222 }
section { margin-bottom: 22px } h1 { font-size: 20px; margin: 0 0 8px } img { width: 100%; border: 1px solid #bbb }
pre { margin: 0; padding: 14px 18px; background: #1e1f24; color: #e8e8e8 }
pre { font: 15px/1.5 monospace; white-space: pre-wrap }
b { color: #8fd18f; font-weight: normal }
"""


def loop(folder: Path) -> Iterator[tuple[str, str]]:
    """Title and HTML of each part of the picture."""
    with contextlib.chdir(folder), serve() as server:
        os.environ |= {'ARGILLA_API_URL': server.api_url, 'ARGILLA_API_KEY': server.api_key}
        demo.write_sample(folder)
        yield 'Generations become records …', said(parquet_to_argilla, _TO_ARGILLA, server)
        ratings = iter(([5, 2, 4, 1], [4, 2, 1, 5], [5, 3, 4, 2], [3, 3, 5, 1]))
        headers = {'X-Argilla-Api-Key': server.api_key}
        with httpx.Client(base_url=f'{server.api_url}/api/v1', headers=headers) as api:
            ada, bob, eve = (Person(api, name) for name in ('ada', 'bob', 'eve'))
            for person, id in ((ada, 'q-000'), (bob, 'q-000'), (eve, 'q-001')):
                person.answers(record_ids(api, 'demo')[id], by_question(next(ratings)))
        with signed_in(server, eve.name, PASSWORD) as page:
            page.open('demo')
            page.rate(by_question(next(ratings)))
            page.page.get_by_text('Rate generations-0').scroll_into_view_if_needed()
            page.page.screenshot(path='page.png')
            page.submit()
            yield '… people answer on the page …', f'<img src="{(folder / "page.png").as_uri()}">'
        yield '… and their answers become training data.', said(argilla_to_parquet, _TO_PARQUET, server)
        found = datasets.load_dataset('parquet', data_files='dpo-*.parquet', split='train', cache_dir=str(folder))
        row = '\n'.join(f' {name!r}: {value!r},' for name, value in found.sort('id')[0].items())
        read = "datasets.load_dataset('parquet', data_files='dpo-*.parquet', split='train')"
        yield '', f'<pre><b>&gt;&gt;&gt; {read}[0]</b>\n{{{html.escape(row[1:-1])}}}</pre>'


def by_question(ratings: list[int]) -> dict[str, int]:
    return {f'generations-{i}-rating': rating for i, rating in enumerate(ratings)}


def said(program, command: str, server: LocalServer) -> str:
    """What a program prints, below the command."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        program.main(command.split()[1:])
    printed = out.getvalue().replace(server.api_url, 'https://argilla.example').strip()
    return f'<pre><b>$ {html.escape(command)}</b>\n{html.escape(printed)}</pre>'


def main() -> None:
    with tempfile.TemporaryDirectory() as name, serve() as anywhere:
        folder = Path(name).resolve()
        parts = ''.join(f'<section><h1>{title}</h1>{body}</section>' for title, body in loop(folder))
        (folder / 'loop.html').write_text(f'<meta charset="utf-8"><style>{_STYLE}</style>{parts}', encoding='utf-8')
        with signed_in(anywhere, anywhere.username, anywhere.password) as browser:
            draw(browser, folder / 'loop.html', Path(__file__).with_suffix('.png'))


def draw(browser: Annotator, page: Path, picture: Path) -> None:
    browser.page.goto(page.as_uri())
    browser.page.screenshot(path=picture, full_page=True)
    with Image.open(picture) as full:
        small = full.convert('RGB').quantize(128)  # a third of the bytes
    small.save(picture, optimize=True)


if __name__ == '__main__':
    main()
