"""Files of text, compressed or not, of any Beam file system."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from apache_beam.io.filesystem import BeamIOError

from beam_argilla.files import open_file

# What opening and reading raise.
TROUBLE = (pa.ArrowException, OSError, BeamIOError, EOFError)
_CODECS = {'.gz': 'gzip', '.zst': 'zstd', '.zstd': 'zstd', '.bz2': 'bz2'}


def codec_of(path: str) -> str | None:
    """How a file is compressed, by its name; None if it is not."""
    return next((codec for suffix, codec in _CODECS.items() if path.lower().endswith(suffix)), None)


def without_compression(name: str) -> str:
    """The name without the end that says how the file is compressed."""
    suffix = next((suffix for suffix in _CODECS if name.endswith(suffix)), '')
    return name.removesuffix(suffix)


@contextlib.contextmanager
def open_bytes(path: str) -> Iterator[Any]:
    """The content of a file, to be read from its beginning on."""
    with contextlib.closing(open_file(path)) as file:
        codec = codec_of(path)
        if codec is None:
            yield file
        else:
            yield pa.CompressedInputStream(file if isinstance(file, pa.NativeFile) else pa.PythonFile(file), codec)
