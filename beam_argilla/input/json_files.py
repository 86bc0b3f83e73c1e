"""JSON: a list of objects, objects one after the other, or one; or, in spite of their name, JSON Lines."""

from __future__ import annotations

import codecs
import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from beam_argilla.failures import FailedRecord
from beam_argilla.input import kind
from beam_argilla.input.compression import TROUBLE, open_bytes
from beam_argilla.input.json_lines import JsonLines, parsed, schema_of
from beam_argilla.input.kind import Kind, Part, Piece
from beam_argilla.input.roles import Wanted

_CHARACTERS = 1 << 20  # to read at a time
_HEAD_ROWS = 1_000
_LINES = JsonLines()


class Json(Kind):
    """A file is one part, and is read object by object, whatever its size."""

    name, title, suffixes = 'json', 'JSON', ('.json',)

    def schema(self, path: str) -> pa.Schema:
        if _is_lines(path):
            return _LINES.schema(path)
        rows = list(itertools.islice(self._objects(path), _HEAD_ROWS))
        return schema_of([row for row in rows if isinstance(row, Mapping)])

    def says_nothing(self, path: str, name: str) -> bool:
        return False  # further down there may be something

    def parts(self, path: str, whole: bool) -> Iterator[Part]:
        if _is_lines(path):
            yield from _LINES.parts(path, whole)
        else:
            yield Part(path, self.name)

    def read(self, part: Part, wanted: Wanted) -> Iterator[Piece | FailedRecord]:
        objects = enumerate(self._objects(part.path))
        while some := list(itertools.islice(objects, kind.MAX_BATCH_ROWS // 4)):
            yield Piece([number for number, _ in some], [value for _, value in some])

    def _objects(self, path: str) -> Iterator[Mapping[str, Any]]:
        try:
            for value in _values(path):
                if not isinstance(value, Mapping):
                    raise self.unreadable(path, f'it holds {str(value)[:50]!r} where there should be an object')
                yield value
        except (ValueError, RecursionError, *TROUBLE) as e:
            raise self.unreadable(path, e) from e


def _is_lines(path: str) -> bool:
    """Whether the first line is an object by itself."""
    try:
        with open_bytes(path) as file:
            beginning = file.read(_CHARACTERS).removeprefix(codecs.BOM_UTF8).lstrip()
    except TROUBLE:
        return False
    line, end, rest = beginning.partition(b'\n')
    return bool(end) and bool(rest.strip()) and not isinstance(parsed(line), str)


def _values(path: str) -> Iterator[Any]:
    """The values of a file, those of a list one by one."""
    decoder = json.JSONDecoder()
    with open_bytes(path) as file:
        text = codecs.getreader('utf-8-sig')(file)
        buffer, at_end, within_list = '', False, None
        while True:
            buffer = buffer.lstrip(' \t\r\n,' if within_list else ' \t\r\n')
            if within_list is None and buffer:
                within_list = buffer[0] == '['
                buffer = buffer[within_list:]
                continue
            if within_list and buffer[:1] == ']':
                return
            try:
                value, end = decoder.raw_decode(buffer)
                if end == len(buffer) and not at_end:
                    raise json.JSONDecodeError('more may come', buffer, end)  # of a number, say
            except json.JSONDecodeError:
                more = '' if at_end else text.read(max(_CHARACTERS, len(buffer)))
                if more:
                    buffer += more
                elif not at_end:
                    at_end = True
                elif buffer or within_list:
                    raise
                else:
                    return
            else:
                yield value
                buffer = buffer[end:]
