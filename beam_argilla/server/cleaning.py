"""What may be shown of what others say: no secret of ours, and nothing that a terminal would obey."""

from __future__ import annotations

import base64
import contextlib
import html
import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, unquote

# Control characters but for the tab and the end of a line, what turns the direction of a text, halves of characters.
_NOT_TEXT = re.compile('[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]')
_SHORTEST = 4  # characters of a secret; what is shorter is in every other word
_SCHEMES = ('basic', 'bearer', 'digest', 'negotiate', 'token')  # which are no secrets, and help to see what is wrong


def printable(text: str) -> str:
    r"""The text with a mark, such as ``\x1b``, for each character that a terminal would obey rather than show."""
    return _NOT_TEXT.sub(lambda found: found[0].encode('unicode_escape').decode(), text)


class Cleaner:
    """Takes secrets, and what a terminal would obey, out of a text. To be called before a text is cut.

    Args:
        values: of HTTP headers. Each word of theirs is a secret, whatever form it comes back in.
    """

    def __init__(self, values: Iterable[str]):
        words = {word for value in values for word in _words(value) if len(word) >= _SHORTEST}
        forms = {form for word in words if word.lower() not in _SCHEMES for form in _forms(word)}
        found = '|'.join(map(re.escape, sorted(forms, key=len, reverse=True)))
        self._secret = re.compile(found or '(?!)')  # which is nowhere

    def __call__(self, text: str) -> str:
        return printable(self._secret.sub('***', text))


def shortened(text: str, longest: int) -> str:
    """The text, cut to so many characters if it has more."""
    return text if len(text) <= longest else f'{text[:longest]}…'


def without_user(url: str) -> str:
    """The URL without a user's name and password, also where characters in them should have been escaped."""
    scheme, mark, rest = url.partition('://')
    return f'{scheme}{mark}{rest.rpartition("@")[2]}' if mark else url.rpartition('@')[2]


def password_of(url: str) -> list[str]:
    """The password in a URL, as it stands there and as it is meant."""
    password = url.partition('://')[2].rpartition('@')[0].partition(':')[2]
    return [password, unquote(password)]


def _words(value: str) -> Iterator[str]:
    yield value
    yield from value.split()
    yield from re.split(r'[\s,;="]+', value)  # of a cookie, say
    scheme, _, rest = value.partition(' ')
    if scheme.lower() == 'basic':
        with contextlib.suppress(ValueError):
            yield base64.b64decode(rest).decode().partition(':')[2]


def _forms(word: str) -> set[str]:
    return {word, html.escape(word), json.dumps(word)[1:-1], quote(word, safe=''), quote(word)}
