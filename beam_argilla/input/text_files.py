"""Files of text, compressed or not, of any Beam file system."""

from __future__ import annotations

import codecs
import contextlib
import io
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from beam_argilla.files import open_file

TROUBLE = (pa.ArrowException, OSError, EOFError, UnicodeError)  # what opening and reading raise
_CODECS = {'.gz': 'gzip', '.zst': 'zstd', '.zstd': 'zstd', '.bz2': 'bz2'}
_STEP_BYTES = 2 << 10  # a codec that ends in the middle of a read gives nothing of it: little is lost so
_LOOKED_AT_BYTES = 4 << 10
_KNOWN = {
    b'PAR1': "it looks like Parquet: format='parquet', --format parquet",
    b'ARROW1': "it looks like an Arrow file: format='arrow', --format arrow",
    b'\x1f\x8b': 'it is compressed by gzip, and its name does not end with .gz',
    b'\x28\xb5\x2f\xfd': 'it is compressed by zstd, and its name does not end with .zst',
    b'PK\x03\x04': 'it is a zip archive: unpack it',
    codecs.BOM_UTF16_LE: 'it is UTF-16: write it as UTF-8',
    codecs.BOM_UTF16_BE: 'it is UTF-16: write it as UTF-8',
}


def codec_of(path: str) -> str | None:
    """How a file is compressed, by its name; None if it is not."""
    return next((codec for suffix, codec in _CODECS.items() if path.lower().endswith(suffix)), None)


def without_compression(name: str) -> str:
    """The name without the end that says how the file is compressed."""
    suffix = next((suffix for suffix in _CODECS if name.lower().endswith(suffix)), '')
    return name[: len(name) - len(suffix)]


def for_arrow(file: Any) -> pa.NativeFile:
    """The file as Arrow's readers take it."""
    return file if isinstance(file, pa.NativeFile) else pa.PythonFile(file, mode='r')


@contextlib.contextmanager
def open_text(path: str) -> Iterator[Text]:
    """The bytes of a file of text, to be read from its beginning on.

    Raises:
        TROUBLE: it is not there, or is plainly something else.
    """
    with contextlib.closing(open_file(path)) as file:
        codec = codec_of(path)
        text = Text(file if codec is None else pa.CompressedInputStream(for_arrow(file), codec), codec is not None)
        _check(text.beginning)
        yield text


class Text(io.RawIOBase):
    """Bytes as they are in the text. Where they cannot be read further, all before that come first.

    Attributes:
        beginning: the first of them.
        end: the last that were read.
    """

    def __init__(self, file: Any, is_compressed: bool):
        super().__init__()
        self._file = file
        self._step = _STEP_BYTES if is_compressed else None
        self._error: Exception | None = None
        self._ahead = self.end = b''
        self.beginning = self._ahead = self._more(_LOOKED_AT_BYTES)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if self._ahead:
            found, self._ahead = self._ahead, b''
            if size >= 0:
                found, self._ahead = found[:size], found[size:]
            if len(found) < size:
                found += self._more(size - len(found))
        else:
            found = self._more(size)
        if not found and self._error is not None:
            raise self._error
        self.end = (self.end + found[-_LOOKED_AT_BYTES:])[-_LOOKED_AT_BYTES:] if found else self.end
        return found

    def readinto(self, buffer: Any) -> int:
        found = self.read(len(buffer))
        buffer[: len(found)] = found
        return len(found)

    def start_at(self, position: int) -> None:
        """Reads on from there, if it is not compressed."""
        self._file.seek(position)
        self._ahead = b''

    def size(self) -> int:
        """In bytes, if it is not compressed. What is read next is not known afterwards."""
        self._file.seek(0, 2)
        return self._file.tell()

    def _more(self, size: int) -> bytes:
        found: list[bytes] = []
        left = size
        while left and self._error is None:
            try:
                read = self._file.read(min(left, self._step) if self._step else left)
            except TROUBLE as e:
                self._error = e
                break
            if not read:
                break
            found.append(read)
            left -= len(read)
        return b''.join(found)


def _check(beginning: bytes) -> None:
    why = next((why for magic, why in _KNOWN.items() if beginning.startswith(magic)), None)
    if why is None and b'\0' in beginning:
        why = 'it has zero bytes, which text in UTF-8 has not'
    if why is not None:
        raise OSError(why)
