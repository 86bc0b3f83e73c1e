"""How much of what is sent has arrived, by the server's own count: for whoever watches, whatever sends it."""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from datetime import datetime, timedelta

from beam_argilla.server.client import Client
from beam_argilla.server.connection import ArgillaConnection
from beam_argilla.server.datasets import find_dataset
from beam_argilla.server.listing import count_changed
from beam_argilla.server.retries import RetryPolicy

_PATIENCE = 5.0  # seconds for one answer


class Arrivals:
    """Counts the records of a dataset that were made or changed since this was made, people's answers among them.

    For one thread. A look is a request or, as long as the dataset is not known, three; nothing is tried again.

    Args:
        connection: the server.
        dataset: its name; it need not be there yet.
        workspace: the dataset's.
    """

    def __init__(self, connection: ArgillaConnection, dataset: str, workspace: str = 'default'):
        self._connection = replace(connection, timeout=min(connection.timeout, _PATIENCE))
        self._names = dataset, workspace
        self._began = time.monotonic()
        self._client: Client | None = None
        self._dataset_id: str | None = None
        self._since: datetime | None = None

    def count(self) -> int | None:
        """How many; None if the server, its key, or whatever else it takes, is not there: that is others' business."""
        with contextlib.suppress(Exception):
            return self._count()
        return None

    def _count(self) -> int:
        if self._client is None:
            self._client = Client(self._connection, RetryPolicy(limit=0))
        if self._dataset_id is None:
            self._dataset_id = find_dataset(self._client, *self._names)
        if self._since is None:  # by the server's clock, which tells whole seconds: a little more may be counted
            self._since = self._client.server_time() - timedelta(seconds=time.monotonic() - self._began)
        return 0 if self._dataset_id is None else count_changed(self._client, self._dataset_id, self._since)
