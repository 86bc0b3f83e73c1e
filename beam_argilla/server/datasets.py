"""Datasets on the server: looked at, made, and held against what a job wants of them."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from typing import Any, Generic, NamedTuple, TypeVar
from urllib.parse import quote

import msgspec
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
from beam_argilla.server.address import check_names
from beam_argilla.server.bulk import count_records, newest_record
from beam_argilla.server.cleaning import shortened
from beam_argilla.server.client import Client, WhoAmI
from beam_argilla.server.connection import ArgillaConnection
from beam_argilla.server.differences import differences, draft_differences
from beam_argilla.server.retries import RetryPolicy, Streak
from beam_argilla.server.settings import DatasetSettings

# The bulk upsert and the task distribution, as this package uses them, are there from 2.3 on; tested with 2.8.
OLDEST, TOO_NEW = (2, 3), (3,)


# What of the server's answers is looked at, wherever it is passed on.


class _Version(msgspec.Struct):
    version: str


class _Made(msgspec.Struct):
    id: str


class _Named(msgspec.Struct):
    name: str


class _Workspace(_Named):
    id: str


class _State(msgspec.Struct):
    status: str


class _Found(_Workspace):
    status: str
    metadata: dict[str, Any] | None = None


class _Distribution(msgspec.Struct):
    min_submitted: int = 1


class _Head(msgspec.Struct):
    allow_extra_metadata: bool
    guidelines: str | None = None
    distribution: _Distribution | None = None


class _Option(msgspec.Struct):
    value: Any


class _Settings(msgspec.Struct):
    type: str
    options: list[_Option] = []


class _Typed(_Named):
    settings: _Settings


class _Part(_Typed):
    required: bool


class _Question(_Part):
    id: str


class _Vector(_Named):
    dimensions: int


T = TypeVar('T')


class _Items(msgspec.Struct, Generic[T]):
    items: list[T]


class Dataset(NamedTuple):
    """A dataset as it is on the server.

    Attributes:
        id: its UUID.
        url: its web page.
        settings: as they are now.
        question_ids: question name → UUID.
        newest: when the newest record was made of those that were there before the job wrote any, by the server's
            clock; empty if there was none, or nobody looked.
    """

    id: str
    url: str
    settings: DatasetSettings
    question_ids: Mapping[str, str]
    newest: str = ''


def check_dataset(
    dataset: str,
    *,
    connection: ArgillaConnection,
    workspace: str = 'default',
    settings: Any = None,
    create_workspace: bool = False,
    must_exist: bool = False,
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
        must_exist: the job reads the dataset, so that it must be there, and published.
        limit: seconds after which a server is given up of which nothing is heard: where nothing listens, or nobody
            knows the name.
        retry: how long a server is waited for that answers, but is not ready: one that wakes up, or is overloaded. What
            it is waiting for is said once, as a warning of the logger ``beam_argilla``.

    Returns:
        The dataset as it is now; None if it does not exist yet, or is a draft that the job will complete.

    Raises:
        ValueError: the dataset, its workspace or something in it cannot, or should not, be called so.
        NotArgillaError: no Argilla server of a supported version answers there.
        ServerUnavailableError: nothing answers within the limit, or the server is not ready in time.
        CertificateError: the server's certificate is not trusted.
        GatewayError: something between here and the server refuses the requests.
        AuthenticationError: the key is wrong.
        WorkspaceNotFoundError: there is no such workspace, and it shall not be created.
        DatasetNotFoundError: there is no such dataset, or only a draft of it, and it must exist.
        DatasetDiffersError: the dataset would lose or refuse records made for `settings`, or is somebody's draft.

    Example:
        >>> task = ba.Preference(num_generations=4)
        >>> found = ba.check_dataset('ultrafeedback', connection=connection, settings=task.settings())
        >>> print(found.url if found else 'The job will create it.')
    """
    wanted = None if settings is None else DatasetSettings.of(settings)
    check_names(dataset, workspace, wanted is not None, create_workspace)
    if wanted is not None:
        wanted.check_names()
    with Client(connection, retry, silence=limit) as client:
        check_server(client)
        if must_exist:
            existing = ensure_dataset(client, dataset, workspace, None)
        else:
            found = _find(client, dataset, _workspace_id(client, workspace, may_lack=create_workspace))
            if found is None:
                return None
            if found['status'] != 'ready':
                if wanted is not None:
                    _check_draft(dataset, workspace, wanted, _read_settings(client, found['id']))
                return None
            existing = read_dataset(client, found['id'])
    check_differences(dataset, workspace, wanted, existing)
    return existing


