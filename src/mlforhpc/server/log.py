"""The log: one JSON line a request and one a warning, to `log.jsonl` in the service's folder, or to standard output.

    {"t": 1767319445.123456, "level": "request", "method": "POST", "path": "/v2/models/borehole/infer", "status": 200, "ms": 0.21, ...}
No token, no query, no header and no body is ever in it. The request's path appends a tuple; a task encodes and writes what has gathered,
a few times a second, in a thread that only waits for the disk. A disk that takes no more costs lines, which are counted, never requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import time
import traceback
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

WAIT_S = 0.25
MOST_LINES = 20_000
FILE_BYTES = 64 << 20
FILES_KEPT = 4
GONE = 499
"""Status of a request whose client went away before there was an answer."""
_PATH_LENGTH = 500
_LOGGERS = ("mlforhpc", "uvicorn.error", "asyncio")


class _Request(msgspec.Struct, gc=False):
    """The line of a request."""

    t: float
    method: str
    path: str
    status: int
    ms: float
    sent_bytes: int
    client: str
    level: str = "request"


_Entry = _Request | dict[str, Any]
_ENCODER = msgspec.json.Encoder(enc_hook=str)


class Log:
    """Gathers lines and writes them in batches.

    Attributes:
        lost: lines that could not be kept because the disk took none.
    """

    def __init__(self, path: Path | None, *, file_bytes: int = FILE_BYTES) -> None:
        """A log that appends to `path`; None = standard output. A file that grows beyond `file_bytes` is put aside as `log.1.jsonl`."""
        self._path, self._file_bytes = path, file_bytes
        self._fd = sys.stdout.fileno() if path is None else _opened(path)
        self._entries: list[_Entry] = []
        self.lost = 0

    def wrap(self, app: ASGIApp) -> ASGIApp:
        """The application with a line for each of its requests."""

        async def logged(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                return await app(scope, receive, send)
            began_ns, status, sent_bytes = time.perf_counter_ns(), 0, 0

            def noting(message: Message) -> Awaitable[None]:
                nonlocal status, sent_bytes
                if message["type"] == "http.response.start":
                    status = message["status"]
                else:
                    sent_bytes += len(message.get("body", b""))
                return send(message)

            try:
                await app(scope, receive, noting)
                status = status or GONE
            except BaseException:
                status = status or 500
                raise
            finally:
                took_ms = (time.perf_counter_ns() - began_ns) // 1000 / 1000
                client, path = scope.get("client"), scope["path"]
                path = path if len(path) <= _PATH_LENGTH else path[:_PATH_LENGTH]
                said = _Request(time.time(), scope["method"], path, status, took_ms, sent_bytes, client[0] if client else "")
                self._entries.append(said)

        return logged

    def tell(self, level: str, sentence: str, **fields: Any) -> None:
        """A line of the service's own; from any thread."""
        self._entries.append({"t": time.time(), "level": level, "sentence": sentence, **fields})

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """Write what gathers until the end of the block, and warnings and errors of the server's libraries with it."""
        handler, task = _Handler(self), asyncio.create_task(self._write_always())
        loggers = [logging.getLogger(name) for name in _LOGGERS]
        for logger in loggers:
            logger.addHandler(handler)
        try:
            yield
        finally:
            for logger in loggers:
                logger.removeHandler(handler)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await asyncio.to_thread(self._write, self._taken())

    def close(self) -> None:
        """Write the rest and release the file."""
        self._write(self._taken())
        if self._path is not None:
            os.close(self._fd)

    async def _write_always(self) -> None:
        while True:
            await asyncio.sleep(WAIT_S)
            if self._entries:
                await asyncio.shield(asyncio.to_thread(self._write, self._taken()))

    def _taken(self) -> bytes:
        """What has gathered, as lines; at most `MOST_LINES` of the newest."""
        entries, self._entries = self._entries, []
        self.lost += max(0, len(entries) - MOST_LINES)
        entries = entries[-MOST_LINES:]
        try:
            return _ENCODER.encode_lines(entries)
        except UnicodeEncodeError:  # lone surrogates, from the percent-escapes of a path
            return b"".join([_line(entry) for entry in entries])

    def _write(self, lines: bytes) -> None:
        try:
            while lines:
                lines = lines[os.write(self._fd, lines) :]
            if self._path is not None and os.fstat(self._fd).st_size > self._file_bytes:
                self._rotate(self._path)
        except OSError:
            self.lost += lines.count(b"\n")

    def _rotate(self, path: Path) -> None:
        for number in range(FILES_KEPT - 1, 0, -1):
            older = path if number == 1 else _numbered(path, number - 1)
            if older.exists():
                older.replace(_numbered(path, number))
        fd, self._fd = self._fd, _opened(path)
        os.close(fd)


class _Handler(logging.Handler):
    """Puts warnings and errors of the standard library's loggers in the log."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        fields = {"traceback": "".join(traceback.format_exception(*record.exc_info))} if record.exc_info else {}
        self._log.tell(record.levelname.lower(), record.getMessage(), logger=record.name, **fields)


def _line(entry: _Entry) -> bytes:
    said = entry if isinstance(entry, dict) else msgspec.structs.asdict(entry)
    return _ENCODER.encode({key: _plain(value) for key, value in said.items()}) + b"\n"


def _plain(value: Any) -> Any:
    return value if isinstance(value, int | float) else str(value).encode("utf-8", "backslashreplace").decode()


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.stem}.{number}{path.suffix}")


def _opened(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
