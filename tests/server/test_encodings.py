"""Compressed bodies: what is not what its header says, or too much, is refused."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc
import zlib

import orjson
import pytest

from mlforhpc.server.encodings import decoded
from mlforhpc.server.refusals import Refused


def _ask(running, body, coding):
    return running.ask("POST", "/v2/models/plate/infer", body, {"Content-Encoding": coding})


def test_a_bomb_is_refused_before_it_is_unpacked(running):
    """200 MB of spaces in 200 kB: 413, whatever the header of its length says."""
    deflating = zlib.compressobj(9, wbits=31)
    bomb = b"".join(deflating.compress(b" " * (1 << 20)) for _ in range(200)) + deflating.flush()
    assert len(bomb) < 300_000
    status, said = _ask(running, bomb, "gzip")
    assert status == 413 and "when decompressed" in said["error"]
    tracemalloc.start()
    try:
        with pytest.raises(Refused):
            asyncio.run(decoded(bomb, b"gzip", most=1 << 20))
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("body", [b"", b"{}", gzip.compress(b"{}")[:-3], gzip.compress(b"{}") + b"more", zlib.compress(b"{}")])
def test_what_is_no_gzip_is_refused(running, body):
    """Empty, plain, cut, followed by more, another format."""
    status, said = _ask(running, body, "gzip")
    assert status == 400 and "gzip" in said["error"]


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip"])
def test_other_codings_are_a_415(running, coding):
    """With those that are understood."""
    status, said = _ask(running, b"{}", coding)
    assert status == 415 and "gzip, deflate" in said["error"]


def test_identity_and_capitals_are_understood(running):
    """As the standard has it."""
    body = orjson.dumps({"inputs": running.tensors("plate", {"width": [1.5], "layers": [3], "metal": ["copper"]})})
    assert _ask(running, body, "identity")[0] == 200
    assert _ask(running, gzip.compress(body), "GZIP")[0] == 200
    large = gzip.compress(body + b" " * 100_000, compresslevel=0)
    assert _ask(running, large, "gzip")[0] == 200
