"""Several runs of one benchmark in one table: every seed, and all of them together with nested intervals.

mlforhpc run surrogate-nanoconfinement --repeats 5 && python bench/flagship_seeds.py runs/*-surrogate-nanoconfinement-small-*
python bench/flagship_seeds.py runs/* --against older/*     beside runs of another version: same seeds, so the same held-out systems
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from scipy.special import stdtrit

from mlforhpc.core.result import Interval
from mlforhpc.metrics.gain import LearnedCost, Repeat, gain_figures
from mlforhpc.metrics.ladder import Rung
from mlforhpc.metrics.strata import Strata
from mlforhpc.report import RunFolder, read


def main() -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--against", nargs="+", type=Path, default=[])
    chosen = parser.parse_args()
    runs, older = (sorted((read(path) for path in paths), key=lambda run: run.manifest.seed) for paths in (chosen.runs, chosen.against))
    if older:
        return paired(runs, older)
    print("| seed | verdict | q | upper limit | gain(1000) | N* | S(inf) | coverage | by stratum, worst | score / constant | replica |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for run in runs:
        print(row(run))
    if len(runs) > 1:
        together(runs)


def paired(runs: list[RunFolder], older: list[RunFolder]) -> None:
    """Ratios by seed to the older run, and their geometric means with one-sided 95 % limits (Student's t of the logarithms)."""
    before = {run.manifest.seed: run for run in older}
    pairs = [(run, before[run.manifest.seed]) for run in runs if run.manifest.seed in before]
    for new, old in pairs:
        held = [np.load(run.path / "artifacts" / "quality.npz")["x"] for run in (new, old)]
        if not np.array_equal(*held):
            raise SystemExit(f"Seed {new.manifest.seed}: the two runs were judged on different systems.")
    figures = {"q": of_quality, "N*": break_even, "learned core-s": learned_s}
    print("| seed | " + " | ".join(f"{name} | before | ratio" for name in figures) + " |\n|---|" + "---|---|---|" * len(figures))
    for new, old in pairs:
        cells = [f"{f(new):.4g} | {f(old):.4g} | {f(new) / f(old):.3f}" for f in figures.values()]
        print(f"| {new.manifest.seed} | " + " | ".join(cells) + " |")
    print()
    for name, f in figures.items():
        logs = np.array([np.log(f(new) / f(old)) for new, old in pairs])
        half = stdtrit(len(logs) - 1, 0.95) * logs.std(ddof=1) / np.sqrt(len(logs))
        limits = np.exp(logs.mean() + half * np.array([-1.0, 1.0]))
        print(f"{name}: {np.exp(logs.mean()):.3f} times, one-sided 95 % limits {limits[0]:.3f} and {limits[1]:.3f}, {len(logs)} seeds")


def of_quality(run: RunFolder) -> float:
    return run.result.quality["q"]


def break_even(run: RunFolder) -> float:
    return float(run.result.performance["N_star"] or np.nan)


def learned_s(run: RunFolder) -> float:
    """Slot-seconds of everything that could change an answer: choosing, simulating and learning."""
    return sum(float(v or 0.0) for name, v in run.result.performance.items() if name.startswith("slot_s[") and name.endswith("learned]"))


def row(run: RunFolder) -> str:
    """One run."""
    q, p, head = run.result.quality, run.result.performance, run.result.headline
    strata = [v for name, v in q.items() if name.startswith("coverage[") and (name.startswith("coverage[z+") or "corner" in name)]
    gain, star = head.get("gain at N=1,000"), head.get("break-even N*")
    cells = [
        run.manifest.seed, run.result.verdict.status, f"{q['q']:.4f}", f"{q['q_upper']:.4f}", interval(gain), interval(star),
        f"{p['S_infinity']:.3g}", f"{q['coverage']:.3f}", f"{min(strata):.3f}" if strata else "",
        f"{q['interval_score'] / q['interval_score_constant']:.2f}", f"{q['replica_ratio']:.2f}",
    ]  # fmt: skip
    return "| " + " | ".join(map(str, cells)) + " |"


def together(runs: list[RunFolder]) -> None:
    """Mean coverage, and gain over repeats with their own systems and training sets."""
    found = gain_figures([repeat(run) for run in runs], seed=0)
    coverage = np.mean([run.result.quality["coverage"] for run in runs])
    print(f"\nover {len(runs)} seeds: gain(1000) {interval(found.gain)}, N* {interval(found.n_star)}, mean coverage {coverage:.3f}")
    for name in [n for n in runs[0].result.quality if n.startswith("coverage[")]:
        print(f"    {name} {np.mean([run.result.quality[name] for run in runs]):.3f}")


def repeat(run: RunFolder) -> Repeat:
    """A run as `metrics.gain` takes it, from its arrays and its result."""
    data = np.load(run.path / "artifacts" / "quality.npz")
    strata = Strata(labels=tuple(data["stratum"].tolist()), weights=data["weight"])
    spent = run.result.performance
    learned = {n: float(v or 0.0) for n, v in spent.items() if n.startswith("slot_s[") and n.endswith("learned]")}
    rungs = []
    for name in data["ladder"].tolist():
        steps, terms, cost_s = (data[f"ladder_{name}.{what}"] for what in ("steps", "q2_terms", "cost_s"))
        rungs.append(Rung(name=name, steps=float(steps), terms=terms, cost_s=cost_s))
    cost = LearnedCost(fixed_s=learned, lookup_s=float(spent["T_lookup_batched_s"] or 0.0))
    return Repeat(terms=data["q2_terms"], rungs=rungs, strata=strata, learned=cost)


def interval(found: Interval | None) -> str:
    """value [lower, upper], open ends as three dots."""
    if found is None or found.value is None:
        return "-"
    ends = ["..." if end is None else f"{end:.3g}" for end in (found.lower, found.upper)]
    return f"{found.value:.3g} [{ends[0]}, {ends[1]}]"


if __name__ == "__main__":
    main()
