"""What a scenario may rely on: results, errors, order, retries, cancellation, and a trace that tells it all."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections import Counter
from concurrent.futures import as_completed
from pathlib import Path

import pytest

from mlforhpc.core.errors import TaskError, Unplaceable, UsageError
from mlforhpc.core.marks import mark
from mlforhpc.core.task import Resources
from mlforhpc.core.trace import Finished, Mark, Started, Submitted, read

WAIT_S = 60


def sleep(seconds, path=None):
    """Sleep; the process that did."""
    if path:
        Path(path).touch()
    time.sleep(seconds)
    return os.getpid()


def note(path, text):
    """Add a line to a file."""
    with Path(path).open("a") as file:
        file.write(f"{text}\n")


def appear(*paths):
    """Wait for what tasks do."""
    end = time.monotonic() + WAIT_S
    while not all(Path(path).exists() for path in paths):
        assert time.monotonic() < end
        time.sleep(0.005)


def test_cancelled_tasks_never_hold_a_slot_wherever_they_wait(broker):
    """A function of microseconds that once takes a minute: in a batch, in the engine's queue or in ours, none runs to its end."""
    for _ in range(3):
        for _ in range(20):
            broker.submit("prepare", sleep, 0.0).result(WAIT_S)  # so that many are sent at once
        slow = [broker.submit("prepare", sleep, 60.0) for _ in range(40)]
        assert all(broker.cancel(future) for future in slow)
        assert broker.submit("prepare", sleep, 0.001).result(WAIT_S / 3)
        assert {future.exception(WAIT_S).outcome for future in slow} == {"cancelled"}


def test_a_failed_task_raises_one_sentence_and_the_remote_traceback(broker):
    """First line: what happened; below: where."""

    def stumble():
        return [][3]

    with pytest.raises(TaskError) as caught:
        broker.submit("learn", stumble, label="fit").result(WAIT_S)
    assert "(fit) failed: IndexError: list index out of range\nTraceback" in str(caught.value)
    assert caught.value.outcome == "failed"
    assert "in stumble" in caught.value.remote_traceback
    assert "_envelope" not in caught.value.remote_traceback


def test_a_worker_killed_in_mid_task_costs_a_retry_and_the_other_slot_nothing(broker, dispatcher, tmp_path, events):
    """kill -9 of one child: its task runs again, the other one's process and attempt stay."""
    pid_file = tmp_path / "pid"

    def die_once():
        if pid_file.exists():
            return "again"
        pid_file.write_text("")
        os.kill(os.getpid(), signal.SIGKILL)

    other = broker.submit("simulate", sleep, 1.5)
    assert broker.submit("simulate", die_once).result(WAIT_S) == "again"
    other.result(WAIT_S)
    first, second = sorted({e.task for e in events() if isinstance(e, Submitted)})[-2:]
    ends = {t: [(e.outcome, e.attempt) for e in events(first) if isinstance(e, Finished) and e.task == t] for t in (first, second)}
    assert ends == {first: [("ok", 1)], second: [("lost", 1), ("ok", 2)]}
    starts = [e.attempt for e in events(first) if isinstance(e, Started) and e.task == second]
    assert starts == [1, 2]


def test_a_segmentation_fault_is_a_lost_task_after_three_attempts(broker, events):
    """Each attempt is traced with the signal that ended it."""

    def crash():
        os.kill(os.getpid(), signal.SIGSEGV)

    with pytest.raises(TaskError, match="SIGSEGV") as caught:
        broker.submit("simulate", crash).result(WAIT_S)
    assert caught.value.outcome == "lost"
    last = max(e.task for e in events() if isinstance(e, Submitted))
    assert [(e.outcome, e.attempt) for e in events(last) if isinstance(e, Finished)] == [("lost", 1), ("lost", 2), ("lost", 3)]


def test_a_limit_delays_no_task_on_the_other_slot(broker):
    """A 1 s task beside two that are killed takes 1 s."""
    innocent = broker.submit("simulate", sleep, 1.0)
    for _ in range(2):
        with pytest.raises(TaskError, match=r"limit of 0.2 s") as caught:
            broker.submit("simulate", time.sleep, 60, limit_s=0.2).result(WAIT_S)
        assert caught.value.outcome == "timed_out"
    innocent.result(WAIT_S)


def test_a_pending_task_that_is_cancelled_never_runs(broker, tmp_path):
    """And cancelling what is over says False."""
    blockers = [broker.submit("simulate", sleep, 0.5) for _ in range(2)]
    future = broker.submit("decide", note, tmp_path / "ran", "x")
    assert broker.cancel(future)
    assert not broker.cancel(future)
    with pytest.raises(TaskError, match="cancelled"):
        future.result(WAIT_S)
    assert [b.result(WAIT_S) > 0 for b in blockers] == [True, True]
    assert not broker.cancel(blockers[0])
    assert not (tmp_path / "ran").exists()


