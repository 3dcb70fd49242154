"""Every engine through the broker, beside itself without us: no-ops, round trip, tasks of 100 ms; and the flagship on each.

Each engine runs twice at the same time, once behind our broker and once bare in a process of its own, with two workers;
the two are measured in turn, in changing order. Writes bench/results/engines.csv.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import wait
from pathlib import Path
from typing import Any

from _bare import measured
from _paired import own_broker
from mlforhpc.core import trace
from mlforhpc.core.choice import EngineChoice
from mlforhpc.metrics.system import system_figures
from mlforhpc.run import Request, run

HERE = Path(__file__).parent
ENGINES = ("serial", "processes", "mpi", "ray", "parsl", "dask")
SIZES = {"noops": {"processes": 5000, "mpi": 3000, "ray": 3000, "parsl": 1500, "dask": 1000}, "trips": 200, "spins": 40}


class Bare:
    """The engine without us, to be told what to measure."""

    def __init__(self, name: str) -> None:
        words = ["mpiexec", "-n", "3", sys.executable, "-m", "mpi4py.futures"] if name == "mpi" else [sys.executable]
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        environment = {**os.environ, "PATH": path, "PYTHONPATH": os.pathsep.join(filter(None, [str(HERE), *sys.path]))}
        self._process = subprocess.Popen(
            [*words, str(HERE / "_bare.py"), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        assert self._process.stdout is not None
        while (line := self._process.stdout.readline()) != "ready\n":
            if not line:
                raise SystemExit(f"The bare {name} ended before it was ready.")

    def measure(self, what: str, n: int) -> float:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{what} {n}\n")
        self._process.stdin.flush()
        while True:
            line = self._process.stdout.readline()
            try:
                return float(line)
            except ValueError:
                if not line:
                    raise

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


def gathered(futures: list[Any]) -> list[Any]:
    wait(futures)
    return [future.result() for future in futures]


def paired(name: str, pairs: int) -> dict[str, list[tuple[float, float]]]:
    """What -> (ours, bare) seconds, pair by pair."""
    bare = Bare(name)
    create: Callable[..., Any] = importlib.import_module(f"mlforhpc.engines.{name}").create
    found: dict[str, list[tuple[float, float]]] = {}
    try:
        with own_broker(2, create) as (broker, _):
            for what, sizes in SIZES.items():
                n = sizes if isinstance(sizes, int) else sizes[name]

                def ours(what: str = what, n: int = n) -> float:
                    return measured(what, n, lambda *call: broker.submit("decide", *call), gathered)

                ours(), bare.measure(what, n)  # warm
                found[what] = []
                for pair in range(pairs):
                    a, b = (ours(), bare.measure(what, n)) if pair % 2 else (bare.measure(what, n), ours())[::-1]
                    found[what].append((a, b))
    finally:
        bare.close()
    return found


def flagship(name: str, seed: int) -> dict[str, Any]:
    """The flagship at tiny on an engine: a digest of its quality figures, and what the engine cost."""
    with tempfile.TemporaryDirectory() as root:
        began = time.perf_counter()
        choice = EngineChoice(name=name, slots=1 if name == "serial" else 2)
        folder, result = run(Request(benchmark="surrogate-nanoconfinement", size="tiny", seed=seed, engine=choice), root=Path(root))
        took = time.perf_counter() - began
        events = list(trace.read(folder / "events.jsonl"))
    start = next((e.value for e in events if isinstance(e, trace.Mark) and e.name == "engine_start_s"), None)
    found = system_figures(events)
    digest = hashlib.sha256(json.dumps(dict(result.quality), sort_keys=True).encode()).hexdigest()[:12]
    cpu = found.driver_cpu_s_per_task
    return {
        "verdict": result.verdict.status,
        "figures": digest,
        "run_s": took,
        "engine_start_s": start,
        "makespan_s": found.makespan_s,
        "overhead": found.overhead,
        "driver_cpu_ms_per_task": None if cpu is None else cpu * 1e3,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engines", nargs="*", default=ENGINES)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "engines.csv")
    a = parser.parse_args()
    rows = []
    for name in a.engines:
        row: dict[str, Any] = {"engine": name, **flagship(name, a.seed)}
        for what, pairs in (paired(name, a.pairs) if name != "serial" else {}).items():
            ratios = [b / ours if what != "trips" else ours / b for ours, b in pairs]  # throughput and efficiency; time
            row |= {
                f"{what}_ratio": statistics.median(ratios),
                f"{what}_lowest": min(ratios),
                f"{what}_highest": max(ratios),
                f"{what}_ours_s": statistics.median(p[0] for p in pairs),
                f"{what}_bare_s": statistics.median(p[1] for p in pairs),
            }
        rows.append(row)
        print("  ".join(f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in row.items()), flush=True)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with a.out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    same = len({row["figures"] for row in rows}) == 1
    print(f"science figures: {'identical on all' if same else 'DIFFERENT'}; written: {a.out}")
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
