"""CSV and TSV. Every cell is text as it stands: ``007`` is no number."""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.csv

from beam_argilla.failures import FailedRecord
from beam_argilla.input import kind
from beam_argilla.input.kind import Kind, Part, Piece, bad_line
from beam_argilla.input.roles import Wanted
from beam_argilla.input.text_files import TROUBLE, Text, for_arrow, open_text, without_compression

_BLOCK_BYTES = 4 << 20
_LARGEST_BLOCK_BYTES = 1 << 30  # a row has to fit into one, or two
_OTHER_DELIMITERS = ('\t', ';', '|')
_UNCLOSED = 'it has a quote that is never closed, and so holds all that follows'


class Csv(Kind):
    """A file is one part, for a line break may be one within a cell. Cells that are empty and not quoted are null.

    What is between the cells is a tab in ``.tsv`` files. Elsewhere it is a comma, unless the header has none, and has
    one other of tab, semicolon and bar.
    """

    name, title, suffixes = 'csv', 'CSV', ('.csv', '.tsv')

    def schema(self, path: str) -> pa.Schema:
        try:
            with open_text(path) as text:
                return pa.schema([pa.field(name, pa.string()) for name in _header(text, path)])
        except (*TROUBLE, csv.Error) as e:
            raise self.unreadable(path, e) from e

    def says_nothing(self, path: str, name: str) -> bool:
        return False  # further down there may be something

    def parts(self, path: str, whole: bool) -> Iterator[Part]:
        yield Part(path, self.name)

    def read(self, part: Part, wanted: Wanted) -> Iterator[Piece | FailedRecord]:
        block_bytes, done = _BLOCK_BYTES, 0
        names = self.schema(part.path).names
        while names:
            try:
                for found in _read(part.path, names, block_bytes, done):
                    yield found
                    done += len(found.numbers) if isinstance(found, Piece) else 1
                return
            except TROUBLE as e:
                if 'Empty CSV' in str(e):  # a header alone, without a line break
                    return
                if 'straddling' not in str(e) or block_bytes >= _LARGEST_BLOCK_BYTES:
                    raise self.unreadable(part.path, e) from e
                block_bytes *= 16  # for a row that is longer than a block


def _read(path: str, names: list[str], block_bytes: int, first: int) -> Iterator[Piece | FailedRecord]:
    """The rows from the `first` on, and those that have not as many cells as the header."""
    bad: dict[int, Any] = {}  # what Arrow has found ahead of the rows that it gives
    row = 0
    with open_text(path) as text, _reader(text, path, names, block_bytes, bad) as reader:
        line_of = _LineOf(path, _delimiter(path, text.beginning))

        def refused(before: int | None = None) -> Iterator[FailedRecord]:
            for number in sorted(n for n in bad if before is None or n < before):
                invalid = bad.pop(number)
                why = f'it has {invalid.actual_columns} cells, the header {invalid.expected_columns}'
                if number >= first:
                    yield bad_line(path, number, line_of(number), why, invalid.text)

        for batch, is_last in _telling_the_last(reader):
            rows = pa.Table.from_batches([batch])
            unclosed = is_last and _is_unclosed(batch, text)
            numbers = list(itertools.islice((n for n in itertools.count(row) if n not in bad), len(rows)))
            if unclosed:
                (swallowed,) = rows.slice(len(rows) - 1).to_pylist()
                yield bad_line(path, numbers[-1], line_of(numbers[-1]), _UNCLOSED, swallowed)
                rows, numbers = rows.slice(0, len(rows) - 1), numbers[:-1]
            row = numbers[-1] + 1 if numbers else row
            yield from refused(row)
            known = sum(n < first for n in numbers)
            for start in range(known, len(rows), kind.MAX_BATCH_ROWS):
                end = start + kind.MAX_BATCH_ROWS
                yield Piece(numbers[start:end], rows.slice(start, kind.MAX_BATCH_ROWS))
        yield from refused()


def _telling_the_last(reader: Iterator[pa.RecordBatch]) -> Iterator[tuple[pa.RecordBatch, bool]]:
    """The batches that have rows, and whether no other follows."""
    held: pa.RecordBatch | None = None
    try:
        for batch in reader:
            if len(batch):
                if held is not None:
                    yield held, False
                held = batch
    except TROUBLE:
        if held is not None:
            yield held, False
        raise
    if held is not None:
        yield held, True


def _is_unclosed(batch: pa.RecordBatch, text: Text) -> bool:
    """Whether the last cell of a file began with a quote that is never closed: Arrow closes it at the file's end."""
    cell = (batch.column(batch.num_columns - 1)[len(batch) - 1].as_py() or b'')[-64:]
    if b'\n' in cell or b'\r' in cell:
        return not text.end.rstrip(b'\r\n').endswith(b'"') and (b'"' in cell or text.end.endswith(cell))
    return bool(cell) and text.end.endswith(b'"' + cell)


class _LineOf:
    """Which line of the file, from 1, a row begins in. The file is read again for it, as far as is asked."""

    def __init__(self, path: str, delimiter: str):
        self._lines = _lines_of_rows(path, delimiter)
        self._row = -1
        self._line: int | None = None

    def __call__(self, row: int) -> int | None:
        while self._row < row:
            self._row, self._line = self._row + 1, next(self._lines, None)
        return self._line


def _lines_of_rows(path: str, delimiter: str) -> Iterator[int]:
    with contextlib.suppress(csv.Error, *TROUBLE), open_text(path) as text:  # then it is not known
        reader = csv.reader(io.TextIOWrapper(io.BufferedReader(text), 'latin-1', newline=''), delimiter=delimiter)
        line = 1
        is_header = True
        for cells in reader:
            if cells and not is_header:
                yield line
            is_header = is_header and not cells
            line = reader.line_num + 1


def _header(text: Text, path: str) -> list[str]:
    """The names of the columns; none if the file is empty."""
    delimiter = _delimiter(path, text.beginning)
    lines = io.StringIO(text.read(_BLOCK_BYTES).decode('utf-8-sig', 'surrogateescape'), newline='')
    names = next((cells for cells in csv.reader(lines, delimiter=delimiter) if cells), [])
    if any('\udc80' <= character <= '\udcff' for name in names for character in name):
        raise OSError('its header is not UTF-8')
    return names


def _delimiter(path: str, beginning: bytes) -> str:
    if without_compression(path).lower().endswith('.tsv'):
        return '\t'
    header = beginning.lstrip().splitlines()[:1]
    others = [other for other in _OTHER_DELIMITERS if header and other.encode() in header[0]]
    return others[0] if len(others) == 1 and b',' not in header[0] else ','


def _reader(
    text: Text, path: str, names: list[str], block_bytes: int, bad: dict[int, Any]
) -> pa.csv.CSVStreamingReader:
    """Reads the columns as bytes, which are not looked into; rows with other numbers of cells go to `bad`."""

    def note(invalid: Any) -> str:
        bad[invalid.number - 2] = invalid  # which counts from 1, with the header
        return 'skip'

    return pa.csv.open_csv(
        for_arrow(text),
        pa.csv.ReadOptions(use_threads=False, block_size=block_bytes),
        pa.csv.ParseOptions(
            delimiter=_delimiter(path, text.beginning), newlines_in_values=True, invalid_row_handler=note
        ),
        pa.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.large_binary()),
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            null_values=[''],
        ),
    )
