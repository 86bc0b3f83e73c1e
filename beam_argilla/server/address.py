"""Where records go: a server's address and the names on it, checked before anything is asked of it."""

from __future__ import annotations

import re
from urllib.parse import urlsplit


def checked_url(api_url: str) -> str:
    """The address without what follows the last name in it.

    Raises:
        ValueError: it is no http(s) URL, or holds a password.
    """
    try:
        parts = urlsplit(api_url)
        is_address = parts.scheme in ('http', 'https') and parts.hostname and parts.port != 0 and api_url.isprintable()
    except ValueError:  # a port that is no number, an IPv6 address without its bracket
        is_address = False
    if not is_address:
        raise ValueError(f'api_url={api_url!r}: give the address of a server, such as http://localhost:6900')
    if parts.username or parts.password:
        raise ValueError('api_url has a user name or password in it; give them with headers instead')
    return parts.geturl().rstrip('/')


def check_names(dataset: str, workspace: str, creates_dataset: bool = False, creates_workspace: bool = False) -> None:
    """Checks what a dataset and its workspace are called.

    What is there already may be called whatever it is. What is made now must have a name that the argilla SDK can work
    with: a workspace of another name breaks its listing of all workspaces, for everybody, and it takes the white space
    around a dataset's name away, so that it never finds that dataset.

    Args:
        creates_dataset, creates_workspace: whether they are made if they do not exist.

    Raises:
        ValueError: nothing can, or should, be called that.
    """
    if not 1 <= len(dataset) <= 200:
        raise ValueError(f'dataset={dataset!r}: a name has 1 to 200 characters')
    if creates_dataset and dataset.strip() != dataset:
        raise ValueError(f'dataset={dataset!r}: the argilla SDK could not find it; leave out the space around the name')
    if not workspace:
        raise ValueError('workspace is empty: name the workspace of the dataset')
    if creates_workspace and not re.fullmatch('[A-Za-z0-9_-]+', workspace):
        raise ValueError(
            f'workspace={workspace!r} cannot be created: with such a name, the argilla SDK could no longer list the '
            "server's workspaces. Use letters (A-Z, a-z), digits, _ and - alone. If it exists already, do not ask for "
            'it to be created.'
        )
