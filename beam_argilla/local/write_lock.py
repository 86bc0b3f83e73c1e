"""Lets one writing request at a time into the server."""

import asyncio
import re

from starlette.types import ASGIApp, Message, Receive, Scope, Send

# POST requests that only read. They are many (each page of the web UI is one), and must not wait for a writer.
READING_POST = re.compile(r'/(records/search|token|webhooks/[^/]+/ping)/?$')


def writes(scope: Scope) -> bool:
    """Whether a request may change the database."""
    if scope['type'] != 'http' or scope['method'] in ('GET', 'HEAD', 'OPTIONS'):
        return False
    return not (scope['method'] == 'POST' and READING_POST.search(scope['path']))


class OneWriterAtATime:
    """ASGI middleware that queues writing requests; reading ones pass.

    SQLite has one writer at a time in any case. Who comes second polls for the lock, in no order, and gets "database is
    locked" when its patience is at an end: under several pipelines some batch always does. Here they wait in line, for
    as long as it takes. And since argilla-server first looks up which records exist, and later inserts the others, two
    requests with the same new records would collide (500); in line, the second one updates.

    Nothing is lost by it: the server is one process, and an ingest is bound by its CPU.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._lock = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not writes(scope):
            return await self._app(scope, receive, send)

        # The body first: a client that sends slowly must not keep the others waiting.
        messages: list[Message] = []
        while True:
            message = await receive()
            messages.append(message)
            if message['type'] != 'http.request' or not message.get('more_body', False):
                break

        async def replay() -> Message:
            return messages.pop(0) if messages else await receive()

        await self._lock.acquire()
        held = True

        def release() -> None:
            nonlocal held
            if held:
                held = False
                self._lock.release()

        async def send_and_release(message: Message) -> None:
            # All is committed once the answer begins, and the client may be slow to read it.
            release()
            await send(message)

        try:
            await self._app(scope, replay, send_and_release)
        finally:
            release()
