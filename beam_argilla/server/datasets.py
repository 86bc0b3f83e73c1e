"""Datasets on the server: looked at, made, and held against what a job wants of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

import orjson

from beam_argilla.errors import (
    DatasetDiffersError,
    DatasetNotFoundError,
    GatewayError,
    NotArgillaError,
    PermissionDeniedError,
    RejectedBatchError,
    WorkspaceNotFoundError,
)
from beam_argilla.server.client import Client
from beam_argilla.server.connection import ArgillaConnection
from beam_argilla.server.differences import differences
from beam_argilla.server.retries import RetryPolicy
from beam_argilla.server.settings import DatasetSettings

# The bulk upsert and the task distribution, as this package uses them, are there from 2.3 on; tested with 2.8.
OLDEST, TOO_NEW = (2, 3), (3,)


class Dataset(NamedTuple):
    """A dataset as it is on the server.

    Attributes:
        id: its UUID.
        url: its web page.
        settings: as they are now.
        question_ids: question name → UUID.
    """

    id: str
    url: str
    settings: DatasetSettings
    question_ids: Mapping[str, str]


def check_dataset(
    dataset: str,
    *,
    connection: ArgillaConnection,
    workspace: str = 'default',
    settings: Any = None,
    create_workspace: bool = False,
    limit: float = 10.0,
    retry: RetryPolicy | None = None,
) -> Dataset | None:
    """Looks at the server before a job starts, so that a mistake is told at once. Changes nothing.

    Args:
        dataset: its name.
        connection: the server.
        workspace: the dataset's.
        settings: what the job will write for (`DatasetSettings`, or an `argilla.Settings`). None: anything.
        create_workspace: the workspace need not exist, since the job will make it.
        limit: seconds after which a server is given up of which nothing is heard: where nothing listens, or nobody
            knows the name.
        retry: how long a server is waited for that answers, but is not ready: one that wakes up, or is overloaded. What
            it is waiting for is said once, as a warning of the logger ``beam_argilla``.

    Returns:
        The dataset as it is now; None if it does not exist yet, or is a draft.

    Raises:
        NotArgillaError: no Argilla server of a supported version answers there.
        ServerUnavailableError: nothing answers within the limit, or the server is not ready in time.
        CertificateError: the server's certificate is not trusted.
        GatewayError: something between here and the server refuses the requests.
        AuthenticationError: the key is wrong.
        WorkspaceNotFoundError: there is no such workspace, and it shall not be created.
        DatasetDiffersError: the dataset would lose or refuse records made for `settings`.

    Example:
        >>> task = ba.Preference(num_generations=4)
        >>> found = ba.check_dataset('ultrafeedback', connection=connection, settings=task.settings())
        >>> print(found.url if found else 'The job will create it.')
    """
    with Client(connection, retry, silence=limit) as client:
        check_server(client)
        found = find_dataset(client, dataset, workspace, create_workspace)
    if found is not None and settings is not None:
        check_differences(dataset, workspace, DatasetSettings.of(settings), found)
    return found


def check_server(client: Client) -> str:
    """The name of the user whom the key belongs to.

    Raises:
        NotArgillaError: no Argilla server of a supported version answers there.
        AuthenticationError: the key is wrong.
        ServerUnavailableError: nothing answers within the time limit.
    """
    try:
        version = client.json('GET', '/version', 'version', first=True)['version']
    except (GatewayError, RejectedBatchError) as e:
        raise NotArgillaError(
            f'{client.url} is not an Argilla server. {e}. Is it the address of the server itself (for a Hugging Face '
            'Space: https://OWNER-SPACE.hf.space)? A private Space also needs the header Authorization.'
        ) from e
    version = version if isinstance(version, str) else ''
    number = tuple(int(n) for n in re.findall(r'\d+', version)[:2])
    if not OLDEST <= number < TOO_NEW:
        oldest = '.'.join(map(str, OLDEST))
        raise NotArgillaError(
            f'{client.url} is Argilla {version or "of unknown version"}; versions {oldest} up to 3.0 are supported.'
        )
    return client.json('GET', '/me', 'username')['username']


def find_dataset(client: Client, name: str, workspace: str, create_workspace: bool = False) -> Dataset | None:
    """The published dataset, None if there is none.

    Raises:
        WorkspaceNotFoundError: there is no such workspace, and it shall not be created.
    """
    workspace_id = _workspace_id(client, workspace, create=False, may_lack=create_workspace)
    found = _find(client, name, workspace_id) if workspace_id else None
    return read_dataset(client, found['id']) if found and found['status'] == 'ready' else None


def ensure_dataset(
    client: Client, name: str, workspace: str, settings: DatasetSettings | None, create_workspace: bool = False
) -> Dataset:
    """The dataset, created if need be. Several workers may do so at once, and again after half of it was done.

    Args:
        settings: of the dataset to create, and to compare an existing one with. None: it must exist.

    Raises:
        WorkspaceNotFoundError: there is no such workspace, and it shall not be created.
        DatasetNotFoundError: there is no such dataset, and no settings to create it with.
        DatasetDiffersError: the existing dataset would lose or refuse records made for `settings`.
        PermissionDeniedError: the key's user may not.
    """
    workspace_id = _workspace_id(client, workspace, create=create_workspace)
    found = _find(client, name, workspace_id)
    if found is None:
        if settings is None:
            raise DatasetNotFoundError(f'There is no dataset {name!r} in workspace {workspace!r} of {client.url}.')
        body = {
            'name': name,
            'workspace_id': workspace_id,
            'guidelines': settings.guidelines,
            'allow_extra_metadata': settings.allow_extra_metadata,
            'distribution': {'strategy': 'overlap', 'min_submitted': settings.min_submitted},
        }
        _create(client, '/datasets', body)
        found = _find(client, name, workspace_id)
        if found is None:
            raise PermissionDeniedError(
                f'Dataset {name!r} exists in workspace {workspace!r} of {client.url}, but the API key cannot see it.'
            )
    if found['status'] != 'ready':
        if settings is None:
            raise DatasetNotFoundError(f'Dataset {name!r} in workspace {workspace!r} is a draft: publish it first.')
        _complete(client, found['id'], settings)
    dataset = read_dataset(client, found['id'])
    check_differences(name, workspace, settings, dataset)
    return dataset


def read_dataset(client: Client, dataset_id: str) -> Dataset:
    """The dataset as it is now."""
    path = f'/datasets/{dataset_id}'
    head = client.json('GET', path, 'allow_extra_metadata')
    questions = client.json('GET', f'{path}/questions', 'items')['items']
    settings = DatasetSettings(
        fields=client.json('GET', f'{path}/fields', 'items')['items'],
        questions=questions,
        metadata=client.json('GET', f'/me{path}/metadata-properties', 'items')['items'],
        guidelines=head.get('guidelines') or None,
        min_submitted=(head.get('distribution') or {}).get('min_submitted', 1),
        allow_extra_metadata=head['allow_extra_metadata'],
        vectors=client.json('GET', f'{path}/vectors-settings', 'items')['items'],
    )
    url = f'{client.url}/dataset/{quote(dataset_id)}/annotation-mode'
    return Dataset(dataset_id, url, settings, {q['name']: q['id'] for q in questions})


def check_differences(name: str, workspace: str, settings: DatasetSettings | None, dataset: Dataset) -> None:
    """Raises DatasetDiffersError if the dataset would lose or refuse records made for the settings."""
    found = differences(settings, dataset.settings) if settings is not None else []
    if found:
        raise DatasetDiffersError(
            f'Dataset {name!r} in workspace {workspace!r} exists with other settings, so nothing was written:\n  - '
            + '\n  - '.join(found)
            + '\nWrite to a new dataset name, or give the job the settings of the existing one.',
            found,
        )


def _workspace_id(client: Client, name: str, create: bool, may_lack: bool = False) -> str:
    def listed() -> dict[str, str]:
        return {w['name']: w['id'] for w in client.json('GET', '/me/workspaces', 'items')['items']}

    workspaces = listed()
    if name not in workspaces and create:
        _create(client, '/workspaces', {'name': name})
        workspaces = listed()
    if name in workspaces or may_lack:
        return workspaces.get(name, '')
    there = ', '.join(map(repr, sorted(workspaces))) or 'none'
    raise WorkspaceNotFoundError(
        f'There is no workspace {name!r} on {client.url} for this API key. There are: {there}. Name one of them, or '
        'let it be created (create_workspace=True, --create_workspace).'
    )


def _find(client: Client, name: str, workspace_id: str) -> dict[str, Any] | None:
    params = {'workspace_id': workspace_id, 'name': name}
    items = client.json('GET', '/me/datasets', 'items', params=params)['items']
    return next((d for d in items if d['name'] == name), None)


def _complete(client: Client, dataset_id: str, settings: DatasetSettings) -> None:
    """Gives a draft what it lacks and publishes it. Another worker may be doing the same."""
    path = f'/datasets/{dataset_id}'
    existing = {
        'fields': client.json('GET', f'{path}/fields', 'items')['items'],
        'questions': client.json('GET', f'{path}/questions', 'items')['items'],
        'metadata-properties': client.json('GET', f'/me{path}/metadata-properties', 'items')['items'],
        'vectors-settings': client.json('GET', f'{path}/vectors-settings', 'items')['items'],
    }
    wanted = {
        'fields': settings.fields,
        'questions': settings.questions,
        'metadata-properties': settings.metadata,
        'vectors-settings': settings.vectors,
    }
    for kind, properties in wanted.items():
        names = {p['name'] for p in existing[kind]}
        for prop in properties:
            if prop['name'] not in names:
                _create(client, f'{path}/{kind}', prop)
    try:
        client.json('PUT', f'{path}/publish', 'id')
    except RejectedBatchError:
        if client.json('GET', path, 'status')['status'] != 'ready':  # else another worker was first
            raise


def _create(client: Client, path: str, body: Mapping[str, Any]) -> None:
    """POST. That it is there already is fine: another worker made it, or an answer was lost."""
    try:
        client.json('POST', path, 'id', content=orjson.dumps(body))
    except RejectedBatchError as e:
        published = 'published dataset' in str(e)
        if e.status != 409 and not published:
            raise
