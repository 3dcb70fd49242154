"""Engine `parsl`: Parsl's HighThroughputExecutor (Y. Babuji et al., "Parsl: pervasive parallel programming in Python",
2019, doi:10.1145/3307681.3325400), on this machine or through one of its providers: the road to Slurm, PBS, LSF,
Grid Engine and Kubernetes.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import parsl
import parsl.launchers
import parsl.providers
from parsl.config import Config
from parsl.executors import HighThroughputExecutor

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
    provider: str = "local",
    **options: Any,
) -> Remote:
    """Workers of a HighThroughputExecutor.

    Args:
        slots: how many workers in all; None = the cores that this process may use.
        address: under which Parsl's workers find its interchange; empty = this machine's loopback, or `host`.
        host: under which workers find this process; needed where they are on other hosts.
        folder: where shared arrays and large results go; None = memory or the temporary folder.
        clock: of the trace.
        provider: "local", "slurm" or another of Parsl's (pbspro, lsf, gridengine, kubernetes, ...).
        options: of the provider (partition, account, nodes_per_block, max_blocks, walltime, worker_init, ...; `launcher` by
            name), and `slots_per_node`.
    """
    count = len(os.sched_getaffinity(0)) if slots is None else slots
    recipe = Recipe(
        name="parsl",
        module=__name__,
        slots=count,
        address=address or host or "127.0.0.1",
        host=host or "127.0.0.1",
        options={"provider": provider, **options},
        patient=provider != "local",
    )
    return Remote(recipe, clock or Clock(), folder)


class _Pool:
    """In the gateway."""

    def __init__(self, slots: int, config: Config) -> None:
        self.slots = slots
        self._kernel = parsl.load(config)
        self._app = parsl.python_app(_post.run, data_flow_kernel=self._kernel)

    def submit(self, parcel: bytes, cores: int) -> Promise:
        future: Promise = self._app(parcel)
        return future

    def close(self) -> None:
        self._kernel.cleanup()


def connect(slots: int, address: str, folder: Path, provider: str, slots_per_node: int | None = None, **options: Any) -> _Pool:
    """The client, in the gateway."""
    executor = HighThroughputExecutor(
        label="mlforhpc",
        address=address,
        max_workers_per_node=slots_per_node or slots,
        cores_per_worker=1e-9,  # as many workers as we say, whatever Parsl thinks of the node's cores
        provider=_provider(provider, options),
        heartbeat_period=5,
        heartbeat_threshold=20,
        encrypted=True,
    )
    return _Pool(slots, Config(executors=[executor], retries=0, run_dir=str(folder / "parsl"), initialize_logging=False))


def _provider(name: str, options: dict[str, Any]) -> Any:
    known = {n.removesuffix("Provider").lower(): n for n in parsl.providers.__all__}
    if name not in known:
        raise ValueError(f"Parsl has no provider '{name}'; it has {', '.join(sorted(known))}.")
    if "launcher" in options:
        options["launcher"] = getattr(parsl.launchers, options["launcher"])()
    return getattr(parsl.providers, known[name])(**options)
