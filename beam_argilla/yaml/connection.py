"""Which Argilla server, as a file says it: where secrets are looked up, never what they are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from beam_argilla.server.connection import ArgillaConnection, secret_of, source_of_header
from beam_argilla.server.retries import RetryPolicy

_VARIABLE = 'ARGILLA_API_URL'


@dataclass(frozen=True)
class Connection:
    """How to reach an Argilla server. No key can be written here: a pipeline carries its file along as it stands.

    Args:
        api_url: such as ``https://argilla.example``. Default: the environment variable ``ARGILLA_API_URL`` of the
            machine on which the pipeline is built.
        api_key_env: the environment variable to read the API key from, where workers run on this machine.
        api_key_secret: where workers on other machines look the key up, such as
            ``type:GcpSecret;version_name:projects/P/secrets/S/versions/latest``, or
            ``type:EnvironmentSecret;variable:NAME`` if the variable is set there.
        headers: further HTTP headers: name → the environment variable that holds the value, or a secret as of
            `api_key_secret`.
        timeout: seconds to wait for one answer.
        ca_file: PEM file of certificates to trust besides those that the machine trusts.
        retry_seconds: how long to wait for a server that fails, or wakes up.

    Example:
        connection:
          api_url: https://argilla.example
          api_key_env: ARGILLA_API_KEY
    """

    api_url: str | None = None
    api_key_env: str = 'ARGILLA_API_KEY'
    api_key_secret: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 120.0
    ca_file: str | None = None
    retry_seconds: float = RetryPolicy().limit

    def argilla(self) -> ArgillaConnection:
        """The connection that the other rooms know.

        Raises:
            ValueError: there is no address, or one of the keys is not as it must be.
        """
        url = self.api_url or os.environ.get(_VARIABLE)
        if not url:
            raise ValueError(f'connection.api_url is missing: give it, or set the environment variable {_VARIABLE}')
        return ArgillaConnection(
            url,
            api_key=None if self.api_key_secret is None else secret_of(self.api_key_secret),
            api_key_env=self.api_key_env,
            headers={name: source_of_header(source) for name, source in self.headers.items()},
            timeout=self.timeout,
            ca_file=self.ca_file,
        )

    def retry(self) -> RetryPolicy:
        """How long failures are retried."""
        return RetryPolicy(limit=self.retry_seconds)
