"""All of a home in one file, made while its server runs or not; and a home made of that file."""

import gzip
import os
import shutil
import sqlite3
import tarfile
import tempfile
import zlib
from contextlib import closing
from pathlib import Path

from beam_argilla.local.errors import LocalServerError
from beam_argilla.local.home import Home, beside_database, check_database, coming, new_private
from beam_argilla.local.troubles import troubles_told


def back_up(home: Home, file: Path) -> None:
    """Copies a home, as it is at one moment, into a file. Nobody who uses it meanwhile has to wait.

    Args:
      home: Its server may be running.
      file: A new file, which only its owner can read: the log-in of the home is in it. It is there as a whole, or not.

    Raises:
      LocalServerError: There is no such home, its database is damaged, or the file cannot be made.
    """
    if not home.database.exists():
        raise LocalServerError(
            f'{home.path} is no home of an Argilla with its data in it. Give the --home that is to be backed up. What '
            'is in a PostgreSQL (--database_url) is backed up by pg_dump.'
        )
    if file.exists():
        raise LocalServerError(f'{file} exists. Give the backup another name.')
    if not file.parent.is_dir():
        raise LocalServerError(f'There is no directory {file.parent} for the backup.')
    with (
        troubles_told(home.database, file.parent),
        tempfile.TemporaryDirectory(prefix=f'{file.name}.', dir=file.parent) as place,
    ):
        copy = Path(place, home.database.name)
        copy_database(home.database, copy)
        packed = Path(place, file.name)
        with new_private(packed) as stream:
            with tarfile.open(fileobj=stream, mode='w:gz', compresslevel=1) as archive:
                for path in (copy, *home.small_files):
                    if path.exists():
                        archive.add(path, arcname=path.name)
            stream.flush()
            os.fsync(stream.fileno())
        packed.rename(file)


def restore(file: Path, home: Home) -> None:
    """Makes a home of what `back_up` has made.

    Args:
      file: The backup.
      home: A directory without a database; it is made if need be.

    Raises:
      LocalServerError: The file is no such backup, the home has data, or a server runs on it.
    """
    home.prepare()
    new = coming(home.database)
    with troubles_told(home.database), home.locked(f'which is made of {file}'):
        # SQLite would bring what stands in a log that was left behind into the new database.
        if any(path.exists() for path in (home.database, *beside_database(home.database))):
            raise LocalServerError(f'{home.path} has data already. Give another --home, or empty it by --reset.')
        try:
            check_whole(file)
            with tarfile.open(file) as archive:
                unpack(archive, home.database.name, new)
                check_database(new)
                for path in home.small_files:
                    if path.name in archive.getnames():
                        unpack(archive, path.name, path)
        except (gzip.BadGzipFile, zlib.error, EOFError, IsADirectoryError, tarfile.TarError, KeyError):
            raise LocalServerError(f'{file} is no backup of a home, or not a whole one.') from None
        except FileNotFoundError:
            raise LocalServerError(f'There is no file {file}.') from None
        else:
            new.rename(home.database)
        finally:
            new.unlink(missing_ok=True)


def check_whole(file: Path) -> None:
    """Reads a backup to its end, where its checksum is: `tarfile` takes what is damaged for the end of the archive.

    Raises:
      gzip.BadGzipFile, zlib.error, EOFError: It is not as it was written.
    """
    with gzip.open(file) as stream:
        while stream.read(1 << 20):
            pass


def replace_database(source: Path, database: Path) -> None:
    """Puts a copy of a database, as it is at one moment, in the place of another: as a whole, or not at all."""
    new = coming(database)
    new.unlink(missing_ok=True)
    copy_database(source, new)
    for path in beside_database(database):
        path.unlink(missing_ok=True)
    new.replace(database)


def copy_database(database: Path, copy: Path) -> None:
    """Copies a database as it is at one moment, also while it is written to.

    Raises:
      sqlite3.Error: It is damaged.
    """
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(copy)) as target:
        # In one step, so it never begins anew because of who writes. (VACUUM INTO would number the records anew.)
        source.backup(target)
        (found,) = target.execute('PRAGMA quick_check(1)').fetchone()
        if found != 'ok':
            raise sqlite3.DatabaseError(found)


def unpack(archive: tarfile.TarFile, name: str, path: Path) -> None:
    """Writes one of the files in a backup, for its owner alone.

    Raises:
      KeyError: It is not in it.
    """
    member = archive.extractfile(name)
    if member is None:
        raise KeyError(name)
    path.unlink(missing_ok=True)
    with member, new_private(path) as stream:
        shutil.copyfileobj(member, stream)
