"""Gangs: a task of several ranks runs once, in the lead, and starts its ranks with the command that it is given here.

    def relax(x):
        subprocess.run(gang().command(["lmp", "-in", "in.relax"]), check=True)
    broker.submit("simulate", relax, x, resources=Resources(ranks=4, cores=2))

Its slots are its own from start to end; when it is cancelled, over its limit or dies, every rank goes with it. Inside a
Slurm job the ranks are a step of that job (and may be on several of its nodes); elsewhere they are on the lead's host.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from mlforhpc.core.errors import UsageError

VARIABLE = "MLFORHPC_RANKS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gang:
    """What the running task has.

    Attributes:
        ranks: processes to start.
        cores: threads of each.
    """

    ranks: int
    cores: int

    def command(self, words: Sequence[str]) -> list[str]:
        """What starts an MPI program with all ranks: srun inside a Slurm job, else mpiexec.

        Raises:
            UsageError: there is neither.
        """
        if "SLURM_JOB_ID" in os.environ and shutil.which("srun"):
            step = [
                "srun",
                f"--job-name={step_name(os.getpid())}",
                "--mpi=pmi2",
                "--overlap",
                "--kill-on-bad-exit=1",
                f"--ntasks={self.ranks}",
                f"--cpus-per-task={self.cores}",
            ]
            return [*step, *words]
        beside = os.path.join(os.path.dirname(sys.executable), "mpiexec")  # noqa: PTH118, PTH120 - where a wheel puts it
        mpiexec = shutil.which("mpiexec") or shutil.which(beside)
        if mpiexec is None:
            raise UsageError("A gang needs mpiexec, which is not on PATH. Install an MPI, or: pip install 'mlforhpc[mpi]'")
        return [mpiexec, "-n", str(self.ranks), *words]

    def torchrun(self, words: Sequence[str]) -> list[str]:
        """What starts a PyTorch script (its path and arguments) with all ranks on this host; one that fails ends them all."""
        return [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={self.ranks}", *words]


def step_name(pid: int) -> str:
    """Of the Slurm steps that the lead with this process number on this host starts."""
    return f"mlforhpc-{platform.node()}-{pid}"


def gang() -> Gang:
    """The gang of the task that runs here; of one rank outside of any."""
    return Gang(ranks=int(os.environ.get(VARIABLE, "1")), cores=int(os.environ.get("OMP_NUM_THREADS", "1")))
