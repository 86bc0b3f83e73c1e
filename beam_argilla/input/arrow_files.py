"""Arrow IPC files and streams, as Arrow itself, Feather (version 2) and datasets write them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from beam_argilla.failures import FailedRecord
from beam_argilla.files import open_file
from beam_argilla.input import kind
from beam_argilla.input.compression import TROUBLE
from beam_argilla.input.kind import Kind, Part, Piece, pieces
from beam_argilla.input.roles import Wanted

_MAGIC = b'ARROW1'


class Arrow(Kind):
    """Parts of a file are ranges of record batches; a stream is one part."""

    name, title, suffixes = 'arrow', 'Arrow IPC', ('.arrow', '.feather', '.ipc', '.arrows')

    def schema(self, path: str) -> pa.Schema:
        with self._open(path) as reader:
            return reader.schema

    def says_nothing(self, path: str, name: str) -> bool:
        return False  # there are no statistics

    def parts(self, path: str, whole: bool) -> Iterator[Part]:
        with self._open(path) as reader:
            if whole or not hasattr(reader, 'num_record_batches'):
                yield Part(path, self.name)
                return
            first = size = row = num_rows = 0
            for index in range(reader.num_record_batches):
                batch = reader.get_batch(index)  # of a local file, its address alone
                size, num_rows = size + batch.nbytes, num_rows + batch.num_rows
                if index == reader.num_record_batches - 1 or size >= kind.SPLIT_BYTES:
                    yield Part(path, self.name, first, index + 1, row)
                    first, size, row, num_rows = index + 1, 0, row + num_rows, 0

    def read(self, part: Part, wanted: Wanted) -> Iterator[Piece | FailedRecord]:
        row = part.row
        with self._open(part.path) as reader:
            names = [name for name in reader.schema.names if name in set(wanted(reader.schema.names))]
            for batch in self._batches(reader, part):
                table = pa.Table.from_batches([batch])
                if len(set(table.column_names)) == len(table.column_names):
                    table = table.select(names or table.column_names[:1])
                for piece in pieces(table):
                    for start in range(0, piece.num_rows, kind.MAX_BATCH_ROWS):
                        some = piece.slice(start, kind.MAX_BATCH_ROWS)
                        yield Piece(range(row, row + some.num_rows), some)
                        row += some.num_rows

    def _batches(self, reader: Any, part: Part) -> Iterator[pa.RecordBatch]:
        try:
            if hasattr(reader, 'num_record_batches'):
                end = reader.num_record_batches if part.end is None else part.end
                yield from (reader.get_batch(index) for index in range(part.first, end))
            else:
                yield from reader
        except TROUBLE as e:
            raise self.unreadable(part.path, e) from e

    @contextlib.contextmanager
    def _open(self, path: str) -> Iterator[Any]:
        try:
            file = open_file(path)
            is_file = file.read(len(_MAGIC)) == _MAGIC
            file.seek(0)
            source = file if isinstance(file, pa.NativeFile) else pa.PythonFile(file)
            reader = pa.ipc.open_file(source) if is_file else pa.ipc.open_stream(source)
        except TROUBLE as e:
            raise self.unreadable(path, e) from e
        with file:
            yield reader
