"""The command line of the local Argilla, without its server; with it in `test_server` and `test_weeks`."""

import io
import sqlite3
from contextlib import closing

import pytest

from beam_argilla.local import commands
from beam_argilla.local.__main__ import main


@pytest.fixture
def home(tmp_path):
    """A home with two datasets, and a file of somebody's own in it."""
    home = tmp_path / 'home'
    home.mkdir()
    with closing(sqlite3.connect(home / 'argilla.db')) as connection:
        for table in ('alembic_version', 'datasets', 'records', 'responses', 'users'):
            connection.execute(f'CREATE TABLE {table} (id)')
        connection.execute('INSERT INTO datasets VALUES (1), (2)')
        connection.commit()
    for name in (
        'argilla.log',
        'credentials.json',
        'argilla-0123456789ab.db',
        'argilla.db-wal',
        'server_id.dat',
        'mine',
    ):
        (home / name).touch()
    return home


class Terminal(io.StringIO):
    """Somebody who types these lines."""

    def isatty(self):
        return True


@pytest.mark.parametrize('answer', ['y', 'YES', ' yes '])
def test_reset_removes_what_is_argillas_after_asking(home, capsys, monkeypatch, answer):
    monkeypatch.setattr('sys.stdin', Terminal(f'{answer}\n'))
    assert main(['--home', str(home), '--reset']) == 0
    assert sorted(path.name for path in home.iterdir()) == ['argilla.lock', 'mine']
    question = f'Remove everything in {home} (2 datasets, 0 records, 0 responses, 0 users) for good? [y/N] '
    assert capsys.readouterr().out == f'{question}{home} is empty.\n'


@pytest.mark.parametrize('answer', ['\n', 'n\n', 'no\n', 'yo\n', ''])
def test_reset_removes_nothing_unless_told(home, capsys, monkeypatch, answer):
    before = {path.name for path in home.iterdir()}
    monkeypatch.setattr('sys.stdin', Terminal(answer))
    assert main(['--home', str(home), '--reset']) == 1
    assert 'Nothing was removed.' in capsys.readouterr().err
    assert {path.name for path in home.iterdir()} == before | {'argilla.lock'}


def test_reset_where_nobody_can_be_asked(home, capsys, monkeypatch):
    monkeypatch.setattr('sys.stdin', io.StringIO('y\n'))
    assert main(['--home', str(home), '--reset']) == 2
    assert 'Nobody can be asked here: give --yes' in capsys.readouterr().err
    assert (home / 'argilla.db').exists()
    (home / 'argilla.db').write_bytes(b'damaged' * 1000)
    assert main(['--home', str(home), '--reset', '--yes']) == 0
    assert not (home / 'argilla.db').exists()


def test_reset_leaves_what_is_not_argillas(tmp_path, capsys):
    with closing(sqlite3.connect(tmp_path / 'argilla.db')) as connection:
        connection.execute('CREATE TABLE notes (id)')
    assert main(['--home', str(tmp_path), '--reset', '--yes']) == 2
    assert 'is not one of Argilla' in capsys.readouterr().err
    assert (tmp_path / 'argilla.db').exists()


@pytest.mark.parametrize('arguments', [['--reset', '--yes'], ['--backup', 'file'], ['add-user', 'ann']])
def test_a_home_that_is_none(tmp_path, capsys, arguments):
    assert main(['--home', str(tmp_path / 'nothing'), *arguments]) == 2
    assert str(tmp_path / 'nothing') in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    'arguments',
    [['--reset', '--backup', 'file'], ['--backup', 'file', 'add-user', 'ann'], ['--reset', 'add-user', 'ann']],
)
def test_one_thing_at_a_time(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert 'usage: ' in capsys.readouterr().err


@pytest.mark.parametrize(('typed', 'told'), [('their password', False), ('', True)])
def test_the_password_of_a_user_is_asked_for_on_a_terminal(home, capsys, monkeypatch, typed, told):
    given = []
    monkeypatch.setattr('sys.stdin', Terminal())
    monkeypatch.setattr('getpass.getpass', lambda prompt: typed)
    monkeypatch.setattr(commands, 'add_user', lambda home, name, password, *_: given.append(password))
    assert main(['--home', str(home), 'add-user', 'ann']) == 0
    assert (given == [typed]) != told
    assert (f'  password  {given[0]}\n' in capsys.readouterr().out) == told
    assert len(given[0]) >= 8
