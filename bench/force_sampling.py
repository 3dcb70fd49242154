"""What sampling forces as well as counts saves a run in the slit, and what smoothing adds to it.

    python bench/force_sampling.py --steps 12000

Squared errors over those of counting, species together: of profiles from counts and forces (what the simulation returns), of counted
profiles smoothed, and of both. Errors are against the other runs of the same system, whose own variance is taken off; smoothing is told
the true spread of the runs. Sources: `simulations/_slit_blocks.py`, `simulations/_slit_smoothing.py`.
"""

from __future__ import annotations

import argparse

import numpy as np

from mlforhpc.core.space import FloatArray
from mlforhpc.simulations import nanoconfinement
from mlforhpc.simulations._slit_blocks import SPECIES, counted, summarised
from mlforhpc.simulations._slit_run import BINS, FULL_STEPS
from mlforhpc.simulations._slit_smoothing import profiles
from mlforhpc.simulations._slit_truths import profiles_of

SYSTEMS = [
    {"h": 3.2, "c": 0.40, "z": 1, "d": 0.55}, {"h": 3.7, "c": 0.80, "z": 1, "d": 0.70}, {"h": 3.5, "c": 0.50, "z": 2, "d": 0.60},
    {"h": 3.1, "c": 0.70, "z": 2, "d": 0.72}, {"h": 3.3, "c": 0.45, "z": 3, "d": 0.65}, {"h": 3.8, "c": 0.65, "z": 3, "d": 0.55},
    {"h": 3.4, "c": 0.70, "z": 3, "d": 0.70}, {"h": 3.6, "c": 0.85, "z": 3, "d": 0.74},
]  # fmt: skip


def main() -> None:
    """Print the ratios of each system, and their medians."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=12_000)
    parser.add_argument("--runs", type=int, default=12)
    options = parser.parse_args()
    simulation, ratios = nanoconfinement.create(), []
    for k, x in enumerate(SYSTEMS):
        pairs = []
        for i in range(options.runs):
            run = simulation.run(x, settings=simulation.default_settings, seed=1000 * k + i + 1)
            seen = run.sampled(fidelity=options.steps / FULL_STEPS)
            made = counted(run.slit, seen, bins=BINS), summarised(run.slit, seen, bins=BINS, error_scale=1.0)
            pairs.append([profiles_of(outputs) for outputs in made])
        counts, both = np.array(pairs).transpose(1, 0, 2, 3)  # (runs, species, bins) each
        own = counts.var(axis=0, ddof=1).sum()
        others = (counts.sum(axis=0) - counts) / (options.runs - 1)
        estimates = (both, smoothed(counts), smoothed(both))
        ratios.append([float((((e - others) ** 2).sum(axis=(1, 2)).mean() - own / (options.runs - 1)) / own) for e in estimates])
        print(f"z {x['z']}, c {x['c']:.2f}, d {x['d']:.2f}: {named(np.array(ratios[-1]))}", flush=True)
    print(f"squared error over that of counting, median over systems: {named(np.median(ratios, axis=0))}")


def smoothed(y: FloatArray) -> FloatArray:
    """Profiles (runs, 2, bins) as the benchmark smooths them, told their spread over the runs."""
    spread = np.broadcast_to(y.std(axis=0, ddof=1), y.shape)
    found = profiles(*({name: a[:, s] for s, name in enumerate(SPECIES)} for a in (y, spread)))
    return np.stack([found[name] for name in SPECIES], axis=1)


def named(ratios: FloatArray) -> str:
    return ", ".join(f"{name} {ratio:.2f}" for name, ratio in zip(("with forces", "counts smoothed", "both"), ratios, strict=True))


if __name__ == "__main__":
    main()
