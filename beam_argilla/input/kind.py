"""What a kind of file (Parquet, JSON Lines, …) has to offer to whoever reads files; each is a file beside this one."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import pyarrow as pa

from beam_argilla.errors import InputError
from beam_argilla.failures import FailedRecord, to_json
from beam_argilla.input.roles import Wanted

# Bytes that one worker reads in one go, and that one table holds. A footer read per 64 MB does not count; a few tables
# of 16 MB fit any worker.
SPLIT_BYTES = 64 << 20
BATCH_BYTES = 16 << 20
MAX_BATCH_ROWS = 1 << 13  # dictionary-encoded, many rows of a long prompt look small


class Part(NamedTuple):
    """A part of a file that can be read by itself.

    Attributes:
        path: the file.
        kind: the name of its kind.
        first: where it begins, in whatever the kind counts in (row groups, batches, bytes).
        end: before which it ends; None: the end of the file.
        row: which row of the file its first one is, where that is known beforehand.
        num_rows: how many it has, where that is known beforehand; else 0.
    """

    path: str
    kind: str
    first: int = 0
    end: int | None = None
    row: int = 0
    num_rows: int = 0


class Piece(NamedTuple):
    """Some rows of a file: a table, or dicts, each of which is judged by itself.

    Attributes:
        numbers: which rows of the file they are, counted from 0.
        rows: the table, or the dicts.
    """

    numbers: Sequence[int]
    rows: pa.Table | Sequence[Mapping[str, Any]]


class Kind(abc.ABC):
    """How files of a kind are read. Stateless: one of each serves all files.

    Every method raises InputError, with the file's name, if it cannot be read.

    Attributes:
        name: what a user calls it (``--format``).
        title: what it is called in messages.
        suffixes: what the names of such files end with, in lower case, before that of a compression.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]]

    @abc.abstractmethod
    def schema(self, path: str) -> pa.Schema:
        """The columns of the file: by its footer, or as far as its beginning tells.

        A column whose values are of several types is of type null, as is one without any.
        """

    @abc.abstractmethod
    def says_nothing(self, path: str, name: str) -> bool:
        """Whether it is known that no row of the file has a value in that column."""

    @abc.abstractmethod
    def parts(self, path: str, whole: bool) -> Iterator[Part]:
        """Parts of about SPLIT_BYTES that together are the file; if it is wanted `whole`, one."""

    @abc.abstractmethod
    def read(self, part: Part, wanted: Wanted) -> Iterator[Piece | FailedRecord]:
        """The rows of the part in order, with the columns that are wanted, or more; and what is no row.

        What could be read before the file turned out to be damaged comes first.
        """

    def unreadable(self, path: str, why: object) -> InputError:
        """What is said of a file that is not of this kind, or is damaged."""
        return InputError(
            f'{path} cannot be read as {self.title}: {why}. If it is of another kind, say which: format=..., --format.'
        )


class Numbers(Sequence[int]):
    """Which rows of a file those of a part are, where it takes time to count what comes before: done if it is asked."""

    def __init__(self, before: Callable[[], int], in_part: Sequence[int]):
        self._before = before
        self._in_part = in_part

    def __len__(self) -> int:
        return len(self._in_part)

    def __getitem__(self, index: Any) -> Any:
        return self._before() + self._in_part[index]


def bad_line(path: str, row: int, line: int | None, why: str, text: Any) -> FailedRecord:
    """What is refused of a file because it is no row.

    Args:
        row: which of the file it is, counted from 0.
        line: the one that it begins in, counted from 1; None if it is not known, or there are no lines.
        text: what stands there.
    """
    where = f'Row {row}' if line is None else f'Line {line}'
    message = f'{where} of {path} cannot be read: {why}.'
    return FailedRecord(None, 'format', 'BadLine', message, None, to_json({'text': text}), path, row)


def pieces(table: pa.Table) -> Iterator[pa.Table]:
    """The table in pieces of about BATCH_BYTES; an empty one as it is."""
    step = max(1, int(table.num_rows * BATCH_BYTES / max(table.nbytes, 1)))
    for start in range(0, max(table.num_rows, 1), step):
        yield table.slice(start, step)
