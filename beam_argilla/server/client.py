"""The only file that touches the network: one Argilla server over its public REST API.

Every answer is sorted once, into a value or one of the exceptions of `beam_argilla.errors` (`faults`); transient ones
are retried at one layer (`retries`). What follows was measured on argilla-server 2.8 (and its PostgreSQL and SQLite
backends): a 500, a time-out or a lost connection can come after the rows were committed, and sending the same records
again repairs all of it; after a 500 the server closes the connection, so the next request may fail to read.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any

import httpx
import msgspec
import orjson

from beam_argilla.errors import JobError, NotArgillaError, RequestError
from beam_argilla.server.cleaning import Cleaner, password_of
from beam_argilla.server.connection import ArgillaConnection
from beam_argilla.server.faults import fault, foreign
from beam_argilla.server.retries import Attempt, Retries, RetryPolicy, Streak, ignore

# httpx logs every request at INFO, which on a worker is a line per batch; whoever set a level keeps it.
if logging.getLogger('httpx').level == logging.NOTSET:
    logging.getLogger('httpx').setLevel(logging.WARNING)

_CONNECT_SECONDS = 10.0  # an address where nothing is takes as long as this to be known
_WELL_SECONDS = 10.0


class WhoAmI(msgspec.Struct):
    """What Argilla tells of the key's user."""

    username: str


class Client:
    """A connection to one server. Thread-safe.

    Args:
        connection: where, and as whom.
        retry: how long to retry.
        silence: seconds after which it is given up instead, as long as nothing is heard of the server.

    Attributes:
        url: the server's address.
        clean: takes out of a text what must not be shown of it: secrets, and what a terminal would obey.

    Raises:
        JobError: a secret is not there, or `ArgillaConnection.ca_file` or a proxy cannot be used.
    """

    def __init__(self, connection: ArgillaConnection, retry: RetryPolicy | None = None, silence: float | None = None):
        headers = connection.resolve()
        self.url = connection.api_url
        self._seconds = connection.timeout
        self._server_time = _date(None)
        self._transport = connection.transport()
        self.clean = Cleaner([*headers.values(), *password_of(self._transport.proxy or '')])
        self._retries = Retries(
            retry or RetryPolicy(), self.url, self._is_well, silence, proxied=self._transport.is_spoken_for
        )
        self._new_connections = partial(
            httpx.Client,
            base_url=f'{connection.api_url}/api/v1',
            # The server answers a bulk request with all of the records; compressing that takes it a tenth of its time.
            headers={'Accept-Encoding': 'identity', **headers, 'Content-Type': 'application/json'},
            timeout=_timeout(connection.timeout),
            # Retries belong to `Retries`; idle connections are dropped before usual servers drop them (5 s and more).
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=4.0),
            **self._transport.options(),
        )
        self._http = self._new_connections()

    def close(self) -> None:
        self._http.close()

    def stop(self) -> None:
        """Nothing is tried again from now on: the job has failed, and whoever waits for an answer need not."""
        self._retries.stop()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def json(self, method: str, path: str, form: Any, **request: Any) -> Any:
        """The JSON object that answers a request; see `request`.

        Args:
            form: what Argilla's answer has, as a `msgspec.Struct`; one without it is not Argilla's.
        """
        return self.request(method, path, decode=partial(_read, form), **request)

    def request(
        self,
        method: str,
        path: str,
        observe: Callable[[Attempt], None] = ignore,
        streak: Streak | None = None,
        decode: Callable[[bytes], Any] | None = orjson.loads,
        **request: Any,
    ) -> Any:
        """Sends the request until it is answered for good.

        Args:
            path: below ``/api/v1``.
            observe: called for each attempt.
            streak: what the request is, and how often it has failed until now; see `Streak`.
            decode: of the answer's JSON; raises what it does on one that is not Argilla's. None: there is none.
            request: what else `httpx.Client.request` takes.

        Raises:
            RequestError: the server refused it.
            GatewayError: something in between refused it.
            JobError: no request can succeed.
        """
        return self._retries.call(lambda: self._send(method, path, decode, **request), observe, streak)

    def server_time(self) -> datetime:
        """What the server's clock showed at its last answer, to the second; in UTC, and not said so."""
        return self._server_time

    def _is_well(self) -> bool:
        # Asks the database, and at once: a server that takes longer for it is not well. On a connection of its own, for
        # after a 500 argilla-server hangs up without saying so, which would look as if it were not there.
        timeout = _timeout(min(_WELL_SECONDS, self._seconds))
        with self._new_connections() as http:
            try:
                self._send('GET', '/me', partial(_read, WhoAmI), http, timeout=timeout)
            except (RequestError, JobError):
                return False
        return True

    def _send(
        self,
        method: str,
        path: str,
        decode: Callable[[bytes], Any] | None,
        http: httpx.Client | None = None,
        **request: Any,
    ) -> Any:
        patience = self._retries.patience
        if patience is not None:
            request = {'timeout': _timeout(min(patience, self._seconds)), **request}
        try:
            response = (http or self._http).request(method, path, **request)
        except httpx.LocalProtocolError:  # such as a header that cannot be sent; its text may hold a secret
            raise NotArgillaError(
                f'No HTTP request can be made to {self.url}: check the address and headers.'
            ) from None
        except (httpx.TransportError, httpx.DecodingError) as e:  # connect, read, write, time-out, protocol, unzip
            raise self._transport.trouble(e, f'{method} {self.url}', self.clean) from e
        self._server_time = _date(response.headers.get('Date'))
        if not response.is_success:
            raise fault(response, self._place, self.clean)
        return self._content(response, decode)

    def _content(self, response: httpx.Response, decode: Callable[[bytes], Any] | None) -> Any:
        if decode is None and response.status_code == 204:
            return None
        try:
            if decode is not None:
                return decode(response.content)
        except msgspec.ValidationError as e:
            if b'"items"' in response.content:
                raise NotArgillaError(
                    f'{self.url} gives answers of another form than argilla-server 2.8 to {response.request.method} '
                    f'{response.request.url.path} ({e}): is it an Argilla server, and not of a newer version?'
                ) from e
        except (ValueError, msgspec.DecodeError):
            pass
        raise foreign(response, self._place, self.clean)

    @property
    def _place(self) -> str:
        return self.url + self._transport.note


def _date(stamp: str | None) -> datetime:
    """The time of a header, or ours if it says none."""
    try:
        return parsedate_to_datetime(stamp or '').astimezone(timezone.utc).replace(tzinfo=None)
    except ValueError:
        return datetime.now(timezone.utc).replace(tzinfo=None)


def _timeout(seconds: float) -> httpx.Timeout:
    return httpx.Timeout(seconds, connect=min(seconds, _CONNECT_SECONDS))


def _read(form: Any, content: bytes) -> Any:
    """The JSON object, with all that is in it; msgspec.ValidationError if it has not the form."""
    answer = orjson.loads(content)
    msgspec.convert(answer, form)
    return answer
