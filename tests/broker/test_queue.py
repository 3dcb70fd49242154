"""The queue alone: who starts when, without any engine."""

from __future__ import annotations

import pytest

from mlforhpc.broker._queue import Pace, Queue
from mlforhpc.broker.task import Task
from mlforhpc.core.engine import Capabilities
from mlforhpc.core.task import Function, Resources

MS = 1_000_000


class Nobody:
    """Who does not care how its tasks end."""

    def ended(self, task, result):
        """Nothing."""


def task(name="f", **options):
    """A task of a function of this name."""
    return Task(function=Function(name), arguments=b"", kind="decide", charge="learned", owner=Nobody(), **options)


@pytest.fixture
def queue():
    """Two slots and 1,000 bytes of memory."""
    return Queue(2, 1000, Capabilities())


def started(queue):
    """All that can start now."""
    placements = []
    while (placement := queue.next()) is not None:
        placements.append(placement)
    return placements


def test_tasks_of_unknown_functions_start_one_a_slot(queue):
    """Nothing is known about how long they take, so none may wait behind another."""
    queue.pending.extend(task() for _ in range(5))
    first = started(queue)
    assert [len(p.tasks) for p in first] == [1, 1]
    queue.release(first[0])
    assert [len(p.tasks) for p in started(queue)] == [1]


def test_a_wide_task_waits_for_its_cores_and_holds_up_what_is_behind_it(queue):
    """No backfilling: it would starve."""
    queue.pending.extend([task(), task("wide", resources=Resources(cores=2)), task()])
    (first,) = started(queue)
    queue.release(first)
    (wide,) = started(queue)
    assert wide.tasks[0].function.reference == "wide"
    queue.release(wide)
    assert len(started(queue)) == 1


def test_memory_is_accounted_for(queue):
    """Two tasks of 600 bytes do not share 1,000."""
    queue.pending.extend(task(resources=Resources(memory_bytes=600)) for _ in range(2))
    (first,) = started(queue)
    queue.release(first)
    assert len(started(queue)) == 1


def test_an_exclusive_task_starts_alone_and_nothing_beside_it(queue):
    """Not even quick ones."""
    queue.learn(task("quick"), 1000)
    queue.pending.extend([task("quick"), task(resources=Resources(exclusive=True)), task("quick")])
    (first,) = started(queue)
    queue.release(first)
    (alone,) = started(queue)
    assert alone.resources.exclusive
    queue.release(alone)
    assert len(started(queue)) == 1


def test_quick_tasks_go_in_batches_one_more_a_slot_than_runs(queue):
    """Of at most 32 calls and 2 ms, and no more than an even share."""
    queue.learn(task("quick"), 1000)
    queue.pending.extend(task("quick") for _ in range(1000))
    assert [len(p.tasks) for p in started(queue)] == [32, 32, 32, 32]
    queue = Queue(2, 0, Capabilities())
    queue.learn(task("ms"), MS)
    queue.pending.extend(task("ms") for _ in range(100))
    assert [len(p.tasks) for p in started(queue)] == [2, 2, 2, 2]
    queue = Queue(2, 0, Capabilities())
    queue.learn(task("quick"), 1000)
    queue.pending.extend(task("quick") for _ in range(5))
    assert [len(p.tasks) for p in started(queue)] == [2, 1, 1, 1]


def test_what_may_be_killed_alone_is_never_batched(queue):
    """A limit, a retry, or a binary that may crash."""
    queue.learn(task("quick"), 1000)
    queue.pending.extend([task("quick", limit_s=1.0), task("quick", isolated=True), task("quick", attempt=2)])
    assert [p.quick for p in started(queue)] == [False, False]


def test_a_slow_task_waits_until_quick_ones_have_left_a_slot(queue):
    """And quick ones share the slots that slow ones leave."""
    queue.learn(task("quick"), 1000)
    queue.pending.extend(task("quick") for _ in range(4))
    quick = started(queue)
    assert len(quick) == 4
    queue.pending.extend([task("slow"), task("quick"), task("quick")])
    assert started(queue) == []
    for placement in quick[:3]:
        queue.release(placement)
    after = started(queue)
    assert [p.tasks[0].function.reference for p in after] == ["slow", "quick"]
    assert started(queue) == []


def test_cancelled_tasks_are_skipped(queue):
    """They are over."""
    queue.pending.extend([task(concluded=True), task("next")])
    assert [p.tasks[0].function.reference for p in started(queue)] == ["next"]


def test_a_function_is_quick_while_all_its_recent_calls_were():
    """One long call ends it for some ten calls; the functions remembered are bounded."""
    pace = Pace()
    assert not pace.quick("f")
    pace.add("f", 1000)
    assert pace.quick("f")
    pace.add("f", 50 * MS)
    calls = 0
    while not pace.quick("f"):
        pace.add("f", 1000)
        calls += 1
    assert calls == 11  # 50 * 0.8 ** 11 < 5
    for i in range(2000):
        pace.add(str(i), 1)
    assert len(pace._known) == 1024
