"""One open event stream: a bounded queue between whoever makes events, on the loop, and one client.

A client that reads too slowly loses the oldest events and is told how many (event `lost`); it slows nobody down.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable

from sse_starlette import EventSourceResponse, ServerSentEvent
from sse_starlette.sse import SendTimeoutError
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

LENGTH = 256
STREAMS = 64
SEND_TIMEOUT_S = 20.0
PING_S = 15


class Stream:
    """Events for one client, in order; `offer` them on the loop, iterate in the response."""

    def __init__(self, length: int = LENGTH) -> None:
        self._events: deque[ServerSentEvent] = deque()
        self._length, self._lost, self._ended = length, 0, False
        self._bell = asyncio.Event()

    def offer(self, event: str, data: bytes, id: str | None = None) -> None:
        """Queue one event, at the cost of the oldest where the queue is full."""
        if len(self._events) >= self._length:
            self._events.popleft()
            self._lost += 1
        self._events.append(ServerSentEvent(data.decode(), event=event, id=id, sep="\n"))
        self._bell.set()

    def end(self) -> None:
        """Let the client have what is queued, then close."""
        self._ended = True
        self._bell.set()

    async def __aiter__(self) -> AsyncIterator[ServerSentEvent]:
        while True:
            while self._events:
                if self._lost:
                    lost, self._lost = self._lost, 0
                    yield ServerSentEvent(f'{{"events":{lost}}}', event="lost", sep="\n")
                yield self._events.popleft()
            if self._ended:
                return
            self._bell.clear()
            await self._bell.wait()


class Streams:
    """The open streams of one kind, a bounded number of them."""

    def __init__(self, most: int = STREAMS) -> None:
        self._open: set[Stream] = set()
        self._most = most

    def __len__(self) -> int:
        return len(self._open)

    def offer(self, event: str, data: bytes, id: str | None = None) -> None:
        """Queue an event for each."""
        for stream in self._open:
            stream.offer(event, data, id)

    def end(self) -> None:
        """End each."""
        for stream in self._open:
            stream.end()

    def respond(self, first: Iterable[tuple[str, bytes, str | None]], *, ended: bool = False) -> ASGIApp:
        """A stream that begins with these events (name, data, id); or 429 where there are too many."""
        if len(self._open) >= self._most:
            sentence = f"{self._most} event streams are open, which is the most; close one, or ask again later."
            return JSONResponse({"error": sentence}, 429, {"Retry-After": "5"})
        stream = Stream()
        for event, data, id in first:
            stream.offer(event, data, id)
        if ended:
            stream.end()
        self._open.add(stream)  # now: what happens before the first byte is sent must not be missed
        return _Counted(stream, self._open)


class _Counted:
    """The response, which takes its stream off the list when it is over, however it ends."""

    def __init__(self, stream: Stream, among: set[Stream]) -> None:
        self._stream, self._among = stream, among

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = EventSourceResponse(aiter(self._stream), ping=PING_S, send_timeout=SEND_TIMEOUT_S, sep="\n")
        try:
            await response(scope, receive, send)
        except SendTimeoutError:
            return  # a client that takes nothing any more
        finally:
            self._among.discard(self._stream)
