"""Which Argilla server, and with which credentials: resolved on the worker, never stored with the pipeline."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from apache_beam.utils.secret import RawSecret, Secret

from beam_argilla.errors import JobError
from beam_argilla.server.address import check_headers, checked_url
from beam_argilla.server.transport import Transport, transport

if TYPE_CHECKING:
    import argilla as rg


_LOGGER = logging.getLogger(__name__)
_KEY_HEADER = 'X-Argilla-Api-Key'


class EnvironmentSecret(Secret):
    """A Beam `Secret` whose value is an environment variable of the worker.

    Args:
        variable: its name.

    Raises:
        JobError: (when it is asked for its value) the variable is not set there.
    """

    def __init__(self, variable: str):
        super().__init__()
        self.variable = variable

    def get_secret_bytes(self) -> bytes:
        value = os.environ.get(self.variable, '')
        if not value:
            raise JobError(
                f'The environment variable {_shown(self.variable)} is not set where this code runs. Set it there (on a '
                'cluster: on the workers), name another one (api_key_env, --api_key_env), or keep the key in a secret '
                'manager (api_key=Secret..., --api_key_secret).'
            )
        return value.encode()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EnvironmentSecret) and other.variable == self.variable

    def __hash__(self) -> int:
        return hash(self.variable)

    def __repr__(self) -> str:
        return f'EnvironmentSecret({self.variable!r})'


def secret_of(spec: str) -> Secret:
    """The secret that a text says where to look up.

    Args:
        spec: ``type:EnvironmentSecret;variable:NAME``, or what Beam's `Secret.parse_secret_option` takes, such as
            ``type:GcpSecret;version_name:projects/P/secrets/S/versions/latest``.

    Raises:
        ValueError: it has no form that is known.
    """
    own = re.fullmatch('type:EnvironmentSecret;variable:([A-Za-z_][A-Za-z0-9_]*)', spec)
    return EnvironmentSecret(own[1]) if own else Secret.parse_secret_option(spec)


def source_of_header(source: str) -> Secret:
    """The secret that holds a header's value: an environment variable of that name, or as of `secret_of`."""
    return secret_of(source) if source.startswith('type:') else EnvironmentSecret(source)


def _shown(variable: str) -> str:
    """Its name; some give the secret itself where its variable is asked for, and that shall not be repeated."""
    named = re.fullmatch('[A-Z_][A-Z0-9_]*|[a-z_][a-z0-9_]*', variable)
    return variable if named else 'that is named (not repeated here, since it looks like a secret itself)'


