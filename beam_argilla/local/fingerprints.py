"""Which files of argilla-server are those that something was written for."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path


def fingerprint(content: bytes) -> str:
    """What tells a file from its other versions."""
    return hashlib.sha256(content).hexdigest()[:16]


def differing(package: Path, known: Mapping[str, str]) -> Iterator[str]:
    """The files that are not as they were.

    Args:
      package: The directory of argilla-server.
      known: Path in it → `fingerprint`.

    Yields:
      Those of the paths that have another content, or none.
    """
    for name, expected in known.items():
        path = package / name
        if not path.is_file() or fingerprint(path.read_bytes()) != expected:
            yield name
