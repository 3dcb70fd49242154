"""Whole drivers, as scripts: without a main guard, killed with -9, interrupted at the keyboard."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

HEAD = """
import os, subprocess, sys, time
from pathlib import Path
from mlforhpc.broker.broker import Broker
from mlforhpc.broker.dispatcher import Dispatcher
from mlforhpc.core.clock import Clock
from mlforhpc.core.trace import Trace
from mlforhpc.engines import processes, serial
here = Path(__file__).parent
clock = Clock()
def open_broker(engine=None):
    global dispatcher
    dispatcher = Dispatcher(engine or processes.create(2, clock=clock), Trace(here / "events.jsonl", clock))
    return Broker(dispatcher, store=None)
"""


def script(tmp_path, body):
    """The command that runs it."""
    path = tmp_path / "script.py"
    path.write_text(HEAD + body)
    return [sys.executable, str(path)]


def start(tmp_path, body, files):
    """A driver whose tasks write their process numbers to `files`; (driver, numbers)."""
    driver = subprocess.Popen(script(tmp_path, body), stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 60
    while not all((tmp_path / name).exists() for name in files):
        assert driver.poll() is None, driver.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.01)
    return driver, [int((tmp_path / name).read_text()) for name in files]


def all_gone(pids):
    """Whether these processes end within 20 s."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids):
            return True
        time.sleep(0.01)
    return False


def test_a_script_without_a_main_guard_runs(tmp_path):
    """Its functions and classes travel by value; it is not imported again in the slots."""
    body = """
print("top level")
class Point:
    def __init__(self, x): self.x = x
def double(point): return Point(2 * point.x)
broker = open_broker()
back = [broker.submit("decide", double, Point(i)).result(60) for i in range(3)]
assert [p.x for p in back] == [0, 2, 4] and all(type(p) is Point for p in back)
dispatcher.close()
print("done")
"""
    run = subprocess.run(script(tmp_path, body), capture_output=True, text=True, timeout=60, check=False)
    assert (run.returncode, run.stdout.split("\n"), run.stderr) == (0, ["top level", "done", ""], "")


def test_a_script_that_never_closes_ends_and_leaves_nothing(tmp_path):
    """Forgetting `close` costs neither a hang nor a process."""
    body = """
broker = open_broker()
print(broker.submit("decide", os.getpid).result(60))
broker.submit("decide", time.sleep, 600)
"""
    run = subprocess.run(script(tmp_path, body), capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr
    assert all_gone([int(run.stdout)])


SIMULATING = """
def simulate(name):
    program = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    for suffix, pid in (("", os.getpid()), ("-program", program.pid)):
        part = here / f"part-{name}{suffix}"
        part.write_text(str(pid))
        part.rename(here / f"{name}{suffix}")
    time.sleep(600)
"""


@pytest.mark.parametrize("engine", ["processes", "serial"])
def test_a_driver_killed_with_9_leaves_no_process(tmp_path, engine):
    """Neither its slots nor the programs that their tasks have started."""
    if engine == "serial":
        body = f"{SIMULATING}\nopen_broker(serial.create(clock=clock)).submit('simulate', simulate, 'a', limit_s=600)"
        files = ["a", "a-program"]
    else:
        body = f"{SIMULATING}\nbroker = open_broker()\nlast = [broker.submit('simulate', simulate, n) for n in 'ab'][-1]\nlast.result()"
        files = ["a", "a-program", "b", "b-program"]
    driver, pids = start(tmp_path, body, files)
    os.kill(driver.pid, signal.SIGKILL)
    driver.communicate(timeout=60)
    assert all_gone(pids)


def test_a_process_forked_from_the_driver_does_not_keep_the_slots_alive(tmp_path):
    """It lets go of their lifelines."""
    body = f"""{SIMULATING}
broker = open_broker()
broker.submit('simulate', simulate, 'a')
while not (here / 'a').exists(): time.sleep(0.01)
if os.fork() == 0:
    os.close(2)
    (here / "part").write_text(str(os.getpid()))
    (here / "part").rename(here / "forked")
    time.sleep(600)
time.sleep(600)
"""
    driver, (*slots, forked) = start(tmp_path, body, ["a", "a-program", "forked"])
    os.kill(driver.pid, signal.SIGKILL)
    try:
        driver.communicate(timeout=60)
        assert all_gone(slots)
    finally:
        os.kill(forked, signal.SIGKILL)


def test_a_child_that_holds_the_interpreter_lock_ends_with_its_driver(tmp_path):
    """The kernel ends it, not its own Python."""
    body = """
def spin():
    (here / "part").write_text(str(os.getpid()))
    (here / "part").rename(here / "spinning")
    import ctypes
    ctypes.PyDLL(None).pause()  # a C function that never returns and keeps the lock
open_broker().submit("simulate", spin).result()
"""
    driver, pids = start(tmp_path, body, ["spinning"])
    os.kill(driver.pid, signal.SIGKILL)
    driver.communicate(timeout=60)
    assert all_gone(pids)


def test_ctrl_c_interrupts_the_wait_and_closes_in_time(tmp_path):
    """KeyboardInterrupt reaches the waiting driver, the slots are not hit, and `close` takes less than 2 s."""
    body = f"""{SIMULATING}
broker = open_broker()
futures = [broker.submit('simulate', simulate, n) for n in 'ab']
try:
    futures[0].result()
except KeyboardInterrupt:
    assert not any(f.done() for f in futures)
    began = time.monotonic()
    dispatcher.close()
    assert time.monotonic() - began < 2, time.monotonic() - began
    assert [f.exception(0).outcome for f in futures] == ["cancelled"] * 2
    sys.exit(130)
"""
    driver, pids = start(tmp_path, body, ["a", "a-program", "b", "b-program"])
    os.kill(driver.pid, signal.SIGINT)
    _, errors = driver.communicate(timeout=60)
    assert (driver.returncode, errors) == (130, "")
    assert all_gone(pids)


def test_ctrl_c_in_a_task_on_serial_stops_it_and_closes(tmp_path):
    """There the task runs in the driver: it is interrupted, and traced as cancelled."""
    body = """
broker = open_broker(serial.create(clock=clock))
def simulate():
    (here / "part").write_text(str(os.getpid()))
    (here / "part").rename(here / "runs")
    time.sleep(600)
try:
    broker.submit("simulate", simulate)
except KeyboardInterrupt:
    assert broker.submit("decide", abs, -1).result() == 1
    dispatcher.close()
    assert '"outcome":"cancelled"' in (here / "events.jsonl").read_text()
    sys.exit(130)
"""
    driver, _ = start(tmp_path, body, ["runs"])
    os.kill(driver.pid, signal.SIGINT)
    _, errors = driver.communicate(timeout=60)
    assert (driver.returncode, errors) == (130, "")
