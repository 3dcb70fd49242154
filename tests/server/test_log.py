"""The log: what is in it, what is not, rotation, and what a request pays for it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from pathlib import Path

import pytest

from mlforhpc.server.log import FILES_KEPT, Log


def lines(path):
    """The log's lines."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def until(find, seconds=5.0):
    """What `find` returns, when that is something."""
    end = time.monotonic() + seconds
    while not (found := find()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


def test_a_request_is_one_line_without_query_headers_and_body(running):
    """Method, path, status, time, size and client; nothing that could hold a secret."""
    path = running.service.campaign.folder / "log.jsonl"
    headers = {"Authorization": "Bearer SECRET-HEADER"}
    running.call("POST", "/v2/models/nobody%20there/infer?key=SECRET-QUERY", b'{"id": "SECRET-BODY"}', headers)
    (line,) = until(lambda: [each for each in lines(path) if each.get("path") == "/v2/models/nobody there/infer"])
    assert line | {"t": 0, "ms": 0} == {
        "t": 0, "level": "request", "method": "POST", "path": "/v2/models/nobody there/infer", "status": 404, "ms": 0,
        "sent_bytes": line["sent_bytes"], "client": "127.0.0.1",
    }  # fmt: skip
    assert abs(line["t"] - time.time()) < 10 and line["ms"] > 0 and line["sent_bytes"] > 20
    assert "SECRET" not in path.read_text()


def test_paths_that_are_no_unicode_are_logged(running):
    """A path with a lone surrogate, or very long, makes a line."""
    path = running.service.campaign.folder / "log.jsonl"
    running.call("GET", "/%ff%fe-odd")
    running.call("GET", "/long-" + "x" * 3000)
    until(lambda: [each for each in lines(path) if "-odd" in each.get("path", "")])
    (long,) = until(lambda: [each for each in lines(path) if each.get("path", "").startswith("/long-")])
    assert len(long["path"]) == 500


def test_warnings_of_the_application_are_in_it(running):
    """With logger, level and traceback."""
    path = running.service.campaign.folder / "log.jsonl"
    try:
        raise ValueError("just so")
    except ValueError:
        logging.getLogger("mlforhpc.somewhere").exception("That went wrong.")
    (line,) = until(lambda: [each for each in lines(path) if each.get("sentence") == "That went wrong."])
    assert (line["level"], line["logger"]) == ("error", "mlforhpc.somewhere") and "ValueError: just so" in line["traceback"]


def test_a_file_that_grew_is_put_aside_and_the_oldest_dropped(tmp_path):
    """log.jsonl, log.1.jsonl ... in order, a bounded number of them, no line lost in between."""
    log = Log(tmp_path / "log.jsonl", file_bytes=200)
    for i in range(8):
        log.tell("info", "x" * 210, number=i)
        log._write(log._taken())
    log.close()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["log.1.jsonl", "log.2.jsonl", "log.3.jsonl", "log.jsonl"] and len(names) == FILES_KEPT
    assert [lines(tmp_path / f"log.{i}.jsonl")[0]["number"] for i in (3, 2, 1)] == [5, 6, 7]


def test_a_disk_that_takes_nothing_costs_lines_and_nothing_else():
    """They are counted; /dev/full refuses every byte."""
    log = Log(Path("/dev/full"))
    log.tell("info", "one")
    log.tell("info", "two")
    log._write(log._taken())
    assert log.lost == 2
    log.close()


@pytest.mark.parametrize("status, logged", [(200, 200), (None, 499), (RuntimeError, 500)])
def test_requests_without_an_answer_have_a_status_too(tmp_path, status, logged):
    """499 where the client went away, 500 where the application broke."""

    async def app(scope, receive, send):
        if status is RuntimeError:
            raise RuntimeError
        if status:
            await send({"type": "http.response.start", "status": status, "headers": []})
            await send({"type": "http.response.body", "body": b"abc"})

    async def send(message):
        return None

    log = Log(tmp_path / "log.jsonl")

    async def ask():
        with contextlib.suppress(RuntimeError):
            await log.wrap(app)({"type": "http", "method": "GET", "path": "/", "client": None}, None, send)

    asyncio.run(ask())
    log.close()
    (line,) = lines(tmp_path / "log.jsonl")
    assert (line["status"], line["client"]) == (logged, "")
