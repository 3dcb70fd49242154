"""Ranks start together and die together, and hold their slots from start to end."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from mlforhpc.core.errors import Unplaceable
from mlforhpc.core.gang import gang
from mlforhpc.core.task import Resources
from mlforhpc.engines import processes, serial
from mlforhpc.testing._engine_driving import await_, error_of, opened

RANK = "import os, time; print(os.environ.get('PMI_RANK', os.environ.get('RANK')), flush=True); time.sleep({})"


def ranks(seconds: float, folder: str) -> list[str]:
    """Start the gang's ranks; what each says."""
    Path(folder, "begun").touch()
    ran = subprocess.run(gang().command([sys.executable, "-c", RANK.format(seconds)]), stdout=subprocess.PIPE, text=True, check=True)
    return sorted("".join(ran.stdout.split()))  # their lines may be mixed


def distributed_sum(folder: str) -> str:
    """Start a PyTorch job whose ranks add up their numbers."""
    script = Path(folder) / "ranks.py"
    script.write_text(
        "import torch, torch.distributed as dist\n"
        "dist.init_process_group('gloo')\n"
        "x = torch.tensor([dist.get_rank() + 1.0])\n"
        "dist.all_reduce(x)\n"
        "if dist.get_rank() == 0: print(x.item())\n"
        "dist.destroy_process_group()\n"  # without it, threads of gloo may abort the interpreter at its end
    )
    ran = subprocess.run(gang().torchrun([str(script)]), stdout=subprocess.PIPE, text=True, check=True)
    return ran.stdout.strip()


def two():
    """Two slots."""
    return processes.create(2)


def test_all_ranks_of_an_mpi_program_start(tmp_path):
    """mpiexec starts as many ranks as the task has; tasks before and after do not run beside them."""
    pytest.importorskip("mpi4py")
    with opened(two) as broker:
        before = [broker.submit("decide", time.sleep, 0.05) for _ in range(2)]
        together = broker.submit("simulate", ranks, 0.0, str(tmp_path), resources=Resources(ranks=2))
        after = broker.submit("decide", time.monotonic)
        assert together.result(60) == ["0", "1"]
        assert all(future.done() for future in before)
        assert after.result(60) > 0


@pytest.mark.system
def test_a_torchrun_job_runs_as_a_gang(tmp_path):
    """Two ranks of PyTorch's distributed package find each other: 1 + 2 = 3."""
    pytest.importorskip("torch")
    with opened(two) as broker:
        assert broker.submit("learn", distributed_sum, str(tmp_path), resources=Resources(ranks=2)).result(120) == "3.0"


@pytest.mark.parametrize("how", ["cancelled", "timed_out"])
def test_all_ranks_die_together(tmp_path, how):
    """Cancelled or over its limit, a gang leaves no rank."""
    pytest.importorskip("mpi4py")
    with opened(two) as broker:
        limit_s = 1.5 if how == "timed_out" else None
        future = broker.submit("simulate", ranks, 600.0, str(tmp_path), resources=Resources(ranks=2), limit_s=limit_s)
        await_(lambda: len(_ranks()) == 2, "both ranks must start")
        if how == "cancelled":
            assert broker.cancel(future)
        assert error_of(future).outcome == how
        await_(lambda: not _ranks(), "no rank may be left")


def test_a_gang_that_does_not_fit_is_refused():
    """Three ranks on two slots, two ranks of two cores, and any gang on engine `serial`."""
    for create, resources in ((two, Resources(ranks=3)), (two, Resources(ranks=2, cores=2)), (serial.create, Resources(ranks=2))):
        with opened(create) as broker, pytest.raises(Unplaceable):
            broker.submit("simulate", ranks, 0.0, ".", resources=resources)


def test_outside_of_a_task_there_is_one_rank():
    """`gang()` in the driver."""
    assert gang().ranks == 1


def _ranks() -> list[int]:
    """Processes below this one that run the rank's script itself."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if process.cmdline()[1:2] == ["-c"] and "PMI_RANK" in process.cmdline()[2] and process.cmdline()[0] == sys.executable:
                found.append(process.pid)
        except (psutil.Error, IndexError):
            continue
    return found
