"""The same runs, other learners: error of each on the training runs and held-out systems of recorded flagship runs.

python bench/flagship_learners.py runs/*-surrogate-nanoconfinement-small-*

The network 512-256 is the architecture of the source (Kadupitiya, Fox & Jadhao, 2019, doi 10.1007/978-3-030-22741-8_9), the other the
default of learner `network`; both need the extra `torch`. Nothing is simulated: training runs come from the run's store, references from
its artifacts. Ratios are of q, paired by seed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mlforhpc.core import trace
from mlforhpc.core.learner import Dataset, Learner
from mlforhpc.core.names import load
from mlforhpc.core.seeds import derive
from mlforhpc.core.space import FloatArray
from mlforhpc.metrics.quality import error_terms
from mlforhpc.store import FolderStore

LEARNERS = {
    "gaussian_process": ("gaussian_process", {"folds": 0}),
    "network 64-64-64": ("network", {"folds": 0}),
    "network 512-256 (the source's)": ("network", {"folds": 0, "hidden": (512, 256)}),
}


def main() -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--learners", nargs="+", default=list(LEARNERS), choices=list(LEARNERS))
    options = parser.parse_args()
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in options.learners}
    print("| seed | " + " | ".join(options.learners) + " |\n|---|" + "---|" * len(options.learners))
    for folder in sorted(options.runs, key=seed_of):
        data, held = training_runs(folder), dict(np.load(folder / "artifacts" / "quality.npz"))
        for name in options.learners:
            module, arguments = LEARNERS[name]
            found[name].append(error(load("learners", module).create(**arguments), data, held, seed_of(folder)))
        print(f"| {seed_of(folder)} | " + " | ".join(f"{found[name][-1][0]:.4f}" for name in options.learners) + " |", flush=True)
    first = np.log([q for q, _ in found[options.learners[0]]])
    for name, rows in found.items():
        logs = np.log([q for q, _ in rows]) - first
        spread = logs.std(ddof=1) / np.sqrt(len(logs)) if len(logs) > 1 else float("nan")
        ratio, cpu_s = np.exp(logs.mean()), np.mean([spent for _, spent in rows])
        print(f"{name}: q over that of {options.learners[0]} {ratio:.2f}, log +- {spread:.2f}; {cpu_s:.1f} CPU s")


def seed_of(folder: Path) -> int:
    return int(folder.name.rpartition("seed")[2])


def training_runs(folder: Path) -> Dataset:
    """The runs that the surrogate of a run folder was fitted to."""
    decisions = [e for e in trace.read(folder / "events.jsonl") if isinstance(e, trace.Decision)]
    keys = next(e.data["keys"] for e in decisions if e.decision == "learned")
    simulation = load("simulations", next(e.data["simulation"] for e in decisions if e.decision == "strategy")).create()
    with FolderStore.open(folder / "store", read_only=True) as store:
        return Dataset.of_records(simulation, [record for key in keys if (record := store.get(key)) is not None])


def error(learner: Learner, data: Dataset, held: Mapping[str, FloatArray], seed: int) -> tuple[float, float]:
    """q on the held-out systems, and CPU seconds of the fit."""
    start = time.process_time()
    surrogate = learner.fit(data, seed=derive(seed, "fit"))
    spent_s = time.process_time() - start
    references = [{o.name: held[f"{o.name}.r{k}"] for o in data.outputs} for k in (1, 2)]
    terms = error_terms(data.outputs, surrogate.predict(held["x"]).mean, *references)
    return float(np.sqrt(max(terms.by_system @ held["weight"], 0.0))), spent_s


if __name__ == "__main__":
    main()
