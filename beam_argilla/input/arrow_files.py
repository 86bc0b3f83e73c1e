"""Arrow IPC files and streams, as Arrow itself, Feather (version 2) and datasets write them."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from beam_argilla.failures import FailedRecord
from beam_argilla.files import open_file
from beam_argilla.input import kind
from beam_argilla.input.kind import Kind, Numbers, Part, Piece, pieces
from beam_argilla.input.roles import Wanted
from beam_argilla.input.text_files import TROUBLE, for_arrow

_MAGIC = b'ARROW1'
_FEATHER_1 = b'FEA1'


class Arrow(Kind):
    """Parts of a file are ranges of record batches; a stream is one part."""

    name, title, suffixes = 'arrow', 'Arrow IPC', ('.arrow', '.feather', '.ipc', '.arrows')

    def schema(self, path: str) -> pa.Schema:
        with self._open(path) as (_, reader):
            return reader.schema

    def says_nothing(self, path: str, name: str) -> bool:
        return False  # there are no statistics

    def parts(self, path: str, whole: bool) -> Iterator[Part]:
        with self._open(path) as (file, reader):
            if whole or not hasattr(reader, 'num_record_batches'):
                yield Part(path, self.name)
                return
            file.seek(0, 2)
            batch_bytes = file.tell() / max(reader.num_record_batches, 1)
            step = max(1, int(kind.SPLIT_BYTES / max(batch_bytes, 1)))
            for first in range(0, reader.num_record_batches, step):
                yield Part(path, self.name, first, min(first + step, reader.num_record_batches))

    def read(self, part: Part, wanted: Wanted) -> Iterator[Piece | FailedRecord]:
        with self._open(part.path) as (_, reader):
            names = reader.schema.names
        needed = set(wanted(names)) or names[:1]  # to know how many rows there are
        fields = [i for i, name in enumerate(names) if name in needed]
        before, row = functools.cache(functools.partial(self._rows_before, part)), 0
        try:
            with self._open(part.path, pa.ipc.IpcReadOptions(included_fields=fields)) as (_, reader):
                for batch in _batches(reader, part.first, part.end):
                    for piece in pieces(pa.Table.from_batches([batch])):
                        for start in range(0, len(piece), kind.MAX_BATCH_ROWS):
                            some = piece.slice(start, kind.MAX_BATCH_ROWS)
                            yield Piece(Numbers(before, range(row, row + len(some))), some)
                            row += len(some)
        except TROUBLE as e:
            raise self.unreadable(part.path, e) from e

    def _rows_before(self, part: Part) -> int:
        """How many rows of the file come before a part."""
        with self._open(part.path, pa.ipc.IpcReadOptions(included_fields=[0])) as (_, reader):
            return sum(map(len, _batches(reader, 0, part.first))) if part.first else 0

    @contextlib.contextmanager
    def _open(self, path: str, options: pa.ipc.IpcReadOptions | None = None) -> Iterator[tuple[Any, Any]]:
        try:
            file = open_file(path)
        except TROUBLE as e:
            raise self.unreadable(path, e) from e
        with contextlib.closing(file):
            try:
                magic = file.read(len(_MAGIC))
                if magic.startswith(_FEATHER_1):
                    raise OSError('it is Feather of version 1; write it as version 2')
                file.seek(0)
                opened = pa.ipc.open_file if magic == _MAGIC else pa.ipc.open_stream
                reader = opened(for_arrow(file), options=options)
            except TROUBLE as e:
                raise self.unreadable(path, e) from e
            yield file, reader


def _batches(reader: Any, first: int, end: int | None) -> Iterator[pa.RecordBatch]:
    if not hasattr(reader, 'num_record_batches'):
        yield from reader
        return
    for index in range(first, reader.num_record_batches if end is None else end):
        yield reader.get_batch(index)
