"""What smoothing its profiles saves a conventional run of the flagship, by length of run.

    python bench/smoothing.py tests/data/surrogate-nanoconfinement-small-seed0

From the arrays of finished run folders: the squared error of a run as it is and smoothed, over the held-out systems that the length was
run on, and their ratio with its bootstrap interval over systems.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from mlforhpc.core.space import FloatArray
from mlforhpc.metrics.quality import error_terms, pair_terms
from mlforhpc.simulations import nanoconfinement
from mlforhpc.simulations._slit_smoothing import profiles

OUTPUTS = [output for output in nanoconfinement.create().outputs if not output.derived]
RESAMPLES = 2000


def measured(path: Path) -> Iterator[tuple[float, FloatArray]]:
    """For each length of run: steps, and weight, squared error as it is and smoothed of each system (3, n)."""
    data = np.load(path / "artifacts" / "quality.npz")
    weight = data["weight"]

    def runs(label: str, value: str, error: str) -> tuple[dict[str, FloatArray], dict[str, FloatArray]]:
        y, se = ({o.name: data[form.format(label, o.name)] for o in OUTPUTS} for form in (value, error))
        return y, profiles(y, se)

    r1, made1 = runs("1", "{1}.r{0}", "{1}.se{0}")
    r2, made2 = runs("2", "{1}.r{0}", "{1}.se{0}")
    yield float(data["ladder_reference.steps"]), columns(weight, (r1, r2), (made1, made2))
    for name in data["ladder"]:
        if not name.startswith("fidelity"):
            continue
        rung = name.replace("fidelity ", "rung_")
        i, steps = data[f"{rung}.index"], float(data[f"ladder_{name}.steps"])
        y, made = runs(rung, "{0}.{1}", "{0}.{1}.se")
        if f"{rung}_again.cost_s" in data:
            again, made_again = runs(f"{rung}_again", "{0}.{1}", "{0}.{1}.se")
            yield steps, columns(weight[i], (y, again), (made, made_again))
        else:
            references = [{name: r[i] for name, r in both.items()} for both in (r1, r2)]
            yield steps, np.stack([weight[i], *(error_terms(OUTPUTS, p, *references).by_system for p in (y, made))])


def columns(weight: FloatArray, pair: tuple[Mapping[str, FloatArray], ...], made: tuple[Mapping[str, FloatArray], ...]) -> FloatArray:
    return np.stack([weight, *(pair_terms(OUTPUTS, pair, what).by_system for what in (pair, made))])


def main() -> None:
    """Print one row a length of run, all run folders together."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", nargs="+", type=Path)
    found: dict[float, list[FloatArray]] = {}
    for path in parser.parse_args().runs:
        for steps, terms in measured(path):
            found.setdefault(steps, []).append(terms)
    rng = np.random.default_rng(0)
    print("| steps | error as it is | smoothed | squared error smoothed / as it is |\n|---|---|---|---|")
    for steps in sorted(found):
        weight, raw, smooth = np.concatenate(found[steps], axis=1)
        drawn = rng.integers(0, len(weight), (RESAMPLES, len(weight)))
        low, high = np.quantile((weight * smooth)[drawn].sum(axis=1) / (weight * raw)[drawn].sum(axis=1), [0.025, 0.975])
        errors = [np.sqrt(weight @ terms / weight.sum()) for terms in (raw, smooth)]
        print(f"| {steps:,.0f} | {errors[0]:.4f} | {errors[1]:.4f} | {(errors[1] / errors[0]) ** 2:.2f} [{low:.2f}, {high:.2f}] |")


if __name__ == "__main__":
    main()
