"""How the checks drive an engine: through a broker, and with a trace that must add up at the end."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import cloudpickle
import psutil

from mlforhpc.broker.broker import Broker
from mlforhpc.broker.dispatcher import Dispatcher
from mlforhpc.core.clock import Clock
from mlforhpc.core.engine import Engine
from mlforhpc.core.errors import TaskError
from mlforhpc.core.trace import Finished, Submitted, Trace, read
from mlforhpc.testing.conforming import NotConforming, require

Create: TypeAlias = Callable[[], Engine]
WAIT_S = 60.0

_DRIVER = """
import pathlib, pickle, sys
from mlforhpc.testing._engine_driving import opened
create = pickle.loads(pathlib.Path(sys.argv[1]).read_bytes())
"""


class _NoStore:
    """The checks simulate nothing."""


@contextmanager
def opened(create: Create) -> Iterator[Broker]:
    """A broker on a new engine; afterwards, no task may be missing in the trace, and none finished may have run again."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.jsonl"
        clock = Clock()
        dispatcher = Dispatcher(create(), Trace(path, clock))
        try:
            yield Broker(dispatcher, store=_NoStore())  # type: ignore[arg-type]
        finally:
            dispatcher.close()
        _adds_up(path)


def _adds_up(path: Path) -> None:
    events = list(read(path))
    submitted = {event.task for event in events if isinstance(event, Submitted)}
    finished = [event for event in events if isinstance(event, Finished)]
    over = Counter(event.task for event in finished if event.outcome not in ("lost", "cancelled"))
    require(submitted == {event.task for event in finished}, "every submitted task must have finished in the trace")
    require(not over or max(over.values()) == 1, "no finished task may run again")
    require(all(event.started_ns <= event.ended_ns for event in finished), "a task must end after it started")


def await_(condition: Callable[[], bool], sentence: str) -> None:
    """Wait for a condition."""
    end = time.monotonic() + WAIT_S
    while not condition():
        require(time.monotonic() < end, sentence)
        time.sleep(0.01)


def error_of(future: Future[Any]) -> TaskError:
    """What a failed future raises."""
    error = future.exception(WAIT_S)
    if not isinstance(error, TaskError):
        raise NotConforming(f"The future must raise TaskError, found {error!r}.")
    return error


def descendants(pid: int | None = None) -> set[int]:
    """Processes below this one, or below another, that have not ended."""
    found = set()
    for process in psutil.Process(pid).children(recursive=True):
        try:
            if process.status() != psutil.STATUS_ZOMBIE:
                found.add(process.pid)
        except psutil.NoSuchProcess:
            continue
    return found


@contextmanager
def driver(create: Create, script: str) -> Iterator[subprocess.Popen[str]]:
    """A script of its own, without a main guard, in which `create` and `opened` are defined; what it prints can be read."""
    with tempfile.TemporaryDirectory() as folder:
        made, path = Path(folder) / "create.pickle", Path(folder) / "driver.py"
        made.write_bytes(cloudpickle.dumps(create))
        path.write_text(_DRIVER + script, encoding="utf-8")
        process = subprocess.Popen(
            [sys.executable, str(path), str(made)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()
