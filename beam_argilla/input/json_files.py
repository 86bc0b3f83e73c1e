"""JSON: a list of objects, objects one after the other, or one; or, in spite of their name, JSON Lines."""

from __future__ import annotations

import codecs
import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from beam_argilla.errors import InputError
from beam_argilla.failures import FailedRecord
from beam_argilla.input import kind
from beam_argilla.input.json_lines import JsonLines, not_an_object, parsed, schema_of
from beam_argilla.input.kind import Kind, Part, Piece, bad_line
from beam_argilla.input.roles import Wanted
from beam_argilla.input.text_files import TROUBLE, open_text

_CHARACTERS = 1 << 20  # to read at a time
_HEAD_ROWS = 1_000
_LINES = JsonLines()
_BETWEEN = re.compile(r'[\s,]*')  # values
_LAST = 16  # characters of a value that may be a part of something: a name such as Infinity, an escape


class Json(Kind):
    """A file is one part, and is read object by object, whatever its size."""

    name, title, suffixes = 'json', 'JSON', ('.json',)

    def schema(self, path: str) -> pa.Schema:
        if _is_lines(path):
            return _LINES.schema(path)
        values = list(itertools.islice(self._values(path), _HEAD_ROWS))
        rows = [value for value in values if isinstance(value, dict)]
        if values and not rows:
            raise self.unreadable(path, not_an_object(values[0]))
        return schema_of(rows)

    def says_nothing(self, path: str, name: str) -> bool:
        return False  # further down there may be something

    def parts(self, path: str, whole: bool) -> Iterator[Part]:
        if _is_lines(path):
            yield from _LINES.parts(path, whole)
        else:
            yield Part(path, self.name)

    def read(self, part: Part, wanted: Wanted) -> Iterator[Piece | FailedRecord]:
        numbers: list[int] = []
        rows: list[dict[str, Any]] = []
        try:
            for number, value in enumerate(self._values(part.path)):
                if not isinstance(value, dict):
                    yield bad_line(part.path, number, None, not_an_object(value), value)
                    continue
                numbers.append(number)
                rows.append(value)
                if len(rows) == kind.MAX_BATCH_ROWS // 4:
                    yield Piece(numbers, rows)
                    numbers, rows = [], []
        except InputError:
            if rows:
                yield Piece(numbers, rows)
            raise
        if rows:
            yield Piece(numbers, rows)

    def _values(self, path: str) -> Iterator[Any]:
        try:
            yield from _values(path)
        except (ValueError, RecursionError, *TROUBLE) as e:
            raise self.unreadable(path, e) from e


def _is_lines(path: str) -> bool:
    """Whether the first line is an object by itself, and others follow."""
    try:
        with open_text(path) as text:
            beginning = text.read(_CHARACTERS).removeprefix(codecs.BOM_UTF8).lstrip()
    except TROUBLE:
        return False
    line, _, rest = beginning.partition(b'\n')
    return bool(rest.strip()) and isinstance(parsed(line), dict)


def _values(path: str) -> Iterator[Any]:
    """The values of a file, those of a list one by one."""
    decode = json.JSONDecoder().raw_decode
    with open_text(path) as file:
        text = codecs.getreader('utf-8-sig')(file)
        buffer, at, at_end, within_list = '', 0, False, False
        while True:
            at = _BETWEEN.match(buffer, at).end()  # type: ignore[union-attr]
            opened = buffer[at : at + 1]
            if opened == ('[' if not within_list else ']'):
                within_list, at = not within_list, at + 1
                continue
            try:
                value, end = decode(buffer, at)
                if end == len(buffer) and not at_end:
                    raise json.JSONDecodeError('More may come', buffer, end)  # of a number, say
            except json.JSONDecodeError as e:
                may_go_on = e.msg.startswith('Unterminated string') or e.pos > len(buffer) - _LAST
                more = text.read(max(_CHARACTERS, len(buffer) - at)) if may_go_on and not at_end else ''
                if more:
                    buffer, at = buffer[at:] + more, 0
                elif may_go_on and not at_end:
                    at_end = True
                elif opened or within_list:
                    raise
                else:
                    return
            else:
                yield value
                at = end
