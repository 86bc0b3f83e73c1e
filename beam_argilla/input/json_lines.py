"""JSON Lines: an object in each line."""

from __future__ import annotations

import codecs
import itertools
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from beam_argilla.failures import FailedRecord
from beam_argilla.input import kind
from beam_argilla.input.compression import TROUBLE, codec_of, open_bytes
from beam_argilla.input.kind import Kind, Part, Piece, bad_line
from beam_argilla.input.roles import Wanted

_BLOCK_BYTES = 4 << 20
_HEAD_LINES = 1_000  # of which is learned what the columns are
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class JsonLines(Kind):
    """Parts are ranges of bytes; a line is of the part that it begins in.

    Arrow reads most blocks, with the types that the lines before had: it guesses none (of texts it would make times),
    and leaves out what nobody wants. A block that it cannot read so, or not exactly, is read line by line, and each
    row judged by itself.
    """

    name, title, suffixes = 'jsonl', 'JSON Lines', ('.jsonl', '.ndjson', '.jsonlines')

    def schema(self, path: str) -> pa.Schema:
        try:
            block, _ = next(_blocks(Part(path, self.name)), (b'', 0))
        except TROUBLE as e:
            raise self.unreadable(path, e) from e
        lines = [parsed(line) for _, line in itertools.islice(_numbered(block, 0), _HEAD_LINES)]
        rows = [row for row in lines if not isinstance(row, str)]
        if lines and not rows:
            raise self.unreadable(path, f'its first line is no row: {lines[0]}')
        return schema_of(rows)

    def says_nothing(self, path: str, name: str) -> bool:
        return False  # further down there may be something

    def parts(self, path: str, whole: bool) -> Iterator[Part]:
        try:
            with open_bytes(path) as file:
                if codec_of(path) is not None or whole:
                    yield Part(path, self.name)
                    return
                file.seek(0, 2)
                size = file.tell()
        except TROUBLE as e:
            raise self.unreadable(path, e) from e
        for first in range(0, max(size, 1), kind.SPLIT_BYTES):
            yield Part(path, self.name, first, min(first + kind.SPLIT_BYTES, size))

    def read(self, part: Part, wanted: Wanted) -> Iterator[Piece | FailedRecord]:
        base = _Before(part)
        known: _Known | None = None
        try:
            for block, first in _blocks(part):
                table = None if known is None else known.table(block)
                if table is not None:
                    yield Piece(_Lines(base, range(first, first + table.num_rows)), table)
                    continue
                rows: list[Mapping[str, Any]] = []
                numbers: list[int] = []
                for number, line in _numbered(block, first):
                    row = parsed(line)
                    if isinstance(row, str):
                        yield bad_line(part.path, base() + number, row, line)
                    else:
                        rows.append(row)
                        numbers.append(number)
                if rows:
                    yield Piece(_Lines(base, numbers), rows)
                    known = _Known(schema_of(rows[:_HEAD_LINES]), wanted)
        except TROUBLE as e:
            raise self.unreadable(part.path, e) from e


class _Before:
    """How many lines of the file come before a part: counted when it is asked for, for that is seldom."""

    def __init__(self, part: Part):
        self._part = part
        self._count: int | None = None

    def __call__(self) -> int:
        if self._count is None:
            self._count = 0
            if self._part.first:
                with open_bytes(self._part.path) as file:
                    left = self._part.first
                    while left and (block := file.read(min(left, _BLOCK_BYTES))):
                        self._count += block.count(b'\n')
                        left -= len(block)
                    # The line that the part begins in is of the one before, unless it begins just there.
                    self._count += not block.endswith(b'\n')
        return self._count


class _Lines(Sequence[int]):
    """Numbers of lines in a file, given those in its part."""

    def __init__(self, base: _Before, numbers: Sequence[int]):
        self._base = base
        self._numbers = numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: Any) -> Any:
        return self._base() + self._numbers[index]


