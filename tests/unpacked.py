"""What a job's definition says in truth: Beam pickles, compresses and encodes what transforms hold."""

from __future__ import annotations

import base64
import binascii
import bz2
import re
import zlib


def unpacked(definition: bytes) -> bytes:
    """The definition, and behind it in the open all that is packed in it, so that a secret can be looked for."""
    parts = [definition]
    for found in parts:  # which grows: packed things hold packed things
        parts += [content for run in re.findall(rb'[A-Za-z0-9+/]{24,}={0,2}', found) for content in _opened(run)]
    return b'\n'.join(parts)


def _opened(run: bytes) -> list[bytes]:
    """What a run of such letters holds; what stands before it may by chance be of the same letters."""
    for start in range(4):
        try:
            packed = base64.b64decode(run[start:] + b'=' * (-(len(run) - start) % 4))
        except binascii.Error:
            continue
        for open_ in (bz2.decompress, zlib.decompress):
            try:
                return [open_(packed)]
            except (OSError, ValueError, zlib.error):
                continue
    return []
