"""`/v1/records`: what the store keeps: by ranges of parameters, by key, as a file, and how much room it takes.

GET /v1/records?simulation=borehole&rw.min=0.1&n=3&outcome=ok&limit=50      GET /v1/records/<key>
GET /v1/records/export?simulation=borehole&format=parquet                   GET /v1/records/usage
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from mlforhpc.server import record_answers
from mlforhpc.server.record_answers import Asked, Told
from mlforhpc.server.refusals import Refused, retry_after

if TYPE_CHECKING:
    from mlforhpc.server.service import Service

PAGE_RECORDS = 100
MOST_RECORDS = 1_000
WAITING = 16
"""Questions that may wait for the slot beside the server."""
EXPORTS = {"csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet"}
_LIMIT_S, _EXPORT_LIMIT_S = 60.0, 600.0
_CHUNK_BYTES = 1 << 20
_OWN = ("simulation", "outcome", "version", "limit", "after")


def routes(service: Service) -> list[BaseRoute]:
    """Four routes below `/v1/records`."""
    folder, numbers = str(service.campaign.folder / "store"), service.limits.elements
    waiting = 0

    async def aside(limit_s: float, function: Callable[..., Told], *args: Any) -> bytes:
        nonlocal waiting
        if waiting >= WAITING:
            raise Refused(429, f"{waiting} questions about records are waiting, as many as may be; try again.", headers=retry_after(2.0))
        waiting += 1
        try:
            told = await service.aside(function, *args, limit_s=limit_s)
        finally:
            waiting -= 1
        if told.status != 200:
            raise Refused(told.status, told.content.decode())
        return told.content

    async def page(request: Request) -> Response:
        asked = _asked(request)
        again = urlencode([pair for pair in request.query_params.multi_items() if pair[0] != "after"])
        args = (folder, asked, tuple(service.onlines), numbers, f"/v1/records?{again}&after=")
        return _json(await aside(_LIMIT_S, record_answers.page, *args))

    async def one(request: Request) -> Response:
        _only(request)
        key = request.path_params["key"]
        if not re.fullmatch(r"[0-9a-f]{64}", key):
            raise Refused(404, "A record is found by its key of 64 hex digits in lower case; /v1/records?simulation=... lists them.")
        return _json(await aside(_LIMIT_S, record_answers.one, folder, key, numbers))

    async def usage(request: Request) -> Response:
        _only(request)
        return _json(await aside(_LIMIT_S, record_answers.usage, folder, service.campaign.budget_bytes))

    async def export(request: Request) -> Response:
        pairs = _only(request, "simulation", "format")
        format = pairs.get("format", "csv")
        if format not in EXPORTS:
            raise Refused(400, f"An export has the format {' or '.join(EXPORTS)}, found '{format[:40]}'.")
        scratch = Path(tempfile.mkdtemp(prefix="mlforhpc-export-"))
        try:
            path = scratch / f"records.{format}"
            await aside(_EXPORT_LIMIT_S, record_answers.export_to, folder, str(path), pairs.get("simulation"), tuple(service.onlines))
            return _stream(path.open("rb"), format)
        finally:
            shutil.rmtree(scratch)  # what is open stays readable until it is sent

    return [
        Route("/v1/records", page, methods=["GET"]),
        Route("/v1/records/export", export, methods=["GET"]),
        Route("/v1/records/usage", usage, methods=["GET"]),
        Route("/v1/records/{key}", one, methods=["GET"]),
    ]


def _asked(request: Request) -> Asked:
    """The question of a request; what its conditions mean is found out beside the server, where the records are."""
    pairs = _pairs(request)
    if not pairs.get("simulation"):
        raise Refused(400, "Say of which simulation: /v1/records?simulation=NAME; /v1/records/usage tells which there are.")
    return Asked(
        simulation=pairs["simulation"],
        named=tuple((name, text) for name, text in pairs.items() if name not in _OWN),
        outcome=pairs.get("outcome"),
        version=pairs.get("version"),
        after=_whole(pairs, "after", 0, 0, 2**63 - 1),
        limit=_whole(pairs, "limit", PAGE_RECORDS, 1, MOST_RECORDS),
    )


def _pairs(request: Request) -> dict[str, str]:
    """The query, in which no name stands twice."""
    pairs: dict[str, str] = {}
    for name, text in request.query_params.multi_items():
        if name in pairs:
            raise Refused(400, f"'{name[:40]}' was said twice; say it once, or ask twice.")
        pairs[name] = text
    return pairs


def _only(request: Request, *known: str) -> dict[str, str]:
    """The query of a route that knows these names."""
    pairs = _pairs(request)
    unknown = next((name for name in pairs if name not in known), None)
    if unknown is not None:
        raise Refused(400, f"{request.url.path} takes {', '.join(known) or 'no parameters'}, found '{unknown[:40]}'.")
    return pairs


def _whole(pairs: dict[str, str], name: str, default: int, low: int, high: int) -> int:
    text = pairs.get(name, str(default))
    if not re.fullmatch(r"[0-9]{1,19}", text) or not low <= int(text) <= high:
        raise Refused(400, f"'{name}' is a whole number from {low} to {high}, found '{text[:40]}'.")
    return int(text)


def _json(content: bytes) -> Response:
    return Response(content, media_type="application/json")


def _stream(file: BinaryIO, format: str) -> Response:
    """A file that has no name any more, piece by piece."""

    async def pieces() -> AsyncIterator[bytes]:
        with file:
            while piece := await asyncio.to_thread(file.read, _CHUNK_BYTES):
                yield piece

    headers = {
        "Content-Length": str(os.fstat(file.fileno()).st_size),
        "Content-Disposition": f'attachment; filename="records.{format}"',
    }
    return StreamingResponse(pieces(), media_type=EXPORTS[format], headers=headers)
