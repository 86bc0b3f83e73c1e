"""People at Argilla's page, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Dialog, Locator

_INSTALLED = ('/usr/bin/chromium', '/usr/bin/google-chrome')
# What a browser asks of its makers' servers otherwise; and what needs a screen.
_WITHOUT = ('background-networking', 'component-update', 'sync', 'gpu', 'quic')
_SIZE = (1400, 900)
_PATIENCE = 120_000  # milliseconds that anything may take on a machine that has much else to do


class BrowserMissing(Exception):
    """What the page is looked at with is not on this machine."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser that shows itself to nobody.

    As long as it is open, `asyncio` has a loop in this thread.

    Raises:
        BrowserMissing: there is none, or nothing to steer it with.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise BrowserMissing('There is no Playwright: pip install playwright brings it.') from None
    with sync_playwright() as playwright:
        kind = playwright.chromium
        found = next((path for path in (*_INSTALLED, kind.executable_path) if Path(path).exists()), None)
        if found is None:
            raise BrowserMissing("There is no Chromium: Debian's package chromium or `playwright install` brings it.")
        options = ['--no-sandbox', '--no-first-run', *(f'--disable-{name}' for name in _WITHOUT)]
        with kind.launch(executable_path=found, args=options) as browser:
            yield browser


@pytest.fixture(scope='module')
def browser() -> Iterator[Browser]:
    """Chromium for the tests of a file, which are skipped where there is none."""
    try:
        with chromium() as found:
            yield found
    except BrowserMissing as e:
        pytest.skip(str(e))


class Annotator:
    """Somebody who signs in at the page and answers with the mouse. Each has cookies of their own.

    Attributes:
        page: Playwright's.
        trouble: what a person, or who runs the server, would not want: errors in the console, requests that fail,
            requests to other servers, dialogs.
    """

    def __init__(self, browser: Browser, url: str, username: str, password: str):
        width, height = _SIZE
        self.page = browser.new_context(viewport={'width': width, 'height': height}).new_page()
        self.page.set_default_timeout(_PATIENCE)
        self.trouble: list[str] = []
        self._watch(url)
        self.page.goto(url, wait_until='commit')
        self.page.get_by_label('Username').fill(username)
        self.page.get_by_label('Password').fill(password)
        self.page.get_by_role('button', name='Sign in').click()

    def open(self, dataset: str) -> None:
        """Opens a dataset of the list, at the first record that waits for this person."""
        self.page.get_by_role('heading', name=dataset, exact=True).click()
        self._questions.wait_for()

    def search(self, words: str) -> None:
        """Looks for records with these words, and waits for what is found."""
        self.page.get_by_role('button', name='Search', exact=True).click()
        self.page.get_by_placeholder('Introduce a query').fill(words)
        with self.page.expect_response('**/records/search*') as found:
            self.page.keyboard.press('Enter')
        for item in found.value.json()['items'][:1]:
            self._fields_of(item['record']['id']).wait_for()

    def shown(self, field: str) -> str:
        """The text of a field of the record, every character of it."""
        title = self.page.get_by_text(field, exact=True)
        found = self.page.locator('.text_field_component').filter(has=title).locator('.content-area > div')
        return found.text_content() or ''

    def rate(self, ratings: Mapping[str, int]) -> None:
        """Chooses these values: name of the question → rating. What is chosen already, such as a suggestion, stays."""
        from playwright.sync_api import expect

        for question, value in ratings.items():
            asked = self._question(question)
            chosen = asked.get_by_role('checkbox', name=str(value), exact=True)
            if not chosen.is_checked():  # a click would take it away
                asked.locator('label').get_by_text(str(value), exact=True).click()
            expect(chosen).to_be_checked(timeout=_PATIENCE)

    def submit(self) -> None:
        """Submits what is chosen, and waits until the record has gone."""
        with self.page.expect_response(lambda r: r.url.endswith('/responses')) as answered:
            self.page.get_by_role('button', name='Submit').click()
        self._fields_of(answered.value.url.split('/')[-2]).wait_for(state='detached')

    def _fields_of(self, record_id: str) -> Locator:
        return self.page.locator(f'[id^="fields-content-"][id$="{record_id}"]').first

    @property
    def _questions(self) -> Locator:
        return self.page.get_by_role('form', name='Annotation Questions')

    def _question(self, name: str) -> Locator:
        return self._questions.get_by_label(f'Question: {name}', exact=True)

    def _watch(self, url: str) -> None:
        page, tell = self.page, self.trouble.append
        page.on('console', lambda m: tell(f'console: {m.text}') if m.type == 'error' else None)
        page.on('pageerror', lambda e: tell(f'error: {e}'))
        page.on('requestfailed', lambda r: tell(f'failed: {r.method} {r.url}: {r.failure}'))
        page.on('response', lambda r: tell(f'{r.status}: {r.request.method} {r.url}') if r.status >= 400 else None)
        page.on('request', lambda r: None if r.url.startswith((url, 'data:', 'blob:')) else tell(f'elsewhere: {r.url}'))

        def dismiss(dialog: Dialog) -> None:
            tell(f'dialog: {dialog.message}')
            dialog.dismiss()

        page.on('dialog', dismiss)
