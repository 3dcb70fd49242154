"""The worker-side envelope: runs one call and never raises.

Imports and unpickling happen before the task's clock starts; the exception is formatted where it was raised (nobody
ever unpickles one); the value is pickled here, so that one that cannot be is a failed task and not a broken pool.
"""

from __future__ import annotations

import importlib
import pickle
import resource
import sys
import time
import traceback
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle

from mlforhpc.core.clock import Clock
from mlforhpc.core.marks import sent_to
from mlforhpc.core.task import Call, Function, TaskResult

LARGE_RESULT_BYTES = 1_000_000
_MARK_INTERVAL_S = 0.02
_MAXRSS_BYTES = 1 if sys.platform == "darwin" else 1024


class Envelope:
    """Runs calls in this process, for one slot.

    Args:
        slot: its name in the results.
        clock: the driver's, or one with its offset.
        folder: where results above 1 MB go.
        marked: gets (task, name, value) of every mark.
    """

    def __init__(self, slot: str, clock: Clock, folder: Path, marked: Callable[[int, str, float], None]) -> None:
        self._slot = slot
        self._clock = clock
        self._folder = folder
        self._marked = marked
        self._functions: dict[str, Callable[..., Any]] = {}
        self._marked_at: dict[str, float] = {}

    def forget(self) -> None:
        """Drop the functions resolved so far."""
        self._functions.clear()

    def run(self, call: Call, *, began: Callable[[int, int], None] | None = None) -> TaskResult:
        """Run one call; `began` hears (task, started_ns) when everything is imported and the call itself starts."""
        try:
            function = self._resolve(call.function)
            args, kwargs = pickle.loads(call.arguments)
        except Exception as error:
            now = self._clock.now_ns()
            return self._result(call.task, "failed", _formatted(error), now, now)
        started_ns = self._clock.now_ns()
        if began is not None:
            began(call.task, started_ns)
        try:
            with sent_to(lambda name, value: self._mark(call.task, name, value)):
                value = function(*args, **kwargs)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit too: a task that calls sys.exit() ends itself, not its slot
            return self._result(call.task, "failed", _formatted(error), started_ns, self._clock.now_ns())
        ended_ns = self._clock.now_ns()
        try:
            data = _pickled(value)
        except Exception as error:
            sentence = f"The result, of type '{type(value).__qualname__}', cannot be pickled and sent back: {_last_line(error)}"
            return self._result(call.task, "failed", f"{_formatted(error)}\n{sentence}", started_ns, ended_ns)
        return self._returned(call.task, data, started_ns, ended_ns)

    def _resolve(self, function: Function) -> Callable[..., Any]:
        known = self._functions.get(function.reference)
        if known is not None:
            return known
        if function.pickled is None:
            resolved = _imported(function.reference)
        else:
            resolved = pickle.loads(function.pickled)
            if not isinstance(resolved, types.FunctionType) or resolved.__closure__:
                state: Callable[..., Any] = resolved
                return state  # which one call must not leave to the next
        self._functions[function.reference] = resolved
        return resolved

    def _returned(self, task: int, data: bytes, started_ns: int, ended_ns: int) -> TaskResult:
        if len(data) > LARGE_RESULT_BYTES:
            path = self._folder / f"result-{task}-{started_ns}.pickle"
            try:
                path.write_bytes(data)
            except OSError:
                path.unlink(missing_ok=True)  # no room for the file: send it through the socket
            else:
                return self._result(task, "ok", str(path), started_ns, ended_ns, in_file=True)
        return self._result(task, "ok", data, started_ns, ended_ns)

    def _result(self, task: int, outcome: Any, value: bytes | str, started_ns: int, ended_ns: int, in_file: bool = False) -> TaskResult:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_BYTES
        return TaskResult(task, outcome, value, in_file, started_ns, ended_ns, self._slot, peak)

    def _mark(self, task: int, name: str, value: float) -> None:
        now = time.monotonic()
        if now - self._marked_at.get(name, -1.0) >= _MARK_INTERVAL_S:
            self._marked_at[name] = now
            self._marked(task, name, value)


def _imported(reference: str) -> Callable[..., Any]:
    module, _, qualname = reference.partition(":")
    found: Any = importlib.import_module(module)
    for name in qualname.split("."):
        found = getattr(found, name)
    function: Callable[..., Any] = found
    return function


def _pickled(value: object) -> bytes:
    try:
        return pickle.dumps(value, protocol=5)
    except Exception:  # a lambda, or an instance of a class that exists in the driver's script only
        pickled: bytes = cloudpickle.dumps(value, protocol=5)
        return pickled


def _formatted(error: BaseException) -> str:
    try:
        inner = error.__traceback__.tb_next if error.__traceback__ else None
        text = "".join(traceback.format_exception(type(error), error, inner)).rstrip()
    except BaseException as broken:
        text = f"{type(error).__qualname__} (its message cannot be formatted: {type(broken).__qualname__})"
    return text.encode("utf-8", "backslashreplace").decode()


def _last_line(error: BaseException) -> str:
    return _formatted(error).splitlines()[-1]