def test_a_running_task_that_is_cancelled_is_killed(broker, tmp_path):
    """Through the future's own `cancel` too; it is not run again."""
    future = broker.submit("simulate", sleep, 600, str(tmp_path / "runs"))
    appear(tmp_path / "runs")
    assert future.cancel()
    with pytest.raises(TaskError, match="cancelled") as caught:
        future.result(WAIT_S)
    assert caught.value.outcome == "cancelled"
    assert broker.submit("decide", abs, -1).result(WAIT_S) == 1


def test_a_wide_task_is_not_overtaken(broker, tmp_path):
    """First come, first served: the narrow ones behind it wait."""
    log = tmp_path / "log"
    broker.submit("simulate", sleep, 0.3)
    broker.submit("learn", note, log, "wide", resources=Resources(cores=2))
    last = [broker.submit("simulate", note, log, "narrow") for _ in range(4)]
    for future in last:
        future.result(WAIT_S)
    assert log.read_text().split() == ["wide", *["narrow"] * 4]


def test_an_exclusive_task_runs_alone(broker, events):
    """Nothing else is on the engine meanwhile."""
    futures = [broker.submit("simulate", sleep, 0.1) for _ in range(3)]
    futures.append(broker.submit("learn", sleep, 0.1, resources=Resources(exclusive=True), label="alone"))
    futures += [broker.submit("simulate", sleep, 0.1) for _ in range(3)]
    for future in as_completed(futures, timeout=WAIT_S):
        future.result()
    number = max(e.task for e in events() if isinstance(e, Submitted) and e.label == "alone")
    ends = [e for e in events(number - 3) if isinstance(e, Finished)]
    alone = next(e for e in ends if e.task == number)
    assert all(e.ended_ns <= alone.started_ns or e.started_ns >= alone.ended_ns for e in ends if e is not alone)


@pytest.mark.parametrize(
    ("resources", "sentence"),
    [
        (Resources(cores=3), "asks for 3 cores, the engine has 2 slots"),
        (Resources(memory_bytes=1 << 60), "bytes of memory, the host has"),
        (Resources(gpus=1), "1 GPUs"),
        (Resources(ranks=3), "3 cores"),
        (Resources(cores=0), "at least one core"),
    ],
)
def test_what_can_never_be_placed_is_refused(broker, resources, sentence):
    """At submission, and nothing was submitted."""
    before = broker._dispatcher.stats().submitted
    with pytest.raises(Unplaceable, match=sentence):
        broker.submit("learn", abs, -1, resources=resources)
    assert broker._dispatcher.stats().submitted == before


def test_arguments_that_cannot_be_sent_are_refused(broker):
    """With the reason, before anything is submitted."""
    with pytest.raises(UsageError, match="cannot be pickled"):
        broker.submit("decide", len, (i for i in range(3)))
    with pytest.raises(UsageError, match="positive"):
        broker.submit("decide", abs, -1, limit_s=0)


def test_every_task_is_traced_from_end_to_end(broker, events):
    """1,000 tasks: submitted, started, finished, once each and in that order; none ran twice."""
    since = 1 + max((e.task for e in events() if isinstance(e, Submitted)), default=0)
    futures = [broker.submit("infer", abs, -i) for i in range(1000)]
    assert [f.result(WAIT_S) for f in futures] == list(range(1000))
    kinds = {}
    for event in events(since):
        if isinstance(event, Submitted | Started | Finished):
            kinds.setdefault(event.task, []).append(type(event).__name__)
    assert len(kinds) == 1000
    assert set(map(tuple, kinds.values())) == {("Submitted", "Started", "Finished")}
    ends = [e for e in events(since) if isinstance(e, Finished)]
    assert all(e.started_ns <= e.ended_ns <= e.t and e.bytes_in > 0 and e.bytes_out > 0 and e.peak_memory_bytes > 10**6 for e in ends)
    assert {e.slot for e in ends} <= {"0", "1"}


def test_a_future_resolves_after_its_line_is_in_the_file(broker, dispatcher):
    """So that a crash just after a result has it in the trace."""
    for _ in range(20):
        broker.submit("decide", abs, -1).result(WAIT_S)
        number = dispatcher.stats().submitted
        assert any(isinstance(e, Finished) and e.task == number for e in read(dispatcher.trace.path))


def test_a_task_marks_while_it_runs(broker, tmp_path):
    """A subscriber sees the number before the task is over."""
    go = tmp_path / "go"

    def learn():
        mark("loss", 0.25)
        while not go.exists():
            time.sleep(0.005)

    events = broker.subscribe()
    future = broker.submit("learn", learn)
    seen = next(e for e in events if isinstance(e, Mark))
    assert (seen.name, seen.value, future.done()) == ("loss", 0.25, False)
    go.touch()
    future.result(WAIT_S)
    events.close()


