"""What the engine's thread waits for: a child that speaks or dies, a full socket that has room again, a wake-up call."""

from __future__ import annotations

import contextlib
import selectors
import socket
from collections.abc import Iterator
from typing import NamedTuple

from mlforhpc.engines._lanes import Lane


class Sound(NamedTuple):
    """Something from a lane's child."""

    lane: Lane
    readable: bool
    writable: bool
    died: bool


class Ears:
    """Used by one thread, except for `wake`."""

    def __init__(self) -> None:
        self._waker, self._woken = socket.socketpair()
        self._waker.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._woken, selectors.EVENT_READ)

    def add(self, lane: Lane) -> None:
        """Listen to the lane's child."""
        self._selector.register(lane.slot.line.socket, selectors.EVENT_READ, lane)
        if lane.slot.pidfd is not None:  # else its hanging up must do, which a process that it forked may delay
            self._selector.register(lane.slot.pidfd, selectors.EVENT_READ, lane)

    def remove(self, lane: Lane) -> None:
        """Before the child is reaped."""
        self._selector.unregister(lane.slot.line.socket)
        if lane.slot.pidfd is not None:
            self._selector.unregister(lane.slot.pidfd)

    def await_room(self, lane: Lane, wanted: bool) -> None:
        """Whether to say when the child can take more."""
        self._selector.modify(lane.slot.line.socket, selectors.EVENT_READ | (selectors.EVENT_WRITE if wanted else 0), lane)

    def listen(self, timeout_s: float | None) -> Iterator[Sound]:
        """What there is; waits until there is something, or for `timeout_s`."""
        for key, mask in self._selector.select(timeout_s):
            lane: Lane | None = key.data
            if lane is None:
                self._woken.recv(4096)
            elif lane.slot.alive:  # it may have been buried a moment ago
                readable, writable = bool(mask & selectors.EVENT_READ), bool(mask & selectors.EVENT_WRITE)
                yield Sound(lane, readable, writable, key.fd == lane.slot.pidfd)

    def wake(self) -> None:
        """From any thread: end the wait."""
        with contextlib.suppress(OSError):  # full: it will wake anyway; closed: it has ended
            self._waker.send(b"w")

    def close(self) -> None:
        """Release everything."""
        self._selector.close()
        self._waker.close()
        self._woken.close()
