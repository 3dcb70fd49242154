"""Engine `processes`: what a death costs, what a kill leaves alone, and what stays behind (nothing)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from mlforhpc.core.errors import MLforHPCError, Unplaceable, UsageError
from mlforhpc.core.task import Batch
from mlforhpc.engines import _lanes, _slot, processes

WAIT_S = 60


def touch_and_sleep(path, seconds):
    """Say that it runs, then run."""
    Path(path).write_text(str(os.getpid()))
    time.sleep(seconds)
    return os.getpid()


def spawn_and_sleep(path, session):
    """A simulation that starts a program of its own."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=session)
    part = Path(f"{path}.part")
    part.write_text(str(child.pid))
    part.rename(path)
    time.sleep(600)


def appear(path):
    """Wait for what another process does."""
    end = time.monotonic() + WAIT_S
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < end
        time.sleep(0.005)
    return int(path.read_text())


def gone(pid):
    """Whether a process ends within 10 s."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.01)
    return False


def test_a_kill_ends_one_task_and_no_other_slot_notices(engine, batch, value, tmp_path):
    """The killed task is `lost` at once; the innocent one keeps its process."""
    victim, innocent = batch(touch_and_sleep, str(tmp_path / "v"), 600), batch(touch_and_sleep, str(tmp_path / "i"), 1.0)
    futures = [engine.submit(victim), engine.submit(innocent)]
    pid = appear(tmp_path / "i")
    appear(tmp_path / "v")
    began = time.monotonic()
    assert engine.kill(victim.calls[0].task)
    assert futures[0].result(WAIT_S)[0].outcome == "lost"
    assert time.monotonic() - began < 0.5  # 0.1 s and what a busy machine adds
    assert value(futures[1].result(WAIT_S)[0]) == pid
    assert not engine.kill(victim.calls[0].task)


def test_a_killed_slot_serves_again(engine, batch, value):
    """Its successor takes the next task."""
    pids = {int(p.pid) for p in psutil.Process().children()}
    futures = [engine.submit(batch(os.kill, 0, signal.SIGKILL)) for _ in range(2)]  # its own group
    assert [f.result(WAIT_S)[0].outcome for f in futures] == ["lost", "lost"]
    assert value(engine.submit(batch(os.getpid)).result(WAIT_S)[0]) not in pids


def test_a_death_costs_only_the_call_that_it_was_at(engine, call, value):
    """Of a batch of five whose third call crashes, four are ok."""
    calls = [call(abs, -1), call(abs, -2), call(os.abort), call(abs, -4), call(abs, -5)]
    results = engine.submit(Batch(tuple(calls))).result(WAIT_S)
    assert [r.outcome for r in results] == ["ok", "ok", "lost", "ok", "ok"]
    assert "SIGABRT" in results[2].value
    assert [value(r) for r in results if r.outcome == "ok"] == [1, 2, 4, 5]


def test_a_quick_batch_behind_a_crash_runs_on_the_successor(engine, batch, value):
    """What waits in a slot is not lost with it."""
    bad = [engine.submit(batch(os.abort, quick=True)) for _ in range(2)]
    good = [engine.submit(batch(abs, -i, quick=True)) for i in range(2)]
    assert [f.result(WAIT_S)[0].outcome for f in bad] == ["lost", "lost"]
    assert [value(f.result(WAIT_S)[0]) for f in good] == [0, 1]


@pytest.mark.parametrize("session", [False, True])
def test_a_subprocess_of_a_task_dies_with_it(engine, batch, tmp_path, session):
    """The kill takes the whole process group, and programs in sessions of their own."""
    task = batch(spawn_and_sleep, str(tmp_path / "pid"), session)
    future = engine.submit(task)
    grandchild = appear(tmp_path / "pid")
    engine.kill(task.calls[0].task)
    assert future.result(WAIT_S)[0].outcome == "lost"
    assert gone(grandchild)


def test_a_limit_counts_from_the_start_of_the_call(engine, batch, value):
    """And not from submission, import or the end of what ran before."""
    before = [engine.submit(batch(time.sleep, 0.4)) for _ in range(2)]
    limited = engine.submit(batch(time.sleep, 0.2, isolated=True, limit_s=0.35))
    assert value(limited.result(WAIT_S)[0]) is None
    assert all(f.done() for f in before)


def test_a_task_over_its_limit_ends_in_time(engine, batch):
    """Within 0.1 s where the machine is quiet."""
    results = [engine.submit(batch(time.sleep, 600, isolated=True, limit_s=0.3)).result(WAIT_S)[0] for _ in range(3)]
    assert {r.outcome for r in results} == {"timed_out"}
    assert min(r.ended_ns - r.started_ns for r in results) < 0.4e9


def test_import_is_not_task_time(engine, batch, tmp_path, monkeypatch):
    """A module that takes 0.5 s to import costs its task nothing, though the path to it is new."""
    (tmp_path / "slow_to_import.py").write_text("import time\ntime.sleep(0.5)\ndef f():\n    return 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import slow_to_import

    (result,) = engine.submit(batch(slow_to_import.f)).result(WAIT_S)
    assert result.outcome == "ok"
    assert result.ended_ns - result.started_ns < 0.1e9


def test_a_large_argument_does_not_block_the_other_slot(engine, batch, value):
    """30 MB for a slot that is not listening wait in the driver; the other slot answers meanwhile."""
    slow = engine.submit(batch(time.sleep, 1.0, quick=True))
    quick = engine.submit(batch(time.sleep, 0.0, quick=True))
    quick.result(WAIT_S)
    blocker = engine.submit(batch(time.sleep, 0.5, quick=True))
    large = engine.submit(batch(len, b"x" * 30_000_000, quick=True))  # behind the first, whose socket takes 0.2 MB
    blocker.result(WAIT_S)
    small = engine.submit(batch(abs, -1, quick=True))
    assert value(small.result(WAIT_S)[0]) == 1
    assert not large.done()
    assert not slow.done()
    assert value(large.result(WAIT_S)[0]) == 30_000_000


def test_slots_have_one_thread_and_their_own_group(engine, batch, value):
    """So that BLAS does not oversubscribe, and Ctrl-C in the terminal does not reach them."""
    assert value(engine.submit(batch(os.getenv, "OMP_NUM_THREADS")).result(WAIT_S)[0]) == "1"
    assert value(engine.submit(batch(os.getpgrp)).result(WAIT_S)[0]) != os.getpgrp()


def test_a_child_that_cannot_start_is_said_and_loses_its_tasks(monkeypatch, batch, capfd):
    """No hang: warm_up raises, and futures resolve."""
    monkeypatch.setattr(_slot, "_START", "raise SystemExit(7)")
    monkeypatch.setattr(_lanes, "MOST_FAILURES", 3)
    engine = processes.create(2)
    try:
        future = engine.submit(batch(abs, -1))
        with pytest.raises(MLforHPCError, match="0 of 2 slots"):
            engine.warm_up(WAIT_S)
        (result,) = future.result(WAIT_S)
        assert result.outcome == "lost"
        late = engine.submit(batch(abs, -1)).result(WAIT_S)
        assert late[0].outcome == "lost"
    finally:
        engine.shutdown()


def test_a_child_that_fails_to_start_for_a_moment_is_started_again(monkeypatch, batch, value, tmp_path):
    """A passing fault costs no slot."""
    flag = tmp_path / "well"
    start = f"import os; os.path.exists({str(flag)!r}) or exit(7); {_slot._START}"
    monkeypatch.setattr(_slot, "_START", start)
    engine = processes.create(1)
    try:
        future = engine.submit(batch(abs, -1))
        while engine._lanes.lanes[0].failures == 0:
            time.sleep(0.005)
        flag.touch()
        assert value(future.result(WAIT_S)[0]) == 1
    finally:
        engine.shutdown()


def test_after_shutdown_futures_resolve_as_cancelled(batch):
    """Those in flight and those that come later; twice is fine."""
    engine = processes.create(2)
    futures = [engine.submit(batch(time.sleep, 600)) for _ in range(4)]
    engine.shutdown()
    engine.shutdown()
    futures.append(engine.submit(batch(abs, -1)))
    assert [f.result(WAIT_S)[0].outcome for f in futures] == ["cancelled"] * 5
    assert not engine._files.path.exists()


def test_too_many_cores_and_too_few_slots_are_refused(engine, batch):
    """At once, with what was asked and what there is."""
    with pytest.raises(Unplaceable, match="3 cores"):
        engine.submit(batch(abs, -1, cores=3))
    with pytest.raises(UsageError, match="slots=0"):
        processes.create(0)


def test_what_a_killed_driver_left_behind_is_removed_by_the_next_one(tmp_path):
    """But not what belongs to a driver that lives."""
    code = (
        "import os, numpy, pathlib; from mlforhpc.engines import processes\n"
        f"engine = processes.create(1, folder=pathlib.Path({str(tmp_path)!r})); engine.share(numpy.zeros(9))\n"
        "os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    assert len(list(tmp_path.iterdir())) == 1
    first = processes.create(1, folder=tmp_path)
    second = processes.create(1, folder=tmp_path)
    try:
        assert {p.name for p in tmp_path.iterdir()} == {first._files.path.name, second._files.path.name}
    finally:
        first.shutdown()
        second.shutdown()
    assert list(tmp_path.iterdir()) == []


def test_a_slot_outlives_the_thread_that_first_used_it(batch, value):
    """Its lifeline is the process, not a thread of it."""
    engines = []
    thread = threading.Thread(target=lambda: engines.append(processes.create(1)))
    thread.start()
    thread.join()
    try:
        engines[0].warm_up(WAIT_S)
        pid = psutil.Process().children()[-1].pid
        assert value(engines[0].submit(batch(os.getpid)).result(WAIT_S)[0]) == pid
    finally:
        engines[0].shutdown()
