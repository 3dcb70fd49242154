"""Does a surrogate stop honestly when its tolerance is reached, and is it right about how many runs that takes?

    python bench/stopping.py             both studies; --functions, --seeds select; what is in the files is not computed again
    python bench/stopping.py --table     writes docs/stopping.md from what has been measured
One sequence is a function and a seed: runs of one Sobol design, at each look the true error q of the surrogate of all runs (on 2000 points
of which nothing else knows), and what the look says, to bench/results/stopping.csv; forecasts from the pilots go to forecasts.csv.
Tolerances are Sobol's mean errors at N runs on seeds 100-105, on which everything was tuned. Direct calls of the functions, no engine.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import os
import sys
from pathlib import Path

import numpy as np

import _stopping_table
from _emulation import dataset
from mlforhpc.core.learner import Dataset
from mlforhpc.core.seeds import derive
from mlforhpc.core.simulation import Simulation
from mlforhpc.learners import gaussian_process
from mlforhpc.scenarios.learning_curve import forecast, look, next_look, pilots, squared_errors
from mlforhpc.simulations import borehole, environmental, friedman, otl_circuit, piston, wing_weight
from mlforhpc.strategies.sobol import design

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results"
FUNCTIONS: dict[str, Simulation] = {
    "otl_circuit": otl_circuit.create(),
    "borehole": borehole.create(),
    "piston": piston.create(),
    "wing_weight": wing_weight.create(),
    "friedman": friedman.create(),
    "environmental": environmental.create(),
}
TOLERANCES: dict[str, dict[int, float]] = {
    "otl_circuit": {60: 0.0077, 110: 0.0025, 120: 0.0021, 240: 0.00058},
    "borehole": {60: 0.0042, 110: 0.0019, 120: 0.0019, 240: 0.00086},
    "piston": {60: 0.064, 110: 0.032, 120: 0.029, 240: 0.017},
    "wing_weight": {60: 0.013, 110: 0.0026, 120: 0.0024, 240: 0.00067},
    "friedman": {60: 0.013, 110: 0.0011, 120: 0.00094, 240: 0.000080},
    "environmental": {60: 0.0091, 110: 0.0040, 120: 0.0034},
}
STOPS = {"sizes": (60, 120), "seeds": (0, 1, 2), "large": 240, "large_seeds": (0,), "large_first": 120}
FORECASTS = {"sizes": (60, 110), "seeds": tuple(range(10))}
LONGEST, BEYOND = 700, 165
"""Runs at which a curve ends in any case (half of it for profiles), and before which it does not."""
TEST_POINTS = 2000
LEARNER = gaussian_process.create(folds=0)
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


class Sequence:
    """The runs of one design, made as they are needed."""

    def __init__(self, function: str, seed: int) -> None:
        self.function, self.seed, self.simulation = function, seed, FUNCTIONS[function]
        self.x = design(self.simulation.space, seed=derive(seed, "design"), runs=1024)
        self.test = made(self.simulation, self.simulation.space.decode(self._uniform()))
        self.made = made(self.simulation, self.x[:LONGEST])

    def _uniform(self) -> np.ndarray:
        return np.random.default_rng(derive(self.seed, "test")).random((TEST_POINTS, len(self.simulation.space)))

    def data(self, n: int) -> Dataset:
        return self.made.rows(np.arange(n))

    def true_error(self, n: int) -> float:
        surrogate = LEARNER.fit(self.data(n), seed=derive(self.seed, "fit", n))
        return float(np.sqrt(squared_errors(surrogate, self.test).mean()))

    @property
    def pilots(self) -> int:
        return pilots(len(self.simulation.space))


def made(simulation: Simulation, x: np.ndarray) -> Dataset:
    """Runs at x (n, d)."""
    name, points = simulation.outputs[0].name, [simulation.space.point(row) for row in x]
    y = [simulation.simulate(p, settings={}, fidelity=1.0, seed=0, workdir=Path()).values[name] for p in points]
    return dataset(simulation, x, np.array(y))


class Table:
    """A CSV file that rows are appended to at once, and never twice."""

    def __init__(self, path: Path, columns: list[str], keys: int) -> None:
        self.path, self.columns, self.keys = path, columns, keys
        self.rows: dict[tuple[str, ...], dict[str, str]] = {}
        if path.is_file():
            with path.open(newline="") as file:
                for row in csv.DictReader(file):
                    self.rows[tuple(row[c] for c in columns[:keys])] = row

    def get(self, *key: object) -> dict[str, str] | None:
        return self.rows.get(tuple(map(str, key)))

    def add(self, *values: object) -> dict[str, str]:
        texts = [f"{v:.6g}" if isinstance(v, float) else str(v) for v in values]
        row = dict(zip(self.columns, texts, strict=True))
        self.rows[tuple(texts[: self.keys])] = row
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            if file.tell() == 0:
                writer.writerow(self.columns)
            writer.writerow(texts)
        return row


CURVES = Table(RESULTS / "curves.csv", ["function", "seed", "runs", "q"], 3)
LOOKS = Table(RESULTS / "stopping.csv", ["function", "seed", "runs", "k", "error", "upper"], 4)
FOUND = Table(RESULTS / "forecasts.csv", ["function", "seed", "size", "tolerance", "at", "runs", "lower", "upper"], 3)


def main() -> None:
    """Compute what is missing, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--functions", nargs="+", choices=FUNCTIONS, default=list(FUNCTIONS))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(FORECASTS["seeds"]))
    parser.add_argument("--large", action="store_true", help="the stops at N = 240, too")
    parser.add_argument("--table", action="store_true", help="write docs/stopping.md instead")
    chosen = parser.parse_args()
    if chosen.table:
        print(_stopping_table.write(ROOT / "docs" / "stopping.md", CURVES.rows, LOOKS.rows, FOUND.rows, TOLERANCES))
        return
    for seed, function in itertools.product(chosen.seeds, chosen.functions):
        sequence = Sequence(function, seed)
        if seed in FORECASTS["seeds"]:
            forecasts(sequence)
        last = 0
        if seed in STOPS["seeds"]:
            last = looks(sequence, sequence.pilots, min(TOLERANCES[function][n] for n in STOPS["sizes"]))
        curve(sequence, sequence.pilots, max(last, BEYOND), TOLERANCES[function][120])
        if chosen.large and seed in STOPS["large_seeds"] and STOPS["large"] in TOLERANCES[function]:
            last = looks(sequence, STOPS["large_first"], TOLERANCES[function][STOPS["large"]])
            curve(sequence, STOPS["large_first"], last, TOLERANCES[function][STOPS["large"]])
        print(function, seed, flush=True)


