"""A task as the dispatcher sees it, from submission to its end."""

from __future__ import annotations

from typing import Literal, Protocol, TypeAlias

import msgspec

from mlforhpc.core.errors import TaskError
from mlforhpc.core.task import Call, Charge, Function, Kind, Resources, TaskResult

PLAIN = Resources()
Keep: TypeAlias = Literal["must", "may"]


class Owner(Protocol):
    """Who asked for a task."""

    def ended(self, task: Task, result: TaskResult) -> None:
        """Hear the final result, once, after the trace has it."""
        ...


class Task(msgspec.Struct, kw_only=True, eq=False, gc=False):
    """One task; out of the garbage collector's sight (a full collection looks at all that is pending), so in no cycle once it is over.

    Attributes:
        function, arguments: what to run, encoded.
        kind, charge, label, key: for the trace.
        resources, limit_s: what it needs and how long it may run.
        isolated: needs a process that can be killed alone.
        keep: "must": its result is not handed out while the trace cannot take it; "may": it is.
        owner: told how it ended.
        number: set by the dispatcher.
        attempt: counted from 1.
        in_flight, quick: it is with the engine, and expected back in milliseconds.
        cancelling: its user does not want it any more.
        announced: the attempt's `started` is in the trace.
        concluded: it is over; what an engine still says about it is ignored.
    """

    function: Function
    arguments: bytes
    kind: Kind
    charge: Charge
    owner: Owner
    label: str = ""
    key: str = ""
    resources: Resources = PLAIN
    limit_s: float | None = None
    isolated: bool = False
    keep: Keep = "must"
    number: int = 0
    attempt: int = 1
    in_flight: bool = False
    quick: bool = False
    cancelling: bool = False
    announced: bool = False
    concluded: bool = False

    @property
    def call(self) -> Call:
        return Call(self.number, self.function, self.arguments)

    def error(self, result: TaskResult) -> TaskError:
        """What a future raises for a result that is not `ok`."""
        text = result.value if isinstance(result.value, str) else ""
        return task_error(f"Task {self.number}{f' ({self.label})' if self.label else ''}", result.outcome, text, self.limit_s)


def task_error(task: str, outcome: str, text: str, limit_s: float | None) -> TaskError:
    """The sentence for an outcome; `text` is the remote traceback, or the engine's own sentence."""
    if outcome == "failed":
        return TaskError(f"{task} failed: {last_line(text)}", outcome=outcome, remote_traceback=text)
    if outcome == "timed_out":
        return TaskError(f"{task} met its limit of {limit_s:g} s.", outcome=outcome)
    if outcome == "cancelled":
        return TaskError(f"{task} was cancelled.", outcome=outcome)
    return TaskError(f"{task} was lost, again after retries. {text}", outcome=outcome)


def last_line(text: str) -> str:
    """The line of a traceback that names the error."""
    return next((line for line in reversed(text.splitlines()) if line.strip()), "")
