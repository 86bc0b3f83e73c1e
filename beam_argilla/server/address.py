"""Where records go: a server's address and the names on it, checked before anything is asked of it."""

from __future__ import annotations

from urllib.parse import urlsplit


def checked_url(api_url: str) -> str:
    """The address without what follows the last name in it.

    Raises:
        ValueError: it is no http(s) URL, or holds a password.
    """
    parts = urlsplit(api_url)
    if parts.scheme not in ('http', 'https') or not parts.hostname:
        raise ValueError(f'api_url={api_url!r}: give the address of a server, such as http://localhost:6900')
    if parts.username or parts.password:
        raise ValueError('api_url has a user name or password in it; give them with headers instead')
    return parts.geturl().rstrip('/')


def check_names(dataset: str, workspace: str) -> None:
    """Raises ValueError if no dataset or workspace can be called that."""
    if not 1 <= len(dataset) <= 200:
        raise ValueError(f'dataset={dataset!r}: a name has 1 to 200 characters')
    if not workspace:
        raise ValueError('workspace is empty: name the workspace of the dataset')
