"""Connections: so many at a time, and none that sends half a request and waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mlforhpc.server.refusals import body

STALLED_S = 20.0
_FULL = body("The server has as many connections as it may have; try again.")
_ANSWER = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: "
    + str(len(_FULL)).encode()
    + b"\r\n\r\n"
    + _FULL
)


def within(most: int) -> Any:
    """What uvicorn makes for each connection: its own protocol, or a refusal where there are as many as may be."""

    def protocol(*, server_state: Any, **parts: Any) -> asyncio.Protocol:
        if len(server_state.connections) >= most:
            return _Refusing()
        made = HttpToolsProtocol(server_state=server_state, **parts)
        begin = made.connection_made
        made.connection_made = lambda transport: begin(cast(Any, _Joining(transport)))  # type: ignore[method-assign]
        return made

    return protocol


class _Joining:
    """A transport that sends the head of an answer together with its body: one packet and one system call instead of two."""

    __slots__ = ("_head", "_transport")

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._head = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Keep a head for what follows it in this turn of the loop; send all else."""
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(b"HTTP/1.1 "):
            self._head = data
            asyncio.get_running_loop().call_soon(self._flush)
            return
        self._transport.write(data)

    def close(self) -> None:
        """Send what is kept, then close."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._head:
            head, self._head = self._head, b""
            self._transport.write(head)


class _Refusing(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        transport.write(_ANSWER)
        transport.close()


async def end_stalled(connections: Iterable[Any], *, after_s: float = STALLED_S, sleep: Callable[[float], Any] = asyncio.sleep) -> None:
    """For ever: end connections that have been in the middle of a request's head for longer than `after_s`.

    uvicorn ends idle connections by itself, and the guard slow bodies; a head that never ends is seen by neither.
    """
    before: dict[Any, Any] = {}
    while True:
        await sleep(after_s)
        now = {each: each.cycle for each in list(connections) if _in_a_head(each)}
        for each, cycle in now.items():
            if each in before and before[each] is cycle:
                each.transport.close()
        before = now


def _in_a_head(connection: Any) -> bool:
    """Nothing is being answered, and nothing that uvicorn would end is waited for."""
    cycle = connection.cycle
    return (cycle is None or cycle.response_complete) and connection.timeout_keep_alive_task is None and connection.transport is not None
