"""Compressed bodies of inferences: gzip and deflate in and out, never more than a bound, and what takes long beside the event loop.

Deflate is the zlib format (RFC 9110, 8.4.1.2).
"""

from __future__ import annotations

import asyncio
import zlib
from typing import Literal, TypeAlias

from mlforhpc.core.errors import UsageError
from mlforhpc.server.refusals import Refused

Coding: TypeAlias = Literal["", "gzip", "deflate"]
LEAST_BYTES = 1_400
"""Answers below this fit into one packet, and are sent as they are."""
_LARGE_BYTES = 1 << 16
_WBITS: dict[str, int] = {"gzip": 31, "deflate": 15}


async def decoded(content: bytes, coding: bytes, *, most: int) -> bytes:
    """A body as it was before it was compressed.

    Raises:
        Refused: 415, another coding; 413, more than `most` bytes.
        UsageError: it is not what the header says.
    """
    name = coding.strip().lower().decode("latin-1")
    if name in ("", "identity"):
        return content
    if name not in _WBITS:
        found = f"Content-Encoding '{name[:40]}' is not understood; send gzip, deflate, or the body as it is."
        raise Refused(415, found, headers={"Accept-Encoding": "gzip, deflate"})
    if len(content) < _LARGE_BYTES:
        return _inflated(content, name, most)
    return await asyncio.to_thread(_inflated, content, name, most)


def _inflated(content: bytes, name: str, most: int) -> bytes:
    inflating = zlib.decompressobj(wbits=_WBITS[name])
    try:
        plain = inflating.decompress(content, most + 1)
    except zlib.error as error:
        raise UsageError(f"The body is not {name}, as its Content-Encoding says: {error}.") from None
    if len(plain) > most:
        raise Refused(413, f"The body has more than {most} bytes when decompressed; send less in one request.")
    if not inflating.eof or inflating.unused_data:
        raise UsageError(f"The body is not one whole {name} stream, as its Content-Encoding says.")
    return plain


def accepted(header: bytes, size: int) -> Coding:
    """What to compress an answer of this size with, by the header Accept-Encoding."""
    if size < LEAST_BYTES:
        return ""
    offered = {}
    for word in header.decode("latin-1").lower().split(","):
        name, _, quality = word.partition(";")
        offered[name.strip()] = quality.strip().replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return "gzip" if offered.get("gzip") else "deflate" if offered.get("deflate") else ""


async def encoded(content: bytes, coding: Coding) -> bytes:
    """An answer, compressed."""
    if not coding:
        return content
    return _deflated(content, coding) if len(content) < _LARGE_BYTES else await asyncio.to_thread(_deflated, content, coding)


def _deflated(content: bytes, coding: str) -> bytes:
    deflating = zlib.compressobj(level=1, wbits=_WBITS[coding])
    return deflating.compress(content) + deflating.flush()
