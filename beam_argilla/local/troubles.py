"""What can befall a database and its disk, said in words that tell what to do."""

import errno
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from beam_argilla.local.errors import LocalServerError

REMEDY = 'Put back a copy of it, or give another --home.'
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
# With less than it SQLite cannot lay out what it keeps beside a database, and says no more than "disk I/O error".
_LEAST_ROOM_BYTES = 2**20


@contextmanager
def troubles_told(database: Path, directory: Path | None = None) -> Iterator[None]:
    """Says what is the matter with a database, or with the disk that is written to.

    Args:
      database: The file.
      directory: Where something is written; None is beside the database.

    Raises:
      LocalServerError: The disk is full, something on it may not be used, or the database cannot be read, also since
        another process keeps it for itself.
    """
    directory = directory or database.parent
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise LocalServerError(disk_is_full(directory)) from None
        if error.errno in _FORBIDDEN:
            reason = f'{error.filename or directory} cannot be used: {error.strerror}'
            raise LocalServerError(f'{reason}. Change its permissions, or give another place.') from None
        raise
    except sqlite3.Error as error:
        raise LocalServerError(_trouble(database, directory, error)) from None
    except Exception as error:
        # SQLAlchemy's, which is not known here.
        if not isinstance(original := getattr(error, 'orig', None), sqlite3.Error):
            raise
        raise LocalServerError(_trouble(database, directory, original)) from None


def disk_is_full(directory: Path) -> str:
    """What to say of a full disk."""
    return f'The disk with {directory} is full, so nothing more can be written. Make room on it and try again.'


def answer_that_the_disk_is_full(application: Any, directory: Path) -> None:
    """Has a server answer 507 with that reason, in place of 500, to what cannot be written for want of room.

    Nothing of such a request is written, and there is nothing to mend: once there is room the next one is taken.
    """
    from fastapi import Request
    from fastapi.responses import JSONResponse
    from sqlalchemy.exc import OperationalError

    async def answer(_request: Request, error: OperationalError) -> JSONResponse:
        if not _is_full(directory, str(error.orig)):
            raise error
        return JSONResponse({'detail': disk_is_full(directory)}, status_code=507)

    application.add_exception_handler(OperationalError, answer)


def _trouble(database: Path, directory: Path, error: sqlite3.Error) -> str:
    text = str(error)
    if _is_full(directory, text):
        return disk_is_full(directory)
    if 'is locked' in text:
        return f'Another process keeps the database {database} for itself. End that one, or give another --home.'
    return f'The database {database} cannot be read: {text}. {REMEDY}'


def _is_full(directory: Path, reason: str) -> bool:
    """Whether what SQLite gives as a reason is due to a full disk."""
    if 'disk I/O error' in reason:
        return shutil.disk_usage(directory).free < _LEAST_ROOM_BYTES
    return 'disk is full' in reason
