"""Where records go: a server's address and the names on it, checked before anything is asked of it."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Collection, Iterable
from urllib.parse import urlsplit

import idna


def checked_url(api_url: str, ca_file: str | os.PathLike[str] | None = None) -> str:
    """The address without the slash at its end.

    Args:
        ca_file: certificates to trust, if any are named.

    Raises:
        ValueError: it is no http(s) URL, holds what may be a secret (that is not repeated), or has no use for a
            certificate.
    """
    if '@' in api_url:
        raise ValueError(
            'api_url has an @, as after a user name and a password: leave them out, and give them with a header '
            '(headers=..., --header)'
        )
    if '?' in api_url or '#' in api_url:
        raise ValueError(
            f'api_url={re.split("[?#]", api_url)[0]!r} goes on with ? or #: leave that out, and give the address of '
            'the server alone, such as http://localhost:6900'
        )
    if not api_url.isprintable() or ' ' in api_url or not is_place(api_url, ('http', 'https')):
        raise ValueError(f'api_url={api_url!r}: give the address of a server, such as http://localhost:6900')
    if ca_file is not None and urlsplit(api_url).scheme == 'http':
        raise ValueError(
            f'ca_file means nothing to {api_url}, which is not encrypted: leave it out (--ca_file), or give the '
            'address with https://'
        )
    return api_url.rstrip('/')


def is_place(url: str, schemes: Collection[str]) -> bool:
    """Whether the URL has one of the schemes and a host that can be asked for."""
    try:
        parts = urlsplit(url)
        return parts.scheme in schemes and parts.port != 0 and _is_host(parts.hostname or '')
    except ValueError:  # a port that is no number, an IPv6 address without its bracket
        return False


def _is_host(host: str) -> bool:
    """Whether the name, or address, is one that a resolver and httpx take."""
    if ':' in host:  # IPv6, which `urlsplit` has checked
        return True
    try:
        host.encode('idna')  # labels of 1 to 63 characters
        for label in host.split('.'):
            if not label.isascii() or label.startswith('xn--'):
                idna.decode(idna.encode(label))
        if _FOUR_NUMBERS.fullmatch(host):
            ipaddress.IPv4Address(host)
    except ValueError:  # UnicodeError and idna.IDNAError are such
        return False
    return 1 <= len(host) <= _LONGEST_HOST and not _IMPOSSIBLE.search(host)


_LONGEST_HOST = 253  # characters, of DNS
_FOUR_NUMBERS = re.compile(r'[0-9]+(\.[0-9]+){3}')
_IMPOSSIBLE = re.compile(r"""[\s"'%&*+,;:<=>\\^`{|}()!$\[\]]""")


# Those of which HTTP or this package knows what they must be, in lower case.
_OWN_HEADERS = ('connection', 'content-length', 'content-type', 'host', 'transfer-encoding', 'x-argilla-api-key')


def check_headers(names: Iterable[str]) -> None:
    """Checks what further HTTP headers are called.

    Raises:
        ValueError: nothing can be called that, there are two of a name, or it is none to be given.
    """
    seen: set[str] = set()
    for name in names:
        lower = name.lower()
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
            raise ValueError(f'{name!r} is no name of an HTTP header: letters (A-Z, a-z), digits and - are')
        if lower in _OWN_HEADERS:
            key = ' (the key: api_key, --api_key_env)' if 'key' in lower else ''
            raise ValueError(f'The HTTP header {name} is set by itself: leave it out{key}')
        if lower in seen:
            raise ValueError(f'The HTTP header {name} is given more than once: give it one value')
        seen.add(lower)


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
