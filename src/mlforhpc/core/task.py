"""A task is one call of one function on an engine; this file is what crosses the border between broker and engine.

A batch is data: functions by reference (`module:qualname`) or as cloudpickle bytes named by their content hash,
arguments in a declared codec. The worker-side envelope turns each call into a `TaskResult` and never raises. (Named
tuples, because a frozen dataclass takes five times as long to make, and a task makes four.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from mlforhpc.core.record import Outcome

Kind: TypeAlias = Literal["simulate", "learn", "infer", "prepare", "move", "decide"]
Charge: TypeAlias = Literal["learned", "measurement"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What a task needs; it starts when all its slots are free.

    Attributes:
        cores: slots on one host, and the threads of its BLAS and OpenMP.
        gpus: devices of the slot's host.
        memory_bytes: 0 = not stated.
        ranks: processes of `cores` each that start together (MPI, torchrun): see `core.gang`.
        exclusive: nothing else runs on the engine meanwhile.
    """

    cores: int = 1
    gpus: int = 0
    memory_bytes: int = 0
    ranks: int = 1
    exclusive: bool = False


class Function(NamedTuple):
    """What to run: `reference` is "module:qualname", or the sha256 of `pickled` (cloudpickle bytes)."""

    reference: str
    pickled: bytes | None = None


class Call(NamedTuple):
    """One task as data: pickled (args, kwargs)."""

    task: int
    function: Function
    arguments: bytes


class Batch(NamedTuple):
    """Calls that run one after another on one placement.

    Attributes:
        calls: in order.
        cores: threads of each of them.
        ranks: each has cores x ranks slots.
        gpus: and as many devices.
        isolated: needs a process of its own that can be killed alone (time limit, or a binary that may crash).
        limit_s: whoever owns that process kills it this long after the call *started*; the result is then "timed_out".
        quick: expected to take so few milliseconds that another quick batch may wait behind it in the same slot.
    """

    calls: tuple[Call, ...]
    cores: int = 1
    ranks: int = 1
    gpus: int = 0
    isolated: bool = False
    limit_s: float | None = None
    quick: bool = False

    @property
    def width(self) -> int:
        """Slots that it takes."""
        return self.cores * self.ranks


class TaskResult(NamedTuple):
    """How one call ended, as the worker saw it.

    Attributes:
        task: the call's number.
        outcome: "ok"; "failed"; or made by the engine: "lost" (worker died), "timed_out", "cancelled" (shut down).
        value: pickled value if "ok", a path to a file of it where `in_file`; else the formatted traceback or a sentence.
        in_file: whether the value was returned through a file (above 1 MB).
        started_ns, ended_ns: worker-side times on the driver's clock (unix ns).
        slot: which slot ran it, e.g. "0" or "host:3".
        peak_memory_bytes: peak resident memory of the worker so far.
    """

    task: int
    outcome: Outcome
    value: bytes | str
    in_file: bool
    started_ns: int
    ended_ns: int
    slot: str
    peak_memory_bytes: int
