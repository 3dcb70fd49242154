"""One end of a connection that frames travel on: sends without waiting, and cuts what comes into messages.

Nothing here waits or locks; the owner does.
"""

from __future__ import annotations

import socket
from collections import deque
from typing import Generic, TypeVar

import msgspec

from mlforhpc.engines._wire import Frames

_RECEIVE_BYTES = 1 << 18

T = TypeVar("T")


class Line(Generic[T]):
    """See the file's docstring.

    Args:
        connection: is made non-blocking, and closed by `close`.
        decoder: of what the other side says.

    Attributes:
        frames: what cuts.
    """

    def __init__(self, connection: socket.socket, decoder: msgspec.msgpack.Decoder[T]) -> None:
        connection.setblocking(False)
        self.socket = connection
        self._decoder = decoder
        self.frames = Frames()
        self._out: deque[memoryview] = deque()
        self._room = memoryview(bytearray(_RECEIVE_BYTES))  # a fresh buffer of this size would cost more than the call

    @property
    def sent(self) -> bool:
        """Whether nothing waits for `flush`."""
        return not self._out

    def post(self, data: bytes) -> bool:
        """Send a frame; False if some of it must wait for `flush`."""
        self._out.append(memoryview(data))
        return self.flush()

    def flush(self) -> bool:
        """Send what is left; False if there is still some."""
        try:
            while self._out:
                done = self.socket.send(self._out[0])
                if done == len(self._out[0]):
                    self._out.popleft()
                else:
                    self._out[0] = self._out[0][done:]
        except BlockingIOError:
            return False
        except OSError:
            self._out.clear()  # the other side has died, which the owner hears from its selector
        return True

    def receive(self) -> tuple[list[T], bool]:
        """What has arrived, and whether the other side has hung up.

        Raises:
            msgspec.MsgspecError: it is not one of ours.
        """
        messages: list[T] = []
        while True:
            try:
                size = self.socket.recv_into(self._room)
            except BlockingIOError:
                return messages, False
            except OSError:
                return messages, True
            messages += [self._decoder.decode(body) for body in self.frames.feed(self._room[:size])]
            if size == 0:
                return messages, True
            if size < _RECEIVE_BYTES:
                return messages, False

    def close(self) -> None:
        """Hang up."""
        self.socket.close()