def test_decisions_qualities_and_marks_of_the_driver_are_traced(broker, events):
    """With their fields as given."""
    broker.decide("ask", ids=[1, 2], name="x")
    broker.quality(name="q", error=0.5, keys=["k"])
    broker.mark("progress", 0.5)
    decision, quality, progress = events()[-3:]
    assert (decision.decision, decision.data) == ("ask", {"ids": [1, 2], "name": "x"})
    assert (quality.name, quality.data, quality.keys) == ("q", {"error": 0.5}, ["k"])
    assert (progress.task, progress.name, progress.value) == (0, "progress", 0.5)


def test_a_shared_array_is_gone_after_the_block(broker):
    """Even if the block raises."""
    import numpy as np

    with pytest.raises(RuntimeError), broker.share(np.arange(5)) as ref:
        assert ref.location.exists()
        raise RuntimeError
    assert not ref.location.exists()


def test_a_value_that_does_not_unpickle_fails_its_future_only(broker):
    """Whatever its class raises while it is read back."""

    class Grudge:
        def __reduce__(self):
            return (int, ("no number",))

    with pytest.raises(TaskError, match="cannot be read back"):
        broker.submit("decide", Grudge).result(WAIT_S)
    assert broker.submit("decide", abs, -1).result(WAIT_S) == 1


def test_instances_of_a_class_of_the_script_come_back_as_its_own(broker):
    """Sent and returned by value, they are still of the class that the driver knows."""

    class Point:
        def __init__(self, x):
            self.x = x

    back = broker.submit("decide", lambda p: Point(p.x + 1), Point(1)).result(WAIT_S)
    assert type(back) is Point
    assert back.x == 2


def test_a_callable_with_state_starts_afresh_at_every_call(broker):
    """One call leaves nothing to the next, so that results do not depend on which slot ran what before."""
    seen = []

    def count():
        seen.append(1)
        return len(seen)

    assert [broker.submit("decide", count).result(WAIT_S) for _ in range(5)] == [1] * 5
    assert seen == []


def test_closing_cancels_what_is_not_over(fresh):
    """Every future resolves, and later submissions are refused."""
    broker, dispatcher = fresh()
    futures = [broker.submit("simulate", time.sleep, 60) for _ in range(5)]
    began = time.monotonic()
    dispatcher.close()
    assert time.monotonic() - began < 5
    assert Counter(f.exception(0).outcome for f in futures) == {"cancelled": 5}
    ends = [e.outcome for e in read(dispatcher.trace.path) if isinstance(e, Finished)]
    assert ends == ["cancelled"] * 5
    with pytest.raises(UsageError, match="closed"):
        broker.submit("decide", abs, -1)


def test_a_trace_that_cannot_be_written_fails_the_futures(fresh, monkeypatch):
    """A result that the trace does not have is not handed out, and nothing hangs."""
    broker, dispatcher = fresh()
    dispatcher.engine.warm_up(WAIT_S)

    def full(fd, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as context:
        context.setattr("mlforhpc.core.trace.os.write", full)
        with pytest.raises(TaskError, match="No space left"):
            broker.submit("decide", abs, -1).result(WAIT_S)
    assert broker.submit("decide", abs, -1).result(WAIT_S) == 1


def test_task_numbers_go_on_where_the_file_ended(tmp_path):
    """They are unique over all sessions of a trace."""
    from mlforhpc.broker.broker import Broker
    from mlforhpc.broker.dispatcher import Dispatcher
    from mlforhpc.core.clock import Clock
    from mlforhpc.core.trace import Opened, Trace
    from mlforhpc.engines import serial

    for _ in range(2):
        dispatcher = Dispatcher(serial.create(), Trace(tmp_path / "events.jsonl", Clock()))
        for _ in range(3):
            Broker(dispatcher, store=None).submit("decide", abs, -1).result(WAIT_S)
        dispatcher.close()
    events = list(read(tmp_path / "events.jsonl"))
    assert [e.task for e in events if isinstance(e, Submitted)] == [1, 2, 3, 4, 5, 6]
    assert [e.resumed for e in events if isinstance(e, Opened)] == [False, True]


def test_tasks_may_be_submitted_from_callbacks_and_threads(fresh):
    """From the engine's own thread, on both engines, without nesting or deadlock."""
    for slots in (2, None):
        broker, _ = fresh(slots)
        chain = []

        def follow(future, broker=broker, chain=chain):
            if future.result() < 300:
                chain.append(broker.submit("decide", abs, future.result() + 1))
                chain[-1].add_done_callback(follow)

        first = broker.submit("decide", abs, 0)
        first.add_done_callback(follow)
        end = time.monotonic() + WAIT_S
        while len(chain) < 300 or not chain[-1].done():
            assert time.monotonic() < end
            time.sleep(0.01)
        assert [f.result() for f in chain] == list(range(1, 301))
