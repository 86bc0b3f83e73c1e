"""The way to a server: which certificates are trusted, which proxy is asked, and what can be wrong with either."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from beam_argilla.errors import CertificateError, JobError, NotArgillaError, TransientError
from beam_argilla.server.address import is_place
from beam_argilla.server.cleaning import without_user
from beam_argilla.server.faults import Verdict, verdict


class Transport(NamedTuple):
    """How requests travel.

    Attributes:
        server: its address.
        verify: what `httpx` checks the server's certificate with.
        proxy: the URL of the proxy in between; None if there is none.
        ca_file: of certificates that are trusted besides those that this machine trusts.
    """

    server: str
    verify: ssl.SSLContext | bool
    proxy: str | None
    ca_file: str | None = None

    def options(self) -> dict[str, Any]:
        """As `httpx.Client` and the SDK take it. What else the environment says is not asked for."""
        return {'verify': self.verify, 'proxy': self.proxy, 'trust_env': False}

    @property
    def is_spoken_for(self) -> bool:
        """Whether a proxy answers in the server's place where that is not there. (To https it makes no connection.)"""
        return self.proxy is not None and urlsplit(self.server).scheme == 'http'

    @property
    def note(self) -> str:
        """For messages: which proxy is asked, without its password."""
        if self.proxy is None:
            return ''
        host = urlsplit(self.server).hostname
        return (
            f' (Requests go through the proxy {without_user(self.proxy)}, which the environment names; '
            f'NO_PROXY={host} in the environment goes round it.)'
        )

    def trouble(self, error: httpx.RequestError, request: str, clean: Callable[[str], str]) -> Exception:
        """The exception for a request that was not answered.

        Args:
            error: httpx's.
            request: its method and address.
            clean: takes out of a text what must not be shown.
        """
        cause = type(error).__name__
        if isinstance(error, httpx.ProxyError):  # 'STATUS REASON' of an answer to CONNECT, which no record is part of
            status = str(error)[:3]
            if status.isdigit() and verdict(int(status), foreign=True) is Verdict.BLOCKED:
                return JobError(clean(f'The proxy refuses to connect to {self.server}: {error}{self.note}'))
        failure = next((e for e in _causes(error) if isinstance(e, ssl.SSLError)), None)
        if isinstance(failure, ssl.SSLCertVerificationError):
            return _not_trusted(self.server, failure, self.ca_file)
        if failure is not None and failure.reason in _NOT_TLS:
            return NotArgillaError(
                f'What answers at {self.server} does not speak TLS ({failure.reason}): is it the address of a server '
                f'with http:// instead of https://?{self.note}'
            )
        return TransientError(clean(f'{request}: {cause}: {error}{self.note}'), cause)


def transport(server: str, ca_file: str | os.PathLike[str] | None = None) -> Transport:
    """The way from this machine.

    Args:
        server: its address.
        ca_file: PEM file of certificates that are trusted besides those that this machine trusts.

    Raises:
        CertificateError: a file of certificates cannot be read, or is none.
        JobError: the proxy that the environment names for this address cannot be used.
    """
    parts = urlsplit(server)
    # Loading the certificates takes longer than a small job.
    verify = _ssl_context(ca_file) if parts.scheme == 'https' else False
    proxy = _proxy(parts)
    if proxy is not None:
        _check_proxy(proxy, parts)
    return Transport(server, verify, proxy, None if ca_file is None else os.fspath(ca_file))


# -- certificates

# What OpenSSL makes of an answer in plain HTTP.
_NOT_TLS = ('WRONG_VERSION_NUMBER', 'PACKET_LENGTH_TOO_LONG', 'RECORD_LAYER_FAILURE', 'HTTP_REQUEST')
_EXPIRED, _NOT_YET_VALID, _OTHER_HOST, _OTHER_ADDRESS = 10, 9, 62, 64  # OpenSSL's X509_V_ERR_…


