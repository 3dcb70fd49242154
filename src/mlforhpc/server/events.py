"""`/v1/events`: how each simulation does, every second that it changed, and what happens to its promise, as server-sent events.

One task of the event loop reads the trace for all streams, in short batches, and passes on the decisions that people want to see; a
thread for it would cost every answer more than the task does. Job progress comes out of the same reading.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec
from starlette.requests import Request
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from mlforhpc.core.events import Decision, Event
from mlforhpc.core.trace import Subscription
from mlforhpc.scenarios.online import Online
from mlforhpc.server.log import Log
from mlforhpc.server.stream import Streams

if TYPE_CHECKING:
    from mlforhpc.server.service import Service

TOLD = frozenset(["audit", "learned", "refused", "closed_threshold", "opened_threshold", "promise_broken"])
STATUS_S = 1.0
READ_S = 0.1
BATCH = 500


class Feed:
    """See the file's docstring.

    Attributes:
        streams: those open.
    """

    def __init__(self, onlines: Mapping[str, Online], subscribe: Callable[[], Subscription], log: Log) -> None:
        self.streams = Streams()
        self._onlines, self._subscribe, self._log = onlines, subscribe, log
        self._listeners: list[Callable[[Event], None]] = []
        self._sent: dict[str, bytes] = {}

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Call it, on the loop, with each event of the trace that is no decision."""
        self._listeners.append(listener)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Read and tell until the end of the block."""
        tasks = [asyncio.create_task(self._read_always()), asyncio.create_task(self._tell_always())]
        try:
            yield
        finally:
            self.streams.end()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def respond(self) -> ASGIApp:
        """A stream that begins with each status."""
        return self.streams.respond([("status", _status(online), None) for online in self._onlines.values()])

    async def _read_always(self) -> None:
        with contextlib.closing(self._subscribe()) as subscription:
            while not subscription.closed:
                read = 0
                while read < BATCH and (event := subscription.get(timeout_s=0.0)) is not None:
                    read += 1
                    if not isinstance(event, Decision):
                        for listener in self._listeners:
                            listener(event)
                    elif event.decision in TOLD and len(self.streams):
                        self.streams.offer(event.decision, msgspec.json.encode({"t": event.t / 1e9, **event.data}))
                await asyncio.sleep(READ_S if read < BATCH else 0)

    async def _tell_always(self) -> None:
        while True:
            await asyncio.sleep(STATUS_S)
            if not len(self.streams):
                continue
            for name, online in self._onlines.items():
                status = _status(online)
                if self._sent.get(name) != status:
                    self._sent[name] = status
                    self.streams.offer("status", status)


def routes(service: Service) -> list[BaseRoute]:
    """One route."""

    async def follow(request: Request) -> ASGIApp:
        return service.feed.respond()

    return [Route("/v1/events", follow, methods=["GET"])]


def _status(online: Online) -> bytes:
    return msgspec.json.encode(online.status())
