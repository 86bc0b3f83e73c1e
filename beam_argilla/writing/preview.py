"""A record as a person would see it, in the terminal."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from typing import Any

_WIDTH = 100  # columns
_LONGEST = 1_200  # characters of a field; the page scrolls, a terminal has gone by
# What a terminal would obey rather than show.
_CONTROL = re.compile(r'[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]')


def preview(item: Mapping[str, Any], fields: Mapping[str, str], questions: Mapping[str, str]) -> str:
    """Fields first, then what is asked, with what is suggested.

    Args:
        item: a record, as it would be sent.
        fields: name → title.
        questions: name → title.
    """
    lines = [f'── {_clean(item["external_id"])} '.ljust(_WIDTH, '─')]
    for name, title in fields.items():
        value = item['fields'].get(name)
        if value is not None:
            lines += [_clean(title), _indented(_text(value)), '']
    for name, title in questions.items():
        suggestion = next((s for s in item.get('suggestions', ()) if s['question_id'] == name), None)
        by = f' ({_clean(suggestion["agent"])})' if suggestion and suggestion.get('agent') else ''
        lines.append(f'? {_clean(title)}' if suggestion is None else f'? {_clean(title)}  ▸ suggested{by}:')
        if suggestion is not None:
            lines.append(_indented(str(suggestion['value'])))
    metadata = item.get('metadata') or {}
    if metadata:
        lines += ['', _clean(', '.join(f'{name}: {_listed(value)}' for name, value in metadata.items()))]
    return '\n'.join(lines)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):  # a conversation
        return '\n'.join(f'[{message["role"]}] {message["content"]}' for message in value)
    return str(value)


def _listed(value: Any) -> str:
    return ' | '.join(map(str, value)) if isinstance(value, list) else str(value)


def _indented(text: str) -> str:
    if len(text) > _LONGEST:
        text = f'{text[:_LONGEST]} … ({len(text) - _LONGEST:,} more characters)'
    wrapped = (textwrap.wrap(line, _WIDTH - 4, replace_whitespace=False) or [''] for line in _clean(text).splitlines())
    return '\n'.join(f'    {line}'.rstrip() for lines in wrapped for line in lines)


def _clean(text: str) -> str:
    return _CONTROL.sub('\N{REPLACEMENT CHARACTER}', text)
