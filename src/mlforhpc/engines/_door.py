"""The driver's door: one TCP listener where the gateway and the workers of another system knock, token in hand.

Clocks are aligned here. A worker that reads the driver's own monotonic clock gets its offset as it is; for any other
it is estimated from the quickest of ten questions (F. Cristian, "Probabilistic clock synchronization", 1989,
doi:10.1007/BF01784024): the answer was given between question and receipt, so

    offset = driver's offset + (asked + received) / 2 - shown,    off by at most (received - asked) / 2
"""

from __future__ import annotations

import contextlib
import hmac
import secrets
import selectors
import socket
import threading
import time
from collections.abc import Iterator

import msgspec

from mlforhpc.core.clock import Clock
from mlforhpc.core.engine import Joined
from mlforhpc.engines._line import Line
from mlforhpc.engines._messages import HEARD, Heard, Knock, Tick, Tock, Told
from mlforhpc.engines._wire import frame

_QUESTIONS = 10
_MOST_KNOCK_BYTES = 4096


class Caller:
    """Who has connected; nobody is believed before the right knock.

    Attributes:
        knock: what it said of itself, once the token was right.
        running: numbers of tasks that it has begun.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.line: Line[Heard] = Line(connection, HEARD)
        self.knock: Knock | None = None
        self.running: set[int] = set()
        self.line.frames.most_bytes = _MOST_KNOCK_BYTES
        self._asked_ns = 0
        self._answers: list[tuple[int, int]] = []

    def question(self) -> Tick:
        """Ask it what its clock shows."""
        self._asked_ns = time.monotonic_ns()
        return Tick()

    def align(self, tock: Tock, clock: Clock) -> Joined | None:
        """Take an answer; the alignment, if that was the last one."""
        received_ns = time.monotonic_ns()
        self._answers.append((received_ns - self._asked_ns, (received_ns + self._asked_ns) // 2 - tock.monotonic_ns))
        if len(self._answers) < _QUESTIONS:
            return None
        took_ns, apart_ns = min(self._answers)
        assert self.knock is not None
        return Joined(self.knock.host, self.knock.clock, clock.offset_ns + apart_ns, -(-took_ns // 2))


class Door:
    """Used by one thread, except for `send` and `wake`.

    Args:
        host: the interface to listen on, and the name under which others find it.

    Attributes:
        token: what a caller must say.
        port: where it listens.
    """

    def __init__(self, host: str) -> None:
        self.host, self.token = host, secrets.token_hex(16)
        self._listener = socket.create_server((host, 0), backlog=1024)
        self.port: int = self._listener.getsockname()[1]
        self._listener.setblocking(False)
        self._waker, self._woken = socket.socketpair()
        self._waker.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self.callers: set[Caller] = set()
        self._unsent: set[Caller] = set()
        self._lock = threading.Lock()

    def send(self, caller: Caller, message: Told) -> None:
        """From any thread."""
        data = frame(message)
        with self._lock:
            if not caller.line.post(data):
                self._unsent.add(caller)
                self.wake()

    def listen(self, timeout_s: float | None) -> Iterator[tuple[Caller, list[Heard], bool]]:
        """(who, what it says, whether it has hung up); waits until there is something, or for `timeout_s`."""
        with self._lock:
            unsent, self._unsent = self._unsent, set()
        for caller in unsent & self.callers:
            self._selector.modify(caller.line.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, caller)
        for key, mask in self._selector.select(timeout_s):
            if key.fileobj is self._listener:
                self._admit()
            elif key.fileobj is self._woken:
                self._woken.recv(4096)
            elif key.data in self.callers:
                yield from self._hear(key.data, mask)

    def _admit(self) -> None:
        with contextlib.suppress(OSError):
            connection, _ = self._listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            caller = Caller(connection)
            self._selector.register(connection, selectors.EVENT_READ, caller)
            self.callers.add(caller)

    def _hear(self, caller: Caller, mask: int) -> Iterator[tuple[Caller, list[Heard], bool]]:
        if mask & selectors.EVENT_WRITE:
            with self._lock:
                all_sent = caller.line.flush()
            if all_sent:
                self._selector.modify(caller.line.socket, selectors.EVENT_READ, caller)
        if not mask & selectors.EVENT_READ:
            return
        try:
            heard, hung_up = caller.line.receive()
        except (msgspec.MsgspecError, MemoryError):  # not one of ours
            heard, hung_up = [], True
        if caller.knock is None and heard:
            knock = heard[0]
            if isinstance(knock, Knock) and hmac.compare_digest(knock.token.encode(), self.token.encode()):
                caller.knock = knock
                caller.line.frames.most_bytes = None
            else:
                heard, hung_up = [], True
        known = caller.knock is not None
        if hung_up:
            self.dismiss(caller)
        if known:
            yield caller, heard, hung_up

    def dismiss(self, caller: Caller) -> None:
        """Hang up on somebody; twice is fine."""
        if caller in self.callers:
            self.callers.discard(caller)
            self._selector.unregister(caller.line.socket)
            caller.line.close()

    def wake(self) -> None:
        """From any thread: end the wait."""
        with contextlib.suppress(OSError):  # full: it will wake anyway; closed: it has ended
            self._waker.send(b"w")

    def close(self) -> None:
        """Hang up on everybody."""
        for caller in list(self.callers):
            self.dismiss(caller)
        self._selector.close()
        for each in (self._listener, self._waker, self._woken):
            each.close()
