"""What a text is made of, for search: the words of Elasticsearch's standard analyzer, as close as FTS5 gets.

The index and the queries must agree on it, so both get it from here.
"""

import json
import re
import unicodedata
from collections.abc import Iterator
from typing import Any

# FTS5's own tokenizer: letters, marks, digits and symbols such as emoji make words. Accents count ("café" is not
# "cafe"), as in Elasticsearch. By default FTS5 leaves marks out and so cuts words of Hindi or Thai to pieces.
TOKENIZER = "unicode61 remove_diacritics 0 categories 'L* M* N* Co So' tokenchars '_'"

# Scripts without spaces, in which each character is searched for on its own; and what may be a symbol.
_ALONE = re.compile(
    '([\u3005-\u3007\u3041-\u309f\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af])|([^\\w\\s\\x00-\\x7f])'
)


def indexed_text(value: bytes, field_type: str) -> str:
    """The text that the index holds for a field of a record.

    Args:
      value: The field's value in UTF-8 (which may be broken): plain text, or JSON if the type is not 'text'.
      field_type: argilla-server's type of the field: 'text', 'chat' or 'custom'.

    Returns:
      The text, with spaces where FTS5 would not see that a word ends.
    """
    text = value.decode('utf-8', errors='replace')
    if field_type != 'text':
        text = ' '.join(json_words(text, with_keys=field_type == 'custom'))
    return separated(text)


def json_words(text: str, with_keys: bool) -> Iterator[str]:
    """All values in a JSON text, and all keys if asked for, without recursion; the text itself if it is not JSON."""
    try:
        stack: list[Any] = [json.loads(text)]
    except (ValueError, RecursionError):
        stack = [text]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            for key, item in reversed(value.items()):
                stack += [item, key] if with_keys else [item]
        elif isinstance(value, list):
            stack += reversed(value)
        elif value is not None:
            # A lone surrogate is fine in JSON, not in a database.
            yield str(value).encode('utf-8', errors='replace').decode('utf-8')


def separated(text: str) -> str:
    """Puts spaces around ideographs and symbols: each is a word of its own."""
    return text if text.isascii() else _ALONE.sub(_surrounded, text)


def _surrounded(match: re.Match[str]) -> str:
    character = match[0]
    return f' {character} ' if match[1] or unicodedata.category(character) == 'So' else character


def words(text: str) -> list[list[str]]:
    """Splits a text into words, and each word into what FTS5 takes for one.

    >>> words("don't re-use v2.5")
    [['don', 't'], ['re'], ['use'], ['v2', '5']]
    """
    result: list[list[str]] = []
    text = separated(text)
    end = None
    for start, stop in _runs(text):
        if end is not None and start == end + 1 and _joins(text[end - 1], text[end], text[start]):
            result[-1].append(text[start:stop])
        else:
            result.append([text[start:stop]])
        end = stop
    return result


def _runs(text: str) -> Iterator[tuple[int, int]]:
    start = None
    for index, character in enumerate(text):
        if _in_word(character):
            start = index if start is None else start
        elif start is not None:
            yield start, index
            start = None
    if start is not None:
        yield start, len(text)


def _in_word(character: str) -> bool:
    category = unicodedata.category(character)
    return character == '_' or category[0] in 'LMN' or category in ('Co', 'So')


def _joins(before: str, character: str, after: str) -> bool:
    """Whether a character between two others is part of a word: "don't", "example.com", "1,000" (Unicode, UAX 29)."""
    if before.isalpha() and after.isalpha():
        return character in "'’.:·"
    return before.isnumeric() and after.isnumeric() and character in "'’.,;"
