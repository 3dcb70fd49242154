"""What all engines on other systems share: clocks of other hosts, the door, a gateway that dies, systems at an address."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

from mlforhpc.broker.broker import Broker
from mlforhpc.broker.dispatcher import Dispatcher
from mlforhpc.core import shared
from mlforhpc.core.clock import Clock
from mlforhpc.core.errors import MLforHPCError, UsageError
from mlforhpc.core.trace import Finished, Host, Trace, read
from mlforhpc.engines._messages import Began, Knock
from mlforhpc.engines._wire import frame

mpi = pytest.importorskip("mlforhpc.engines.mpi")
WAIT_S = 60.0
SHIFT_S = 5000
ELSEWHERE = ["unshare", "--time", "--monotonic", str(SHIFT_S)]


@contextmanager
def driven(engine, folder):
    """A broker on an engine; gives the broker and the trace's file."""
    path = folder / "events.jsonl"
    dispatcher = Dispatcher(engine, Trace(path, Clock()))
    try:
        engine.warm_up(WAIT_S)
        yield Broker(dispatcher, store=None), path
    finally:
        dispatcher.close()


def shifted_or_skip():
    """Skip where no other clock can be had."""
    if shutil.which("unshare") is None or subprocess.run([*ELSEWHERE, "true"], stderr=subprocess.DEVNULL).returncode:
        pytest.skip("needs the right to make a time namespace (root): its processes read another monotonic clock")


def agrees(broker, path):
    """Tasks on another clock take place, in the trace, between their submission and their result on the driver's clock."""
    clock = broker._dispatcher.clock
    for _ in range(3):
        before = clock.now_ns()
        there_ns = broker.submit("simulate", clocks).result(WAIT_S)
        after = clock.now_ns()
        assert abs(there_ns - time.monotonic_ns() - SHIFT_S * 10**9) < 10 * 10**9, "the worker must read another clock"
        last = [event for event in read(path) if isinstance(event, Finished)][-1]
        assert before <= last.started_ns <= last.ended_ns <= after
    hosts = [event for event in read(path) if isinstance(event, Host)]
    assert hosts and all(0 <= host.uncertainty_ns < 50_000_000 for host in hosts)
    wanted_ns = clock.offset_ns - SHIFT_S * 10**9
    assert all(abs(host.offset_ns - wanted_ns) <= host.uncertainty_ns + 1_000_000 for host in hosts)


def clocks():
    """What this process's monotonic clock shows."""
    time.sleep(0.01)
    return time.monotonic_ns()


def test_ranks_on_another_clock_are_aligned(tmp_path):
    """A whole MPI job in a time namespace."""
    shifted_or_skip()
    with driven(mpi.create(2, launcher=" ".join([*ELSEWHERE, "mpiexec -n {ranks}"])), tmp_path) as (broker, path):
        agrees(broker, path)


def test_dask_workers_at_an_address_on_another_clock_are_aligned(tmp_path):
    """A scheduler here, found by its address, and one worker in a time namespace; both outlive the campaign."""
    shifted_or_skip()
    dask = pytest.importorskip("mlforhpc.engines.dask")
    with dask_cluster(tmp_path, ELSEWHERE) as (address, processes):
        with driven(dask.create(address=address, host="127.0.0.1"), tmp_path) as (broker, path):
            assert broker.slots == 2
            agrees(broker, path)
        assert all(process.poll() is None for process in processes), "a cluster that is not ours must stay"


@contextmanager
def dask_cluster(folder, where):
    """A scheduler and a worker of two threads, started by hand as a site would; gives the address and the processes."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    common = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder, "process_group": 0}
    address = f"tcp://127.0.0.1:{port}"
    scheduler_words = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]
    worker_words = [*where, sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "2", "--no-dashboard"]
    scheduler, worker = subprocess.Popen(scheduler_words, **common), subprocess.Popen(worker_words, **common)
    try:
        yield address, (scheduler, worker)
    finally:
        for process in (worker, scheduler):
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.mark.parametrize("name", ["mpi", "parsl"])
def test_a_gateway_that_is_killed_is_started_again(tmp_path, name):
    """What was with it is lost and runs again; nothing of the old one is left (Parsl's interchange would stay for ever)."""
    engine = pytest.importorskip(f"mlforhpc.engines.{name}").create(2)
    with driven(engine, tmp_path) as (broker, _):
        futures = [broker.submit("simulate", time.sleep, 0.2) for _ in range(6)]
        old = {process.pid for process in psutil.Process(engine._system._process.pid).children(recursive=True)}
        futures[0].result(WAIT_S)
        psutil.Process(engine._system._process.pid).children()[0].kill()
        assert [future.result(WAIT_S) for future in futures] == [None] * 6
        assert not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in old)


