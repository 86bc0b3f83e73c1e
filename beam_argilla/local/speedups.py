"""What is replaced in argilla-server so that it writes and reads records many times faster, and changes nothing else.

Each replacement was written for some files of argilla-server, and knows them by their fingerprints. Where one differs,
in another version, argilla-server's own code stays in its place.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from beam_argilla.local.fingerprints import differing


@dataclass(frozen=True)
class Speedup:
    """A replacement.

    Attributes:
      name: What gets faster.
      apply: Puts it into the server of this process.
      rests_on: The files of argilla-server that it was written for, as paths in the package, and their fingerprints.
    """

    name: str
    apply: Callable[[], None]
    rests_on: Mapping[str, str]


def apply() -> None:
    """Puts all into the server of this process that fit it; one line in the log tells which do not."""
    fitting, misfits = sort_out(SPEEDUPS, package())
    for speedup in fitting:
        speedup.apply()
    if misfits:
        logging.getLogger(__name__).warning(
            'argilla-server %s differs from the one that these faster ways were written for, and goes its own: %s',
            metadata.version('argilla-server'),
            '; '.join(f'{name} ({", ".join(files)})' for name, files in misfits.items()),
        )


def package() -> Path:
    """The directory of argilla-server, which need not be imported for that."""
    spec = importlib.util.find_spec('argilla_server')
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent


def sort_out(speedups: Sequence[Speedup], package: Path) -> tuple[list[Speedup], dict[str, list[str]]]:
    """Tells which replacements fit an argilla-server.

    Args:
      package: Its directory.

    Returns:
      Those that fit; and of each that does not, by name, the files that differ.
    """
    differences = {speedup.name: list(differing(package, speedup.rests_on)) for speedup in speedups}
    fitting = [speedup for speedup in speedups if not differences[speedup.name]]
    return fitting, {name: files for name, files in differences.items() if files}


def cache_type_adapters() -> None:
    """Builds pydantic's validators of settings once.

    The server builds one (milliseconds) each time it needs the settings of a question or of a metadata property.
    """
    from argilla_server.models import MetadataProperty, Question
    from argilla_server.models.database import MetadataPropertySettings, QuestionSettings
    from pydantic import TypeAdapter

    for model, settings in ((Question, QuestionSettings), (MetadataProperty, MetadataPropertySettings)):
        model.parsed_settings = _parsed_settings(TypeAdapter(settings))


def _parsed_settings(adapter: Any) -> property:
    return property(lambda self: adapter.validate_python(self.settings))


def find_users_once() -> None:
    """Has one lookup for a request tell whose API key it has.

    The server first finds the user and the user's workspaces by the key, and then both again by the user's name, each
    time by a query that it builds anew: a quarter of what a small request costs.
    """
    from argilla_server.contexts import accounts
    from argilla_server.models import User
    from sqlalchemy import bindparam, select
    from sqlalchemy.orm import joinedload

    by_key = select(User).where(User.api_key == bindparam('api_key')).options(joinedload(User.workspaces))
    by_username = accounts.get_user_by_username

    async def get_user_by_api_key(db: Any, api_key: str) -> Any:
        user = (await db.execute(by_key, {'api_key': api_key})).unique().scalar_one_or_none()
        db.info[by_key] = user
        return user

    async def get_user_by_username(db: Any, username: str) -> Any:
        # The first who asks by name is the one who has just asked by key. Nobody else is answered from memory.
        user = db.info.pop(by_key, None)
        return user if user is not None and user.username == username else await by_username(db, username)

    accounts.get_user_by_api_key = get_user_by_api_key
    accounts.get_user_by_username = get_user_by_username


def skip_events_without_webhooks() -> None:
    """Builds the events of a bulk request only if there is a webhook to send them to.

    The server first builds each record's event, with a query for the whole dataset, and then finds out that nobody
    listens.
    """
    from argilla_server.bulk import records_bulk
    from argilla_server.contexts.webhooks import list_enabled_webhooks

    notify_upserted = records_bulk.UpsertRecordsBulk._notify_upsert_record_events
    notify = records_bulk.notify_record_event_v1

    async def notify_upserted_if_heard(self: Any, records: list[Any]) -> None:
        if await list_enabled_webhooks(self._db):
            await notify_upserted(self, records)

    async def notify_if_heard(db: Any, event: Any, record: Any) -> list[Any]:
        return await notify(db, event, record) if await list_enabled_webhooks(db) else []

    records_bulk.UpsertRecordsBulk._notify_upsert_record_events = notify_upserted_if_heard
    records_bulk.notify_record_event_v1 = notify_if_heard


def upsert_in_sets() -> None:
    """Answers bulk requests that create or update records by `bulk_upsert`."""
    from argilla_server.api.handlers.v1.datasets import records_bulk

    from beam_argilla.local import bulk_upsert, routes

    routes.prefer(bulk_upsert.upsert_dataset_records_bulk, records_bulk.upsert_dataset_records_bulk)


def read_in_sets() -> None:
    """Answers requests for pages of records by `record_pages`."""
    from argilla_server.api.handlers.v1.datasets import records

    from beam_argilla.local import record_pages, routes

    for name in ('list_dataset_records', 'search_dataset_records', 'search_current_user_dataset_records'):
        routes.prefer(getattr(record_pages, name), getattr(records, name))


# What several of them rest on: how a record and all that belongs to it are kept, and shown.
_MODELS = {
    'api/schemas/v1/records.py': 'd12de3c50f0c9a20',
    'api/schemas/v1/responses.py': '4dd19e6e5a992f55',
    'api/schemas/v1/suggestions.py': 'b373f3a87f98e763',
    'database.py': 'eb547b8f54b87da3',
    'enums.py': 'b4a1ffe1f9b16f21',
    'models/base.py': 'd44d2272372da502',
    'models/database.py': 'a384ce268ed6bdeb',
    'models/mixins.py': '2efef619ebb5da4b',
}

SPEEDUPS = (
    Speedup(
        'settings of questions and metadata',
        cache_type_adapters,
        {'models/database.py': 'a384ce268ed6bdeb', 'models/metadata_properties.py': '6feaec2d86f668d9'},
    ),
    Speedup(
        'whose API key it is',
        find_users_once,
        {
            'contexts/accounts.py': 'c2fbf1eb86c33cd4',
            'models/database.py': 'a384ce268ed6bdeb',
            'security/authentication/db/api_key_backend.py': 'c0e22952171e115b',
            'security/authentication/provider.py': '4cb14dc1dc47b52d',
        },
    ),
    Speedup(
        'events of bulk requests',
        skip_events_without_webhooks,
        {
            'bulk/records_bulk.py': 'cc37c47655efa99a',
            'jobs/webhook_jobs.py': 'e803238252e49350',
            'webhooks/v1/event.py': '39567d3c16de011f',
            'webhooks/v1/records.py': 'b6f24297dfff16a7',
        },
    ),
    Speedup(
        'bulk requests',
        upsert_in_sets,
        _MODELS
        | {
            'api/handlers/v1/datasets/records_bulk.py': '6487493b8db48e05',
            'api/schemas/v1/chat.py': '288dca6947ebb0cf',
            'api/schemas/v1/records_bulk.py': 'c741ebae67d7c886',
            'bulk/records_bulk.py': 'cc37c47655efa99a',
            'contexts/distribution.py': '4abf58cbf5e2c9a7',
            'contexts/records.py': '2e4453431f4b3ab4',
            'search_engine/commons.py': '94cd4d2a6832f008',
            'validators/records.py': '1dec07be9a65a06f',
            'validators/responses.py': 'db0e53fe70a657c2',
            'validators/suggestions.py': 'eec89c89618713a4',
        },
    ),
    Speedup(
        'pages of records',
        read_in_sets,
        _MODELS
        | {
            'api/handlers/v1/datasets/records.py': '1b0e3ba8102ae216',
            'api/policies/v1/metadata_property_policy.py': '688b768b2634dac1',
            'api/policies/v1/record_policy.py': '0bca3ec5ddaa05c2',
            'contexts/datasets.py': '11671825ff23aeab',
            'contexts/records.py': '2e4453431f4b3ab4',
        },
    ),
)
