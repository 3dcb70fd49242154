"""Inference: bytes in, bytes out, on the event loop; only rows that need the simulation wait.

    answer(service, "borehole", None, body, None) -> Reply, or Pending while simulations run

It stands in front of the router and takes the raw ASGI messages, since every layer between costs a good part of the answer itself.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Mapping, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from starlette.types import ASGIApp, Receive, Scope, Send

from mlforhpc.core.errors import MLforHPCError, UsageError
from mlforhpc.core.names import suggestion
from mlforhpc.scenarios.online import Answer, Look, Source
from mlforhpc.server.encodings import Coding, accepted, decoded, encoded
from mlforhpc.server.models import Model, Part, Sheet
from mlforhpc.server.refusals import Refused, refusal, refuse
from mlforhpc.server.reply import Asked, Reply, encode
from mlforhpc.server.tensors import Wish, brief, points, request_of

if TYPE_CHECKING:
    from mlforhpc.server.service import Service

OURS = ("tolerance", "source", "binary_data_output")
OTHERS = ("sequence_id", "sequence_start", "sequence_end", "priority", "timeout", "headers")
"""Of a request's parameters: those that mean something here, and those of the protocol that ask for nothing that this service has."""
SOURCES = ("auto", "surrogate", "simulation")
_PATH = re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+))?/infer")
_PLAIN: tuple[None, Source, bool] = (None, "auto", False)


class Pending:
    """An answer of which some rows are being simulated.

    Attributes:
        futures: row -> its answer.
    """

    def __init__(self, asked: Asked, look: Look, futures: Mapping[int, Future[Answer]]) -> None:
        self.futures = futures
        self._asked, self._look = asked, look

    def reply(self) -> Reply:
        """The answer, when all futures are done.

        Raises:
            TaskError: a simulation did not end with an answer.
        """
        return encode(self._asked, self._look, {row: future.result() for row, future in self.futures.items()})

    def cancel(self) -> None:
        """Nobody waits for it any more."""
        for future in self.futures.values():
            if not future.done():
                self._asked.model.online.cancel(future)


def answer(service: Service, name: str, version: str | None, body: bytes, header_length: int | None = None) -> Reply | Pending:
    """The answer to the body of an inference; in one thread at a time.

    Args:
        service: whose models.
        name, version: of the model; version None = whatever answers now.
        body: uncompressed.
        header_length: of the JSON, if binary tensors follow it.

    Raises:
        Refused: no such model or version.
        UsageError: bad input.
        Busy: the simulations' queue is full.
    """
    model = service.model(name)
    if version is not None:
        model.check_version(version)
    request, rest = request_of(body, header_length)
    x = points(request.inputs, model.inputs, rest, most=service.limits.rows)
    tolerance, source, binary = _options(request.parameters) if request.parameters else _PLAIN
    wishes = request.outputs
    sheet = Sheet(_parts(model, wishes, binary=binary)) if wishes or binary or len(x) > 1 else model.sheet
    asked = Asked(model, request.id, sheet)
    numbers = len(x) * (sum(part.numbers for part, _, _ in sheet.parts) if wishes else model.numbers)
    if numbers > service.limits.elements:
        raise UsageError(f"An answer may have {service.limits.elements} numbers, this one would have {numbers}; ask in several requests.")
    look = model.online.look(x, tolerance)
    if version is not None and look.version != version:  # replaced a moment ago
        model.check_version(version)
    if source == "auto" and all(look.sure):
        return encode(asked, look, {}, uncounted=look)
    futures = model.online.serve(look, source)
    return Pending(asked, look, futures) if futures else encode(asked, look, {})


def _options(parameters: Mapping[str, Any]) -> tuple[float | None, Source, bool]:
    """Tolerance, source, and whether outputs are binary where they do not say."""
    for name in parameters:
        if name not in OURS and name not in OTHERS:
            raise UsageError(f"Unknown parameter {brief(name)} of a request; known are {', '.join(OURS)}.{suggestion(name[:100], OURS)}")
    tolerance, source, binary = parameters.get("tolerance"), parameters.get("source", "auto"), parameters.get("binary_data_output", False)
    if tolerance is not None and (isinstance(tolerance, bool) or not isinstance(tolerance, int | float)):
        raise UsageError(f"The parameter tolerance must be a relative error such as 0.05, found {brief(tolerance)}.")
    if source not in SOURCES:
        raise UsageError(f"The parameter source must be one of {', '.join(SOURCES)}, found {brief(source)}.")
    try:
        return None if tolerance is None else float(tolerance), source, _flag("binary_data_output", binary)
    except OverflowError:
        raise UsageError("The parameter tolerance must be a relative error such as 0.05, found a number beyond 1e308.") from None