def _ssl_context(ca_file: str | os.PathLike[str] | None) -> ssl.SSLContext:
    try:
        context = httpx.create_ssl_context()
    except OSError as e:  # ssl.SSLError is one
        raise CertificateError(
            f'The certificates to trust cannot be read: {e}. Look at SSL_CERT_FILE and SSL_CERT_DIR in the environment.'
        ) from e
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except ssl.SSLError as e:
            raise CertificateError(f'ca_file={os.fspath(ca_file)!r} holds no certificates in PEM form: {e}') from e
        except OSError as e:
            raise CertificateError(
                f'ca_file={os.fspath(ca_file)!r} cannot be read where this code runs: {e.strerror or e}'
            ) from e
    return context


def _not_trusted(server: str, error: ssl.SSLCertVerificationError, ca_file: str | None) -> CertificateError:
    by_whom = ''
    if error.verify_code in (_EXPIRED, _NOT_YET_VALID):
        way_out = 'It must be renewed on the server; or is the clock of this machine wrong?'
    elif error.verify_code in (_OTHER_HOST, _OTHER_ADDRESS):
        way_out = 'Use an address that the certificate is for.'
    else:
        by_whom = '' if ca_file is None else f', neither by this machine nor with ca_file={ca_file!r}'
        way_out = (
            'If it is the right server, name a PEM file with the certificate of the authority that signed it (or with '
            "the server's own, where it is self-signed): ArgillaConnection(ca_file=...), --ca_file FILE, or "
            'SSL_CERT_FILE in the environment.'
        )
    why = error.verify_message.rstrip('.')
    return CertificateError(f'The certificate of {server} is not trusted{by_whom}: {why}. {way_out}')


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


# -- proxies


def _proxy(server: SplitResult) -> str | None:
    """The URL of the proxy that the environment (or the system, where Python asks it) names for the server."""
    proxies = getproxies()
    proxy = proxies.get(server.scheme) or proxies.get('all')
    host = server.hostname or ''
    if not proxy or _is_this_machine(host) or _is_excepted(host, server.port, proxies.get('no', '')):
        return None
    return proxy if '://' in proxy else f'http://{proxy}'


def _check_proxy(proxy: str, server: SplitResult) -> None:
    try:
        httpx.Client(proxy=proxy, verify=False).close()
    except ImportError as e:
        problem = str(e)
    except (ValueError, httpx.InvalidURL):  # whose texts may hold a part of the password
        problem = 'it is no address of a proxy that is known here.'
    else:
        if ' ' not in proxy and is_place(proxy, ('http', 'https', 'socks5', 'socks5h')):
            return
        problem = 'it is no address.'
    raise JobError(
        f'The proxy {without_user(proxy)} for {server.geturl()}, which the environment names '
        f'({server.scheme.upper()}_PROXY or ALL_PROXY), cannot be used: {problem} Write it as http://HOST:PORT or '
        'http://USER:PASSWORD@HOST:PORT (in the password, %40 for @, %2F for /, %20 for a space), or go round it with '
        f'NO_PROXY={server.hostname} in the environment.'
    )


def _is_excepted(host: str, port: int | None, no_proxy: str) -> bool:
    """Whether NO_PROXY names the host, in any of the ways that programs know: names, ``*.name``, networks, ``*``."""
    if proxy_bypass(f'{host}:{port}' if port else host):
        return True
    address = _address(host)
    for name in (name.strip().lower() for name in no_proxy.split(',')):
        if name == '*' or (name.startswith('*.') and host.endswith(name[1:])) or name.strip('[]') == host:
            return True
        with contextlib.suppress(ValueError):
            if '/' in name and address is not None and address in ipaddress.ip_network(name, strict=False):
                return True
    return False


def _is_this_machine(host: str) -> bool:
    """Whether the name or address is this machine's own, as far as can be seen without asking anybody."""
    host = host.rstrip('.')
    if host == 'localhost' or host.endswith('.localhost') or host == socket.gethostname().lower():
        return True
    address = _address(host)
    if address is None:
        return False
    if address.is_loopback or address.is_unspecified:
        return True
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.bind((host, 0))  # which only an address of one's own can be
        return True
    return False


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return getattr(address, 'ipv4_mapped', None) or address
