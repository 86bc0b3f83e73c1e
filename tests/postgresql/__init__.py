"""A PostgreSQL of this machine, as Debian's packages bring it."""

from __future__ import annotations

import contextlib
import importlib.util
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
        MissingError: nowhere; or there is nothing to talk to it with.
    """
    lacking = [name for name in ('asyncpg', 'psycopg2') if importlib.util.find_spec(name) is None]
    if lacking:
        raise MissingError(f'there is no package {" and no package ".join(lacking)}')
    if found := shutil.which('initdb'):
        return Path(found).resolve().parent
    # Debian keeps them out of PATH, a directory per version.
    newest = max(Path('/usr/lib/postgresql').glob('*/bin'), key=lambda p: float(p.parent.name), default=None)
    if newest is None:
        raise MissingError('no initdb was found (on Debian: apt-get install postgresql)')
    return newest


@contextlib.contextmanager
def running() -> Iterator[str]:
    """An empty database, as SQLAlchemy writes its URL, on a socket that only this machine's users reach.

    Raises:
        MissingError: there is none.
    """
    bin = programs()
    folder = Path(tempfile.mkdtemp(prefix='pg-', dir='/tmp'))  # a socket's path is a short one
    options: dict[str, str] = {}
    if os.geteuid() == 0:  # it does not serve root
        names = {entry.pw_name for entry in pwd.getpwall()}
        options['user'] = 'postgres' if 'postgres' in names else 'nobody'
        shutil.chown(folder, options['user'])
    quiet = {'check': True, 'stdout': subprocess.DEVNULL, 'cwd': folder, **options}
    data = folder / 'data'
    control = [bin / 'pg_ctl', '--pgdata', data, '--wait', '--silent']
    try:
        new = ['-U', USER, '--auth=trust', '--no-sync', '-E', 'UTF8', '--locale=C']
        subprocess.run([bin / 'initdb', '-D', data, *new], **quiet)
        settings = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
        subprocess.run([*control, '--log', folder / 'log', '-o', settings, 'start'], **quiet)
        try:
            # The database that initdb makes: `createdb` ends in a segmentation fault on some machines.
            yield f'postgresql+asyncpg://{USER}@/postgres?host={folder}'
        finally:
            subprocess.run([*control, '--mode', 'immediate', 'stop'], **quiet)
    finally:
        shutil.rmtree(folder)
