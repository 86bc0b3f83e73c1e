"""JSON Lines: an object in each line."""

from __future__ import annotations

import codecs
import contextlib
import functools
import gc
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from beam_argilla.failures import FailedRecord
from beam_argilla.input import kind
from beam_argilla.input.kind import Kind, Numbers, Part, Piece, bad_line
from beam_argilla.input.roles import Wanted
from beam_argilla.input.text_files import TROUBLE, codec_of, open_text

_BLOCK_BYTES = 4 << 20
_HEAD_LINES = 1_000  # of which is learned what the columns are


class JsonLines(Kind):
    """Parts are ranges of bytes; a line is of the part that it begins in.

    orjson reads the lines rather than pyarrow.json, which guesses types (of texts it makes times), ends a file for one
    line, and ends the process where a block begins with the line ``null`` (apache/arrow#47409).
    """

    name, title, suffixes = 'jsonl', 'JSON Lines', ('.jsonl', '.ndjson', '.jsonlines')

    def schema(self, path: str) -> pa.Schema:
        try:
            block, _ = next(_blocks(Part(path, self.name)), (b'', 0))
        except TROUBLE as e:
            raise self.unreadable(path, e) from e
        lines = [parsed(line) for _, line in itertools.islice(_numbered(block, 0), _HEAD_LINES)]
        rows = [row for row in lines if not isinstance(row, str)]
        if not rows and block.lstrip().startswith(b'['):
            raise self.unreadable(path, "it holds a list, as JSON does: format='json', --format json")
        if lines and not rows and (len(lines) > 1 or not block.lstrip().startswith(b'{')):
            raise self.unreadable(path, f'its first line is no row: {lines[0]}')
        return schema_of(rows)

    def says_nothing(self, path: str, name: str) -> bool:
        return False  # further down there may be something

    def parts(self, path: str, whole: bool) -> Iterator[Part]:
        if codec_of(path) is not None or whole:
            yield Part(path, self.name)
            return
        try:
            with open_text(path) as text:
                size = text.size()
        except TROUBLE as e:
            raise self.unreadable(path, e) from e
        for first in range(0, size, kind.SPLIT_BYTES):
            yield Part(path, self.name, first, min(first + kind.SPLIT_BYTES, size))

    def read(self, part: Part, wanted: Wanted) -> Iterator[Piece | FailedRecord]:
        before = functools.cache(functools.partial(_lines_before, part))
        try:
            for block, first in _blocks(part):
                exactly = _may_have_long_numbers(block)
                lines = _numbered(block, first)
                while some := list(itertools.islice(lines, kind.MAX_BATCH_ROWS)):
                    rows: list[Mapping[str, Any]] = []
                    numbers: list[int] = []
                    with _uncollected():
                        found = [parsed(line, exactly) for _, line in some]
                    for row, (number, line) in zip(found, some, strict=True):
                        if isinstance(row, str):
                            number += before()
                            yield bad_line(part.path, number, number + 1, row, line)
                        else:
                            rows.append(row)
                            numbers.append(number)
                    if rows:
                        yield Piece(Numbers(before, numbers), rows)
        except TROUBLE as e:
            raise self.unreadable(part.path, e) from e


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Python's garbage collector waits meanwhile: it would look through thousands of new dicts, none of them garbage,
    again and again, which takes a third of the time of reading structs."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _lines_before(part: Part) -> int:
    """How many lines of the file begin before the part."""
    if not part.first:
        return 0
    count, left, block = 0, part.first, b''
    with open_text(part.path) as text:
        while left and (block := text.read(min(left, _BLOCK_BYTES))):
            count += block.count(b'\n')
            left -= len(block)
    return count + (not block.endswith(b'\n'))  # the line that the part begins in is of the one before


