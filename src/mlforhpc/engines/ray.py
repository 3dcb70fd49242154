"""Engine `ray`: tasks of a Ray cluster (P. Moritz et al., "Ray: a distributed framework for emerging AI applications",
2018, arXiv:1712.05889), one started here or one that runs at an address.

A task of several cores is one Ray task with as many CPUs, which Ray places on one node.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import ray

from mlforhpc.core.clock import Clock
from mlforhpc.engines import _post
from mlforhpc.engines._gateway import Promise
from mlforhpc.engines._remote import Recipe, Remote


def create(
    slots: int | None = None,
    *,
    address: str = "",
    host: str = "",
    folder: Path | None = None,
    clock: Clock | None = None,
) -> Remote:
    """Slots of a Ray cluster.

    Args:
        slots: of a local cluster; None = the cores that this process may use. At an address: the CPUs that the cluster has.
        address: "host:port" of a head node, or "auto"; empty = start a cluster here.
        host: under which workers find this process; needed where they are on other hosts.
        folder: where shared arrays and large results go; None = memory or the temporary folder.
        clock: of the trace.
    """
    count = len(os.sched_getaffinity(0)) if slots is None else slots
    recipe = Recipe(name="ray", module=__name__, slots=count, address=address, host=host, elsewhere=bool(address))
    return Remote(recipe, clock or Clock(), folder)


class _Pool:
    """In the gateway."""

    def __init__(self, slots: int, address: str) -> None:
        local: dict[str, Any] = {"num_cpus": slots, "include_dashboard": False} if not address else {"address": address}
        ray.init(log_to_driver=False, configure_logging=False, **local)
        self.slots = slots if not address else int(ray.cluster_resources().get("CPU", 0))
        self._run = {1: ray.remote(max_retries=0, num_cpus=1)(_post.run)}

    def submit(self, parcel: bytes, cores: int) -> Promise:
        if cores not in self._run:
            self._run[cores] = ray.remote(max_retries=0, num_cpus=cores)(_post.run)
        future: Promise = self._run[cores].remote(parcel).future()
        return future

    def close(self) -> None:
        ray.shutdown()


def connect(slots: int, address: str, folder: Path) -> _Pool:
    """The client, in the gateway."""
    return _Pool(slots, address)
