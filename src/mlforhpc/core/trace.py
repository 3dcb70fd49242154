"""The trace: the append-only `events.jsonl` that every performance figure is a function of, and the one event bus.

Lines are encoded into a buffer and reach the operating system (write(2), not fsync) at `flush`, which the broker
calls before a future resolves. A writer that opens an existing file first ends a torn line with a newline; readers
drop it. Subscribers get decoded events through a bounded queue each; one that lags catches up from the file.
A trace that lives for weeks rotates: `events.jsonl` becomes `events-000001.jsonl`, and a new file begins.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import msgspec

from mlforhpc.core.clock import Clock
from mlforhpc.core.events import (
    ENCODER,
    SCHEMA_VERSION,
    Decision,
    Event,
    Finished,
    Host,
    Mark,
    Opened,
    Quality,
    Started,
    Submitted,
    decode,
)

__all__ = [
    "SCHEMA_VERSION",
    "Decision",
    "Event",
    "Finished",
    "Host",
    "Mark",
    "Opened",
    "Quality",
    "Started",
    "Submitted",
    "Subscription",
    "Trace",
    "read",
    "rotated",
]

MOST_WAITING_BYTES = 64 << 20
"""Of lines that the disk does not take; more are counted, and a mark `events_lost` says how many once it takes some again."""
KEPT = 20
"""Files of a trace that rotates, besides the one that is being written."""
_BUFFERED_EVENTS = 64
_PAGE_BYTES = 1 << 18
_NAP_S = 0.002
_encode_into = ENCODER.encode_into


def read(path: Path | str) -> Iterator[Event]:
    """The events of a file in order; torn lines and unknown kinds are dropped."""
    with Path(path).open("rb") as file:
        for line in file:
            if line.endswith(b"\n") and (event := decode(line)) is not None:
                yield event


def rotated(path: Path) -> list[Path]:
    """The earlier files of a trace that rotates, oldest first."""
    return sorted(path.parent.glob(f"{path.stem}-[0-9]*{path.suffix}"))


class Trace:
    """Writes one file, from any thread; made by whoever owns the run folder, written by the broker alone.

    Attributes:
        path: of the file.
        clock: of its times.
        resumed: the file had events in it when it was opened.
        last_task: highest task number that the file held then.
    """

    def __init__(self, path: Path | str, clock: Clock, *, rotate_bytes: int | None = None) -> None:
        """Open or create; `rotate_bytes` begins a new file when this one is larger, and keeps the last `KEPT` ones."""
        self.path = Path(path)
        self.clock = clock
        self._rotate_bytes = rotate_bytes
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.resumed, self.last_task = _last_task(self.path)
        if not self.last_task and (before := rotated(self.path)):
            self.resumed, self.last_task = True, _last_task(before[-1])[1]
        self._fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._written_bytes = self._published_bytes = _end_torn_line(self._fd)
        self._lock = threading.Lock()
        self._buffer = bytearray()
        self._events: list[Event] = []
        self._lost = 0
        self._subscriptions: tuple[Subscription, ...] = ()

    def emit(self, event: Event) -> None:
        """Put an event in the buffer; it reaches the file with the next `flush`, or with the 64th event."""
        with self._lock:
            if len(self._buffer) > MOST_WAITING_BYTES:
                self._lost += 1
            else:
                self._append(event)
            if len(self._events) >= _BUFFERED_EVENTS:
                with contextlib.suppress(OSError):  # `flush` will say so
                    self._flush()

    def write(self, event: Event) -> None:
        """Emit and flush."""
        self.emit(event)
        self.flush()

    def flush(self) -> None:
        """Return when everything emitted so far has reached the operating system.

        Raises:
            OSError: the disk is full, say; the lines stay in the buffer, up to MOST_WAITING_BYTES.
        """
        with self._lock:
            self._flush()

    def subscribe(self, maxsize: int = 10_000, *, from_start: bool = False) -> Subscription:
        """A queue of the events from now on (or all of the file's); at most `maxsize` of them are held in memory."""
        with self._lock:
            self._flush()
            subscription = Subscription(self, maxsize, behind=0 if from_start else None)
            self._subscriptions = (*self._subscriptions, subscription)
        return subscription

    def close(self) -> None:
        """Flush, end every subscription, release the file; closing twice is fine."""
        with self._lock:
            if self._fd < 0:
                return
            try:
                self._flush()
            finally:
                for subscription in self._subscriptions:
                    subscription._end()
                self._subscriptions = ()
                os.close(self._fd)
                self._fd = -1

    def _append(self, event: Event) -> None:
        _encode_into(event, self._buffer, -1)
        self._buffer += b"\n"
        self._events.append(event)

    def _flush(self) -> None:
        if not self._events or self._fd < 0:
            return
        while self._buffer:  # a short write is finished
            done = os.write(self._fd, self._buffer)
            self._written_bytes += done
            del self._buffer[:done]
        events, self._events = self._events, []
        if self._subscriptions:
            events = [_as_read(event) if isinstance(event, Decision | Quality) else event for event in events]
            for subscription in self._subscriptions:
                subscription._publish(events, self._published_bytes)
        self._published_bytes = self._written_bytes
        if self._lost:
            self._append(Mark(t=self.clock.now_ns(), task=0, name="events_lost", value=float(self._lost)))
            self._lost = 0
        if self._rotate_bytes and self._written_bytes > self._rotate_bytes:
            self._rotate()

    def _rotate(self) -> None:
        """Begin a new file, once no subscriber still has to read in this one."""
        if any(subscription._behind is not None for subscription in self._subscriptions):
            return
        before = rotated(self.path)
        number = int(before[-1].stem.rpartition("-")[2]) + 1 if before else 1
        self.path.rename(self.path.with_name(f"{self.path.stem}-{number:06d}{self.path.suffix}"))
        os.close(self._fd)
        self._fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._written_bytes = self._published_bytes = 0
        for file in before[: max(0, len(before) + 1 - KEPT)]:
            file.unlink(missing_ok=True)

    def _drop(self, subscription: Subscription) -> None:
        with self._lock:
            self._subscriptions = tuple(s for s in self._subscriptions if s is not subscription)

    def _end_for(self, subscription: Subscription, offset: int) -> int:
        """Where the whole lines of the file end; a reader who is there gets the next ones through its queue."""
        with self._lock:
            if offset == self._published_bytes:
                subscription._behind = None
            return self._published_bytes


class Subscription:
    """A bounded queue of decoded events, for one reader thread; it holds up no task.

    When more than `maxsize` events wait, the rest is not queued: the reader gets the same events from the file.
    A reader that has nothing to read naps before it sleeps, so that in a stream of events no writer has to wake it.
    Iterating ends when the trace or the subscription is closed.
    """

    def __init__(self, trace: Trace, maxsize: int, *, behind: int | None) -> None:
        self._trace = trace
        self._maxsize = maxsize
        self._queue: deque[list[Event]] = deque()
        self._published = 0
        self._taken = 0
        self._behind = behind
        self._ready: list[Event] = []
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._asleep = False
        self.closed = False

    def get(self, timeout_s: float | None = None) -> Event | None:
        """The next event; None after `timeout_s` without one, or when it is closed and all were read."""
        end = None if timeout_s is None else time.monotonic() + timeout_s
        while not self._ready:
            if self._queue:
                events = self._queue.popleft()
                self._taken += len(events)
                self._ready = events[::-1]
            elif self._behind is not None:
                self._ready = self._catch_up()[::-1]
            elif self.closed or not self._wait(end):
                return None
        return self._ready.pop()

    def drain(self) -> list[Event]:
        """Every event that is there now, without waiting."""
        events = []
        while (event := self.get(timeout_s=0.0)) is not None:
            events.append(event)
        return events

    def close(self) -> None:
        """Get no more events."""
        self._trace._drop(self)
        self._end()

    def __iter__(self) -> Iterator[Event]:
        while (event := self.get()) is not None:
            yield event

    def _publish(self, events: list[Event], offset: int) -> None:
        """Called by the trace, under its lock, with the file offset at which these events begin."""
        if self._behind is not None:
            return
        if self._published - self._taken + len(events) > self._maxsize:
            self._behind = offset
        else:
            self._published += len(events)
            self._queue.append(events)
        self._wake()

    def _end(self) -> None:
        self.closed = True
        self._wake()

    def _wake(self) -> None:
        if self._asleep:
            self._asleep = False
            self._bell.put(None)

    def _wait(self, end: float | None) -> bool:
        """Until there may be something new; False at `end`."""
        left = _NAP_S if end is None else end - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(left, _NAP_S))
        self._asleep = True
        if not (self._queue or self._behind is not None or self.closed):
            with contextlib.suppress(queue.Empty):
                self._bell.get(timeout=None if end is None else max(0.0, end - time.monotonic()))
        self._asleep = False
        return True

    def _catch_up(self) -> list[Event]:
        """A page of the events that were not queued; rejoins the queue when there is no more."""
        offset = self._behind or 0
        size = min(_PAGE_BYTES, self._trace._end_for(self, offset) - offset)
        if size == 0:
            return []
        with self._trace.path.open("rb") as file:
            file.seek(offset)
            page = file.read(size)
            if not page.endswith(b"\n"):
                page += file.readline()
        self._behind = offset + len(page)
        return [event for line in page.splitlines() if (event := decode(line)) is not None]


def _as_read(event: Event) -> Event:
    """The event as a reader of the file sees it: an array in a decision is then a list for everyone."""
    return decode(ENCODER.encode(event)) or event


class _TaskOnly(msgspec.Struct, gc=False):
    """The one field that opening a file needs."""

    task: int = 0


def _last_task(path: Path) -> tuple[bool, int]:
    decoder, resumed, last = msgspec.json.Decoder(_TaskOnly), False, 0
    if path.exists():
        with path.open("rb") as file:
            for line in file:
                resumed = True
                try:
                    last = max(last, decoder.decode(line).task)
                except (msgspec.MsgspecError, UnicodeDecodeError):
                    continue
    return resumed, last


def _end_torn_line(fd: int) -> int:
    """Size of the file, after ending its last line with a newline."""
    size = os.fstat(fd).st_size
    if size and os.pread(fd, 1, size - 1) != b"\n":
        size += os.write(fd, b"\n")
    return size