class _Known:
    """What the columns of the lines so far are, to read others in Arrow."""

    def __init__(self, schema: pa.Schema, wanted: Wanted):
        names = list(dict.fromkeys(wanted(schema.names)))
        self._schema = pa.schema([schema.field(name) for name in names])
        self._parse = pa.json.ParseOptions(explicit_schema=self._schema, unexpected_field_behavior='ignore')
        # What may come up later, of which there is no type yet: other columns that are wanted, other numbered ones.
        self._unseen = [orjson.dumps(name) for name in wanted(_Everything()) if name not in names]
        self._seen = set(map(orjson.dumps, schema.names))
        patterns = {
            re.sub(rb'[0-9]+', b'[0-9]+', re.escape(orjson.dumps(name))) for name in names if _DIGITS.search(name)
        }
        self._numbered = re.compile(b'|'.join(sorted(patterns))) if patterns else None

    def table(self, block: bytes) -> pa.Table | None:
        """The rows of the block; None if they have to be read one by one."""
        if any(name in block for name in self._unseen):
            return None
        if self._numbered is not None and not self._seen.issuperset(self._numbered.findall(block)):
            return None
        options = pa.json.ReadOptions(use_threads=False, block_size=len(block) + 1)
        try:
            table = pa.json.read_json(pa.BufferReader(block), read_options=options, parse_options=self._parse)
        except pa.ArrowException:
            return None
        num_lines = block.count(b'\n') + (not block.endswith(b'\n'))
        return table if table.num_rows == num_lines and all(map(_is_exact, table.columns)) else None


_DIGITS = re.compile('[0-9]')


class _Everything(Collection[str]):
    """The names of all columns that there could be."""

    def __contains__(self, name: object) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def _is_exact(column: pa.ChunkedArray | pa.Array) -> bool:
    """Whether its numbers are those that are written: integers among floats may have been rounded."""
    kind_ = column.type
    if pa.types.is_floating(kind_):
        return not pc.any(pc.greater_equal(pc.abs(column), 2.0**53)).as_py()
    if pa.types.is_list(kind_):
        return _is_exact(pc.list_flatten(column))
    if pa.types.is_struct(kind_):
        return all(_is_exact(pc.struct_field(column, [i])) for i in range(kind_.num_fields))
    return True


def _blocks(part: Part) -> Iterator[tuple[bytes, int]]:
    """Whole lines of a part, some at a time, and the number of the first of them, counted in the part.

    Raises:
        TROUBLE: it cannot be read further; the whole lines before came first.
    """
    with open_bytes(part.path) as file:
        number, left = 0, b''
        position = part.first
        if part.first:
            file.seek(part.first - 1)
            position -= 1
        begun = not part.first  # else the rest of a line comes first, which is of the part before
        while True:
            try:
                read = file.read(_BLOCK_BYTES)
            except TROUBLE:
                if b'\n' in left:
                    yield left[: left.rindex(b'\n') + 1], number
                raise
            if not begun:
                skipped = read.find(b'\n') + 1
                if read and not skipped:
                    position += len(read)
                    continue
                begun, read = True, read[skipped:]
                position += skipped
            elif position == 0 and not left:
                _check_encoding(read)
                if read.startswith(codecs.BOM_UTF8):
                    read, position = read[len(codecs.BOM_UTF8) :], len(codecs.BOM_UTF8)
            if part.end is not None and position >= part.end:
                return
            left += read
            last = -1 if part.end is None else left.find(b'\n', max(part.end - 1 - position, 0))
            if last >= 0 or not read:  # the end of the part, or of the file
                block = left[: last + 1] if last >= 0 else left
                if block:
                    yield block, number
                return
            cut = left.rfind(b'\n') + 1
            if cut:
                block, left = left[:cut], left[cut:]
                yield block, number
                number += block.count(b'\n')
                position += cut


def _check_encoding(beginning: bytes) -> None:
    if beginning.startswith(_UTF16):
        raise OSError('it is UTF-16; write it as UTF-8')


def _numbered(block: bytes, first: int) -> Iterator[tuple[int, bytes]]:
    """The lines that are not empty, and their numbers."""
    for number, line in enumerate(block.split(b'\n'), first):
        if stripped := line.strip():
            yield number, stripped


def parsed(text: bytes | str) -> Mapping[str, Any] | str:
    """The object that a text is; or why it is none."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as e:
        try:
            value = json.loads(text)  # which takes NaN, as Python writes it
        except (ValueError, RecursionError):
            return f'{e.msg} at character {e.pos + 1}'
    return value if isinstance(value, Mapping) else f'it is {_A[type(value)]}, not an object'


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
