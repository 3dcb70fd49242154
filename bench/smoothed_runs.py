"""What smoothing of its profiles would save a conventional run of the flagship: the ladder does not smooth, and should.

    python bench/smoothed_runs.py tests/data/surrogate-nanoconfinement-small-seed0

Each half of a profile but its two bins at the wall is smoothed by a Gaussian of some bins in log density. With p1, p2 two runs of one
length, |s(p1) - p2|^2 - |p1 - p2|^2 / 2 is the squared error of the smoothed run, its bias included, whatever the noise.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from mlforhpc.core.space import FloatArray

SPECIES, KEPT, RESAMPLES = ("cation", "anion"), 2, 1000


def smoothed(profiles: FloatArray, width: float) -> FloatArray:
    """Profiles (n, bins), but for the bins at both walls, smoothed over `width` bins."""
    bins = np.arange(profiles.shape[1])
    kernel = np.exp(-0.5 * ((bins[:, None] - bins) / width) ** 2)
    out = np.exp(np.log(np.maximum(profiles, 1e-3)) @ kernel.T / kernel.sum(axis=1))
    out[:, :KEPT], out[:, -KEPT:] = profiles[:, :KEPT], profiles[:, -KEPT:]
    return np.asarray(out)


def errors(a: FloatArray, b: FloatArray, width: float) -> tuple[FloatArray, FloatArray]:
    """Squared relative error of a run, smoothed and as it is, (n,) each, from pairs (n, bins)."""
    raw = ((a - b) ** 2).mean(axis=1) / 2
    both = [((smoothed(one, width) - other) ** 2).mean(axis=1) for one, other in ((a, b), (b, a))]
    scale = ((a + b) / 2).mean(axis=1) ** 2
    return (np.mean(both, axis=0) - raw) / scale, raw / scale


def main() -> None:
    """Print the ratio of squared errors, with its bootstrap interval over systems, for both lengths that were run in pairs."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path)
    data = np.load(parser.parse_args().run / "artifacts" / "quality.npz")
    rng, long = np.random.default_rng(0), ("rung_0.06", "rung_0.06_again")
    everyone = np.arange(len(data["weight"]))
    pairs = {
        "12,000": (everyone, [(data[f"{s}.r1"], data[f"{s}.r2"]) for s in SPECIES]),
        "60,000": (data["rung_0.06.index"], [tuple(data[f"{run}.{s}"] for run in long) for s in SPECIES]),
    }
    print("steps   error as it is  bins  squared error smoothed / as it is")
    for steps, (index, profiles) in pairs.items():
        for width in (0.5, 0.7, 1.0, 1.5):
            smooth, raw = np.mean([errors(a, b, width) for a, b in profiles], axis=0) * data["weight"][index]  # (n,) each
            drawn = rng.integers(0, len(index), (RESAMPLES, len(index)))
            low, high = np.quantile(smooth[drawn].sum(axis=1) / raw[drawn].sum(axis=1), [0.025, 0.975])
            error = np.sqrt(raw.sum() / data["weight"][index].sum())
            print(f"{steps}  {error:>14.4f}  {width:>4}  {smooth.sum() / raw.sum():.2f} [{low:.2f}, {high:.2f}]")


if __name__ == "__main__":
    main()
