"""Conversations → what was asked, and what was answered.

A conversation is a list of messages, each with ``role`` and ``content`` (OpenAI, TRL), ``from`` and ``value``
(ShareGPT) or ``role`` and ``text``; one message alone; or a text such as HH-RLHF's, whose turns begin with ``Human:``
and ``Assistant:``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from beam_argilla.conversations import Message, transcript
from beam_argilla.failures import to_json
from beam_argilla.generations import TEXT
from beam_argilla.input.plain import list_lengths, plain, plain_type
from beam_argilla.input.values import as_list, as_mapping

_KEYS = (('role', 'content'), ('from', 'value'), ('role', 'text'))
_ROLES = {
    **dict.fromkeys(('user', 'human', 'prompter', 'instruction'), 'user'),
    **dict.fromkeys(('assistant', 'gpt', 'model', 'bot', 'chatgpt', 'chatbot', 'bing', 'bard', 'ai'), 'assistant'),
    **dict.fromkeys(('system',), 'system'),
    **dict.fromkeys(('tool', 'function', 'observation', 'function_call', 'ipython'), 'tool'),
}
_SPOKEN = re.compile(r'(?:\A|\n\n)\s*(Human|Assistant): ?')


def is_chat_type(kind: pa.DataType) -> bool:
    """Whether values of this (plain) type are conversations, or single messages."""
    if pa.types.is_large_list(kind):
        kind = plain_type(kind.value_type)
    if not pa.types.is_struct(kind):
        return False
    names = {kind.field(i).name for i in range(kind.num_fields)}
    return any(names.issuperset(keys) for keys in _KEYS)


def holds_chats(kind: pa.DataType) -> bool:
    """Whether they are conversations, or lists of conversations."""
    return is_chat_type(kind) or (pa.types.is_large_list(kind) and is_chat_type(kind.value_type))


class Turns(NamedTuple):
    """A column of conversations in the form that most have.

    Attributes:
        starts: where the messages of each row begin.
        lengths: how many they are; 0 where there is none.
        roles: of each message, as `Message` has it.
        contents: of each message, text.
    """

    starts: np.ndarray
    lengths: np.ndarray
    roles: np.ndarray
    contents: pa.Array

    def said(self, turn: int, role: str, rows: np.ndarray) -> tuple[pa.Array, np.ndarray]:
        """What is said in the first (0) or last (-1) turn of each of these rows, and where it is of this role."""
        at = self.starts if turn == 0 else self.starts + self.lengths - 1
        of_role = np.zeros(len(rows), bool)
        of_role[rows] = self.roles[at[rows]] == role
        return self.contents.take(pa.array(np.where(of_role, at, 0), pa.int64(), mask=~of_role)), of_role


def turns_of(array: pa.Array) -> Turns | None:
    """The messages of a whole column, where they are lists of a role and a text each; None where they are not."""
    kind = array.type
    if not (pa.types.is_large_list(kind) and is_chat_type(kind)):
        return None
    names = {kind.value_type.field(i).name for i in range(kind.value_type.num_fields)}
    role_key, content_key = next(keys for keys in _KEYS if names.issuperset(keys))
    messages = pc.list_flatten(array)
    roles, contents = (plain(pc.struct_field(messages, key)) for key in (role_key, content_key))
    if roles.type != TEXT or contents.type != TEXT or messages.null_count:
        return None
    encoded = roles.dictionary_encode(null_encoding='encode')
    known = np.array([role_of(role) for role in encoded.dictionary.to_pylist()], object)
    lengths = list_lengths(array)
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    return Turns(np.cumsum(lengths) - lengths, lengths, known[codes], contents.fill_null(''))


def messages_of(value: Any) -> list[Message] | None:
    """The messages of a conversation of any form but text; None if it is none."""
    if as_mapping(value) is not None:
        value = [value]
    items = as_list(value)
    mappings = [as_mapping(item) for item in items or ()]
    if not mappings or any(m is None for m in mappings):
        return None
    keys = next((keys for keys in _KEYS if all(keys[0] in m and keys[1] in m for m in mappings if m is not None)), None)
    if keys is None:
        return None
    return [Message(role_of(m[keys[0]]), _content(m[keys[1]])) for m in mappings if m is not None]


def role_of(value: Any) -> str:
    """The role by its usual name, whatever it is called."""
    return _ROLES.get(str(value).lower(), str(value))


def _content(value: Any) -> str:
    """The text of a message; of one in parts (text, images), the texts, and where the images are."""
    if value is None:
        return ''
    if isinstance(value, str):
        return value
    parts = as_list(value)
    return '\n\n'.join(filter(None, map(_part, parts))) if parts is not None else to_json(value)


def _part(part: Any) -> str:
    if isinstance(part, str):
        return part
    mapping = as_mapping(part) or {}
    text = mapping.get('text')
    if isinstance(text, str):
        return text
    image = mapping.get('image_url') or mapping.get('image')
    url = image.get('url') if isinstance(image, Mapping) else image
    return f'![]({url})' if isinstance(url, str) else to_json(part)


def spoken(text: str) -> list[Message] | None:
    """The messages of a text whose turns begin with ``Human:`` and ``Assistant:``; None if it is none."""
    parts = _SPOKEN.split(text)
    if len(parts) < 3 or parts[0].strip():
        return None
    return [Message(role_of(role), said.strip()) for role, said in zip(parts[1::2], parts[2::2], strict=True)]


def prompt_of(text: str) -> list[Message]:
    """The messages of a prompt in such a text, without the turn that is still to come; of another text, it alone."""
    messages = spoken(text)
    if messages is None:
        return [Message('user', text)]
    return messages[:-1] if messages[-1] == ('assistant', '') else messages


def last_answer(messages: Sequence[Message]) -> str | None:
    """The last turn of the assistant; None if there is none."""
    return next((message.content for message in reversed(messages) if message.role == 'assistant'), None)


def parted(conversations: Sequence[Sequence[Message]]) -> tuple[Sequence[Message], list[str | None]]:
    """What is common to conversations before the assistant's turn in which they part, and what comes then in each.

    That is the last turn, unless they part earlier: then it is a transcript from there on. What follows a last turn of
    the assistant is left out. None is of a conversation in which the assistant says nothing.
    """
    ended = [messages[: _after_last_answer(messages)] for messages in conversations]
    common = min(map(len, ended)) - 1
    common = next((i for i in range(common) if len({messages[i] for messages in ended}) > 1), max(common, 0))
    if any(messages[common:] and messages[common].role != 'assistant' for messages in ended):
        return (), [None if not messages else transcript(messages) for messages in ended]
    answers = [messages[common:] for messages in ended]
    return ended[0][:common], [_said(messages) for messages in answers]


def _after_last_answer(messages: Sequence[Message]) -> int:
    return max((i + 1 for i, message in enumerate(messages) if message.role == 'assistant'), default=0)


def _said(messages: Sequence[Message]) -> str | None:
    if not messages:
        return None
    return messages[0].content if len(messages) == 1 else transcript(messages)


def as_json(messages: Sequence[Message]) -> str:
    """The messages as a chat field takes them."""
    return orjson.dumps([message._asdict() for message in messages if message.content]).decode()
