"""Who may log in to a local Argilla."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from beam_argilla.local.errors import LocalServerError
from beam_argilla.local.home import Home
from beam_argilla.local.supervisor import serve

ROLES = ('annotator', 'admin', 'owner')
_PATIENCE_SECONDS = 60.0


def add_user(home: Home, username: str, password: str, role: str, workspaces: Sequence[str]) -> None:
    """Adds somebody who can log in.

    The server does it: the one that runs on this home, or one that is started for it.

    Args:
      home: Whose server it is.
      username: A name that nobody has there.
      password: At least 8 characters.
      role: One of `ROLES`.
      workspaces: The names of the workspaces whose datasets they see; owners see all.

    Raises:
      LocalServerError: The server does not take the name or the password, or has no such workspace.
    """
    with _answering(home) as api:
        ids = {workspace['name']: workspace['id'] for workspace in api('GET', 'me/workspaces')['items']}
        for name in workspaces:
            if name not in ids:
                raise LocalServerError(f'There is no workspace {name!r}. There is: {", ".join(sorted(ids))}.')
        body = {'first_name': username, 'username': username, 'password': password, 'role': role}
        user = api('POST', 'users', body)
        for name in workspaces:
            api('POST', f'workspaces/{ids[name]}/users', {'user_id': user['id']})


class _Api:
    """argilla-server's HTTP API, as the owner."""

    def __init__(self, url: str, api_key: str) -> None:
        self._url = f'{url}/api/v1/'
        self._headers = {'X-Argilla-Api-Key': api_key, 'Content-Type': 'application/json'}
        # It is on this machine, where no proxy is asked.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def __call__(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, self._headers, method=method)
        try:
            with self._opener.open(request, timeout=_PATIENCE_SECONDS) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise LocalServerError(_reason(error)) from None


def _reason(error: urllib.error.HTTPError) -> str:
    """What the server says that is wrong, in a line."""
    try:
        detail = json.load(error)['detail']
        if isinstance(detail, dict):  # of a field
            first = detail['params']['errors'][0]
            return f'The {first["loc"][-1]} is refused: {first["msg"]}.'
        return f'{detail}.'
    except (ValueError, LookupError, TypeError):
        return f'The server answers {error.code} {error.reason}.'


@contextmanager
def _answering(home: Home) -> Iterator[_Api]:
    """The server of a home: the one that runs, or, while the context is open, one of our own."""
    url = home.served_at()
    if url is None:
        with serve(home.path) as server:
            yield _Api(server.api_url, server.api_key)
        return
    api = _Api(url, home.credentials().api_key)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            api('GET', 'me')
            break
        except (OSError, http.client.HTTPException):  # it may be about to start
            if time.monotonic() > deadline:
                raise LocalServerError(f'The server of {home.path} does not answer at {url}.') from None
            time.sleep(0.1)
    yield api
