"""A PostgreSQL of this machine, as Debian's packages bring it."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

USER = 'argilla'


class MissingError(Exception):
    """There is none on this machine."""


def programs() -> Path:
    """Where its programs are.

    Raises:
        MissingError: nowhere.
    """
    found = shutil.which('initdb')
    folders = [Path(found).resolve().parent] if found else sorted(Path('/usr/lib/postgresql').glob('*/bin'))
    if not folders:
        raise MissingError('no initdb was found (on Debian: apt-get install postgresql)')
    return folders[-1]


@contextlib.contextmanager
def running() -> Iterator[str]:
    """An empty database, as SQLAlchemy writes its URL, on a socket that only this machine's users reach.

    Raises:
        MissingError: there is none, or it refuses to be run by root and nobody else is there.
    """
    bin = programs()
    folder = Path(tempfile.mkdtemp(prefix='pg-', dir='/tmp'))  # a socket's path is a short one
    options: dict[str, str] = {}
    if os.geteuid() == 0:  # it does not serve root
        try:
            pwd.getpwnam('postgres')
        except KeyError:
            raise MissingError('it is not run by root, and there is no user postgres') from None
        shutil.chown(folder, 'postgres')
        options['user'] = 'postgres'
    quiet = {'check': True, 'stdout': subprocess.DEVNULL, 'cwd': folder, **options}
    data = folder / 'data'
    control = [bin / 'pg_ctl', '--pgdata', data, '--wait', '--silent']
    try:
        subprocess.run([bin / 'initdb', '-D', data, '-U', USER, '--auth=trust', '--no-sync', '-E', 'UTF8'], **quiet)
        settings = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
        subprocess.run([*control, '--log', folder / 'log', '-o', settings, 'start'], **quiet)
        try:
            subprocess.run([bin / 'createdb', '-h', folder, '-U', USER, 'argilla'], **quiet)
            yield f'postgresql+asyncpg://{USER}@/argilla?host={folder}'
        finally:
            subprocess.run([*control, '--mode', 'immediate', 'stop'], **quiet)
    finally:
        shutil.rmtree(folder)