def test_strangers_are_turned_away(tmp_path):
    """Who does not know the token, talks too much, or talks nonsense is hung up on, and nothing else happens."""
    engine = mpi.create(1)
    with driven(engine, tmp_path) as (broker, _):
        wrong = frame(Knock("0" * 32, "worker", "stranger", 1, "clock", "0"))
        for words in (wrong, frame(Began(1, 1, "0")), b"\xff" * 64, b"GET / HTTP/1.1\r\n\r\n" + bytes(100)):
            with socket.create_connection(("127.0.0.1", engine._door.port), timeout=WAIT_S) as stranger:
                stranger.sendall(words)
                with suppress(ConnectionResetError):
                    assert stranger.recv(1) == b""
        assert broker.submit("decide", abs, -1).result(WAIT_S) == 1


def test_a_system_that_does_not_start_says_why():
    """The launcher is not there: one error with what it printed, and no process."""
    with pytest.raises(MLforHPCError, match=r"Engine 'mpi' cannot be started.*"):
        mpi.create(1, launcher="false")
    with pytest.raises(MLforHPCError, match="made 1 ranks of one job where 2 were wanted"):
        mpi.create(1, launcher="mpiexec -n 1")  # as where srun and MPI do not understand each other
    with pytest.raises(UsageError, match="takes no address"):
        mpi.create(1, address="somewhere:1")


def test_a_function_that_travels_by_value_is_sent_to_each_worker_only(tmp_path):
    """A closure over 200 kB: after each worker has it, parcels are small; a worker that is new asks for it."""
    engine = mpi.create(2)
    table = os.urandom(200_000)
    sizes: list[int] = []
    with driven(engine, tmp_path) as (broker, _):
        pack = engine._parcels.pack

        def weighed(*args, **options):
            parcel = pack(*args, **options)
            sizes.append(len(parcel))
            return parcel

        engine._parcels.pack = weighed

        def pick(i):
            time.sleep(0.006)
            return table[i]

        for i in range(12):
            done = [broker.submit("simulate", pick, j) for j in (i, i + 1)]
            assert [future.result(WAIT_S) for future in done] == [table[i], table[i + 1]]
        assert max(sizes) > 200_000 and max(sizes[-6:]) < 20_000
        for knowing in engine._parcels._knowing.values():
            knowing.update("ab")
        psutil.Process(engine._system._process.pid).children()[0].kill()  # new workers, which do not have it
        assert broker.submit("simulate", pick, 7).result(WAIT_S) == table[7]
        assert Path(tmp_path, "events.jsonl").exists()


def test_a_host_that_does_not_see_the_drivers_folder_gets_shared_arrays_once(tmp_path):
    """A dask worker with a memory file system of its own: arrays travel, large results come back, nothing is left there."""
    private = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /dev/shm && exec "$@"', "sh"]
    if shutil.which("unshare") is None or subprocess.run([*private, "true"], stderr=subprocess.DEVNULL).returncode:
        pytest.skip("needs the right to mount (root)")
    dask = pytest.importorskip("mlforhpc.engines.dask")
    array = np.random.default_rng(2).normal(size=2_000_000)
    with (
        dask_cluster(tmp_path, private) as (address, _),
        driven(dask.create(address=address, host="127.0.0.1", folder=Path("/dev/shm")), tmp_path) as (broker, _),
    ):
        with broker.share(array) as ref:
            first, *others = [broker.submit("prepare", total_and_file, ref).result(WAIT_S) for _ in range(4)]
            assert first[0] == array.sum() and all(other == first for other in others)
            assert first[1] != ref.location.stat().st_ino
            half = broker.submit("prepare", half_of, ref).result(WAIT_S)
            assert np.array_equal(half, array[::2])
            assert broker.submit("prepare", os.path.exists, str(ref.location), limit_s=WAIT_S).result(WAIT_S)
        assert not ref.location.exists()
        deadline = time.monotonic() + WAIT_S
        while broker.submit("prepare", os.path.exists, str(ref.location), limit_s=WAIT_S).result(WAIT_S):
            assert time.monotonic() < deadline, "a released array must go there too"


def total_and_file(ref):
    """The sum, and which file it was read from."""
    return shared.read(ref).sum(), ref.location.stat().st_ino


def half_of(ref):
    """8 MB."""
    return np.array(shared.read(ref)[::2])
