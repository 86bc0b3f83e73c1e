"""Where records go: a server's address and the names on it, checked before anything is asked of it."""

from __future__ import annotations

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


def check_names(dataset: str, workspace: str) -> None:
    """Raises ValueError if no dataset or workspace can be called that."""
    if not 1 <= len(dataset) <= 200:
        raise ValueError(f'dataset={dataset!r}: a name has 1 to 200 characters')
    if not workspace:
        raise ValueError('workspace is empty: name the workspace of the dataset')
