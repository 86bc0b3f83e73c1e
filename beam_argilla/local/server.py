"""What runs in the server process: prepares the database, then serves argilla-server with our search engine."""

import asyncio
import gc
import json
import os
import shutil
import signal
import socket
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

from beam_argilla.local import database, postgresql, workers
from beam_argilla.local.errors import LocalServerError
from beam_argilla.local.supervisor import CONFIG_VARIABLE, ERROR_FILE, TOLD_FILE
from beam_argilla.local.troubles import answer_that_the_disk_is_full, troubles_told

# How long requests in flight may go on after the server was told to end.
GRACE_SECONDS = 3
# Clients such as a pipeline's workers keep idle connections; uvicorn's 5 s would close them between two batches.
KEEP_ALIVE_SECONDS = 75


def main() -> None:
    """Runs the server until it gets SIGTERM."""
    # Taken out of the environment: nothing that runs in this process needs it there.
    config = json.loads(os.environ.pop(CONFIG_VARIABLE))
    runtime = Path(config['runtime'])
    end_with_the_caller(config['caller_gone'], config['temporary'])
    try:
        run(config)
    except LocalServerError as error:
        (runtime / ERROR_FILE).write_text(str(error), encoding='utf-8')
        sys.exit(2)


def run(config: dict[str, Any]) -> None:
    """Serves until SIGTERM."""
    application = prepare(config)
    first_is_gone = workers.fork(config['workers'])
    if first_is_gone is None:
        from beam_argilla.local import jobs

        jobs.start()
    else:
        end_with_the_caller(first_is_gone, temporary=[])

    import uvicorn

    server = uvicorn.Server(
        uvicorn.Config(
            application,
            timeout_graceful_shutdown=GRACE_SECONDS,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
        )
    )
    server.run(sockets=[socket.socket(fileno=config['listener'])])


def prepare(config: dict[str, Any]) -> Any:
    """Brings the database up to date, makes sure that the owner exists, and returns the ASGI application.

    Raises:
      LocalServerError: The database cannot be used, or not with these credentials.
    """
    # The import makes millions of objects that all stay: looking for garbage among them takes a fifth of its time, and
    # later a part of each request's.
    gc.disable()
    from argilla_server import app
    from argilla_server.api.routes import api_v1

    # The engine registers itself by being imported.
    from beam_argilla.local import search_engine, speedups, web_ui  # noqa: F401
    from beam_argilla.local.write_lock import OneWriterAtATime

    gc.freeze()
    gc.enable()
    path, url = Path(config['database']), config['database_url']
    with troubles_told(path):
        if url is None:
            database.migrate(path, tell=partial(tell_the_caller, Path(config['runtime'])))
            database.use_for_sessions(path)
        else:
            postgresql.migrate(url)
            postgresql.use_for_sessions(url)
        asyncio.run(database.ensure_owner(config['username'], config['password'], config['api_key']))
    answer_that_the_disk_is_full(api_v1, path.parent)
    if not config['stock']:
        speedups.apply()
    web_ui.serve_without_remote_fonts(app)
    return OneWriterAtATime(app) if url is None else app


def tell_the_caller(runtime: Path, what: str) -> None:
    """Has a line said by `serve`, which waits for this process."""
    with open(runtime / TOLD_FILE, 'a', encoding='utf-8') as told:
        told.write(what + '\n')


def end_with_the_caller(pipe: int, temporary: list[str]) -> None:
    """Ends this process on SIGTERM, and when the other end of a pipe is closed: when the caller of `serve` is gone.

    Args:
      pipe: The descriptor of the reading end.
      temporary: The directories that the caller would have removed at its own end.
    """
    caller_gone = threading.Event()

    def end(*_: Any) -> None:
        database.close()
        workers.wait(GRACE_SECONDS)
        if caller_gone.is_set():
            # Nobody else is left to do it.
            for directory in temporary:
                shutil.rmtree(directory, ignore_errors=True)
        # At once, without Python's own end, which an import or a thread may hold up: the database is safe at any time.
        # (While uvicorn serves it has a handler of its own, lets requests in flight finish, and then calls this one.)
        os._exit(0)

    def watch() -> None:
        while os.read(pipe, 1):
            pass
        caller_gone.set()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE_SECONDS + 2)
        end()

    signal.signal(signal.SIGTERM, end)
    threading.Thread(target=watch, daemon=True).start()