def check_server(client: Client) -> str:
    """The name of the user whom the key belongs to.

    Raises:
        NotArgillaError: no Argilla server of a supported version answers there.
        AuthenticationError: the key is wrong.
        ServerUnavailableError: nothing answers within the time limit.
    """
    try:
        version = client.json('GET', '/version', _Version, streak=Streak(first=True))['version']
    except (GatewayError, RejectedBatchError) as e:
        raise NotArgillaError(
            f'{client.url} is not an Argilla server. {e}. Is it the address of the server itself (for a Hugging Face '
            'Space: https://OWNER-SPACE.hf.space)? A private Space also needs the header Authorization.'
        ) from e
    number = re.match(r'([0-9]{1,9})\.([0-9]{1,9})(?![0-9])', version)
    if number is None or not OLDEST <= tuple(map(int, number.groups())) < TOO_NEW:
        oldest = '.'.join(map(str, OLDEST))
        raise NotArgillaError(
            f'{client.url} is Argilla {shortened(client.clean(version), 30) or "of unknown version"}; versions '
            f'{oldest} up to 3.0 are supported.'
        )
    return client.json('GET', '/me', WhoAmI)['username']


def ensure_dataset(
    client: Client,
    name: str,
    workspace: str,
    settings: DatasetSettings | None,
    create_workspace: bool = False,
    job: str | None = None,
) -> Dataset:
    """The dataset, created if need be. Several workers may do so at once, and again after half of it was done.

    Args:
        settings: of the dataset to create, and to compare an existing one with. None: it must exist.
        job: by which a dataset that is created can be told later on, see `remove_if_unused`.

    Raises:
        WorkspaceNotFoundError: there is no such workspace, and it shall not be created.
        DatasetNotFoundError: there is no such dataset, and no settings to create it with.
        DatasetDiffersError: the existing dataset would lose or refuse records made for `settings`, or it is a draft
            that this job would not have made.
        PermissionDeniedError: the key's user may not.
    """
    workspace_is_new = create_workspace and _create_workspace(client, workspace)
    workspace_id = _workspace_id(client, workspace, may_be_made=settings is not None)
    found = _find(client, name, workspace_id)
    if found is None:
        if settings is None:
            raise DatasetNotFoundError(f'There is no dataset {name!r} in workspace {workspace!r} of {client.url}.')
        try:
            found = _create_dataset(client, name, workspace, workspace_id, settings, _mark(job, workspace_is_new))
        except Exception:
            if workspace_is_new:
                _remove_workspace(client, workspace_id)
            raise
    if found['status'] != 'ready':
        if settings is None:
            raise DatasetNotFoundError(f'Dataset {name!r} in workspace {workspace!r} is a draft: publish it first.')
        draft = _read_settings(client, found['id'])
        _check_draft(name, workspace, settings, draft)
        _complete(client, found['id'], draft, settings)
    dataset = read_dataset(client, found['id'])
    check_differences(name, workspace, settings, dataset)
    maker = _made_by(found)
    if maker is not None and maker == job:
        return dataset
    if maker is not None:
        # Another job made it, and would remove it if it failed before it wrote anything. It is ours now as well.
        client.json('PATCH', f'/datasets/{dataset.id}', _Made, content=orjson.dumps({'metadata': None}))
    return dataset._replace(newest=newest_record(client, dataset.id) or '')


def remove_if_unused(client: Client, name: str, workspace: str, job: str) -> None:
    """Removes the dataset if that job made it, no other has written to it since, and no record is in it.

    Its workspace goes with it if the job made that as well, and nothing and nobody else is in it.
    """
    workspace_id = _workspace_id(client, workspace, may_lack=True)
    found = _find(client, name, workspace_id)
    if found is None or _made_by(found) != job or count_records(client, found['id']):
        return
    client.json('DELETE', f'/datasets/{found["id"]}', _Made)
    if found['metadata'][_MARK]['workspace_is_new']:
        _remove_workspace(client, workspace_id)


def read_dataset(client: Client, dataset_id: str) -> Dataset:
    """The dataset as it is now."""
    try:
        settings = DatasetSettings(**_read_settings(client, dataset_id))
    except ValueError as e:
        raise NotArgillaError(
            f'{client.url} tells of a dataset that Argilla could not hold: {client.clean(str(e))}'
        ) from e
    url = f'{client.url}/dataset/{quote(dataset_id)}/annotation-mode'
    return Dataset(dataset_id, url, settings, {q['name']: q['id'] for q in settings.questions})


def _read_settings(client: Client, dataset_id: str) -> dict[str, Any]:
    """The arguments of `DatasetSettings`, of which a draft may have too few."""
    path = f'/datasets/{dataset_id}'
    head = client.json('GET', path, _Head)
    return {
        'fields': client.json('GET', f'{path}/fields', _Items[_Part])['items'],
        'questions': client.json('GET', f'{path}/questions', _Items[_Question])['items'],
        'metadata': client.json('GET', f'/me{path}/metadata-properties', _Items[_Typed])['items'],
        'guidelines': head.get('guidelines') or None,
        'min_submitted': (head.get('distribution') or {}).get('min_submitted', 1),
        'allow_extra_metadata': head['allow_extra_metadata'],
        'vectors': client.json('GET', f'{path}/vectors-settings', _Items[_Vector])['items'],
    }


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


