"""What the integration tests share."""

from collections.abc import Iterator

import pytest

from beam_argilla.local import LocalServer, serve

# Two workers take the files in this order: the longest first, lest one of them waits for the other at the end.
LONGEST = (
    'test_packaging',
    'test_for_people',
    'test_parquet_to_argilla',
    'test_faults',
    'test_server',
    'test_properties',
    'test_spilling',
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


@pytest.fixture(scope='session')
def argilla_server() -> Iterator[LocalServer]:
    """A real Argilla server in a temporary home, one for the whole session: give datasets names of their own."""
    with serve() as server:
        yield server
