"""What the integration tests share."""

from collections.abc import Iterator

import pytest

from beam_argilla.local import LocalServer, serve


@pytest.fixture(scope='session')
def argilla_server() -> Iterator[LocalServer]:
    """A real Argilla server in a temporary home, one for the whole session: give datasets names of their own."""
    with serve() as server:
        yield server
