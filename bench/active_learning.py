"""How many runs does choosing them save? Strategy `variance` beside the Sobol design, paired by seed, same learner for both.

    python bench/active_learning.py             computes what is missing, prints the table and writes docs/active-learning.md
    python bench/active_learning.py --table     the table and the page alone
Every finished row is appended to bench/results/active_learning.csv and not computed again; --functions and --seeds select. Remove that
file after a change of strategy or learner. The ratio is n / 100, where n is the number of runs at which the error of `variance` first
reaches that of the Sobol design at 100 runs: log-log interpolation between the sizes, along the best error so far.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import math
import os
import sys
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

import numpy as np
from scipy.stats import binom

from _accuracy_table import table
from _emulation import dataset, runs
from mlforhpc.core.seeds import derive
from mlforhpc.core.simulation import Simulation
from mlforhpc.core.strategy import Observation, Strategy
from mlforhpc.learners import gaussian_process
from mlforhpc.simulations import borehole, friedman, otl_circuit, piston, wing_weight
from mlforhpc.strategies import sobol, variance

ROOT = Path(__file__).parents[1]
RESULTS, PAGE = ROOT / "bench" / "results" / "active_learning.csv", ROOT / "docs" / "active-learning.md"
FUNCTIONS: dict[str, Simulation] = {
    "borehole": borehole.create(),
    "otl_circuit": otl_circuit.create(),
    "piston": piston.create(),
    "wing_weight": wing_weight.create(),
    "friedman": friedman.create(),
}
STRATEGIES = {"sobol": sobol, "variance": variance}
SIZES = (40, 50, 60, 70, 80, 90, 100)
COMPARED = SIZES[1:]
SEEDS = 10
TEST_POINTS = 2000
AIM = 0.8
COLUMNS = ["function", "strategy", "seed", "n", "nrmse", "packages"]
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
Curves = dict[tuple[str, str], dict[int, dict[int, float]]]


def main() -> None:
    """Compute what is missing, then write the page."""
    chosen = arguments()
    if not chosen.table:
        for seed, function, strategy in itertools.product(chosen.seeds, chosen.functions, STRATEGIES):
            if set(SIZES) - set(read().get((function, strategy), {}).get(seed, {})):
                found = curve(function, strategy, seed)
                append({"function": function, "strategy": strategy, "seed": seed, "n": n, "nrmse": e} for n, e in found.items())
                print(function, strategy, seed, *(f"{e:.3g}" for e in found.values()), flush=True)
    text = page(read())
    PAGE.write_text(text, encoding="utf-8")
    print(text)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--functions", nargs="+", choices=FUNCTIONS, default=list(FUNCTIONS))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(SEEDS)))
    parser.add_argument("--table", action="store_true", help="write the page from what is there")
    return parser.parse_args()


def curve(function: str, strategy: str, seed: int) -> dict[int, float]:
    """Number of runs -> nRMSE: one campaign of 100 runs, a fit to the first n of them in the order of asking."""
    simulation = FUNCTIONS[function]
    u = np.random.default_rng(derive(seed, "test points")).random((TEST_POINTS, len(simulation.space)))
    truth = runs(simulation, u, 0)
    plan = STRATEGIES[strategy].create(simulation.space, outputs=simulation.outputs, seed=seed, runs=SIZES[-1])
    x, y = campaign(simulation, plan)
    errors = {}
    for n in SIZES:
        surrogate = gaussian_process.create(folds=0).fit(dataset(simulation, x[:n], y[:n]), seed=seed)
        mean = surrogate.predict(simulation.space.decode(u)).mean[simulation.outputs[0].name]
        errors[n] = float(np.sqrt(np.mean((mean - truth) ** 2)) / np.std(truth))
    return errors


def campaign(simulation: Simulation, plan: Strategy) -> tuple[np.ndarray, np.ndarray]:
    """All points (n, d) and values (n,); as many runs at once as the strategy offers."""
    x, y = np.empty((0, len(simulation.space))), np.empty(0)
    while plan.done is None:
        proposals = plan.ask(SIZES[-1])
        new = np.array([p.x for p in proposals])
        values = runs(simulation, simulation.space.encode(new), 0)
        name = simulation.outputs[0].name
        plan.tell([Observation(id=p.id, outcome="ok", y={name: np.array(v)}) for p, v in zip(proposals, values, strict=True)])
        x, y = np.vstack([x, new]), np.concatenate([y, values])
    return x, y


def read() -> Curves:
    """(function, strategy) -> seed -> n -> nRMSE."""
    found: Curves = {}
    for row in rows():
        found.setdefault((row["function"], row["strategy"]), {}).setdefault(int(row["seed"]), {})[int(row["n"])] = float(row["nrmse"])
    return found


def rows() -> list[dict[str, str]]:
    """All rows that are there."""
    if not RESULTS.is_file():
        return []
    with RESULTS.open(newline="") as file:
        return list(csv.DictReader(file))


def append(new: Iterable[dict[str, object]]) -> None:
    """Rows of one campaign."""
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    packages = "; ".join(f"{name} {version(name)}" for name in ("mlforhpc", "numpy", "scipy"))
    with RESULTS.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if file.tell() == 0:
            writer.writeheader()
        writer.writerows({**row, "nrmse": f"{row['nrmse']:.6g}", "packages": packages} for row in new)


def ratio(errors: dict[int, float], target: float) -> float:
    """Runs to the target over 100; 0.5 where 50 are enough, infinite where 100 are too few."""
    best = np.minimum.accumulate([errors[n] for n in COMPARED])
    if best[0] <= target:
        return COMPARED[0] / SIZES[-1]
    if best[-1] > target:
        return math.inf
    i = int(np.argmax(best <= target))
    part = np.log(best[i - 1] / target) / np.log(best[i - 1] / best[i])
    return float(np.exp(np.log(COMPARED[i - 1]) + part * np.log(COMPARED[i] / COMPARED[i - 1])) / SIZES[-1])


def upper_limit(values: list[float]) -> float:
    """Upper limit of the median at one-sided 90 % or more: an order statistic, whatever the distribution; infinite for few values."""
    n = len(values)
    rank = next((r for r in range(1, n + 1) if binom.cdf(r - 1, n, 0.5) >= 0.9), None)
    return sorted(values)[rank - 1] if rank else math.inf


def page(curves: Curves) -> str:
    """The whole text."""
    head, lines, saved = ["function", "strategy", *(f"N = {n}" for n in SIZES)], [], []
    for f in FUNCTIONS:
        seeds = sorted(set(curves.get((f, "sobol"), {})) & set(curves.get((f, "variance"), {})))
        if not seeds:
            continue
        for s in STRATEGIES:
            lines.append([f, s, *(spread([curves[f, s][seed][n] for seed in seeds]) for n in SIZES)])
        ratios = [ratio(curves[f, "variance"][seed], curves[f, "sobol"][seed][SIZES[-1]]) for seed in seeds]
        at_end = [curves[f, "variance"][seed][SIZES[-1]] / curves[f, "sobol"][seed][SIZES[-1]] for seed in seeds]
        limit, middle = upper_limit(ratios), float(np.median(ratios))
        never, worse = sum(math.isinf(r) for r in ratios), sum(r > 1 for r in at_end)
        verdict = "yes" if limit <= AIM else "no"
        shown = [number(middle), number(limit), " ".join(number(r) for r in sorted(ratios))]
        saved.append([f, *shown, f"{never} of {len(seeds)}", f"{np.median(at_end):.2f}", f"{worse} of {len(seeds)}", verdict])
    columns = [
        "function",
        "runs needed / 100",
        "upper 90 % limit",
        "by seed, sorted",
        "not reached",
        "error at 100 / Sobol's",
        "worse at 100",
    ]
    packages = " / ".join(sorted({row["packages"] for row in rows()}))
    summary = table([*columns, f"limit <= {AIM}"], saved)
    return f"{HEAD}\n{summary}\n\n## Learning curves\n\n{CURVES}\n{table(head, lines)}\n\nVersions: {packages}.\n"


def spread(values: list[float]) -> str:
    """Median and the 10 to 90 % range."""
    low, middle, high = np.quantile(values, [0.1, 0.5, 0.9])
    return f"{middle:.2g} ({low:.2g}-{high:.2g})"


def number(value: float) -> str:
    """A ratio; what is not reached is more than one."""
    return "> 1" if math.isinf(value) else f"{value:.2f}"


HEAD = f"""# What choosing the runs saves

Written by `python bench/active_learning.py` from `bench/results/active_learning.csv`. Strategy `variance` beside the Sobol design, both
with default options, 100 runs, surrogate `gaussian_process` without folds fitted to the first N; judged without noise at {TEST_POINTS:,}
uniform points, {SEEDS} seeds, each with a design and test points of its own, the same for both strategies. Runs of one batch at once.

"Runs needed" is where the error of `variance` reaches that of Sobol's 100 runs, over 100 (interpolated between N = 50 and 100; 0.50
stands for 50 or fewer, > 1 for not reached): the median over seeds, and its one-sided upper limit by order statistics.
"""
CURVES = """nRMSE, the root mean square error over the standard deviation of the truth: median over seeds (10 to 90 %).
"""


if __name__ == "__main__":
    if any(os.environ.get(name) != "1" for name in ONE_THREAD):  # read when NumPy is loaded, so before anything else
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **ONE_THREAD})
    main()
