"""CSV and TSV. Every cell is text as it stands: ``007`` is no number."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.csv

from beam_argilla.failures import FailedRecord
from beam_argilla.input import kind
from beam_argilla.input.compression import TROUBLE, open_bytes, without_compression
from beam_argilla.input.kind import Kind, Part, Piece, bad_line
from beam_argilla.input.roles import Wanted

_BLOCK_BYTES = 4 << 20


class Csv(Kind):
    """A file is one part, for a line break may be one within a cell. Cells that are empty and not quoted are null."""

    name, title, suffixes = 'csv', 'CSV', ('.csv', '.tsv')

    def schema(self, path: str) -> pa.Schema:
        try:
            with open_bytes(path) as file, _reader(file, path, [], []) as reader:
                return pa.schema([pa.field(name, pa.string()) for name in reader.schema.names])
        except pa.ArrowInvalid as e:
            if 'Empty CSV file' in str(e):
                return pa.schema([])
            raise self.unreadable(path, e) from e
        except TROUBLE as e:
            raise self.unreadable(path, e) from e

    def says_nothing(self, path: str, name: str) -> bool:
        return False  # further down there may be something

    def parts(self, path: str, whole: bool) -> Iterator[Part]:
        if self.schema(path).names:
            yield Part(path, self.name)

    def read(self, part: Part, wanted: Wanted) -> Iterator[Piece | FailedRecord]:
        bad: list[Any] = []
        row = 0
        names = self.schema(part.path).names
        try:
            with open_bytes(part.path) as file, _reader(file, part.path, names, bad) as reader:
                for batch in reader:
                    while bad:
                        invalid = bad.pop(0)
                        why = f'it has {invalid.actual_columns} cells, not {invalid.expected_columns}'
                        number = -1 if invalid.number is None else invalid.number - 1
                        yield bad_line(part.path, number, why, invalid.text, 'Row')
                    table = pa.Table.from_batches([batch])
                    for start in range(0, table.num_rows, kind.MAX_BATCH_ROWS):
                        some = table.slice(start, kind.MAX_BATCH_ROWS)
                        yield Piece(range(row, row + some.num_rows), some)
                        row += some.num_rows
        except TROUBLE as e:
            raise self.unreadable(part.path, e) from e


def _reader(file: Any, path: str, names: list[str], bad: list[Any]) -> pa.csv.CSVStreamingReader:
    """Reads these columns as bytes, which are not looked into; rows with other numbers of cells go to `bad`."""

    def note(invalid: Any) -> str:
        bad.append(invalid)
        return 'skip'

    tabs = without_compression(path.lower()).endswith('.tsv')
    return pa.csv.open_csv(
        file if isinstance(file, pa.NativeFile) else pa.PythonFile(file),
        pa.csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES),
        pa.csv.ParseOptions(delimiter='\t' if tabs else ',', newlines_in_values=True, invalid_row_handler=note),
        pa.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.binary()),
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            null_values=[''],
        ),
    )
