"""What the people of a dataset are called."""

from __future__ import annotations

from beam_argilla.server.client import Client
from beam_argilla.server.connection import ArgillaConnection
from beam_argilla.server.datasets import ensure_dataset
from beam_argilla.server.listing import people
from beam_argilla.server.retries import RetryPolicy


def called(client: Client, dataset_id: str, anonymous: bool) -> dict[str, str]:
    """UUID of a person → what they are called, of those who are listed."""
    names = people(client, dataset_id)
    return {user: f'annotator-{n}' if anonymous else name for n, (user, name) in enumerate(names.items(), 1)}


def names_of_people(
    dataset: str,
    *,
    connection: ArgillaConnection,
    workspace: str = 'default',
    anonymous: bool = False,
    retry: RetryPolicy | None = None,
) -> list[str]:
    """What those who may answer, or have answered, are called in `Response.user`.

    Args:
        dataset, workspace: whose people.
        connection: the server.
        anonymous: as of `ReadFromArgilla`.
        retry: how long to retry.

    Returns:
        Those who answered first at the beginning; nobody, if the key may not list people: they are called by their ids
        then.

    Raises:
        JobError: the server, the key, the workspace or the dataset is not as it must be.

    Example:
        >>> ba.names_of_people('ultrafeedback', connection=connection)
        ['ada', 'bob']
    """
    with Client(connection, retry) as client:
        found = ensure_dataset(client, dataset, workspace, None)
        return list(called(client, found.id, anonymous).values())
