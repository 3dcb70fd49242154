"""Marks: numbers from inside a task (epoch loss, progress) that appear in the trace while the task runs.

    from mlforhpc.core.marks import mark
    mark("loss", 0.12)
Outside a task, and on an engine that cannot pass marks on, it does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeAlias

Sink: TypeAlias = Callable[[str, float], None]
_SINK: ContextVar[Sink | None] = ContextVar("mlforhpc_mark_sink", default=None)


def mark(name: str, value: float) -> None:
    """Trace a number; of more than 50 a second of one name, the surplus is dropped."""
    sink = _SINK.get()
    if sink is not None:
        sink(str(name), float(value))


@contextmanager
def sent_to(sink: Sink) -> Iterator[None]:
    """Where the marks of this context go; for engines."""
    token = _SINK.set(sink)
    try:
        yield
    finally:
        _SINK.reset(token)
