"""Makes `loop.png`: people answer the demo, the answers are exported, and all of it is pictured as it looks.

python -m docs.loop
"""

from __future__ import annotations

import base64
import contextlib
import io
import os
import random
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
from PIL import Image

from pipelines import demo
from tests.answers.people import Person, dataset_id
from tests.browser import Annotator, chromium
from tests.demonstration import Demonstration, demonstration

if TYPE_CHECKING:
    from playwright.sync_api import Browser

_HERE = Path(__file__).parent
_SHOWN = 'q-003'  # the record that somebody answers on the page
_EXPORT = 'argilla-to-parquet --dataset demo --output dpo --report answers.html | tail -7'
_LOAD = (
    'import datasets, pprint',
    "rows = datasets.load_dataset('parquet', data_files='dpo-?????-of-?????.parquet', split='train')",
    f"pprint.pp(next(row for row in rows if row['id'] == '{_SHOWN}'))",
)
_SECTIONS = ('Agreement', 'Models by strength', 'Ratings of each model')
_SUGGESTED = {(row['instruction_id'], row['generation']): int(row['rating']) for row in demo.good_rows()}


def answer(running: Demonstration, browser: Browser) -> bytes:
    """Lets three people answer, and returns what one of them sees before the last record is submitted."""
    with running.owner() as owner:
        people = [Person(owner, name) for name in ('ada', 'bob', 'eve')]
        path = f'/datasets/{dataset_id(owner, "demo")}/records'
        found = owner.get(path, params={'limit': 1000}).raise_for_status().json()['items']
    records = {record['fields'].pop('id'): record for record in found}
    last = records.pop(_SHOWN)
    for name, record in records.items():
        for person in people:
            ratings = opinion(person.name, name, record['fields'])
            person.answers(record['id'], ratings, 'submitted' if ratings else 'discarded')
    *others, eve = people
    at_the_page = Annotator(browser, running.url, eve.name, eve.password)
    at_the_page.open('demo')
    at_the_page.rate(opinion(eve.name, _SHOWN, last['fields']))
    picture = at_the_page.page.screenshot(animations='disabled')
    at_the_page.submit()
    for person in others:
        person.answers(last['id'], opinion(person.name, _SHOWN, last['fields']))
    return picture


def opinion(name: str, instruction_id: str, fields: dict[str, str]) -> dict[str, int]:
    """What somebody thinks of generations that are rated in the sample, mostly the same: question → rating."""
    chance = random.Random(f'{instruction_id} {name}')
    return {
        f'{field}-rating': min(5, max(1, rating + chance.choice((-1, 0, 0, 0, 0, 1))))
        for field, text in fields.items()
        if (rating := _SUGGESTED.get((instruction_id, text)))
    }


def load(running: Demonstration) -> str:
    """What the demo says of its sample."""
    lines = running.said.splitlines()
    first, last = (next(i for i, line in enumerate(lines) if word in line) for word in (' rows read', ' refused: '))
    return '\n'.join(['$ make demo', '…', *lines[first : last + 1], '…'])


def export(running: Demonstration) -> str:
    """The export, and a look at a row of it."""
    program = f'argilla-to-parquet() {{ {sys.executable} -m pipelines.argilla_to_parquet "$@"; }}'
    server = f'export ARGILLA_API_URL={running.url} ARGILLA_API_KEY={running.api_key}'
    said = f'$ {_EXPORT}\n' + running.run(f'{server}\n{program}\n{_EXPORT}') + '$ python\n'
    os.chdir(running.folder)
    with contextlib.redirect_stdout(io.StringIO()) as out:
        names: dict[str, Any] = {}
        for line in _LOAD:
            print(f'>>> {line}')
            exec(compile(line, '<terminal>', 'single'), names)
    return said + out.getvalue()


def report(running: Demonstration, browser: Browser) -> list[tuple[str, str]]:
    """Titles and pictures of the report."""
    page = browser.new_page()
    page.goto((running.folder / 'answers.html').as_uri())
    sections = {
        title: page.locator('section').filter(has=page.get_by_role('heading', name=title)) for title in _SECTIONS
    }
    return [(title, section.locator('img').first.get_attribute('src') or '') for title, section in sections.items()]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, demonstration(Path(folder)) as running, chromium() as browser:
        page = f'data:image/png;base64,{base64.b64encode(answer(running, browser)).decode()}'
        template = jinja2.Environment(autoescape=True).from_string((_HERE / 'loop.html').read_text(encoding='utf-8'))
        whole = browser.new_page()
        terminals = {'load': load(running), 'export': export(running)}
        whole.set_content(template.render(page=page, report=report(running, browser), **terminals), wait_until='load')
        picture = Image.open(io.BytesIO(whole.locator('body').screenshot()))
        # Few colours, lest it be large; not mixed of dots, lest the text be.
        picture.convert('RGB').quantize(256, dither=Image.Dither.NONE).save(_HERE / 'loop.png', optimize=True)


if __name__ == '__main__':
    main()
