"""The guard: what stands before every route. A small middleware, since each answer pays for it.

    whose host -> who asks (token) -> how often -> how many at once -> how much, and how fast, of a body
A bucket for each client fills at `client_rate_per_s` up to `client_burst`; a request takes one from it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import time
import types
from collections.abc import Callable, Coroutine, Generator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mlforhpc.server.refusals import Refused, refuse, retry_after

if TYPE_CHECKING:
    from mlforhpc.server.service import Limits

OPEN_PATHS = frozenset(("/v2/health/live", "/v2/health/ready"))
"""What may be asked without a token: whether the server is there."""
_CLIENTS = 10_000
_CLOSE = {"Connection": "close"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Whom the server believes.

    Attributes:
        token: what clients must show, as `Authorization: Bearer TOKEN`, or as the password of a browser's question; None = nothing.
        hosts: names that requests may be addressed to, without port: on loopback a page of another site that had its own name lead here
            (DNS rebinding) is refused. Empty = any.
    """

    token: bytes | None = None
    hosts: frozenset[str] = frozenset()


class Guard:
    """See the file's docstring."""

    def __init__(self, app: ASGIApp, trust: Trust, limits: Limits) -> None:
        self._app, self._trust, self._limits = app, trust, limits
        self._under_way = 0
        self._buckets: dict[str, tuple[float, float]] = {}
        self._right_hosts: set[bytes] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            self._admit(scope)
        except Refused as refused:
            await refuse(send, refused)
            return
        self._under_way += 1
        try:
            if scope["method"] in ("GET", "HEAD"):
                await self._app(scope, receive, send)
            else:
                await self._app(scope, _Bounded(receive, self._limits), send)
        finally:
            self._under_way -= 1

    def _admit(self, scope: Scope) -> None:
        """Refuse what is not to be served."""
        trust, limits = self._trust, self._limits
        headers: Mapping[bytes, bytes] = dict(scope["headers"])
        if limits.client_rate_per_s and scope["client"]:
            self._draw(scope["client"][0])
        if trust.token is not None and scope["path"] not in OPEN_PATHS:
            _check_token(headers.get(b"authorization", b""), trust.token, scope["method"])
        if trust.hosts:
            self._check_host(headers, scope["method"])
        if self._under_way >= limits.requests:
            raise Refused(429, f"{limits.requests} requests are being answered, as many as may be; try again.", headers=retry_after(1.0))
        length = headers.get(b"content-length")
        if length is not None and length.isdigit() and int(length[:19]) > limits.body_bytes:
            raise _too_large(limits.body_bytes)

    def _check_host(self, headers: Mapping[bytes, bytes], method: str) -> None:
        """Refuse what is addressed to another name, and what a page of another site sends."""
        hosts, said = self._trust.hosts, headers.get(b"host", b"")
        if said not in self._right_hosts:
            host = said.decode("latin-1")
            if name_of(host) not in hosts:
                raise Refused(403, f"This server listens on loopback and is called {' or '.join(sorted(hosts))}, not '{host[:100]}'.")
            if len(self._right_hosts) < _CLIENTS:
                self._right_hosts.add(said)
        origin = headers.get(b"origin")
        if origin is not None and method not in ("GET", "HEAD"):
            site = origin.decode("latin-1").partition("://")[2]
            if name_of(site) not in hosts:
                raise Refused(403, f"Pages of other sites may not send requests to this server; this one came from '{site[:100]}'.")

    def _draw(self, client: str) -> None:
        """Take one from a client's bucket."""
        limits, now = self._limits, time.monotonic()
        held, at = self._buckets.pop(client, (float(limits.client_burst), now))
        held = min(held + (now - at) * limits.client_rate_per_s, float(limits.client_burst))
        enough = held >= 1.0
        self._buckets[client] = (held - 1.0 if enough else held, now)  # last, so that the first is the one seen longest ago
        if len(self._buckets) > _CLIENTS:
            del self._buckets[next(iter(self._buckets))]
        if not enough:
            sentence = f"One client may send {limits.client_rate_per_s:g} requests a second in the long run; try again."
            raise Refused(429, sentence, headers=retry_after((1.0 - held) / limits.client_rate_per_s))


class _Bounded:
    """`receive` of a request with a body: so many bytes, within so many seconds."""

    __slots__ = ("_began", "_limits", "_receive", "_size", "_whole")

    def __init__(self, receive: Receive, limits: Limits) -> None:
        self._receive: Callable[[], Any] = receive
        self._limits = limits
        self._began = time.monotonic()
        self._size = 0
        self._whole = False

    async def __call__(self) -> Message:
        if self._whole:  # what comes now is the end of the connection, which has time
            message: Message = await self._receive()
            return message
        arriving = self._receive()
        try:
            awaited = arriving.send(None)
        except StopIteration as here:  # it has arrived already, as most have, and needs no clock
            message = here.value
        else:
            message = await self._in_time(arriving, awaited)
        self._whole = not message.get("more_body", False)
        self._size += len(message.get("body", b""))
        if self._size > self._limits.body_bytes:
            raise _too_large(self._limits.body_bytes)
        return message

    async def _in_time(self, arriving: Coroutine[Any, Any, Message], awaited: Any) -> Message:
        """The message that does not come at once."""
        try:
            async with asyncio.timeout(self._began + self._limits.body_timeout_s - time.monotonic()):
                message: Message = await _resumed(arriving, awaited)
                return message
        except TimeoutError:
            sentence = f"The body did not arrive within {self._limits.body_timeout_s:g} s; send it faster, or in several requests."
            raise Refused(408, sentence, headers=_CLOSE) from None


@types.coroutine
def _resumed(coroutine: Coroutine[Any, Any, Message], awaited: Any) -> Generator[Any, Any, Message]:
    """Await a coroutine that has begun and waits for `awaited`."""
    try:
        yield awaited
    except BaseException as error:
        coroutine.throw(error)
    message: Message = yield from coroutine
    return message


def _too_large(most: int) -> Refused:
    """The connection stays and the rest of the body is thrown away: a close under it would reset the client before it reads."""
    return Refused(413, f"The body of a request may have {most} bytes, this one has more; send less in one request.")


def _check_token(shown: bytes, token: bytes, method: str) -> None:
    """Compare in a time that does not depend on how much of it is right.

    A browser shows what it was told with whatever any page has it send to us, so from it the token opens what only reads.

    Raises:
        Refused: 401; a browser asks its user for it then. 403: a browser's token is not enough.
    """
    kind, _, value = shown.partition(b" ")
    if kind.lower() == b"basic":
        try:
            value = base64.b64decode(value, validate=True).partition(b":")[2]
        except (binascii.Error, ValueError):
            value = b""
    if kind.lower() not in (b"bearer", b"basic") or not hmac.compare_digest(value.strip(), token):
        found = "found a wrong one" if shown else "found none"
        sentence = f"This server wants its token in the header 'Authorization: Bearer TOKEN', {found}."
        raise Refused(401, sentence, headers={"WWW-Authenticate": 'Basic realm="mlforhpc", charset="UTF-8"'})
    if kind.lower() == b"basic" and method not in ("GET", "HEAD"):
        raise Refused(403, f"{method} wants the token in the header 'Authorization: Bearer TOKEN'; as a browser's password it only reads.")


def name_of(host: str) -> str:
    """A host without its port, in lower case."""
    name = host.rpartition(":")[0] if ":" in host and not host.endswith("]") else host
    return name.strip("[]").lower()