def _check_draft(name: str, workspace: str, settings: DatasetSettings, draft: Mapping[str, Any]) -> None:
    """Raises DatasetDiffersError if a job for the settings would not have made the draft."""
    found = draft_differences(settings, draft)
    if found:
        raise DatasetDiffersError(
            f'Dataset {name!r} in workspace {workspace!r} is a draft, and not one that this job would make, so it was '
            'left alone:\n  - '
            + '\n  - '.join(found)
            + '\nWrite to a new dataset name; or publish the draft, or remove it, and run the job again.',
            found,
        )


# In a dataset's own metadata, which nobody else looks at and the oldest servers do not keep: which job made it.
_MARK = 'beam_argilla'


def _mark(job: str | None, workspace_is_new: bool) -> dict[str, Any] | None:
    return None if job is None else {_MARK: {'job': job, 'workspace_is_new': workspace_is_new}}


def _made_by(dataset: Mapping[str, Any]) -> str | None:
    """The job that made the dataset and that no other has followed; None if there is none."""
    return ((dataset.get('metadata') or {}).get(_MARK) or {}).get('job')


def _create_workspace(client: Client, name: str) -> bool:
    """Makes the workspace if there is none; whether it was this call that made it."""
    if _workspace_id(client, name, may_lack=True):
        return False
    return _create(client, '/workspaces', {'name': name})


def _remove_workspace(client: Client, workspace_id: str) -> None:
    """Removes a workspace without users and, as the server sees to, without datasets."""
    path = f'/workspaces/{workspace_id}'
    if not client.json('GET', f'{path}/users', _Items[Any])['items']:
        with contextlib.suppress(RejectedBatchError):
            client.json('DELETE', path, _Made)


def _workspace_id(client: Client, name: str, may_lack: bool = False, may_be_made: bool = True) -> str:
    """The workspace's UUID; empty if there is none and it may lack."""
    workspaces = {w['name']: w['id'] for w in client.json('GET', '/me/workspaces', _Items[_Workspace])['items']}
    if name in workspaces or may_lack:
        return workspaces.get(name, '')
    there = ', '.join(map(repr, sorted(workspaces))) or 'none'
    or_made = ', or let it be created (create_workspace=True, --create_workspace)' if may_be_made else ''
    raise WorkspaceNotFoundError(
        f'There is no workspace {name!r} on {client.url} for this API key. There are: {there}. Name one of them'
        f'{or_made}.'
    )


def find_dataset(client: Client, name: str, workspace: str) -> str | None:
    """The dataset's UUID; None if it, or its workspace, is not there."""
    found = _find(client, name, _workspace_id(client, workspace, may_lack=True))
    return None if found is None else found['id']


def _find(client: Client, name: str, workspace_id: str) -> dict[str, Any] | None:
    if not workspace_id:  # it is not there
        return None
    params = {'workspace_id': workspace_id, 'name': name}
    items = client.json('GET', '/me/datasets', _Items[_Found], params=params)['items']
    return next((d for d in items if d['name'] == name), None)


def _create_dataset(
    client: Client,
    name: str,
    workspace: str,
    workspace_id: str,
    settings: DatasetSettings,
    mark: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The draft of a dataset; another worker's if that was first."""
    body = {
        'name': name,
        'workspace_id': workspace_id,
        'guidelines': settings.guidelines,
        'allow_extra_metadata': settings.allow_extra_metadata,
        'distribution': {'strategy': 'overlap', 'min_submitted': settings.min_submitted},
        'metadata': mark,
    }
    _create(client, '/datasets', body)
    found = _find(client, name, workspace_id)
    if found is None:
        raise PermissionDeniedError(
            f'Dataset {name!r} exists in workspace {workspace!r} of {client.url}, but the API key cannot see it.'
        )
    return found


def _complete(client: Client, dataset_id: str, draft: Mapping[str, Any], settings: DatasetSettings) -> None:
    """Gives a draft what it lacks and publishes it. Another worker may be doing the same."""
    path = f'/datasets/{dataset_id}'
    for kind, name in (
        ('fields', 'fields'),
        ('questions', 'questions'),
        ('metadata-properties', 'metadata'),
        ('vectors-settings', 'vectors'),
    ):
        names = {p['name'] for p in draft[name]}
        for prop in getattr(settings, name):
            if prop['name'] not in names:
                _create(client, f'{path}/{kind}', prop)
    try:
        client.json('PUT', f'{path}/publish', _Made)
    except RejectedBatchError:
        if client.json('GET', path, _State)['status'] != 'ready':  # else another worker was first
            raise


def _create(client: Client, path: str, body: Mapping[str, Any]) -> bool:
    """POST; whether it made something. If that is there already, another worker made it, or an answer was lost."""
    try:
        client.json('POST', path, _Made, content=orjson.dumps(body))
    except RejectedBatchError as e:
        published = 'published dataset' in str(e)
        if e.status != 409 and not published:
            raise
        return False
    return True
