"""Connections: so many at a time, heads of bounded size, and none that sends half a request and waits, or does not read its answer."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable, Iterable
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mlforhpc.server.refusals import body

STALLED_S = 20.0
HEAD_BYTES = 1 << 16
"""Of a request's first line and headers together."""
_OTHER_FILES = 256
"""Files that are open beside connections: pipes and sockets of slots, store, log, what is read for a moment."""
_READ_BYTES = 1 << 16
"""What a client must take of a waiting answer in `STALLED_S`, about 3 kB/s."""


def _answer(status: bytes, sentence: str, headers: bytes = b"") -> bytes:
    """The bytes of a refusal that no application sees."""
    said = body(sentence)
    head = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\n%bconnection: close\r\ncontent-length: %d\r\n\r\n"
    return head % (status, headers, len(said)) + said


_FULL = _answer(b"503 Service Unavailable", "The server has as many connections as it may have; try again.", b"retry-after: 1\r\n")
_NO_REQUEST = _answer(b"400 Bad Request", "This is no request of HTTP/1.1: its first line, a header or the form of its body is wrong.")
_LONG_HEAD = _answer(
    b"431 Request Header Fields Too Large",
    f"The first line and headers of a request may have {HEAD_BYTES} bytes together, these have more; say less in them.",
)


def room_for(most: int) -> int:
    """So many connections, or as many as the files that the process may open have room for; the soft limit is raised where it may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = most + _OTHER_FILES
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return most
    soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return min(most, max(soft - _OTHER_FILES, soft // 4))


def within(most: int) -> Any:
    """What uvicorn makes for each connection: its own protocol, or a refusal where there are as many as may be."""

    def protocol(*, server_state: Any, **parts: Any) -> asyncio.Protocol:
        if len(server_state.connections) >= most:
            return _Refusing()
        made = _Connection(server_state=server_state, **parts)
        begin = made.connection_made
        made.connection_made = lambda transport: begin(cast(Any, _Joining(transport)))  # type: ignore[method-assign]
        return made

    return protocol


class _Connection(HttpToolsProtocol):
    """uvicorn's protocol, with a bound for the size of a head, and JSON for what it refuses by itself."""

    _head_bytes = 0

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.scope is None or "method" in self.scope:
            self._head_bytes = 0
            return
        self._head_bytes += len(data)
        if self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
            self._refuse(_LONG_HEAD)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._unset_keepalive_if_required()  # after a reset uvicorn leaves the timer, and with it all that is left of the connection

    def send_400_response(self, msg: str) -> None:
        self._refuse(_NO_REQUEST)

    def _refuse(self, answer: bytes) -> None:
        self.transport.write(answer)
        self.transport.close()


class _Joining:
    """A transport that sends the head of an answer together with its body: one packet and one system call instead of two.

    Attributes:
        written: bytes so far.
    """

    __slots__ = ("_head", "_transport", "written")

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._head = b""
        self.written = 0

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
        self._write(data)

    def close(self) -> None:
        """Send what is kept, then close."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._head:
            head, self._head = self._head, b""
            self._write(head)

    def _write(self, data: bytes) -> None:
        if not self._transport.is_closing():  # uvicorn does not tell those of several requests whose client is gone
            self.written += len(data)
            self._transport.write(data)


class _Refusing(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        transport.write(_FULL)
        transport.close()


async def end_stalled(connections: Iterable[Any], *, after_s: float = STALLED_S, sleep: Callable[[float], Any] = asyncio.sleep) -> None:
    """For ever: end connections that are in the middle of a request's head, or do not read their answer, for longer than `after_s`.

    uvicorn ends idle connections by itself, and the guard slow bodies; a head that never ends, or an answer that nobody takes, is seen by
    neither.
    """
    before: dict[Any, Any] = {}
    taken_before: dict[Any, int] = {}
    while True:
        await sleep(after_s)
        now = {each: each.cycle for each in list(connections) if _in_a_head(each)}
        for each, cycle in now.items():
            if each in before and before[each] is cycle:
                each.transport.close()
        taken = {each: each.transport.written - unread for each in list(connections) if (unread := each.transport.get_write_buffer_size())}
        for each, bytes_ in taken.items():
            if bytes_ - taken_before.get(each, -_READ_BYTES) < _READ_BYTES:
                each.transport.abort()
        before, taken_before = now, taken


def _in_a_head(connection: Any) -> bool:
    """Nothing is being answered, and nothing that uvicorn would end is waited for."""
    cycle = connection.cycle
    return (cycle is None or cycle.response_complete) and connection.timeout_keep_alive_task is None and connection.transport is not None