def _blocks(part: Part) -> Iterator[tuple[bytes, int]]:
    """Whole lines of a part, some at a time, and the number of the first of them, counted in the part.

    Raises:
        TROUBLE: it cannot be read further; the whole lines before came first.
    """
    with open_text(part.path) as text:
        number, position, held = 0, part.first, bytearray()
        if part.first:  # what is left of the line before is of the part before
            position -= 1
            text.start_at(position)
        begun = not part.first
        while read := text.read(_BLOCK_BYTES):
            if not begun:
                skipped = read.find(b'\n') + 1 or len(read)
                begun = read[skipped - 1 : skipped] == b'\n'
                position, read = position + skipped, read[skipped:]
            elif not position and not held and read.startswith(codecs.BOM_UTF8):
                position, read = len(codecs.BOM_UTF8), read[len(codecs.BOM_UTF8) :]
            if part.end is not None and position >= part.end:
                return
            ends_at = None if part.end is None else part.end - 1 - position - len(held)
            at = -1 if ends_at is None or ends_at >= len(read) else read.find(b'\n', max(ends_at, 0))
            cut = (at if at >= 0 else read.rfind(b'\n')) + 1
            if cut:
                block = bytes(held) + read[:cut]
                yield block, number
                if at >= 0:
                    return
                number += block.count(b'\n')
                position += len(block)
                held.clear()
            held += read[cut:]
        if held:
            yield bytes(held), number


def _numbered(block: bytes, first: int) -> Iterator[tuple[int, bytes]]:
    """The lines that are not empty, and their numbers."""
    for number, line in enumerate(block.split(b'\n'), first):
        if line and not line.isspace():
            yield number, line


_LONG_NUMBER = re.compile(rb'[0-9]{19}')


def _may_have_long_numbers(block: bytes) -> bool:
    """Whether there may be 19 digits in a row, at a tenth of what reading takes: then four that are four apart are."""
    digits = np.frombuffer(block, np.uint8)[::4] - 48 < 10  # less than 0 is more than 200
    return bool((digits[3:] & digits[2:-1] & digits[1:-2] & digits[:-3]).any())


def parsed(line: bytes, exactly: bool = True) -> Mapping[str, Any] | str:
    """The object that a line is; or why it is none.

    Args:
        exactly: integers beyond 64 bits are what they are; orjson makes floats of them.
    """
    try:
        value = json.loads(line.decode()) if exactly and _LONG_NUMBER.search(line) else orjson.loads(line)
    except ValueError as e:
        try:
            value = json.loads(line.decode())  # which takes NaN, as Python writes it
        except UnicodeDecodeError:
            return 'it is not UTF-8'
        except RecursionError:
            return 'it is nested too deeply'
        except ValueError:
            return f'{e.msg} at character {e.pos + 1}' if isinstance(e, json.JSONDecodeError) else str(e)
    except RecursionError:
        return 'it is nested too deeply'
    return value if isinstance(value, dict) else not_an_object(value)


def not_an_object(value: Any) -> str:
    """What is said of a value where an object should be."""
    return f'it is {_A[type(value)]}, not an object'


_A = {list: 'a list', str: 'a text', int: 'a number', float: 'a number', bool: 'true or false', type(None): 'null'}


def schema_of(rows: Sequence[Mapping[str, Any]]) -> pa.Schema:
    """The columns of rows. One whose values are of several types is of type null, as is one without any."""
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.schema([pa.field(name, _type([row.get(name) for row in rows])) for name in names])


def _type(values: Sequence[Any]) -> pa.DataType:
    kinds = {type(value) for value in values if value is not None}
    if kinds == {dict}:
        names = dict.fromkeys(name for value in values for name in value or ())
        return pa.struct([pa.field(name, _type([value.get(name) for value in values if value])) for name in names])
    if kinds == {list}:
        return pa.list_(_type([item for value in values for item in value or ()]))
    if kinds == {int, float}:
        return pa.float64()
    if kinds == {int} and not all(value is None or -(2**63) <= value < 2**63 for value in values):
        return pa.null()
    return _TYPES.get(next(iter(kinds)), pa.null()) if len(kinds) == 1 else pa.null()


_TYPES = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
