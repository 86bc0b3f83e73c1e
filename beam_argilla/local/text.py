"""What the search finds of a record: the text in each of its fields."""

import json
from collections.abc import Iterator
from typing import Any

from beam_argilla.local.words import spaced


def indexed_text(value: bytes, field_type: str) -> str:
    """The text that the index holds for a field of a record.

    Args:
      value: The field's value in UTF-8 (which may be broken): plain text, or JSON if the type is not 'text'.
      field_type: argilla-server's type of the field: 'text', 'chat' or 'custom'.

    Returns:
      The text, in which FTS5 sees the same words as `words.words`.
    """
    text = value.decode('utf-8', errors='replace')
    if field_type != 'text':
        text = ' '.join(json_words(text, with_keys=field_type == 'custom'))
    return spaced(text)


def json_words(text: str, with_keys: bool) -> Iterator[str]:
    """All values in a JSON text, and all keys if asked for, without recursion; the text itself if it is not JSON.

    Each as Python writes it, as in argilla-server's own index: so a null within a custom field is found by "None".
    """
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
        elif value is not None or with_keys:
            # A lone surrogate is fine in JSON, not in a database.
            yield str(value).encode('utf-8', errors='replace').decode('utf-8')