@dataclass(frozen=True)
class ArgillaConnection:
    """How to reach an Argilla server.

    Args:
        api_url: such as ``https://argilla.example`` or ``http://localhost:6900``.
        api_key: a Beam `Secret` with the API key of a user who may write to the workspace (an owner, or an admin of
            it). Default: the environment variable `api_key_env`. A `RawSecret` travels inside the pipeline; every
            other kind is looked up on the worker.
        api_key_env: the environment variable to read the key from, if `api_key` is not given. It is that of this
            machine: where workers run elsewhere (on a cluster, on Dataflow), the job is refused before it starts. If
            the variable is set there, say so with ``api_key=EnvironmentSecret('ARGILLA_API_KEY')``.
        headers: further HTTP headers, such as ``{'Authorization': EnvironmentSecret('HF_BEARER')}`` for a private
            Hugging Face Space. Values are texts, or secrets where nobody should see them. Texts travel inside the
            pipeline.
        timeout: seconds to wait for one answer. A batch of 100 preference records takes a server 1 to 2 seconds alone
            and up to 10 under load.
        ca_file: PEM file of certificates to trust besides those that the machine trusts, for a server with a
            certificate of a company's own. Read on the worker. (``SSL_CERT_FILE`` in the environment trusts those in
            the file alone.)

    Proxies are those of the environment (``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY``, ``NO_PROXY``), and none for
    addresses of the machine itself.

    Raises:
        ValueError: the address is not an http(s) URL, `ca_file` is given for http, or a header's name is none.
        TypeError: the key is a plain text, which would end up in the pipeline's definition.
    """

    api_url: str
    api_key: Secret | None = field(default=None, repr=False)
    api_key_env: str = 'ARGILLA_API_KEY'
    headers: Mapping[str, str | Secret] = field(default_factory=dict, repr=False)
    timeout: float = 120.0
    ca_file: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, 'api_url', checked_url(self.api_url, self.ca_file))
        check_headers(self.headers)
        if self.api_key is not None and not isinstance(self.api_key, Secret):
            raise TypeError(
                'api_key must be a Beam Secret, so that it stays out of the pipeline: leave it out and set the '
                'environment variable ARGILLA_API_KEY, or wrap it in apache_beam.utils.secret.RawSecret to send it '
                'along.'
            )
        if not self.timeout > 0:  # nor is NaN
            raise ValueError(f'timeout={self.timeout}: it must be positive')

    def client(self) -> rg.Argilla:
        """The SDK's client of this server, for all that this package does not do.

        It asks the server who the key belongs to, and becomes the process-wide default of the SDK.

        Raises:
            JobError: a secret is not there, or `ca_file` or a proxy cannot be used.
            argilla.ArgillaError, httpx.TransportError: what the SDK raises on a wrong key or a server that is not
                there.

        Example:
            >>> client = ba.ArgillaConnection('http://localhost:6900').client()
            >>> client.datasets('ultrafeedback').progress()
        """
        import argilla as rg

        headers = self.resolve()
        key = headers.pop(_KEY_HEADER)
        options = self.transport().options()
        return rg.Argilla(api_url=self.api_url, api_key=key, timeout=self.timeout, headers=headers, **options)

    def transport(self) -> Transport:
        """The way to the server from this machine. For the worker alone.

        Raises:
            CertificateError: `ca_file` cannot be read, or holds no certificates.
            JobError: the proxy that the environment names cannot be used.
        """
        return transport(self.api_url, self.ca_file)

    def resolve(self) -> dict[str, str]:
        """The HTTP headers of every request, secrets included. For the worker alone.

        Raises:
            JobError: a secret is not there.
        """
        key = self.api_key or EnvironmentSecret(self.api_key_env)
        headers: dict[str, str | Secret] = {**self.headers, _KEY_HEADER: key}
        return {name: _header_value(name, value) for name, value in headers.items()}


def _header_value(name: str, value: str | Secret) -> str:
    text = (value.get_str() if isinstance(value, Secret) else value).strip()  # files end in a newline
    if not (text.isascii() and text.isprintable()):
        raise JobError(f'The value of the HTTP header {name} has characters that no header may have. Check the secret.')
    return text


def check_connection(connection: object) -> None:
    """Raises TypeError if it is no `ArgillaConnection`."""
    if not isinstance(connection, ArgillaConnection):
        raise TypeError(f'connection must be an ArgillaConnection, not {type(connection).__name__}')


def check_sent(connection: ArgillaConnection) -> None:
    """Checks that workers on other machines will have the credentials; what the job itself carries there is warned of.

    Raises:
        JobError: the key is in the environment of this machine, where they cannot look it up.
    """
    if connection.api_key is None:
        variable = connection.api_key_env
        shown = _shown(variable)
        example = shown if shown == variable else 'NAME'
        raise JobError(
            f'The key is to be read from the environment variable {shown}, which the workers of this job, on other '
            'machines, do not get from this one. Keep the key in a secret manager that they can read: '
            "api_key=GcpSecret(...), --api_key_secret 'type:GcpSecret;version_name:projects/P/secrets/S/versions/"
            "latest'. Or, if the variable is set on the workers, say so: "
            f"api_key=ba.EnvironmentSecret('{example}'), --api_key_secret 'type:EnvironmentSecret;variable:{example}'."
        )
    carried = ['the key (RawSecret)'] if isinstance(connection.api_key, RawSecret) else []
    carried += [
        f'the header {name}'
        for name, value in connection.headers.items()
        if isinstance(value, RawSecret) or not isinstance(value, Secret)
    ]
    if carried:
        _LOGGER.warning(
            'The definition of this job holds %s as plain text, and goes to other machines, where whoever may see the '
            'job can read it. What is secret is safer as another Secret (GcpSecret, ba.EnvironmentSecret), which '
            'workers look up.',
            ' and '.join(carried),
        )
