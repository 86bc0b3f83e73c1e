"""What ``argilla-local`` is told on its command line, and does."""

from __future__ import annotations

import argparse
import getpass
import os
import secrets
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from beam_argilla.local.backup import back_up, restore
from beam_argilla.local.errors import LocalServerError
from beam_argilla.local.home import DEFAULT_API_KEY, DEFAULT_PASSWORD, DEFAULT_USERNAME, home_at
from beam_argilla.local.people import ROLES, add_user
from beam_argilla.local.supervisor import LocalServer, serve

DEFAULT_HOME = 'argilla'
DEFAULT_PORT = 6900
PASSWORD_VARIABLE = 'BEAM_ARGILLA_LOCAL_PASSWORD'
API_KEY_VARIABLE = 'BEAM_ARGILLA_LOCAL_API_KEY'
DATABASE_URL_VARIABLE = 'BEAM_ARGILLA_LOCAL_DATABASE_URL'
CHECK_SECONDS = 0.2


def read(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads a command line.

    Returns:
      Its options, and in `action` the function of this module that they are for.
    """
    reader = parser()
    options = reader.parse_args(arguments)
    asked = [action for action in (reset, write_backup, read_backup) if getattr(options, action.__name__)]
    if asked and options.action is not run:
        reader.error('add-user goes alone: without --reset, --backup and --restore')
    options.action = asked[0] if asked else options.action
    return options


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(
        prog='argilla-local',
        usage='argilla-local [options], or argilla-local [--home DIR] add-user NAME [options]',
        description='Runs a real Argilla server with its web UI on this machine, until Ctrl-C; or does something to '
        'the home of one.',
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog='A home that exists keeps the log-in it has; --password and --api-key change it. So that others on\n'
        f'this machine cannot read them in the list of processes, they may be given in {PASSWORD_VARIABLE}\n'
        f'and {API_KEY_VARIABLE} instead.',
    )
    result.set_defaults(action=run)
    home = f'directory of the data (default: ./{DEFAULT_HOME})'
    result.add_argument('--home', default=DEFAULT_HOME, metavar='DIR', help=home)
    result.add_argument('--port', type=int, default=DEFAULT_PORT, help=f'0 is any free one (default: {DEFAULT_PORT})')
    result.add_argument(
        '--host',
        default='127.0.0.1',
        help='address to bind to (default: 127.0.0.1, only this machine); others want a --password and an --api-key '
        'that are not the default',
    )
    result.add_argument('--username', metavar='NAME', help=f'name of the owner (new home: {DEFAULT_USERNAME})')
    result.add_argument('--password', help=f'at least 8 characters (new home: {DEFAULT_PASSWORD})')
    result.add_argument('--api-key', metavar='KEY', help=f'API key of the owner (new home: {DEFAULT_API_KEY})')
    more = result.add_argument_group('for more than a laptop')
    more.add_argument(
        '--database_url',
        metavar='URL',
        help='a PostgreSQL in place of a file in the home, such as postgresql+asyncpg://user:password@host/database '
        f'(or in {DATABASE_URL_VARIABLE}); needs --elasticsearch',
    )
    more.add_argument(
        '--workers', type=int, default=1, metavar='N', help='processes that answer (default: 1); needs --database_url'
    )
    more.add_argument('--elasticsearch', metavar='URL', help='an Elasticsearch or OpenSearch that searches')
    result.add_argument(
        '--stock', action='store_true', help="write and read records in argilla-server's own ways, which are slower"
    )

    instead = result.add_argument_group('instead of running it').add_mutually_exclusive_group()
    instead.add_argument(
        '--backup', dest='write_backup', type=Path, metavar='FILE', help='copy the home to a file, also while it runs'
    )
    instead.add_argument(
        '--restore', dest='read_backup', type=Path, metavar='FILE', help='make the home, a new one, of such a file'
    )
    instead.add_argument('--reset', action='store_true', help='remove everything in the home, after asking')
    result.add_argument('--yes', action='store_true', help='do not ask before --reset')

    person = result.add_subparsers(title='people', metavar='').add_parser(
        'add-user',
        prog='argilla-local add-user',
        help='add somebody who can log in (add-user --help tells more)',
        description='Adds somebody who can log in, with a password of their own; also while the server runs.',
        epilog='Without --password it is asked for. Where nobody can be asked, or nothing is typed, one is made up and '
        'printed.',
    )
    person.set_defaults(action=add_person)
    person.add_argument('name', help='the name to log in with')
    # Left out it is what stands before the command.
    person.add_argument('--home', default=argparse.SUPPRESS, metavar='DIR', help=home)
    person.add_argument('--role', choices=ROLES, default=ROLES[0], help=f'(default: {ROLES[0]})')
    person.add_argument(
        '--workspace',
        action='append',
        metavar='NAME',
        help='whose datasets they see; may be given several times (default: default)',
    )
    person.add_argument('--password', default=argparse.SUPPRESS, help='at least 8 characters')
    return result


def run(options: argparse.Namespace) -> None:
    """Serves until a signal ends it."""
    with serve(
        options.home,
        options.port,
        host=options.host,
        username=options.username,
        password=options.password or os.environ.get(PASSWORD_VARIABLE),
        api_key=options.api_key or os.environ.get(API_KEY_VARIABLE),
        database_url=options.database_url or os.environ.get(DATABASE_URL_VARIABLE),
        workers=options.workers,
        elasticsearch=options.elasticsearch,
        stock=options.stock,
    ) as server:
        print(greeting(server), flush=True)
        while True:
            server.check()
            time.sleep(CHECK_SECONDS)


def greeting(server: LocalServer) -> str:
    """What is printed once the server answers. Secrets only if they are none."""
    password = DEFAULT_PASSWORD if server.password == DEFAULT_PASSWORD else '(the one you chose)'
    api_key = DEFAULT_API_KEY if server.api_key == DEFAULT_API_KEY else '(the one you chose)'
    return (
        f'Argilla is running at {server.api_url}\n'
        f'  username  {server.username}\n'
        f'  password  {password}\n'
        f'  API key   {api_key}\n'
        f'  data      {server.home}\n'
        f'Press Ctrl-C to stop it.'
    )


def write_backup(options: argparse.Namespace) -> None:
    """Makes a backup of a home."""
    home = home_at(options.home)
    back_up(home, options.write_backup)
    print(f'{options.write_backup} holds all of {home.path}, its log-in too: keep it where only you can read it.')


def read_backup(options: argparse.Namespace) -> None:
    """Makes a home of a backup."""
    home = home_at(options.home)
    restore(options.read_backup, home)
    print(f'{home.path} is as it was when {options.read_backup} was made.')


def reset(options: argparse.Namespace) -> None:
    """Empties a home."""
    home = home_at(options.home)
    if not home.path.is_dir():
        raise LocalServerError(f'There is no {home.path}. Give the --home that is to be emptied.')
    home.prepare()
    with home.locked('which --reset empties'):
        contents = home.contents()
        if not options.yes:
            confirm(f'Remove everything in {home.path} ({contents}) for good?', '--yes')
        home.empty()
    print(f'{home.path} is empty.')


def confirm(question: str, option: str) -> None:
    """Asks whether to go on.

    Raises:
      LocalServerError: The answer is no, or nobody can be asked, who then needs an option.
    """
    if not sys.stdin.isatty():
        raise LocalServerError(f'{question} Nobody can be asked here: give {option} if you mean it.')
    try:
        answer = input(f'{question} [y/N] ')
    except EOFError:
        answer = ''
    if answer.strip().lower() not in ('y', 'yes'):
        raise LocalServerError('Nothing was removed.', exit_status=1)


def add_person(options: argparse.Namespace) -> None:
    """Adds a user, and says how they log in."""
    home = home_at(options.home)
    if home.served_at() is None and not home.database.exists():
        raise LocalServerError(
            f'{home.path} is no home of an Argilla. Give the --home that they are to be added to; where the data is in '
            'a PostgreSQL, start its server first.'
        )
    workspaces = list(dict.fromkeys(options.workspace or ([] if options.role == 'owner' else ['default'])))
    given = options.password
    if given is None and sys.stdin.isatty():
        given = getpass.getpass(f'Password of {options.name} (empty: one is made up): ')
    password = given or secrets.token_urlsafe(12)
    add_user(home, options.name, password, options.role, workspaces)
    print(f'{options.name} can log in as {options.role}; workspaces: {", ".join(workspaces) or "all"}.')
    if not given:
        print(f'  password  {password}\nIt is shown this once: it is kept nowhere.')