def longest(function: str) -> int:
    """Runs at which a curve ends."""
    return LONGEST if FUNCTIONS[function].outputs[0].shape == () else LONGEST // 2


def curve(sequence: Sequence, first: int, last: int, tolerance: float) -> None:
    """True errors at the sizes of looks, to `last` and until they have stayed below the tolerance three times."""
    n, below = first, 0
    while n <= longest(sequence.function) and not (below >= 3 and n > last):
        key = (sequence.function, sequence.seed, n)
        row = CURVES.get(*key) or CURVES.add(*key, sequence.true_error(n))
        below = below + 1 if float(row["q"]) <= tolerance else 0
        n = next_look(n)


def looks(sequence: Sequence, first: int, tolerance: float) -> int:
    """Looks until the tolerance is reached; the runs of the last."""
    n, k, upper, last = first, 1, np.inf, first
    while n <= longest(sequence.function) and upper > tolerance:
        key = (sequence.function, sequence.seed, n, k)
        row = LOOKS.get(*key)
        if row is None:
            found = look(sequence.data(n), LEARNER, seed=derive(sequence.seed, "look", n))
            row = LOOKS.add(*key, found.error, found.upper)
        upper, last, n, k = float(row["upper"]), n, next_look(n), k + 1
    return last


def forecasts(sequence: Sequence) -> None:
    """What the pilots say about each tolerance."""
    n, function, seed = sequence.pilots, sequence.function, sequence.seed
    missing = [size for size in FORECASTS["sizes"] if FOUND.get(function, seed, size) is None]
    if not missing:
        return
    data = sequence.data(n)
    first = look(data, LEARNER, seed=derive(seed, "look", n))
    for size in missing:
        made = forecast([first], data, LEARNER, tolerance=TOLERANCES[function][size], seed=derive(seed, "forecast"))
        FOUND.add(function, seed, size, made.tolerance, made.at, made.runs, made.lower, made.upper)


if __name__ == "__main__":
    if any(os.environ.get(name) != "1" for name in ONE_THREAD):  # read when NumPy is loaded, so before anything else
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **ONE_THREAD})
    main()
