"""Does an engine keep its contract? Run by our own tests, and by those of an engine from outside:

    @pytest.mark.parametrize("check", mlforhpc.testing.engines.CHECKS, ids=lambda check: check.__name__)
    def test_my_engine(check):
        check(lambda: my_engine.create(2))
Each check makes an engine, uses it through a broker as scenarios do, and closes it.
"""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import psutil

from mlforhpc.broker.broker import Broker
from mlforhpc.broker.dispatcher import Dispatcher
from mlforhpc.core.clock import Clock
from mlforhpc.core.engine import Engine, Ref
from mlforhpc.core.errors import TaskError, Unplaceable
from mlforhpc.core.shared import read
from mlforhpc.core.task import Resources
from mlforhpc.core.trace import Trace
from mlforhpc.testing.conforming import NotConforming, require

Create: TypeAlias = Callable[[], Engine]
WAIT_S = 60.0


class Unreadable(Exception):
    """An exception that pickles, and raises when it is unpickled."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first)


class _NoStore:
    """The checks simulate nothing."""


def results_and_order(create: Create) -> None:
    """Every task gets its own result, whatever order they end in."""
    with _broker(create) as broker:
        futures = [broker.submit("decide", _later, i, 0.02 if i % 5 == 0 else 0.0) for i in range(20)]
        require([f.result(WAIT_S) for f in futures] == [i * i for i in range(20)], "each future must hold the result of its own task")


def remote_traceback(create: Create) -> None:
    """A failed task raises TaskError with the traceback of where it ran."""
    with _broker(create) as broker:
        error = _error(broker.submit("decide", _divide, 1, 0))
        require(error.outcome == "failed", f"the outcome of a task that raised must be 'failed', found '{error.outcome}'")
        require("ZeroDivisionError" in str(error), "the error must name the exception")
        require("_divide" in error.remote_traceback, "the remote traceback must show the task's own function")


def exception_that_does_not_unpickle(create: Create) -> None:
    """An exception whose class cannot be unpickled fails one task, and no other."""
    with _broker(create) as broker:
        bad, good = broker.submit("decide", _raise_unreadable), broker.submit("decide", _divide, 6, 3)
        require("Unreadable" in str(_error(bad)), "the error must name the exception")
        require(good.result(WAIT_S) == 2, "the next task must not notice")


def result_that_does_not_pickle(create: Create) -> None:
    """A result that cannot be sent back is a failed task with a sentence."""
    with _broker(create) as broker:
        error = _error(broker.submit("decide", _generator))
        require(error.outcome == "failed" and "generator" in str(error), "the error must name the type of the result")


def exit_in_a_task(create: Create) -> None:
    """A task that calls sys.exit() fails; its slot goes on."""
    with _broker(create) as broker:
        require(_error(broker.submit("decide", _exit)).outcome == "failed", "sys.exit() must fail the task")
        require(broker.submit("decide", _divide, 6, 3).result(WAIT_S) == 2, "the next task must run")


def functions_by_value(create: Create) -> None:
    """Lambdas and closures run, and a changed closure is a new function."""
    with _broker(create) as broker:
        for factor in (2, 3):
            product = broker.submit("decide", lambda x, k=factor: k * x, 5).result(WAIT_S)
            require(product == 5 * factor, "a lambda must be the one submitted")


def many_small_tasks(create: Create) -> None:
    """A thousand small tasks all come back right."""
    with _broker(create) as broker:
        futures = [broker.submit("decide", _later, i, 0.0) for i in range(1000)]
        require([f.result(WAIT_S) for f in futures] == [i * i for i in range(1000)], "a thousand small tasks must all come back right")


def large_results(create: Create) -> None:
    """A result above 1 MB comes back whole, and leaves no file."""
    with _broker(create) as broker:
        array = broker.submit("prepare", np.arange, 1_000_000).result(WAIT_S)
        require(np.array_equal(array, np.arange(1_000_000)), "a large result must come back whole")


def shared_array(create: Create) -> None:
    """An array shared by reference reads the same in every task, and is gone after release."""
    array = np.random.default_rng(0).normal(size=(500, 40))
    with _broker(create) as broker:
        with broker.share(array) as ref:
            sums = [broker.submit("prepare", _sum_of, ref).result(WAIT_S) for _ in range(3)]
        require(sums == [float(array.sum())] * 3, "a shared array must read the same in every task")
        require(not ref.location.exists(), "a released array must leave no file")


def over_limit(create: Create) -> None:
    """A task over its limit ends as `timed_out`, soon, and the engine goes on."""
    with _broker(create) as broker:
        broker.submit("decide", _divide, 6, 3, limit_s=WAIT_S).result(WAIT_S)  # a slot that takes limits is up
        began = time.monotonic()
        error = _error(broker.submit("simulate", time.sleep, 60.0, limit_s=0.3))
        took = time.monotonic() - began
        require(error.outcome == "timed_out", f"a task over its limit must be 'timed_out', found '{error.outcome}'")
        require(0.3 <= took < 5.0, f"a limit of 0.3 s must end the task soon, it took {took:.2f} s")
        require(broker.submit("decide", _divide, 6, 3).result(WAIT_S) == 2, "the engine must go on")


def cancellation(create: Create) -> None:
    """A task that runs can be cancelled, and one that waits never runs."""
    with _broker(create) as broker, tempfile.TemporaryDirectory() as folder:
        if broker.slots == 1:  # it would run in this very thread
            return
        running = [broker.submit("simulate", _mark_and_sleep, f"{folder}/{i}", 60.0) for i in range(broker.slots)]
        waiting = broker.submit("decide", _mark_and_sleep, f"{folder}/waiting", 0.0)
        _await(lambda: len(list(Path(folder).iterdir())) == broker.slots, "all slots must start a task")
        for future in (waiting, *running):
            require(broker.cancel(future), "cancel must say that it did")
            require(_error(future).outcome == "cancelled", "a cancelled task must end as 'cancelled'")
        require(broker.submit("decide", _divide, 6, 3).result(WAIT_S) == 2, "the engine must go on")
        require(not Path(f"{folder}/waiting").exists(), "a task cancelled while it waits must never run")


def killed_worker(create: Create) -> None:
    """A task whose process dies is run again; one whose process always dies is `lost`; the engine goes on."""
    with _broker(create) as broker, tempfile.TemporaryDirectory() as folder:
        first = broker.submit("simulate", _die_once, f"{folder}/died", limit_s=WAIT_S)
        always = broker.submit("simulate", _die, limit_s=WAIT_S)
        require(first.result(WAIT_S) == "survived", "a lost task must be run again")
        require(_error(always).outcome == "lost", "a task that always kills its process must end as 'lost'")
        require(broker.submit("decide", _divide, 6, 3).result(WAIT_S) == 2, "the engine must go on")


def unplaceable(create: Create) -> None:
    """A task that asks for more than there is is refused at once."""
    with _broker(create) as broker:
        for resources in (Resources(cores=broker.slots + 1), Resources(gpus=999)):
            try:
                broker.submit("decide", _divide, 6, 3, resources=resources)
            except Unplaceable:
                continue
            raise NotConforming(f"{resources} must be refused with Unplaceable.")


def wide_tasks(create: Create) -> None:
    """A task with all cores has as many threads, waits for them, and is not overtaken for ever."""
    with _broker(create) as broker:
        narrow = [broker.submit("decide", _later, i, 0.01) for i in range(2 * broker.slots)]
        wide = broker.submit("decide", os.getenv, "OMP_NUM_THREADS", resources=Resources(cores=broker.slots))
        after = broker.submit("decide", os.getenv, "OMP_NUM_THREADS")
        require(wide.result(WAIT_S) == str(broker.slots), "the threads of a task must be its cores")
        require(all(future.done() for future in narrow), "first come, first served")
        require(after.result(WAIT_S) == "1", "a task of one core must have one thread again")


def shutdown(create: Create) -> None:
    """Closing resolves every future and leaves no process."""
    before = _descendants()
    with _broker(create) as broker:
        if broker.slots == 1:
            broker.submit("decide", _divide, 6, 3, limit_s=WAIT_S).result(WAIT_S)
            futures: list[Future[Any]] = []
        else:
            futures = [broker.submit("simulate", time.sleep, 60.0) for _ in range(3 * broker.slots)]
        began = time.monotonic()
    require(time.monotonic() - began < 10.0, "closing must not wait for tasks")
    require(not wait(futures, timeout=0).not_done, "closing must resolve every future")
    require(all(_error(future).outcome in ("cancelled", "lost") for future in futures), "unfinished tasks must say so")
    _await(lambda: _descendants() <= before, "closing must leave no process")


CHECKS: tuple[Callable[[Create], None], ...] = (
    results_and_order,
    remote_traceback,
    exception_that_does_not_unpickle,
    result_that_does_not_pickle,
    exit_in_a_task,
    functions_by_value,
    many_small_tasks,
    large_results,
    shared_array,
    over_limit,
    cancellation,
    killed_worker,
    unplaceable,
    wide_tasks,
    shutdown,
)


@contextmanager
def _broker(create: Create) -> Iterator[Broker]:
    with tempfile.TemporaryDirectory() as folder:
        dispatcher = Dispatcher(create(), Trace(Path(folder) / "events.jsonl", Clock()))
        try:
            yield Broker(dispatcher, store=_NoStore())  # type: ignore[arg-type]
        finally:
            dispatcher.close()


def _await(condition: Callable[[], bool], sentence: str) -> None:
    end = time.monotonic() + WAIT_S
    while not condition():
        require(time.monotonic() < end, sentence)
        time.sleep(0.01)


def _error(future: Future[Any]) -> TaskError:
    error = future.exception(WAIT_S)
    if not isinstance(error, TaskError):
        raise NotConforming(f"The future must raise TaskError, found {error!r}.")
    return error


def _descendants() -> set[int]:
    found = set()
    for process in psutil.Process().children(recursive=True):
        try:
            if process.status() != psutil.STATUS_ZOMBIE:
                found.add(process.pid)
        except psutil.NoSuchProcess:
            continue
    return found


# ---- what the tasks run, by reference


def _later(i: int, seconds: float) -> int:
    time.sleep(seconds)
    return i * i


def _divide(a: float, b: float) -> float:
    return a / b


def _raise_unreadable() -> None:
    raise Unreadable("one", "two")


def _generator() -> Iterator[int]:
    yield 1


def _exit() -> None:
    raise SystemExit(3)


def _sum_of(ref: Ref) -> float:
    return float(read(ref).sum())


def _mark_and_sleep(path: str, seconds: float) -> None:
    Path(path).touch()
    time.sleep(seconds)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _die_once(path: str) -> str:
    if Path(path).exists():
        return "survived"
    Path(path).touch()
    _die()
    return "unreachable"
