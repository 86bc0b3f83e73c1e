"""People at Argilla's page, in a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Dialog, Locator, Page, Response

_INSTALLED = ('/usr/bin/chromium', '/usr/bin/google-chrome')
# What a browser asks of its makers' servers otherwise; and what needs a screen.
_WITHOUT = ('background-networking', 'component-update', 'sync', 'gpu', 'quic')
_SIZE = (1400, 900)
_PATIENCE = 120_000  # milliseconds that anything may take on a machine that has much else to do
_BETWEEN_KEYS = 300  # milliseconds; the page moves on to the next question in less
_ANSWER = re.compile('/api/v1/(records/[^/]+/responses|responses/[^/]+)$')


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
    """Somebody who signs in at the page and answers with mouse and keys. Each has cookies of their own.

    Attributes:
        page: Playwright's.
        trouble: what a person, or who runs the server, would not want: errors in the console, requests that fail,
            requests to other servers, dialogs.
    """

    def __init__(self, browser: Browser, url: str, username: str, password: str):
        width, height = _SIZE
        self._url = url
        self.trouble: list[str] = []
        self._look_at(browser.new_context(viewport={'width': width, 'height': height}).new_page())
        self.page.goto(url, wait_until='commit')
        self.page.get_by_label('Username').fill(username)
        self.page.get_by_label('Password').fill(password)
        self.page.get_by_role('button', name='Sign in').click()

    def tab(self) -> Annotator:
        """A second tab of this person's, where the first one is; trouble is that of both."""
        other = copy(self)
        other._look_at(self.page.context.new_page())
        other.page.goto(self.page.url, wait_until='commit')
        other._questions.wait_for()
        return other

    def open(self, dataset: str) -> None:
        """Opens a dataset of the list, at the first record that waits for this person."""
        self.page.get_by_role('heading', name=dataset, exact=True).click()
        self._questions.wait_for()

    def search(self, words: str) -> None:
        """Looks for records with these words, and waits for what is found."""
        self.page.get_by_role('button', name='Search', exact=True).click()
        self.page.get_by_placeholder('Introduce a query').fill(words)
        with self._found(words):
            self.page.keyboard.press('Enter')

    def filter_by_metadata(self, name: str, value: str) -> None:
        """Leaves the records that have this value of a property of terms."""
        self._open_filter('Metadata', name)
        with self._found(name, value):
            self.page.get_by_text(value, exact=True).click()
        self._close()

    def filter_by_suggestion(self, question: str, at_least: int) -> None:
        """Leaves the records for which so much or more is suggested."""
        self._open_filter('Suggestions', question, 'Suggestion values')
        with self._found(question, str(at_least)):
            self.page.get_by_role('spinbutton').first.fill(str(at_least))
            self.page.keyboard.press('Enter')
        self._close()

    def sort_by(self, name: str, descending: bool = False) -> None:
        """Has the records shown in this order of a metadata property."""
        self.page.get_by_role('button', name='Sort', exact=True).first.click()
        self.page.get_by_role('button', name=name, exact=True).click()
        if descending:
            self.page.get_by_title('sort direction').click()
        with self._found(name, 'desc' if descending else 'asc'):
            self._close()

    def show(self, status: str) -> None:
        """Goes to the records that are pending, draft, discarded or submitted for this person."""
        statuses = self.page.get_by_label('Filter Records by Status')
        statuses.get_by_role('button', name='Status').first.click()
        with self._found(status):
            statuses.locator(f'.option.{status}').click()

    def all_shown(self, field: str) -> list[str]:
        """The texts of a field of the records that are found, from the one that is shown to the last."""
        texts = [self.shown(field)]
        while self.page.get_by_role('button', name='Next (→)').is_enabled():
            self.go_on()
            texts.append(self.shown(field))
        return texts

    def shown(self, field: str) -> str:
        """The text of a field of the record, every character of it."""
        title = self.page.get_by_text(field, exact=True)
        found = self.page.locator('.text_field_component').filter(has=title).locator('.content-area > div')
        return found.text_content() or ''

    def talk(self, field: str) -> list[tuple[str, str]]:
        """The messages of a chat field of the record: who says what."""
        chat = self.page.locator('.chat').filter(has=self.page.get_by_text(field, exact=True))
        roles, bubbles = chat.locator('.chat__role'), chat.locator('.chat__bubble > span')
        return list(zip(roles.all_text_contents(), bubbles.all_text_contents(), strict=True))

    def chosen(self, question: str) -> list[str]:
        """The options of a question that are chosen, with what the page says of a suggestion."""
        options = self._question(question).get_by_role('button')
        texts = options.filter(has=self.page.get_by_role('checkbox', checked=True)).all_inner_texts()
        return [' '.join(text.split()) for text in texts]

    def rate(self, ratings: Mapping[str, int]) -> None:
        """Chooses these values: name of the question → rating. What is chosen already, such as a suggestion, stays."""
        from playwright.sync_api import expect

        for question, value in ratings.items():
            asked = self._question(question)
            chosen = asked.get_by_role('checkbox', name=str(value), exact=True)
            if not chosen.is_checked():  # a click would take it away
                asked.locator('label').get_by_text(str(value), exact=True).click()
            expect(chosen).to_be_checked(timeout=_PATIENCE)

    def choose(self, question: str, label: str) -> None:
        """Chooses a label."""
        self._question(question).get_by_text(label, exact=True).click()

    def rank(self, question: str, options: Sequence[str]) -> None:
        """Drags the options into their places, the best one first."""
        asked = self._question(question)
        for place, option in enumerate(options):
            asked.get_by_title(option, exact=True).drag_to(asked.locator('.draggable__slot').nth(place))

    def type(self, *keys: str) -> None:
        """Answers the questions from the first one on by keys, one after another as a person does."""
        for key in keys:
            self.page.keyboard.press(key)
            self.page.wait_for_timeout(_BETWEEN_KEYS)

    def submit(self, key: str | None = None) -> None:
        """Submits what is chosen, with the mouse or this key, and waits until the record has gone."""
        self._answer('Submit', key)

    def told_on_submit(self, status: int) -> str:
        """Submits what the server refuses with this status, as is no trouble then, and returns what the page says."""
        before = len(self.trouble)
        self.page.get_by_role('button', name='Submit').click()
        said = self.page.get_by_role('alert').inner_text()
        told = self.trouble[before:]
        assert len(told) == 2 and all(str(status) in what for what in told), told  # the response, and in the console
        del self.trouble[before:]
        return said

    def discard(self, key: str | None = None) -> None:
        """Discards the record, with the mouse or this key, and waits until it has gone."""
        self._answer('Discard', key)

    def save(self, key: str | None = None) -> None:
        """Saves what is chosen as a draft, with the mouse or this key; the record stays."""
        self._press('Save as draft', key)
        self.page.locator('.record').get_by_text('draft', exact=True).wait_for()

    def go_on(self) -> None:
        """Goes to the next record, with the answer to this one left as it is."""
        from playwright.sync_api import expect

        before = self._fields.get_attribute('id') or ''
        self.page.get_by_role('button', name='Next (→)').click()
        expect(self._fields).not_to_have_attribute('id', before, timeout=_PATIENCE)

    def sees(self, **progress: int) -> None:
        """Waits until the page shows that so many records are pending, draft, discarded, submitted for this person."""
        from playwright.sync_api import expect

        counts = self.page.locator('.my-progress__status')
        if counts.count() == 1:
            self.page.get_by_role('button', name='Expand Panel').last.click()
        for status, count in progress.items():
            expect(counts.filter(has_text=status)).to_have_text(re.compile(rf'{status}\s*{count}$'), timeout=_PATIENCE)

    def _answer(self, button: str, key: str | None) -> None:
        self._fields_of(self._press(button, key)).wait_for(state='detached')

    def _press(self, button: str, key: str | None) -> str:
        """The id of the record that this is the answer to, which has arrived."""
        with self.page.expect_response(_ANSWER) as answered:
            if key is None:
                self.page.get_by_role('button', name=button).click()
            else:
                self.page.keyboard.press(key)
        found: str = answered.value.json()['record_id']
        return found

    def _open_filter(self, kind: str, *names: str) -> None:
        if not self.page.get_by_role('button', name=kind, exact=True).count():
            self.page.get_by_role('button', name='Filters', exact=True).click()
        for name in (kind, *names):
            self.page.get_by_role('button', name=name, exact=True).first.click()

    def _close(self) -> None:
        """Closes what is open by a click beside it."""
        self.page.get_by_role('banner').click()

    @contextmanager
    def _found(self, *words: str) -> Iterator[None]:
        """Does what makes the page look for records with these words, and waits until the first one is shown."""

        def is_it(response: Response) -> bool:
            asked = response.request.post_data or ''
            return '/records/search' in response.url and all(word in asked for word in words)

        with self.page.expect_response(is_it) as found:
            yield
        for item in found.value.json()['items'][:1]:
            self._fields_of(item['record']['id']).wait_for()

    def _fields_of(self, record_id: str) -> Locator:
        return self.page.locator(f'[id^="fields-content-"][id$="{record_id}"]').first

    @property
    def _fields(self) -> Locator:
        return self.page.locator('[id^="fields-content-"]').first

    @property
    def _questions(self) -> Locator:
        return self.page.get_by_role('form', name='Annotation Questions')

    def _question(self, name: str) -> Locator:
        return self._questions.get_by_label(f'Question: {name}', exact=True)

    def _look_at(self, page: Page) -> None:
        self.page = page
        page.set_default_timeout(_PATIENCE)
        tell, url = self.trouble.append, self._url
        page.on('console', lambda m: tell(f'console: {m.text}') if m.type == 'error' else None)
        page.on('pageerror', lambda e: tell(f'error: {e}'))
        page.on('requestfailed', lambda r: tell(f'failed: {r.method} {r.url}: {r.failure}'))
        page.on('response', lambda r: tell(f'{r.status}: {r.request.method} {r.url}') if r.status >= 400 else None)
        page.on('request', lambda r: None if r.url.startswith((url, 'data:', 'blob:')) else tell(f'elsewhere: {r.url}'))

        def dismiss(dialog: Dialog) -> None:
            tell(f'dialog: {dialog.message}')
            dialog.dismiss()

        page.on('dialog', dismiss)
