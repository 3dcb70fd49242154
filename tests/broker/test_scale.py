"""Many pending tasks: what one of them costs, counted in bytes, steps and writes, never in seconds."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import time
import tracemalloc
from collections import Counter
from concurrent.futures import wait

import pytest

from mlforhpc.broker._flight import Flight
from mlforhpc.broker._queue import Queue
from mlforhpc.broker.task import Task
from mlforhpc.core.engine import Capabilities
from mlforhpc.core.errors import TaskError
from mlforhpc.core.simulation import Output, Outputs
from mlforhpc.core.space import Real, Space
from mlforhpc.core.task import Function, Resources

WAIT_S = 60


class Still:
    """A simulation that nobody gets to run."""

    name, version, settings, references = "still", "1", None, ()
    space = Space(a=Real(0, 1), b=Real(0, 1), c=Real(0, 1))
    outputs = (Output(name="y", shape=()),)
    default_settings = {}  # noqa: RUF012

    def simulate(self, x, *, settings, fidelity, seed, workdir):
        """Run."""
        return Outputs(values={"y": 0.0})


@pytest.fixture
def busy(fresh):
    """A broker whose two slots are taken, and its dispatcher."""
    broker, dispatcher = fresh()
    for _ in range(2):
        broker.submit("simulate", time.sleep, 600)
    return broker, dispatcher


def bytes_each(make, n=5000, then=lambda thing: None):
    """Bytes that are allocated for one of n things, while all are kept; `then` is done to each."""
    make(n)
    gc.collect()
    tracemalloc.start()
    try:
        kept = [make(i) for i in range(n)]
        for thing in kept:
            then(thing)
        return tracemalloc.get_traced_memory()[0] / n, kept
    finally:
        tracemalloc.stop()


def test_a_pending_task_costs_less_than_2_kb(busy):
    """Its future included, also when `wait` looks at all of them; a quarter of it otherwise."""
    broker, _ = busy
    size, futures = bytes_each(lambda i: broker.submit("decide", pow, i, 3))
    assert size < 600
    tracemalloc.start()
    assert len(wait(futures, 0).not_done) == 5000
    waited = tracemalloc.get_traced_memory()[0] / 5000
    tracemalloc.stop()
    assert size + waited < 1500


def test_a_pending_simulation_costs_less_than_4_kb(busy):
    """It has a record, with its parameters and key, and a flight that others may join."""
    broker, _ = busy
    size, _ = bytes_each(lambda i: broker.simulate(Still(), {"a": 0.1, "b": 0.2, "c": 0.3}, seed=i), 2000)
    assert size < 4000


def test_a_finished_future_keeps_neither_task_nor_arguments(broker):
    """Of 10 KB each; and no collector is needed to be rid of them."""
    broker.submit("decide", len, b"").result(WAIT_S)
    gc.collect()
    gc.disable()
    try:
        size, futures = bytes_each(lambda i: broker.submit("decide", len, b"x" * 10_000), 50, lambda f: f.result(WAIT_S))
    finally:
        gc.enable()
    assert [f.result() for f in futures] == [10_000] * 50
    assert size < 2000


def test_a_simulation_that_is_over_leaves_nothing_behind(broker):
    """Its flight holds a task that holds the flight, until it ends; the collector, which does not see tasks, has no part in that."""
    gc.collect()
    others = [thing for thing in gc.get_objects() if type(thing) is Flight]  # of other tests
    for seed in range(3):
        broker.simulate(Still(), {"a": 0.1, "b": 0.2, "c": 0.3}, seed=seed).result(WAIT_S)
    end = time.monotonic() + WAIT_S
    while sum(type(thing) is Flight for thing in gc.get_objects()) > len(others):
        assert time.monotonic() < end, "a flight is still there"
        time.sleep(0.01)


@pytest.mark.parametrize("quick", [False, True])
def test_steps_to_place_a_task_do_not_depend_on_how_many_wait_or_on_how_many_slots_there_are(quick):
    """Lines of Python executed for the next placement and for its return: the same with 100 times the tasks and slots."""
    assert len({steps(pending, slots, quick) for pending in (1000, 100_000) for slots in (10, 1000)}) == 1


def steps(pending, slots, quick):
    """Lines executed by the queue for one placement when some are in flight already, and for its release."""
    queue = Queue(slots, 0, Capabilities())
    task = Task(function=Function("f"), arguments=b"", kind="decide", charge="learned", owner=None, resources=Resources())
    if quick:
        queue.learn(task, 3_000_000)  # one fills a batch
    queue.pending.extend([task] * max(pending, 4 * slots))
    for _ in range(slots // 2):
        queue.next()
    lines = 0

    def count(frame, event, argument):
        nonlocal lines
        lines += event == "line"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        queue.release(queue.next())
    finally:
        sys.settrace(before)
    return lines


def test_closing_with_many_pending_tasks_writes_once_for_all(busy, monkeypatch):
    """Every future ends `cancelled`; the trace is not flushed for each of them."""
    broker, dispatcher = busy
    futures = [broker.submit("decide", abs, i) for i in range(2000)]
    writes, write = [], os.write
    monkeypatch.setattr("mlforhpc.core.trace.os.write", lambda fd, data: writes.append(fd) or write(fd, data))
    dispatcher.close()
    assert Counter(f.exception(0).outcome for f in futures) == {"cancelled": 2000}
    assert len(writes) < 100  # 64 events each


def test_a_task_awaited_in_asyncio_is_cancelled_with_its_awaiter(busy):
    """The cancellation reaches the task: it will not run."""
    broker, _ = busy
    future = broker.submit("decide", abs, -1)

    async def give_up():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.wrap_future(future), 0.01)

    asyncio.run(give_up())
    with pytest.raises(TaskError, match="cancelled"):
        future.result(WAIT_S)
    assert not future.cancel()