def _parts(model: Model, wishes: Sequence[Wish] | None, *, binary: bool) -> list[tuple[Part, bool]]:
    if not wishes:
        return [(part, binary) for part in model.default]
    parts: dict[str, tuple[Part, bool]] = {}
    for wish in wishes:
        if wish.name in parts:
            raise UsageError(f"Output '{wish.name}' was asked for twice.")
        said = wish.parameters or {}
        if said.get("classification"):
            raise UsageError(f"Output '{wish.name}': this model gives numbers; there is no classification of them.")
        parts[wish.name] = model.part(wish.name), _flag("binary_data", said.get("binary_data", binary))
    return list(parts.values())


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise UsageError(f"The parameter {name} must be true or false, found {brief(value)}.")
    return value


class Infer:
    """The endpoint, with and without a version; what is asked at other paths goes on to `app`."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service
        self._plain: dict[str, tuple[str, str | None]] = {f"/v2/models/{name}/infer": (name, None) for name in service.models}

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        named = self._named(scope["path"]) if scope["type"] == "http" else None
        return self._app(scope, receive, send) if named is None else self._infer(*named, scope, receive, send)

    def _named(self, path: str) -> tuple[str, str | None] | None:
        """Model and version that a path asks to infer with; None if it asks for something else."""
        plain = self._plain.get(path)
        if plain is not None:
            return plain
        found = _PATH.fullmatch(path)
        return None if found is None else (found[1], found[2])

    async def _infer(self, name: str, version: str | None, scope: Scope, receive: Receive, send: Send) -> None:
        began_ns = time.perf_counter_ns()
        model: Model | None = None
        coding: Coding = ""
        try:
            if scope["method"] != "POST":
                raise Refused(405, f"{scope['method']} is not what {scope['path']} takes; it takes POST.", headers={"Allow": "POST"})
            model = self._service.model(name)
            headers: Mapping[bytes, bytes] = dict(scope["headers"])
            message = await receive()
            raw = message.get("body", b"")
            if message.get("more_body", False):
                raw = await _with_rest(raw, receive)
            if raw is None or message["type"] == "http.disconnect":
                return
            if b"content-encoding" in headers:
                raw = await decoded(raw, headers[b"content-encoding"], most=self._service.limits.body_bytes)
            found = answer(self._service, name, version, raw, _header_length(headers))
            reply = found if isinstance(found, Reply) else await _settled(found, receive)
            if reply is None:
                return
            content = reply.body
            if b"accept-encoding" in headers:
                coding = accepted(headers[b"accept-encoding"], len(content))
                content = await encoded(content, coding)
        except Exception as error:
            if model is not None:
                model.stats.refused(time.perf_counter_ns() - began_ns)
            await refuse(send, refusal(error))
            if not isinstance(error, MLforHPCError):
                raise  # for the log
            return
        await send({"type": "http.response.start", "status": 200, "headers": _headers(reply, content, coding)})
        await send({"type": "http.response.body", "body": content})
        asyncio.get_running_loop().call_soon(_count, model, reply, time.perf_counter_ns() - began_ns)  # once it is on its way


def _count(model: Model, reply: Reply, took_ns: int) -> None:
    """Count what was answered; here the coins of audits are tossed."""
    model.stats.answered(reply.rows, took_ns, time.time_ns() // 1_000_000, simulated=reply.simulated)
    if reply.uncounted is not None:
        model.online.serve(reply.uncounted)


async def _with_rest(first: bytes, receive: Receive) -> bytes | None:
    """The whole body, whose size the guard bounds; None if the client is gone."""
    parts, more = [first], True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


async def _settled(pending: Pending, receive: Receive) -> Reply | None:
    """The reply when every simulation is done, or at the first that failed; None if the client is gone. What is left then is cancelled."""
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()
    left = len(pending.futures)

    def arrived(future: Future[Answer]) -> None:
        nonlocal left
        left -= 1
        if not over.done() and (left == 0 or future.exception() is not None):
            over.set_result(None)

    def tell(future: Future[Answer]) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(arrived, future)

    for future in pending.futures.values():
        future.add_done_callback(tell)
    gone = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait({over, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not over.done():
            return None
        failed = next((f for f in pending.futures.values() if f.done() and f.exception() is not None), None)
        if failed is not None:
            failed.result()
        return pending.reply()
    finally:
        gone.cancel()
        pending.cancel()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _header_length(headers: Mapping[bytes, bytes]) -> int | None:
    said = headers.get(b"inference-header-content-length")
    if said is None:
        return None
    if not said.isdigit() or len(said) > 18:
        raise UsageError(f"The header Inference-Header-Content-Length must be a number of bytes, found {brief(said.decode('latin-1'))}.")
    return int(said)


def _headers(reply: Reply, content: bytes, coding: Coding) -> list[tuple[bytes, bytes]]:
    binary = reply.header_length is not None
    headers = [
        (b"content-type", b"application/octet-stream" if binary else b"application/json"),
        (b"content-length", str(len(content)).encode()),
    ]
    if binary:
        headers.append((b"inference-header-content-length", str(reply.header_length).encode()))
    if coding:
        headers.append((b"content-encoding", coding.encode()))
    return headers
