"""Checks of engines: limits, cancellation, deaths and the end."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import time
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any

import psutil

from mlforhpc.testing import _engine_tasks as tasks
from mlforhpc.testing._engine_driving import WAIT_S, Create, await_, descendants, driver, error_of, opened
from mlforhpc.testing.conforming import require

_SCRIPT = """
import threading, time
with opened(create) as broker:
    broker.submit("decide", abs, -1, limit_s=60.0).result(60)
    for _ in range(broker.slots):  # from threads: engine `serial` returns when the task is over
        threading.Thread(target=lambda: broker.submit("simulate", time.sleep, 600.0, limit_s=900.0), daemon=True).start()
    time.sleep(0.5)
    print("ready", flush=True)
    time.sleep(600)
"""


def over_limit(create: Create) -> None:
    """A task over its limit ends as `timed_out`, soon, and the engine goes on."""
    with opened(create) as broker:
        broker.submit("decide", tasks.divide, 6, 3, limit_s=WAIT_S).result(WAIT_S)  # a slot that takes limits is up
        began = time.monotonic()
        error = error_of(broker.submit("simulate", time.sleep, 60.0, limit_s=0.3))
        took = time.monotonic() - began
        require(error.outcome == "timed_out", f"a task over its limit must be 'timed_out', found '{error.outcome}'")
        require(0.3 <= took < 5.0, f"a limit of 0.3 s must end the task soon, it took {took:.2f} s")
        require(broker.submit("decide", tasks.divide, 6, 3).result(WAIT_S) == 2, "the engine must go on")


def cancellation(create: Create) -> None:
    """A task that runs can be cancelled, and one that waits never runs."""
    with opened(create) as broker, tempfile.TemporaryDirectory() as folder:
        if broker.slots == 1:  # it would run in this very thread
            return
        running = [broker.submit("simulate", tasks.mark_and_sleep, f"{folder}/{i}", 60.0) for i in range(broker.slots)]
        waiting = broker.submit("decide", tasks.mark_and_sleep, f"{folder}/waiting", 0.0)
        await_(lambda: len(list(Path(folder).iterdir())) == broker.slots, "all slots must start a task")
        for future in (waiting, *running):
            require(broker.cancel(future), "cancel must say that it did")
            require(error_of(future).outcome == "cancelled", "a cancelled task must end as 'cancelled'")
        require(broker.submit("decide", tasks.divide, 6, 3).result(WAIT_S) == 2, "the engine must go on")
        require(not Path(f"{folder}/waiting").exists(), "a task cancelled while it waits must never run")


def killed_worker(create: Create) -> None:
    """A task whose process dies is run again; one whose process always dies is `lost`; the engine goes on."""
    with opened(create) as broker, tempfile.TemporaryDirectory() as folder:
        first = broker.submit("simulate", tasks.die_once, f"{folder}/died", limit_s=WAIT_S)
        always = broker.submit("simulate", tasks.die, limit_s=WAIT_S)
        require(first.result(WAIT_S) == "survived", "a lost task must be run again")
        require(error_of(always).outcome == "lost", "a task that always kills its process must end as 'lost'")
        require(broker.submit("decide", tasks.divide, 6, 3).result(WAIT_S) == 2, "the engine must go on")


def shutdown(create: Create) -> None:
    """Closing resolves every future and leaves no process."""
    before = descendants()
    with opened(create) as broker:
        if broker.slots == 1:
            broker.submit("decide", tasks.divide, 6, 3, limit_s=WAIT_S).result(WAIT_S)
            futures: list[Future[Any]] = []
        else:
            futures = [broker.submit("simulate", time.sleep, 60.0) for _ in range(3 * broker.slots)]
        began = time.monotonic()
    require(time.monotonic() - began < 10.0, "closing must not wait for tasks")
    require(not wait(futures, timeout=0).not_done, "closing must resolve every future")
    require(all(error_of(future).outcome in ("cancelled", "lost") for future in futures), "unfinished tasks must say so")
    await_(lambda: descendants() <= before, "closing must leave no process")


def segmentation_fault(create: Create) -> None:
    """A simulation that crashes is run again; one that always crashes is `lost`; nothing else notices."""
    with opened(create) as broker, tempfile.TemporaryDirectory() as folder:
        others = [broker.submit("simulate", tasks.later, i, 0.05, limit_s=WAIT_S) for i in range(6)]
        once = broker.submit("simulate", tasks.crash_once, f"{folder}/crashed", limit_s=WAIT_S)
        always = broker.submit("simulate", tasks.crash, limit_s=WAIT_S)
        require(once.result(WAIT_S) == "survived", "a crashed task must be run again")
        require(error_of(always).outcome == "lost", "a task that always crashes must end as 'lost'")
        require([future.result(WAIT_S) for future in others] == [i * i for i in range(6)], "no other task may notice a crash")


def killed_slot(create: Create) -> None:
    """A worker process that is killed with -9 costs no task."""
    with opened(create) as broker:
        pid = os.getpid()
        for _ in range(20):  # until the function is known to be quick, and runs in the worker's own process
            pid = broker.submit("decide", os.getpid).result(WAIT_S)
        if pid == os.getpid():
            return  # the driver itself
        futures = [broker.submit("simulate", tasks.later, i, 0.1) for i in range(10)]
        futures[0].result(WAIT_S)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        require([future.result(WAIT_S) for future in futures] == [i * i for i in range(10)], "no task may get lost with a worker")


def killed_driver(create: Create) -> None:
    """A driver that is killed with -9 leaves no process."""
    with driver(create, _SCRIPT) as process:
        assert process.stdout is not None
        require(process.stdout.readline() == "ready\n", "the driver must get ready")
        left = descendants(process.pid)
        require(bool(left), "the driver must have processes of its own")
        process.kill()
        await_(lambda: not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in left), _ORPHANS)


_ORPHANS = "no process may outlive a driver that was killed"
