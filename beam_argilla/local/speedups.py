"""Two replacements in argilla-server that make ingest about four times faster, and change nothing else.

Preference records (4 generations, 8 suggestions) a second, in batches of 100, on one core: 60 without them; 99 with the
cached validators, 91 without needless events, 230 with both.
"""

from typing import Any


def apply() -> None:
    """Puts them into the server of this process."""
    cache_type_adapters()
    skip_events_without_webhooks()


def cache_type_adapters() -> None:
    """Builds pydantic's validators of settings once.

    The server builds one (milliseconds) each time it needs the settings of a question or of a metadata property, that
    is, for each suggestion and each metadata value of each record.
    """
    from argilla_server.models import MetadataProperty, Question
    from argilla_server.models.database import MetadataPropertySettings, QuestionSettings
    from pydantic import TypeAdapter

    for model, settings in ((Question, QuestionSettings), (MetadataProperty, MetadataPropertySettings)):
        model.parsed_settings = _parsed_settings(TypeAdapter(settings))


def _parsed_settings(adapter: Any) -> property:
    return property(lambda self: adapter.validate_python(self.settings))


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
