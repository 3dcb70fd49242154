"""The gateway: a process of ours that is the client of another system (dask, ray, parsl, MPI) on the driver's behalf.

In a process of its own, because such clients start threads, signal handlers and processes that a user's script should
not have in it, need a main guard there, and break in ways that nothing in their process survives. It hands parcels on
without opening them. What it submits is `_post.run`; how, says the adapter's `Pool`.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from mlforhpc.engines._messages import TOLD, Came, Fault, Gone, Heard, Knock, Open, Place, Up
from mlforhpc.engines._post import clock_name
from mlforhpc.engines._wire import Frames, frame

_ROOM_BYTES = 1 << 20


class Promise(Protocol):
    """What systems call a future."""

    def add_done_callback(self, done: Callable[[Any], Any], /) -> Any: ...
    def result(self) -> bytes: ...


class Pool(Protocol):
    """What an adapter's `connect(slots, address, folder, **options)` returns: the system's client.

    Attributes:
        slots: how many batches run at the same time.
    """

    slots: int

    def submit(self, parcel: bytes, cores: int) -> Promise:
        """Have a worker call `_post.run(parcel)`, once; the future raises if the system lost it."""
        ...

    def close(self) -> None:
        """End what was started, without waiting for tasks."""
        ...


def main() -> None:
    """Entry point: the driver's address is in the environment."""
    host, _, port = os.environ["MLFORHPC_DRIVER"].rpartition(":")
    connection = socket.create_connection((host, int(port)))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    gateway = Gateway(connection)
    gateway.say(Knock(os.environ["MLFORHPC_TOKEN"], "gateway", platform.node(), os.getpid(), clock_name(), ""))
    gateway.serve()


class Gateway:
    """The loop between the driver's connection and the pool."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._pool: Pool | None = None

    def serve(self) -> None:
        """Work until the driver hangs up."""
        frames, room = Frames(), memoryview(bytearray(_ROOM_BYTES))
        try:
            while size := self._connection.recv_into(room):
                for body in frames.feed(room[:size]):
                    self._hear(body)
        except ConnectionError:
            pass
        finally:
            if self._pool is not None:
                self._pool.close()

    def say(self, message: Heard) -> None:
        """Tell the driver, from any thread."""
        try:
            with self._lock:
                self._connection.sendall(frame(message))
        except OSError:
            pass  # the driver is gone: `serve` hears it

    def _hear(self, body: bytes | memoryview) -> None:
        message = TOLD.decode(body)
        if isinstance(message, Place):
            self._place(message)
        elif isinstance(message, Open):
            self._open(message)

    def _open(self, message: Open) -> None:
        try:
            adapter: Any = importlib.import_module(message.module)
            self._pool = adapter.connect(message.slots, message.address, Path(message.folder), **json.loads(message.options))
            self.say(Up(self._pool.slots))
        except Exception as error:
            self.say(Fault(f"{type(error).__name__}: {error}"))

    def _place(self, place: Place) -> None:
        assert self._pool is not None
        try:
            future = self._pool.submit(place.parcel, place.cores)
        except Exception as error:
            self.say(Gone(place.number, f"{type(error).__name__}: {error}"))
        else:
            future.add_done_callback(lambda future: self._report(place.number, future))

    def _report(self, number: int, future: Promise) -> None:
        try:
            reply = future.result()
        except BaseException as error:  # dask's cancellation is no Exception
            self.say(Gone(number, f"{type(error).__name__}: {error}"))
        else:
            self.say(Came(number, reply))


if __name__ == "__main__":
    sys.path.insert(0, os.environ["MLFORHPC_ROOT"])
    main()
