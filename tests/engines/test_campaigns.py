"""A campaign on every engine, in which a simulation crashes and a worker is killed: complete, nothing lost, nothing repeated."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections import Counter
from concurrent.futures import wait
from pathlib import Path

import pytest

import mlforhpc as ml
from mlforhpc.core.trace import Finished, Submitted, read

N = 40
LONG = [pytest.param(engine, marks=pytest.mark.system) for engine in ("dask", "ray", "parsl")]


@pytest.mark.parametrize("engine", ["serial", "processes", "mpi", *LONG])
def test_a_campaign_survives_a_crash_and_a_killed_worker(engine, tmp_path):
    """Forty simulations; one crashes at its first run, one kills the worker that it runs in, all end once in the store."""
    pytest.importorskip(f"mlforhpc.engines.{engine}")
    below = engine not in ("serial", "processes")  # there, the slot child is not the engine's own worker, but a child of it

    def simulated(x, folder=str(tmp_path)):
        time.sleep(0.01)
        for at, harm in ((11, "crash"), (23, "kill")):
            mark = Path(folder, harm)
            if int(x) == at and not mark.exists():
                mark.touch()
                if harm == "crash":
                    ctypes.string_at(0)
                os.kill(os.getppid() if below else os.getpid(), signal.SIGKILL)
                time.sleep(60)
        return 2 * x

    simulation = ml.simulation(simulated, space=ml.Space(x=ml.Real(0, N)), outputs=[ml.Output(name="y")], name="harmful", version="1")
    with ml.Campaign(tmp_path / "campaign", engine=engine, slots=1 if engine == "serial" else 2) as campaign:
        futures = [campaign.broker.simulate(simulation, {"x": float(i)}, seed=i, limit_s=120.0) for i in range(N)]
        wait(futures, timeout=120)
        records = [future.result(0) for future in futures]
        assert [float(record.outputs["y"]) for record in records] == [2.0 * i for i in range(N)]
        assert all(campaign.broker.store.get(record.key) is not None for record in records)
    events = list(read(tmp_path / "campaign" / "events.jsonl"))
    ended = Counter(event.task for event in events if isinstance(event, Finished) and event.outcome == "ok")
    assert ended == Counter(event.task for event in events if isinstance(event, Submitted))
    lost = [event for event in events if isinstance(event, Finished) and event.outcome == "lost"]
    assert {"crash", "kill"} <= {path.name for path in tmp_path.iterdir()} and len(lost) >= 2
