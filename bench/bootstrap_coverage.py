"""How often do the intervals of q^2 and C_conv hold, if errors by system are as heavy-tailed as measured? Coverage by simulation.

Populations: 64 systems in 4 strata, a corner of 4.5 % of the space carries half of q^2 (FACTS of the electrolyte), errors^2 within
a stratum log-normal of log-sd s (one system then carries 15-30 % of q^2; log-sd 1.8 without strata as in the measured 24 systems),
chi^2, uniform or Pareto. Variants: percentile; bootstrap-t; bootstrap-t on logs; ours (heavy tail's level alpha / 4).

    python bench/bootstrap_coverage.py [--simulations 1000]        about 10 minutes on one core
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np

from mlforhpc.metrics.bootstrap import HEAVY, Replicates, mean, nested, replicate, resample
from mlforhpc.metrics.ladder import Rung, build_ladder
from mlforhpc.metrics.strata import Strata, stratify

DRAWS = 2000
SHARES = {"z1": 0.45, "z2": 0.30, "z3": 0.205, "corner": 0.045}
MEANS = {"z1": 1.0, "z2": 2.0, "z3": 3.0, "corner": 35.0, "all": 1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    name: str
    sizes: dict[str, int]
    shape: str = "lognormal"
    parameter: float = 1.2
    noise: float = 0.0

    @property
    def strata(self) -> Strata:
        labels = [name for name, size in self.sizes.items() for _ in range(size)]
        return stratify(labels, SHARES if len(self.sizes) > 1 else None)

    @property
    def truth(self) -> float:
        return sum(SHARES[name] * MEANS[name] for name in self.sizes) if len(self.sizes) > 1 else 1.0

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        n, s = sum(self.sizes.values()), self.parameter
        size = np.array([MEANS[label] for label in self.strata.labels])
        if self.shape == "lognormal":
            unit = np.exp(s * rng.standard_normal(n) - s * s / 2)
        elif self.shape == "chi2":
            unit = rng.standard_normal(n) ** 2
        elif self.shape == "pareto":
            unit = (rng.pareto(s, n) + 1) * (s - 1) / s
        else:
            unit = rng.uniform(0, 2, n)
        return size * unit + self.noise * rng.standard_normal(n)


EVEN = {"z1": 16, "z2": 16, "z3": 16, "corner": 16}
POPULATIONS = [
    Population(name="log-sd 1.0", sizes=EVEN, parameter=1.0),
    Population(name="log-sd 1.2 (flagship-like)", sizes=EVEN),
    Population(name="log-sd 1.2, noise 1", sizes=EVEN, noise=1.0),
    Population(name="log-sd 1.2, noise 5", sizes=EVEN, noise=5.0),
    Population(name="log-sd 1.6", sizes=EVEN, parameter=1.6),
    Population(name="chi^2", sizes=EVEN, shape="chi2"),
    Population(name="uniform", sizes=EVEN, shape="uniform"),
    Population(name="Pareto 1.8", sizes=EVEN, shape="pareto", parameter=1.8),
    Population(name="corner not oversampled", sizes={"z1": 28, "z2": 19, "z3": 13, "corner": 4}),
    Population(name="24 systems", sizes={"z1": 6, "z2": 6, "z3": 6, "corner": 6}),
    Population(name="one stratum, log-sd 1.8", sizes={"all": 64}, parameter=1.8),
]


def limits(r: Replicates) -> dict[str, tuple[float, float, float, float]]:
    """Variant -> two-sided lower, one-sided lower, one-sided upper, two-sided upper limit."""
    tails = np.array([0.025, 0.05, 0.95, 0.975])
    found = {"percentile": tuple(np.quantile(r.values, tails))}
    safe = np.maximum(r.ses, 1e-12 * r.se)
    found["bootstrap-t"] = tuple(r.value - r.se * np.quantile((r.values - r.value) / safe, tails)[::-1])
    if r.value > 0:
        positive = np.where(r.values > 0, r.values, r.value * 1e-3)
        t = np.log(positive / r.value) * positive / safe
        with np.errstate(over="ignore"):
            found["log bootstrap-t"] = tuple(r.value * np.exp(-r.se / r.value * np.quantile(t, tails)[::-1]))
    sides = [("lower", 0.025), ("lower", 0.05), ("upper", 0.05), ("upper", 0.025)]
    ours = [r.limit(side, alpha=alpha) for side, alpha in sides]
    found["ours"] = tuple((-np.inf if i < 2 else np.inf) if x is None else x for i, x in enumerate(ours))
    return found


def conventional(terms: np.ndarray, strata: Strata, counts: np.ndarray, rng: np.random.Generator) -> Replicates:
    """1 / C_conv of a ladder; errors vary by exp(0.35), costs by exp(0.5) over systems; truth: 1 / (1 + 100 / q^2)."""
    n = len(strata)
    spread, price = np.exp(0.35 * rng.standard_normal(n) - 0.06125), np.exp(0.5 * rng.standard_normal(n) - 0.125)
    rungs = [
        Rung(
            name=str(steps),
            steps=steps,
            terms=1000.0 / steps * spread * (1 + 0.15 * rng.standard_normal(n)),
            cost_s=(1.0 + steps / 10.0) * price,
        )
        for steps in (50.0, 200.0, 800.0)
    ]
    ladder = build_ladder(rungs, strata)
    columns = np.column_stack([strata.weights * terms, ladder.columns])
    return replicate(columns, lambda m: ladder.inverse_cost(m[:, 0], *ladder.figures(m[:, 1:])), strata, counts)


def study(population: Population, simulations: int) -> None:
    rng = np.random.default_rng(7)
    strata, truth = population.strata, population.truth
    rows: dict[str, list[list[float]]] = {}
    for simulation in range(simulations):
        terms = population.draw(rng)
        counts = resample(strata, seed=simulation, draws=DRAWS)
        figures = [("q^2", mean(terms, strata, counts), truth)]
        if simulation < simulations // 2:
            figures.append(("1/C", conventional(terms, strata, counts, rng), 1.0 / (1.0 + 100.0 / truth)))
        for figure, replicates, true in figures:
            for variant, (low2, low, high, high2) in limits(replicates).items():
                hits = [low <= true, true <= high, low2 <= true <= high2, high / true]
                rows.setdefault(f"{figure} {variant}", []).append(hits)
    print(f"\n{population.name}: {len(strata)} systems")
    report(rows)


def study_repeats(simulations: int, shared: bool) -> None:
    """Five training sets, each moves the error of all systems by a factor exp(0.3)."""
    rng = np.random.default_rng(8)
    population = POPULATIONS[1]
    strata, truth = population.strata, population.truth
    rows: dict[str, list[list[float]]] = {}
    for simulation in range(simulations):
        common = population.draw(rng)
        repeats = []
        for r in range(5):
            own = common * np.exp(0.5 * rng.standard_normal(len(common)) - 0.125) if shared else population.draw(rng)
            terms = own * np.exp(0.3 * rng.standard_normal() - 0.045)
            repeats.append(mean(terms, strata, resample(strata, seed=simulation if shared else 5 * simulation + r, draws=DRAWS)))
        for variant, (low2, low, high, high2) in limits(nested(repeats, seed=simulation, shared=shared)).items():
            rows.setdefault(f"q^2 {variant}", []).append([low <= truth, truth <= high, low2 <= truth <= high2, high / truth])
    print(f"\n5 repeats, {'the same' if shared else 'own'} systems, log-sd 1.2")
    report(rows)


def report(rows: dict[str, list[list[float]]]) -> None:
    print(f"  {'':24s} lower 95 %  upper 95 %  two-sided 95 %   upper limit / truth: median, 90 %")
    for name, hits in rows.items():
        low, high, both = np.mean([h[:3] for h in hits], axis=0)
        middle, far = np.quantile([h[3] for h in hits], [0.5, 0.9], method="inverted_cdf")
        print(f"  {name:24s} {low:10.3f}  {high:10.3f}  {both:14.3f}   {middle:.2f}  {far:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulations", type=int, default=1000)
    simulations = parser.parse_args().simulations
    print(f"{simulations} simulations, {DRAWS} resamples, heavy tail's level alpha / {HEAVY:g}")
    for population in POPULATIONS:
        study(population, simulations)
    study_repeats(simulations, shared=False)
    study_repeats(simulations, shared=True)


if __name__ == "__main__":
    main()
