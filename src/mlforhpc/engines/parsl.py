"""Engine `parsl`: Parsl's HighThroughputExecutor (Y. Babuji et al., "Parsl: pervasive parallel programming in Python",
2019, doi:10.1145/3307681.3325400), on this machine or through one of its providers: the road to Slurm, PBS, LSF,
Grid Engine and Kubernetes.
"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Any

import parsl
import parsl.launchers
import parsl.providers
from parsl.config import Config
from parsl.executors import HighThroughputExecutor

from mlforhpc.core.clock import Clock
from mlforhpc.core.errors import UsageError
from mlforhpc.engines import _post
from mlforhpc.engines._gateway import Promise
from mlforhpc.engines._remote import Recipe, Remote, reachable

_POLL_S = 1.0


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
        slots: how many workers on this machine; None = the cores that this process may use. With a batch system, it is
            slots_per_node x nodes_per_block x blocks.
        address: under which Parsl's workers find its interchange; empty = as `host`.
        host: under which workers find this process; empty = the loopback interface, or the one that leads out of this machine.
        folder: where shared arrays and large results go; None = memory or the temporary folder.
        clock: of the trace.
        provider: "local", "slurm" or another of Parsl's (pbspro, lsf, gridengine, kubernetes, ...).
        options: of the provider (partition, account, nodes_per_block, walltime, worker_init, ...; `launcher` by name), and
            `slots_per_node` and `blocks`, how many jobs are held.

    Raises:
        UsageError: a batch system without slots_per_node.
    """
    local = provider == "local"
    if local:
        count = options.setdefault("slots_per_node", len(os.sched_getaffinity(0)) if slots is None else slots)
    elif "slots_per_node" not in options:
        raise UsageError(f"Engine 'parsl' with provider '{provider}' needs slots_per_node, how many tasks a node runs at a time.")
    else:
        count = options["slots_per_node"] * options.get("nodes_per_block", 1) * options.get("blocks", 1)
    recipe = Recipe(
        name="parsl",
        module=__name__,
        slots=count,
        address=address or host or ("127.0.0.1" if local else reachable()),
        options={"provider": provider, **options},
        host=host,
        elsewhere=not local,
        patient=not local,
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


def connect(slots: int, address: str, folder: Path, provider: str, slots_per_node: int, **options: Any) -> _Pool:
    """The client, in the gateway."""
    executor = HighThroughputExecutor(
        label="mlforhpc",
        address=address,
        max_workers_per_node=slots_per_node,
        cores_per_worker=1e-9,  # as many workers as we say, whatever Parsl thinks of the node's cores
        provider=_provider(provider, options),
        heartbeat_period=5,
        heartbeat_threshold=20,
        encrypted=True,
    )
    config = Config(
        executors=[executor],
        retries=0,  # a lost task is ours to run again, and to count
        strategy="simple",  # replaces a block that ended
        strategy_period=_POLL_S,
        run_dir=str(folder / "parsl"),
        initialize_logging=False,
    )
    return _Pool(slots, config)


def _provider(name: str, options: dict[str, Any]) -> Any:
    """The provider; it holds its blocks as long as there is work, and looks after them often."""
    known = {n.removesuffix("Provider").lower(): n for n in parsl.providers.__all__}
    if name not in known:
        raise ValueError(f"Parsl has no provider '{name}'; it has {', '.join(sorted(known))}.")
    nodes, blocks = options.get("nodes_per_block", 1), options.pop("blocks", 1)
    launcher = options.pop("launcher", "SrunLauncher" if nodes > 1 else "SimpleLauncher")
    options |= {"init_blocks": blocks, "min_blocks": blocks, "max_blocks": blocks, "launcher": getattr(parsl.launchers, launcher)()}
    if name != "local":
        path = f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH"
        options["worker_init"] = f"{path}\n{options.get('worker_init', '')}"
    base = getattr(parsl.providers, known[name])

    class Attentive(base):  # type: ignore[misc, valid-type]
        """Asks the batch system more often than once a minute: until then, a block that ended is not replaced."""

        status_polling_interval = _POLL_S

    return Attentive(**options)
