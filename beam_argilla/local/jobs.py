"""argilla-server's background jobs, in two threads of the server.

They are needed: the server leaves to them to bring the records' status up to date when the distribution of a dataset
changes, and to call webhooks. Another process for them, as `argilla_server worker` is, would take 3 s of CPU at each
start and 200 MB. Here they cost nothing until there is something to do. They are kept in memory only: what is queued
when the server is stopped is not done. Of that the records' status is caught up with at the next start.
"""

import asyncio
import logging
import threading
import time
from uuid import UUID

_LOGGER = logging.getLogger(__name__)
SCHEDULE_SECONDS = 1.0
_LOOKS = 3


def start() -> None:
    """Starts the threads. They end with the process, whatever they are at."""
    from argilla_server.jobs.queues import DEFAULT_QUEUE, HIGH_QUEUE, REDIS_CONNECTION
    from rq import SimpleWorker
    from rq.scheduler import RQScheduler
    from rq.timeouts import TimerDeathPenalty

    class ThreadWorker(SimpleWorker):
        # Signals, which rq uses by default, belong to the main thread.
        death_penalty_class = TimerDeathPenalty  # type: ignore[assignment]

        def _install_signal_handlers(self) -> None: ...

    queues = [HIGH_QUEUE, DEFAULT_QUEUE]

    def work() -> None:
        ThreadWorker(queues, connection=REDIS_CONNECTION).work(logging_level='WARNING')

    def enqueue_retries() -> None:
        # rq would start a process for it.
        scheduler = RQScheduler(queues, connection=REDIS_CONNECTION, logging_level='WARNING')
        scheduler.prepare_registries([queue.name for queue in queues])  # type: ignore[arg-type]
        while True:
            scheduler.enqueue_scheduled_jobs()
            time.sleep(SCHEDULE_SECONDS)

    def catch_up() -> None:
        asyncio.run(catch_up_with_answers())

    for target in (work, enqueue_retries, catch_up):
        threading.Thread(target=target, name=f'jobs-{target.__name__}', daemon=True).start()


async def catch_up_with_answers() -> None:
    """Brings the status of records up to date: whether they have the answers that they need.

    The server writes an answer first, and what follows from it then, itself or in a job. It may be killed in between.
    """
    from argilla_server.contexts import distribution
    from argilla_server.database import AsyncSessionLocal
    from argilla_server.enums import RecordStatus, ResponseStatus
    from argilla_server.errors.future import NotFoundError
    from argilla_server.models import Dataset, Record, Response
    from argilla_server.search_engine import SearchEngine
    from argilla_server.settings import settings
    from sqlalchemy import func, select

    submitted = (
        select(func.count())
        .where(Response.record_id == Record.id, Response.status == ResponseStatus.submitted)
        .scalar_subquery()
    )

    async def behind() -> list[UUID]:
        ids: list[UUID] = []
        async with AsyncSessionLocal() as session:
            for dataset in (await session.scalars(select(Dataset))).all():
                # One at a time, for which an index is enough, see `database`; of all, the records would be read.
                is_complete = submitted >= dataset.distribution['min_submitted']
                of_dataset = select(Record.id).where(
                    Record.dataset_id == dataset.id, (Record.status == RecordStatus.completed) != is_complete
                )
                ids += await session.scalars(of_dataset)
        return ids

    async with SearchEngine.get_by_name(settings.search_engine) as search_engine:
        # Again, for somebody may have answered a record between the look at it and its new status.
        for _ in range(_LOOKS):
            for record_id in await behind():
                try:
                    await distribution.update_record_status(search_engine, record_id)
                except NotFoundError:  # Removed meanwhile.
                    pass
                except Exception as error:  # Elasticsearch may lack it, for example. The others shall not suffer.
                    _LOGGER.warning('The status of record %s could not be brought up to date: %s', record_id, error)
