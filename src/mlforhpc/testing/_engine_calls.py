"""Checks of engines: what goes in and what comes back."""

from __future__ import annotations

import os

import numpy as np

from mlforhpc.core.errors import Unplaceable
from mlforhpc.core.task import Resources
from mlforhpc.core.trace import Finished
from mlforhpc.engines import serial
from mlforhpc.testing import _engine_tasks as tasks
from mlforhpc.testing._engine_driving import WAIT_S, Create, driver, error_of, opened
from mlforhpc.testing.conforming import NotConforming, require

_SCRIPT = """
def twice(x):
    return 2 * x
class Thing:
    def __init__(self, x):
        self.x = x
with opened(create) as broker:
    print(broker.submit("decide", twice, 21).result(60), broker.submit("decide", lambda thing: Thing(thing.x + 1), Thing(2)).result(60).x)
"""


def results_and_order(create: Create) -> None:
    """Every task gets its own result, whatever order they end in."""
    with opened(create) as broker:
        futures = [broker.submit("decide", tasks.later, i, 0.02 if i % 5 == 0 else 0.0) for i in range(20)]
        require([f.result(WAIT_S) for f in futures] == [i * i for i in range(20)], "each future must hold the result of its own task")


def remote_traceback(create: Create) -> None:
    """A failed task raises TaskError with the traceback of where it ran."""
    with opened(create) as broker:
        error = error_of(broker.submit("decide", tasks.divide, 1, 0))
        require(error.outcome == "failed", f"the outcome of a task that raised must be 'failed', found '{error.outcome}'")
        require("ZeroDivisionError" in str(error), "the error must name the exception")
        require("in divide" in error.remote_traceback, "the remote traceback must show the task's own function")


def exception_that_does_not_unpickle(create: Create) -> None:
    """An exception whose class cannot be unpickled fails one task, and no other."""
    with opened(create) as broker:
        bad, good = broker.submit("decide", tasks.raise_unreadable), broker.submit("decide", tasks.divide, 6, 3)
        require("Unreadable" in str(error_of(bad)), "the error must name the exception")
        require(good.result(WAIT_S) == 2, "the next task must not notice")


def result_that_does_not_pickle(create: Create) -> None:
    """A result that cannot be sent back is a failed task with a sentence."""
    with opened(create) as broker:
        error = error_of(broker.submit("decide", tasks.generator))
        require(error.outcome == "failed" and "generator" in str(error), "the error must name the type of the result")


def exit_in_a_task(create: Create) -> None:
    """A task that calls sys.exit() fails; its slot goes on."""
    with opened(create) as broker:
        require(error_of(broker.submit("decide", tasks.exit)).outcome == "failed", "sys.exit() must fail the task")
        require(broker.submit("decide", tasks.divide, 6, 3).result(WAIT_S) == 2, "the next task must run")


def functions_by_value(create: Create) -> None:
    """Lambdas and closures run, and a changed closure is a new function."""
    with opened(create) as broker:
        for factor in (2, 3):
            product = broker.submit("decide", lambda x, k=factor: k * x, 5).result(WAIT_S)
            require(product == 5 * factor, "a lambda must be the one submitted")


def many_small_tasks(create: Create) -> None:
    """A thousand small tasks all come back right."""
    with opened(create) as broker:
        futures = [broker.submit("decide", tasks.later, i, 0.0) for i in range(1000)]
        require([f.result(WAIT_S) for f in futures] == [i * i for i in range(1000)], "a thousand small tasks must all come back right")


def large_results(create: Create) -> None:
    """A result above 1 MB comes back whole, and leaves no file."""
    with opened(create) as broker:
        array = broker.submit("prepare", np.arange, 1_000_000).result(WAIT_S)
        require(np.array_equal(array, np.arange(1_000_000)), "a large result must come back whole")


def shared_array(create: Create) -> None:
    """An array shared by reference reads the same in every task, and is gone after release."""
    array = np.random.default_rng(0).normal(size=(500, 40))
    with opened(create) as broker:
        with broker.share(array) as ref:
            sums = [broker.submit("prepare", tasks.sum_of, ref).result(WAIT_S) for _ in range(3)]
        require(sums == [float(array.sum())] * 3, "a shared array must read the same in every task")
        require(not ref.location.exists(), "a released array must leave no file")


def unplaceable(create: Create) -> None:
    """A task that asks for more than there is is refused at once."""
    with opened(create) as broker:
        for resources in (Resources(cores=broker.slots + 1), Resources(gpus=999)):
            try:
                broker.submit("decide", tasks.divide, 6, 3, resources=resources)
            except Unplaceable:
                continue
            raise NotConforming(f"{resources} must be refused with Unplaceable.")


def wide_tasks(create: Create) -> None:
    """A task with all cores has as many threads, waits for them, and is not overtaken for ever."""
    with opened(create) as broker:
        narrow = [broker.submit("decide", tasks.later, i, 0.01) for i in range(2 * broker.slots)]
        wide = broker.submit("decide", os.getenv, "OMP_NUM_THREADS", resources=Resources(cores=broker.slots))
        after = broker.submit("decide", os.getenv, "OMP_NUM_THREADS")
        require(wide.result(WAIT_S) == str(broker.slots), "the threads of a task must be its cores")
        require(all(future.done() for future in narrow), "first come, first served")
        require(after.result(WAIT_S) == "1", "a task of one core must have one thread again")


def functions_of_the_script(create: Create) -> None:
    """Functions and classes of a script without a main guard run, and come back."""
    with driver(create, _SCRIPT) as process:
        said, _ = process.communicate(timeout=WAIT_S)
        require(said.split() == ["42", "3"], f"a script's own functions must run; it printed {said!r}")


def large_array_by_reference(create: Create) -> None:
    """An array of 64 MB passed twenty times by reference is not sent along."""
    array = np.random.default_rng(1).normal(size=8_000_000)
    with opened(create) as broker:
        news = broker.subscribe()
        with broker.share(array) as ref:
            sums = {broker.submit("prepare", tasks.sum_of, ref).result(WAIT_S) for _ in range(20)}
        require(sums == {float(array.sum())}, "a shared array must read the same in every task")
        sent = [event.bytes_in for event in news.drain() if isinstance(event, Finished)]
        require(len(sent) == 20 and max(sent) < 10_000, f"a reference must be small, found {sent} bytes")


def same_numbers(create: Create) -> None:
    """A seed gives the same digits as on engine `serial`."""
    with opened(serial.create) as broker:
        wanted = [broker.submit("simulate", tasks.numbers, seed).result(WAIT_S) for seed in range(4)]
    with opened(create) as broker:
        found = [future.result(WAIT_S) for future in [broker.submit("simulate", tasks.numbers, seed) for seed in range(4)]]
    require(found == wanted, "a seed must give the same digits on every engine")
