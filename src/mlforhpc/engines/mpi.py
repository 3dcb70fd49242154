"""Engine `mpi`: the ranks of one MPI job, through mpi4py.futures (L. Dalcin, Y.-L. L. Fang, "mpi4py: status update after
12 years of development", 2021, doi:10.1109/MCSE.2021.3083216).

    mpiexec -n <slots + 1> python -m mpi4py.futures      rank 0 hands out, each other rank is a slot

A rank that dies takes the job along, as MPI has it: what ran is lost, and the job is started again. What may crash
runs in a child of its rank.
"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import mpi4py  # noqa: F401 - that it is missing is said before anything is started

from mlforhpc.core.clock import Clock
from mlforhpc.core.errors import UsageError
from mlforhpc.engines import _post
from mlforhpc.engines._gateway import Promise
from mlforhpc.engines._recipe import Recipe
from mlforhpc.engines._remote import Remote

_BACKOFF_S = 0.0005  # who has nothing to do looks again after this long; at 0.1 ms, looking took a tenth of two cores


def create(
    slots: int | None = None,
    *,
    address: str = "",
    launcher: str = "mpiexec -n {ranks}",
    host: str = "",
    folder: Path | None = None,
    clock: Clock | None = None,
) -> Remote:
    """The ranks of a job that is started here.

    Args:
        slots: how many ranks work; one more hands out. None = the cores that this process may use.
        address: there is none.
        launcher: what starts the ranks; {ranks} is their number ("srun --mpi=pmi2 -n {ranks}", say).
        host: under which the ranks find this process.
        folder: where shared arrays and large results go; None = memory or the temporary folder.
        clock: of the trace.
    """
    if address:
        raise UsageError(f"Engine 'mpi' starts its own ranks and takes no address, found '{address}'; set its option 'launcher'.")
    count = len(os.sched_getaffinity(0)) if slots is None else slots
    words = shlex.split(launcher.format(ranks=count + 1))
    recipe = Recipe(
        name="mpi",
        module=__name__,
        slots=count,
        launcher=(*words, sys.executable, "-m", "mpi4py.futures"),
        host=host,
        elsewhere="srun" in words,
    )
    return Remote(recipe, clock or Clock(), folder)


class _Pool:
    """In rank 0."""

    def __init__(self, slots: int) -> None:
        from mpi4py import MPI  # initializes MPI, which the driver must not
        from mpi4py.futures import MPIPoolExecutor

        ranks = MPI.COMM_WORLD.Get_size()
        if ranks != slots + 1:
            sentence = f"the launcher made {ranks} ranks of one job where {slots + 1} were wanted"
            raise RuntimeError(f"{sentence}; with srun, its --mpi may not fit this MPI")
        self.slots = slots
        self._executor = MPIPoolExecutor(main=False, use_pkl5=True, backoff=_BACKOFF_S)

    def submit(self, parcel: bytes, cores: int) -> Promise:
        future: Promise = self._executor.submit(_post.run, parcel)
        return future

    def close(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)


def connect(slots: int, address: str, folder: Path) -> _Pool:
    """The client, in the gateway."""
    return _Pool(slots)
