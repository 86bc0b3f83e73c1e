"""People who answer on a real server, by the page's own API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.samples import unique


class Person:
    """A user of the server, who may answer in the default workspace.

    Attributes:
        name: how the user is called.
        password: what the page asks for.
        id: the server's UUID.
    """

    def __init__(self, owner: httpx.Client, name: str, role: str = 'annotator', member: bool = True):
        self.password = 'a-long-password'
        user = {'username': name, 'first_name': name, 'role': role, 'password': self.password}
        made = owner.post('/users', json=user).raise_for_status().json()
        self.name, self.id, self.key = made['username'], made['id'], made['api_key']
        if member:
            spaces = owner.get('/me/workspaces').raise_for_status().json()['items']
            (space,) = (space['id'] for space in spaces if space['name'] == 'default')
            owner.post(f'/workspaces/{space}/users', json={'user_id': self.id}).raise_for_status()
        self._http = httpx.Client(base_url=owner.base_url, headers={'X-Argilla-Api-Key': self.key}, timeout=60)

    def answers(self, record_id: str, values: dict[str, Any] | None, status: str = 'submitted') -> None:
        """Answers a record, or answers it anew."""
        given = {name: {'value': value} for name, value in (values or {}).items()} or None
        item = {'values': given, 'status': status, 'record_id': record_id}
        body = {'items': [item]}
        (done,) = self._http.post('/me/responses/bulk', json=body).raise_for_status().json()['items']
        assert done['error'] is None, done

    def close(self) -> None:
        self._http.close()


@pytest.fixture(scope='module')
def crew(api: httpx.Client) -> Iterator[list[Person]]:
    """Three annotators."""
    found = [Person(api, unique(name)) for name in ('ada', 'bob', 'eve')]
    yield found
    for person in found:
        person.close()


def dataset_id(api: httpx.Client, name: str) -> str:
    datasets = api.get('/me/datasets').raise_for_status().json()['items']
    (found,) = (d['id'] for d in datasets if d['name'] == name)
    return found


def record_ids(api: httpx.Client, name: str) -> dict[str, str]:
    """External id → the server's id, of a dataset with a thousand records at most."""
    page = api.get(f'/datasets/{dataset_id(api, name)}/records', params={'limit': 1000}).raise_for_status().json()
    return {record['external_id']: record['id'] for record in page['items']}
