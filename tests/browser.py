"""A person at Argilla's page, in a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from beam_argilla.local import LocalServer

CHROMIUM = next((path for path in map(Path, ('/usr/bin/chromium', '/usr/bin/google-chrome')) if path.exists()), None)
# What a browser asks of its makers' servers otherwise.
_QUIET = ('background-networking', 'component-update', 'sync', 'gpu', 'quic')


class Annotator:
    """Somebody who has signed in and looks at the page; made by `signed_in`.

    Attributes:
        page: Playwright's.
        trouble: what the browser complained of: errors in the console, requests that failed.
    """

    def __init__(self, page, url: str):
        self.page = page
        self.trouble: list[str] = []
        self._url = url
        page.on('console', lambda m: self.trouble.append(m.text) if m.type == 'error' else None)
        page.on('pageerror', lambda e: self.trouble.append(str(e)))
        page.on('requestfailed', lambda r: self.trouble.append(f'{r.method} {r.url}: {r.failure}'))
        page.on('response', lambda r: self.trouble.append(f'{r.status} {r.url}') if r.status >= 400 else None)

    def sign_in(self, username: str, password: str) -> None:
        self.page.goto(self._url)
        self.page.get_by_label('Username').fill(username)
        self.page.get_by_label('Password').fill(password)
        self.page.get_by_role('button', name='Sign in').click()

    def open(self, dataset: str) -> None:
        """Opens the dataset, at the first record that waits for this person."""
        self.page.get_by_text(dataset, exact=True).first.click()
        self._wait_for_a_record()

    def shown(self, field: str) -> str:
        """What the field of the record says."""
        title = self.page.locator('.text_field_component__title-content').filter(has_text=re.compile(f'^{field}$'))
        return self.page.locator('.text_field_component').filter(has=title).locator('.content-area > div').inner_text()

    def rate(self, ratings: Mapping[str, int]) -> None:
        """Gives ratings with the mouse: question → value. (A click on what is chosen already would take it back.)"""
        for question, value in ratings.items():
            label = self.page.locator(f'label[for="{question}_{value}"]')
            if 'label-active' not in (label.get_attribute('class') or ''):
                label.click()
            self.page.locator(f'label.label-active[for="{question}_{value}"]').wait_for()

    def submit(self) -> None:
        """Submits the record with the keyboard, and waits until the page goes on to the next."""
        shown = self.page.locator('.content-area').first.get_attribute('id')
        with self.page.expect_response(lambda r: '/responses' in r.url and r.request.method in ('POST', 'PUT')) as done:
            self.page.keyboard.press('Enter')
        assert done.value.ok, done.value.text()
        self.page.locator(f'[id="{shown}"]').wait_for(state='detached')

    def _wait_for_a_record(self) -> None:
        self.page.get_by_role('form', name='Annotation Questions').wait_for()
        self.page.wait_for_load_state('networkidle')


@contextmanager
def signed_in(server: LocalServer, username: str, password: str) -> Iterator[Annotator]:
    """Somebody at the page; skips the test where there is no browser."""
    if CHROMIUM is None:
        pytest.skip("The page is tried in Chromium: Debian's package chromium brings it")
    playwright = pytest.importorskip('playwright.sync_api', reason='The page is tried with Playwright, from PyPI')
    with playwright.sync_playwright() as tools:
        options = ['--no-sandbox', '--no-first-run', *(f'--disable-{name}' for name in _QUIET)]
        browser = tools.chromium.launch(executable_path=CHROMIUM, args=options)
        annotator = Annotator(browser.new_page(viewport={'width': 1400, 'height': 900}), server.api_url)
        annotator.sign_in(username, password)
        yield annotator
        browser.close()
