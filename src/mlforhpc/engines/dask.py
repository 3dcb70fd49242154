"""Engine `dask`: the workers of a dask.distributed cluster (M. Rocklin, "Dask: parallel computation with blocked algorithms
and task scheduling", 2015, doi:10.25080/Majora-7b98e3ed-013): one started here, one that runs at an address, or one
that dask-jobqueue starts through a batch system.
"""

from __future__ import annotations

import os
import shlex
import sys
import threading
from pathlib import Path
from typing import Any

import dask
from distributed import Client, LocalCluster, Scheduler
from distributed.diagnostics.plugin import SchedulerPlugin

from mlforhpc.core.clock import Clock
from mlforhpc.engines import _post
from mlforhpc.engines._gateway import Promise
from mlforhpc.engines._recipe import Recipe
from mlforhpc.engines._remote import Remote

_POLL_S = 2.0
_WORKERS_S = 60
_CONFIGURATION = {
    "distributed.scheduler.allowed-failures": 0,  # a lost task is ours to run again, and to count
    "distributed.scheduler.work-stealing": False,
    "distributed.worker.daemon": False,
    "distributed.admin.large-graph-warning-threshold": "1GB",
}


def create(
    slots: int | None = None,
    *,
    address: str = "",
    host: str = "",
    folder: Path | None = None,
    clock: Clock | None = None,
    cluster: str = "",
    **options: Any,
) -> Remote:
    """Slots of a dask cluster: threads of its workers.

    Args:
        slots: of a local cluster; None = the cores that this process may use. At an address: the threads that its workers have.
        address: of a scheduler, "tcp://host:port"; empty = start a cluster here.
        host: under which workers find this process; needed where they are on other hosts.
        folder: where shared arrays and large results go; None = memory or the temporary folder.
        clock: of the trace.
        cluster: "slurm" (or another of dask-jobqueue's: pbs, lsf, sge, ...) starts workers as jobs.
        options: of dask-jobqueue's cluster (queue, account, cores, memory, walltime, interface, ...), and `jobs`, how many.
    """
    count = len(os.sched_getaffinity(0)) if slots is None else slots
    if cluster:
        options |= {"cluster": cluster}
    recipe = Recipe(
        name="dask",
        module=__name__,
        slots=count,
        address=address,
        options=options,
        host=host,
        elsewhere=bool(address or cluster),
        patient=bool(cluster),
    )
    return Remote(recipe, clock or Clock(), folder)


class _Arrivals(SchedulerPlugin):  # type: ignore[misc]  # distributed has no types
    """Names of all workers that ever came, those included that were gone before anyone looked."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def add_worker(self, scheduler: Scheduler, worker: str) -> None:
        self.names.append(str(scheduler.workers[worker].name))


class _Pool:
    """In the gateway."""

    def __init__(self, client: Client, cluster: Any, slots: int, jobs: int = 0) -> None:
        self.slots = slots
        self._client = client
        self._cluster = cluster
        self._closed = threading.Event()
        if jobs:
            self._arrivals = _Arrivals()
            cluster.scheduler.add_plugin(self._arrivals)
            cluster.scale(jobs=jobs)
            threading.Thread(target=self._replace_jobs, daemon=True).start()

    def submit(self, parcel: bytes, cores: int) -> Promise:
        future: Promise = self._client.submit(_post.run, parcel, pure=False, retries=0)
        return future

    def close(self) -> None:
        self._closed.set()
        self._client.close(timeout=1)
        if self._cluster is not None:
            self._cluster.close(timeout=3)

    def _replace_jobs(self) -> None:
        """Ask for another job for each one whose workers were there and are gone; dask-jobqueue itself does not notice."""
        replaced: set[str] = set()
        while not self._closed.wait(_POLL_S):
            jobs = [str(job) for job in self._cluster.worker_spec]
            came = _jobs_of(self._arrivals.names.copy(), jobs)
            now = self._client.scheduler_info(n_workers=-1)["workers"].values()
            there = _jobs_of([str(worker["name"]) for worker in now], jobs)
            lost = came - there - replaced
            if lost:
                replaced |= lost
                self._cluster.scale(jobs=len(jobs) + len(lost))


def _jobs_of(workers: list[str], jobs: list[str]) -> set[str]:
    """Which jobs these workers belong to: a job's workers have its name, or that and a number."""
    return {job for job in jobs if any(f"{name}-".startswith(f"{job}-") for name in workers)}


def connect(slots: int, address: str, folder: Path, cluster: str = "", jobs: int = 1, **options: Any) -> _Pool:
    """The client, in the gateway."""
    dask.config.set(_CONFIGURATION)
    if address:
        client = Client(address)
        client.wait_for_workers(1, timeout=_WORKERS_S)
        return _Pool(client, None, sum(client.nthreads().values()))
    if cluster:
        started, slots = _batch_system(cluster, jobs, options)
        return _Pool(Client(started), started, slots, jobs)
    started = LocalCluster(n_workers=slots, threads_per_worker=1, dashboard_address=None, local_directory=str(folder))
    return _Pool(Client(started), started, slots)


def _batch_system(name: str, jobs: int, options: dict[str, Any]) -> tuple[Any, int]:
    """A cluster of dask-jobqueue without a job so far, and how many slots its jobs will have."""
    import dask_jobqueue

    known = {n.removesuffix("Cluster").lower(): n for n in dir(dask_jobqueue) if n.endswith("Cluster") and n != "JobQueueCluster"}
    if name not in known:
        raise ValueError(f"dask-jobqueue has no cluster '{name}'; it has {', '.join(sorted(known))}.")
    cores = int(options.setdefault("cores", 1))
    path = shlex.quote(str(Path(sys.executable).parent))
    options["job_script_prologue"] = [f"export PATH={path}:$PATH", *options.get("job_script_prologue", [])]
    quiet = {"dashboard_address": None, "dashboard": False}
    started = getattr(dask_jobqueue, known[name])(processes=cores, scheduler_options=quiet, **options)
    return started, jobs * cores
