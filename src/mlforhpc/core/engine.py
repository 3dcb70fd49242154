"""The engine contract: where tasks run. The broker owns futures, deadlines, retries and cancellation; an engine
places batches, kills on request, and at shutdown resolves every future and leaves no process."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from numpy.typing import NDArray

from mlforhpc.core.task import Batch, TaskResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What an engine can do; only cancellation and gangs may be flagged off.

    Attributes:
        cancel: `kill` ends a running task.
        gangs: takes tasks of several ranks.
        remote: slots may be on other hosts than the driver.
        lookahead: batches a slot that may wait in the engine's own queue, so that a slot does not wait for the driver.
        in_driver: tasks may run in the driver's own process, whose CPU time is then no overhead.
    """

    cancel: bool = True
    gangs: bool = False
    remote: bool = False
    lookahead: int = 0
    in_driver: bool = False


class Joined(NamedTuple):
    """A worker's clock, as the driver aligned it.

    Attributes:
        host: its name.
        clock: names the monotonic clock that it reads.
        offset_ns: what added to that clock gives the campaign's time.
        uncertainty_ns: the offset is off by at most this much.
    """

    host: str
    clock: str
    offset_ns: int
    uncertainty_ns: int


@dataclass(frozen=True, slots=True)
class Ref:
    """A shared array, by reference: a memory-mapped .npy file (`location` is its path) or an engine's own store."""

    location: Path
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """Whom an engine tells what, from any of its threads.

    Attributes:
        started: a task started (task, slot).
        marked: what a task marked (task, name, value).
        joined: a worker on another clock has joined.
    """

    started: Callable[[int, str], None] = lambda task, slot: None
    marked: Callable[[int, str, float], None] = lambda task, name, value: None
    joined: Callable[[Joined], None] = lambda joined: None


@runtime_checkable
class Engine(Protocol):
    """Slots on this machine, or those of an existing system."""

    @property
    def name(self) -> str: ...
    @property
    def slots(self) -> int: ...
    @property
    def capabilities(self) -> Capabilities: ...

    def listen(self, news: News) -> None:
        """Whom to tell news; an optional service: an engine that cannot know calls nothing."""
        ...

    def submit(self, batch: Batch) -> Future[list[TaskResult]]:
        """Place a batch; the future resolves with one result a call, in order, and never raises.

        Raises:
            Unplaceable: the batch asks for more than the engine has.
        """
        ...

    def share(self, array: NDArray[Any]) -> Ref:
        """Make an array readable by every worker without copying it into each call."""
        ...

    def release(self, ref: Ref) -> None:
        """Forget a shared array."""
        ...

    def kill(self, task: int) -> bool:
        """End one running task; no other slot notices. False if it is not running."""
        ...

    def warm_up(self, timeout_s: float) -> None:
        """Return when every slot answers, or raise."""
        ...

    def shutdown(self) -> None:
        """Resolve every future (`lost`, `cancelled`), leave no process."""
        ...
