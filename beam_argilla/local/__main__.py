"""``argilla-local --home DIR`` (or ``python -m beam_argilla.local``): runs an Argilla server until Ctrl-C.

Exit status: 0 when stopped by Ctrl-C or SIGTERM; 1 when a process has died; 2 when it cannot start as asked.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from types import FrameType
from typing import TYPE_CHECKING

from beam_argilla.local.errors import LocalServerError

if TYPE_CHECKING:
    import argparse

    from beam_argilla.local.supervisor import LocalServer

# What else is needed is imported once a signal can be answered.

DEFAULT_HOME = 'argilla'
DEFAULT_PORT = 6900
PASSWORD_VARIABLE = 'BEAM_ARGILLA_LOCAL_PASSWORD'
API_KEY_VARIABLE = 'BEAM_ARGILLA_LOCAL_API_KEY'
CHECK_SECONDS = 0.2
STOPPING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """A signal asks to end."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the server until a signal asks to end.

    Args:
      arguments: The command line without the name of the program; None takes it from `sys.argv`.

    Returns:
      The exit status.
    """
    for number in STOPPING_SIGNALS:
        # nohup, and a shell that starts a job in the background, want some of them ignored.
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, stop)
    try:
        from beam_argilla.local.supervisor import serve

        options = parser().parse_args(arguments)
        with serve(
            options.home,
            options.port,
            host=options.host,
            username=options.username,
            password=options.password or os.environ.get(PASSWORD_VARIABLE),
            api_key=options.api_key or os.environ.get(API_KEY_VARIABLE),
            stock=options.stock,
        ) as server:
            print(greeting(server), flush=True)
            if danger := warning(server):
                print(danger, file=sys.stderr, flush=True)
            while True:
                server.check()
                time.sleep(CHECK_SECONDS)
    except Stopped:
        return 0
    except LocalServerError as error:
        print(f'beam_argilla.local: {error}', file=sys.stderr)
        return error.exit_status


def parser() -> argparse.ArgumentParser:
    """The command line."""
    import argparse

    from beam_argilla.local.home import DEFAULT_API_KEY, DEFAULT_PASSWORD, DEFAULT_USERNAME

    result = argparse.ArgumentParser(
        prog='argilla-local',
        description='Runs a real Argilla server with its web UI on this machine, until Ctrl-C.',
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog='A home that exists keeps the log-in it has; --password and --api-key change it. So that others on\n'
        f'this machine cannot read them in the list of processes, they may be given in {PASSWORD_VARIABLE}\n'
        f'and {API_KEY_VARIABLE} instead.',
    )
    result.add_argument('--home', default=DEFAULT_HOME, help=f'directory of the data (default: ./{DEFAULT_HOME})')
    result.add_argument('--port', type=int, default=DEFAULT_PORT, help=f'0 is any free one (default: {DEFAULT_PORT})')
    result.add_argument(
        '--host', default='127.0.0.1', help='address to bind to (default: 127.0.0.1, only this machine)'
    )
    result.add_argument('--username', help=f'name of the owner (new home: {DEFAULT_USERNAME})')
    result.add_argument('--password', help=f'at least 8 characters (new home: {DEFAULT_PASSWORD})')
    result.add_argument('--api-key', help=f'API key of the owner (new home: {DEFAULT_API_KEY})')
    result.add_argument(
        '--stock', action='store_true', help="write and read records in argilla-server's own ways, which are slower"
    )
    return result


def stop(_number: int, _frame: FrameType | None) -> None:
    """Handles the first signal; ending takes seconds, and is not interrupted by another one."""
    for number in STOPPING_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise Stopped


def greeting(server: LocalServer) -> str:
    """What is printed once the server answers. Secrets only if they are none."""
    from beam_argilla.local.home import DEFAULT_API_KEY, DEFAULT_PASSWORD

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


def warning(server: LocalServer) -> str | None:
    """What to say about a server that others can reach, with a log-in that everybody knows."""
    import ipaddress

    from beam_argilla.local.home import DEFAULT_API_KEY, DEFAULT_PASSWORD

    try:
        is_private = ipaddress.ip_address(server.host).is_loopback
    except ValueError:
        is_private = server.host == 'localhost'
    if is_private or (server.password != DEFAULT_PASSWORD and server.api_key != DEFAULT_API_KEY):
        return None
    return (
        f'Warning: other machines can reach this server at {server.host}, and its password or API key is the '
        'well-known default. Give --password and --api-key.'
    )


def command() -> None:
    """The program as a process."""
    sys.exit(main())


if __name__ == '__main__':
    command()
