"""argilla-server's background jobs, in two threads of the server.

They are needed: the server leaves to them to bring the records' status up to date when the distribution of a dataset
changes, and to call webhooks. Another process for them, as `argilla_server worker` is, would take 3 s of CPU at each
start and 200 MB. Here they cost nothing until there is something to do. They are kept in memory only: what is queued
when the server is stopped is not done.
"""

import threading
import time

SCHEDULE_SECONDS = 1.0


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

    for target in (work, enqueue_retries):
        threading.Thread(target=target, name=f'jobs-{target.__name__}', daemon=True).start()
