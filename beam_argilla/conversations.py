"""Conversations, and what of them people read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Message(NamedTuple):
    """One turn; `role` is ``system``, ``user``, ``assistant`` or ``tool``, or whatever else somebody calls it."""

    role: str
    content: str


def transcript(messages: Sequence[Message]) -> str:
    """One turn of the user is a plain text; what is longer is Markdown."""
    if len(messages) == 1 and messages[0].role == 'user':
        return messages[0].content
    return '\n\n'.join(f'**{message.role.capitalize()}:** {message.content}' for message in messages)
