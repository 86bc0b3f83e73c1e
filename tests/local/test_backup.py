"""Backups, and what is refused of them; tests of a running server's are in `test_weeks`."""

import sqlite3
import tarfile
import threading
from contextlib import closing
from pathlib import Path

import pytest

from beam_argilla.local import LocalServerError
from beam_argilla.local.backup import back_up, restore
from beam_argilla.local.home import Home


@pytest.fixture
def home(tmp_path):
    """A home with a database of 10,000 rows."""
    home = Home(tmp_path / 'home')
    home.prepare()
    home.keep(home.credentials(password='a password of mine'))
    (home.path / 'server_id.dat').write_text('an id')
    home.log.write_text('what happened')
    with closing(sqlite3.connect(home.database)) as connection:
        connection.execute('PRAGMA journal_mode = WAL')
        connection.execute('CREATE TABLE alembic_version (version_num)')
        connection.execute('CREATE TABLE rows (number, of_transaction)')
        connection.executemany('INSERT INTO rows VALUES (?, 0)', ((number,) for number in range(10_000)))
        connection.commit()
    return home


def test_a_backup_has_all_but_the_log(home, tmp_path):
    file, other = tmp_path / 'backup.tar.gz', Home(tmp_path / 'other')
    back_up(home, file)
    restore(file, other)
    assert other.credentials() == home.credentials()
    assert (other.path / 'server_id.dat').read_text() == 'an id'
    assert sorted(path.name for path in other.path.iterdir()) == [
        'argilla.db', 'argilla.lock', 'credentials.json', 'server_id.dat'
    ]  # fmt: skip
    with closing(sqlite3.connect(other.database)) as connection:
        assert connection.execute('SELECT count(*) FROM rows').fetchone() == (10_000,)


def test_a_backup_is_of_one_moment(home, tmp_path):
    """Each transaction writes ten rows, so a copy without some of them would be none of any moment."""
    stopping = threading.Event()
    has_begun = threading.Event()

    def write():
        with closing(sqlite3.connect(home.database, timeout=60)) as connection:
            number = 0
            while not stopping.is_set():
                number += 1
                connection.executemany('INSERT INTO rows VALUES (?, ?)', [(i, number) for i in range(10)])
                connection.commit()
                has_begun.set()

    writer = threading.Thread(target=write)
    writer.start()
    has_begun.wait()
    try:
        back_up(home, tmp_path / 'backup')
    finally:
        stopping.set()
        writer.join()
    restore(tmp_path / 'backup', Home(tmp_path / 'other'))
    with closing(sqlite3.connect(tmp_path / 'other' / 'argilla.db')) as connection:
        counts = connection.execute(
            'SELECT of_transaction, count(*) FROM rows WHERE of_transaction GROUP BY 1'
        ).fetchall()
    assert counts
    assert counts == [(number + 1, 10) for number in range(len(counts))]


def test_backups_that_cannot_be_made(home, tmp_path):
    with pytest.raises(LocalServerError, match=f'{tmp_path} is no home of an Argilla'):
        back_up(Home(tmp_path), tmp_path / 'backup')
    (tmp_path / 'taken').touch()
    with pytest.raises(LocalServerError, match=f'{tmp_path / "taken"} exists'):
        back_up(home, tmp_path / 'taken')
    with pytest.raises(LocalServerError, match=f'no directory {tmp_path / "nowhere"}'):
        back_up(home, tmp_path / 'nowhere' / 'backup')
    content = bytearray(home.database.read_bytes())
    content[4096 * 20 : 4096 * 22] = b'x' * 4096 * 2
    home.database.write_bytes(content)
    with pytest.raises(LocalServerError, match=f'The database {home.database} cannot be read'):
        back_up(home, tmp_path / 'backup')
    assert not list(tmp_path.glob('backup*'))


def test_nothing_of_a_database_that_was_there_before_comes_into_one_that_is_restored(home, tmp_path):
    """Its log, which a killed server leaves, would: SQLite takes it for the new one's."""
    back_up(home, tmp_path / 'backup')
    other = Home(tmp_path / 'other')
    other.prepare()
    left = other.path / 'argilla.db-wal'
    left.write_bytes(b'what was committed last')
    with pytest.raises(LocalServerError, match='has data already'):
        restore(tmp_path / 'backup', other)
    assert left.exists()
    other.empty()
    restore(tmp_path / 'backup', other)
    assert other.database.exists()


def test_a_backup_that_is_damaged_anywhere_is_refused(home, tmp_path):
    """By a byte: a header of its, the database, the log-in, the checksum."""
    back_up(home, tmp_path / 'backup')
    restore(tmp_path / 'backup', Home(tmp_path / 'whole'))
    whole = {path.name: path.read_bytes() for path in (tmp_path / 'whole').iterdir() if path.name != 'argilla.lock'}
    content = (tmp_path / 'backup').read_bytes()
    refused = 0
    for at in range(20, len(content), len(content) // 60):
        damaged = tmp_path / 'damaged'
        damaged.write_bytes(content[:at] + bytes([content[at] ^ 0x55]) + content[at + 1 :])
        other = Home(tmp_path / f'other-{at}')
        try:
            restore(damaged, other)
        except LocalServerError as error:
            assert str(error) == f'{damaged} is no backup of a home, or not a whole one.'
            assert [path.name for path in other.path.iterdir()] == ['argilla.lock']
            refused += 1
        else:  # As where what is repeated is copied from another of its places.
            assert {name: (other.path / name).read_bytes() for name in whole} == whole
    assert refused > 50
    with pytest.raises(LocalServerError, match=f'{tmp_path} is no backup'):
        restore(tmp_path, Home(tmp_path / 'another'))


def test_what_is_somebody_elses_stays_when_a_home_is_emptied(home):
    # What a killed migration or restore leaves is ours as well.
    ours = [home.before('0123456789ab'), home.migrating]
    ours += [home.path / name for name in ('argilla.db.new', 'argilla.db.new-wal', 'credentials.json.new')]
    theirs = [home.path / name for name in ('argilla-mine.db', 'notes.txt')]
    for path in (*ours, *theirs):
        path.write_text('something')
    home.empty()
    assert sorted(home.path.iterdir()) == sorted(theirs)


@pytest.mark.skipif(not Path('/sys').is_dir(), reason='no directory that nobody may write to')
def test_a_place_that_may_not_be_written(home):
    with pytest.raises(LocalServerError, match=r'/sys/\S+ cannot be used: .*\. Change its permissions'):
        back_up(home, Path('/sys/backup'))


def test_what_is_no_backup(home, tmp_path):
    other = Home(tmp_path / 'other')
    back_up(home, tmp_path / 'whole')
    cut = tmp_path / 'cut'
    cut.write_bytes((tmp_path / 'whole').read_bytes()[:5000])
    text = tmp_path / 'text'
    text.write_text('no archive')
    foreign = tmp_path / 'foreign'
    with tarfile.open(foreign, 'w') as archive:
        archive.add(text, arcname='text')
    folder = tmp_path / 'folder'
    with tarfile.open(folder, 'w') as archive:
        archive.add(home.path, arcname='argilla.db')
    for file in (cut, text, foreign, folder):
        with pytest.raises(LocalServerError, match=f'{file} is no backup of a home'):
            restore(file, other)
    with pytest.raises(LocalServerError, match=f'There is no file {tmp_path / "missing"}'):
        restore(tmp_path / 'missing', other)
    assert [path.name for path in other.path.iterdir()] == ['argilla.lock']
    with pytest.raises(LocalServerError, match=f'{home.path} has data already'):
        restore(tmp_path / 'whole', home)
