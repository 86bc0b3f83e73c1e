"""Every exception that `beam_argilla` raises on purpose.

Each message says what is wrong and what to do about it. Program code catches `BeamArgillaError`; the subclasses tell
whose move it is: the caller's (`InputError`, `JobError`) or nobody's (`TransientError`, which is retried).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class BeamArgillaError(Exception):
    """Base of all exceptions raised on purpose by this package: `InputError`, `JobError`, `RequestError` and theirs.

    All of them are in `beam_argilla.errors`, which is also ``ba.errors``.
    """


class InputError(BeamArgillaError):
    """The input cannot be used as it was described: no files, a missing column, a type that no text can be made of."""


class FormError(InputError):
    """Training data of a form cannot be made of a dataset's answers."""


class BrokenPromiseError(InputError):
    """The input is not what it was said to be: not clustered, or an id in several places."""


class RefusedError(BeamArgillaError):
    """A row or record was refused and nobody consumes the failed output, so the pipeline stops."""


class InvalidRecordError(BeamArgillaError):
    """The record cannot be written. `error` is a short, stable name of the reason."""

    def __init__(self, error: str, message: str):
        super().__init__(message)
        self.error = error


class JobError(BeamArgillaError):
    """The whole job cannot go on: nothing that is retried or left out would help."""


class ServerUnavailableError(JobError):
    """The server did not give a usable answer within the total time limit for retries."""


class AuthenticationError(JobError):
    """The server does not know the API key (401)."""


class PermissionDeniedError(JobError):
    """The API key's user may not do this (403)."""


class NotArgillaError(JobError):
    """Something answers at the address, but it is not an Argilla server of a supported version."""


class GatewayError(JobError):
    """Something between this machine and Argilla refuses requests: a gateway, a firewall, a proxy, a log-in page.

    Where it refuses for what a record holds, it costs that record, and the job goes on.

    Attributes:
        status: the HTTP status that it answers with.
    """

    def __init__(self, message: str, status: int | None = None):
        super().__init__(message)
        self.status = status


class CertificateError(JobError):
    """The server's certificate is not trusted, or the certificates to trust (`ca_file`) cannot be read."""


class WorkspaceNotFoundError(JobError):
    """The workspace does not exist."""


class DatasetNotFoundError(JobError):
    """The dataset does not exist, or was deleted while the job ran."""


class DatasetDiffersError(JobError):
    """The existing dataset has settings that would lose or reject this job's data."""

    def __init__(self, message: str, differences: Sequence[str] = ()):
        super().__init__(message)
        self.differences = tuple(differences)


class RequestError(BeamArgillaError):
    """One request failed. Base of the classes below; `status` is the HTTP status, None if there was no answer."""

    def __init__(self, message: str, status: int | None = None):
        super().__init__(message)
        self.status = status


class TransientError(RequestError):
    """A failure that is worth another try: connection trouble, a time-out, a server that is not ready or too busy.

    Attributes:
        cause: a short name for metrics, such as ``'429'`` or ``'ReadTimeout'``.
        retry_after: seconds the server asked to wait, None if it did not say.
        foreign: what answered was not Argilla.
        waking: it said that something is being started.
    """

    def __init__(
        self,
        message: str,
        cause: str,
        status: int | None = None,
        retry_after: float | None = None,
        foreign: bool = False,
        waking: bool = False,
    ):
        super().__init__(message, status)
        self.cause = cause
        self.retry_after = retry_after
        self.foreign = foreign
        self.waking = waking

    def __reduce__(self) -> tuple:
        return type(self), (str(self), self.cause, self.status, self.retry_after, self.foreign, self.waking)


class InvalidRecordsError(RequestError):
    """The server refused the batch and named the records at fault (422).

    Attributes:
        reasons: position in the batch (0-based) → the server's reason. Records not in it were not at fault.
    """

    def __init__(self, message: str, reasons: Mapping[int, str], status: int | None = 422):
        super().__init__(message, status)
        self.reasons = dict(reasons)


class RejectedBatchError(RequestError):
    """Argilla refused a request without saying which record is at fault (such as an unclear 4xx)."""
