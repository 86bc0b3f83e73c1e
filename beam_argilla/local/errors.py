"""The one exception of this package."""


class LocalServerError(RuntimeError):
    """The local Argilla server cannot start, or has ended by itself. The message says what to do.

    Attributes:
      exit_status: What ``python -m beam_argilla.local`` ends with: 2 if something about the call or the machine must
        be changed first (a taken port, a missing package, a damaged home ...), 1 if a running process died.
    """

    def __init__(self, message: str, exit_status: int = 2) -> None:
        super().__init__(message)
        self.exit_status = exit_status
