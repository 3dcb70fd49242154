"""What driver and slot child say to each other: msgpack frames with an 8-byte length, over one socket pair.

Tasks travel as bytes that only the worker unpickles; results as bytes that only the broker unpickles. Exceptions
travel as text, because unpickling one runs code that may raise.
"""

from __future__ import annotations

import struct
from typing import TypeAlias

import msgspec

from mlforhpc.core.record import Outcome
from mlforhpc.core.task import TaskResult

_LENGTH = struct.Struct("<Q")


class Hello(msgspec.Struct, array_like=True, tag="hello"):
    """Driver -> child, once: where to import from, which clock, where large results go, what the slot is called."""

    sys_path: list[str]
    offset_ns: int
    folder: str
    slot: str


class Run(msgspec.Struct, array_like=True, tag="run"):
    """Driver -> child: calls (task, reference, arguments) to run in order.

    Attributes:
        cores: threads of each of them.
        announce: say `Began` before each call (somebody watches a time limit).
        forget: drop the functions known so far.
        functions: reference -> pickled bytes of those that the child does not know yet.
        sys_path: where to import from now, if that has changed.
    """

    calls: list[tuple[int, str, bytes]]
    cores: int
    announce: bool
    forget: bool
    functions: dict[str, bytes]
    sys_path: list[str] | None


class Ready(msgspec.Struct, array_like=True, tag="ready"):
    """Child -> driver, once."""


class Began(msgspec.Struct, array_like=True, tag="began"):
    """Child -> driver: a call starts now."""

    task: int
    started_ns: int


class Answer(msgspec.Struct, array_like=True, gc=False):
    """A TaskResult in flight: `value` as bytes, because msgpack has no union of text and bytes here."""

    task: int
    outcome: Outcome
    value: bytes
    is_text: bool
    in_file: bool
    started_ns: int
    ended_ns: int
    peak_memory_bytes: int

    @classmethod
    def of(cls, r: TaskResult) -> Answer:
        """Pack."""
        text = isinstance(r.value, str)
        value = r.value.encode() if isinstance(r.value, str) else r.value
        return cls(r.task, r.outcome, value, text, r.in_file, r.started_ns, r.ended_ns, r.peak_memory_bytes)

    def result(self, slot: str) -> TaskResult:
        """Unpack."""
        value = self.value.decode() if self.is_text else self.value
        return TaskResult(self.task, self.outcome, value, self.in_file, self.started_ns, self.ended_ns, slot, self.peak_memory_bytes)


class Done(msgspec.Struct, array_like=True, tag="done"):
    """Child -> driver: results, in the order of the calls."""

    answers: list[Answer]


class Marked(msgspec.Struct, array_like=True, tag="marked"):
    """Child -> driver: a number from inside a task."""

    task: int
    name: str
    value: float


Request: TypeAlias = Hello | Run
Report: TypeAlias = Ready | Began | Done | Marked

_ENCODER = msgspec.msgpack.Encoder()
REQUESTS: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
REPORTS: msgspec.msgpack.Decoder[Report] = msgspec.msgpack.Decoder(Report)


def frame(message: msgspec.Struct) -> bytes:
    """The message with its length before it."""
    body = _ENCODER.encode(message)
    return _LENGTH.pack(len(body)) + body


class Frames:
    """Cuts a stream of bytes into frames.

    Attributes:
        most_bytes: refuse a longer one; None = believe any length.
    """

    def __init__(self) -> None:
        self.most_bytes: int | None = None
        self._bytes = bytearray()

    def feed(self, data: memoryview) -> list[bytes | memoryview]:
        """Add what was received; the frames that are complete now, valid until the next call.

        Raises:
            msgspec.ValidationError: a frame longer than `most_bytes` is on its way.
        """
        if not self._bytes and len(data) > _LENGTH.size and len(data) == _LENGTH.size + _LENGTH.unpack_from(data)[0]:
            return [data[_LENGTH.size :]]  # one whole frame, as nearly always
        self._bytes += data
        bodies: list[bytes | memoryview] = []
        begin = 0
        while len(self._bytes) - begin >= _LENGTH.size:
            length = _LENGTH.unpack_from(self._bytes, begin)[0]
            if self.most_bytes is not None and length > self.most_bytes:
                raise msgspec.ValidationError(f"a frame of {length} bytes where at most {self.most_bytes} were expected")
            end = begin + _LENGTH.size + length
            if len(self._bytes) < end:
                break
            bodies.append(bytes(self._bytes[begin + _LENGTH.size : end]))
            begin = end
        del self._bytes[:begin]
        return bodies
