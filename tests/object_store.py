"""A file system as clouds have it: objects under names, no directories; deleting a name deletes that object alone."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

from apache_beam.io.filesystem import BeamIOError, CompressionTypes, FileMetadata, FileSystem

OBJECTS: dict[str, bytes] = {}


class _Upload(io.BytesIO):
    """Becomes an object when it is closed."""

    def __init__(self, path: str):
        super().__init__()
        self._path = path

    def close(self) -> None:
        if not self.closed:
            OBJECTS[self._path] = self.getvalue()
        super().close()


class ObjectStore(FileSystem):
    """``objects://bucket/name``, in this process. As Beam's own for Google's and Amazon's stores."""

    @classmethod
    def scheme(cls) -> str:
        return 'objects'

    def join(self, basepath: str, *paths: str) -> str:
        return '/'.join([basepath.rstrip('/'), *(path.strip('/') for path in paths)])

    def split(self, path: str) -> tuple[str, str]:
        head, _, tail = path.rpartition('/')
        return head, tail

    def mkdirs(self, path: str) -> None:
        pass

    def has_dirs(self) -> bool:
        return False

    def _list(self, dir_or_prefix: str) -> Iterator[FileMetadata]:
        for path in sorted(OBJECTS):
            if path.startswith(dir_or_prefix):
                yield FileMetadata(path, len(OBJECTS[path]))

    def create(self, path: str, mime_type: str = '', compression_type: str = CompressionTypes.AUTO) -> Any:
        return _Upload(path)

    def open(self, path: str, mime_type: str = '', compression_type: str = CompressionTypes.AUTO) -> Any:
        if path not in OBJECTS:
            raise BeamIOError(f'no object {path}')
        return io.BytesIO(OBJECTS[path])

    def copy(self, source_file_names: list[str], destination_file_names: list[str]) -> None:
        raise NotImplementedError

    def rename(self, source_file_names: list[str], destination_file_names: list[str]) -> None:
        for source, destination in zip(source_file_names, destination_file_names, strict=True):
            OBJECTS[destination] = OBJECTS.pop(source)

    def exists(self, path: str) -> bool:
        return path in OBJECTS

    def size(self, path: str) -> int:
        return len(OBJECTS[path])

    def last_updated(self, path: str) -> float:
        return 0.0

    def checksum(self, path: str) -> str:
        return ''

    def metadata(self, path: str) -> FileMetadata:
        return FileMetadata(path, len(OBJECTS[path]))

    def delete(self, paths: list[str]) -> None:
        for path in paths:
            for name in [*OBJECTS]:
                if name == path or (path.endswith('/') and name.startswith(path)):
                    del OBJECTS[name]
