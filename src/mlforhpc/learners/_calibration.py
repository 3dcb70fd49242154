"""Calibrated intervals: how many model deviations a stated coverage takes, from refitted folds.

Score of a run that its fold has not seen: |y - mu| / sqrt(s^2 + se^2), by column (pointwise) or its maximum over an
output's columns (joint). The factor for a coverage c is the ceil((n + 1) c)-th smallest of n runs' scores; beyond the
largest, it grows as a normal distribution's. Everything that fitting decides is decided anew inside each fold.

Vovk, Gammerman & Shafer, Algorithmic Learning in a Random World, 2005; Vovk, Cross-conformal predictors, 2015.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from mlforhpc.core.space import FloatArray

LEVELS = 2001
"""Quantiles kept of an output's pointwise scores."""
LEAST = 1e-12
"""Smallest deviation that a score believes, relative to the spread of the runs: below it, both are rounding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Scores of o outputs, each row ascending.

    Attributes:
        pointwise: evenly spaced quantiles (o, levels).
        joint: one score a run (o, n).
    """

    pointwise: FloatArray
    joint: FloatArray

    def factors(self, coverage: float, joint: bool) -> FloatArray:
        """Half-widths in model deviations, one an output (o,)."""
        n = self.joint.shape[1]
        level = coverage * (n + 1) / n
        scores = self.joint if joint else self.pointwise
        if level > 1.0:
            stretch = ndtri(0.5 + 0.5 * coverage) / ndtri(0.5 + 0.5 * n / (n + 1))
            return np.asarray(scores[:, -1] * stretch)
        if joint:
            return np.asarray(scores[:, int(np.ceil(level * n - 1e-9)) - 1])
        return np.asarray(scores[:, round(level * (scores.shape[1] - 1))])


def packed(stated: Calibration, foreseen: Calibration) -> dict[str, FloatArray]:
    """Both calibrations of a surrogate as arrays to save."""
    pairs = {"stated": stated, "foreseen": foreseen}
    return {f"{name}_{part}": getattr(c, part) for name, c in pairs.items() for part in ("pointwise", "joint")}


def unpacked(arrays: dict[str, FloatArray]) -> tuple[Calibration, Calibration]:
    """The inverse of `packed`: takes its arrays out of `arrays`."""
    stated, foreseen = (
        Calibration(pointwise=arrays.pop(f"{name}_pointwise"), joint=arrays.pop(f"{name}_joint")) for name in ("stated", "foreseen")
    )
    return stated, foreseen


def calibrate(scores: FloatArray, blocks: tuple[tuple[int, int], ...]) -> Calibration:
    """From scores (n, m) of n runs; `blocks` are the columns of each output."""
    grid = np.linspace(0.0, 1.0, LEVELS)
    return Calibration(
        pointwise=np.array([np.quantile(scores[:, a:b], grid, method="inverted_cdf") for a, b in blocks]),
        joint=np.array([np.sort(scores[:, a:b].max(axis=1)) for a, b in blocks]),
    )


def uncalibrated(blocks: tuple[tuple[int, int], ...], runs: int) -> Calibration:
    """For too few runs to leave any out: Student's quantiles with f = runs - 1 degrees of freedom, and for arrays whole Scheffe's,
    sqrt(k F(k, f)), as f runs give an array of size s no more than k = min(s, f) components.

    Scheffe, A method for judging all contrasts in the analysis of variance, Biometrika 40, 1953.
    """
    from scipy.stats import f as fisher

    freedom = runs - 1
    levels = np.arange(1, LEVELS) / LEVELS  # so many that level (n + 1) / n is the coverage itself
    ranks = [min(b - a, freedom) for a, b in blocks]
    return Calibration(
        pointwise=np.tile(np.sqrt(fisher.ppf(np.linspace(0.0, levels[-1], LEVELS), 1, freedom)), (len(blocks), 1)),
        joint=np.array([np.sqrt(k * fisher.ppf(levels, k, freedom)) for k in ranks]),
    )


def standardised_errors(error: FloatArray, variance: FloatArray, spread: FloatArray) -> FloatArray:
    """|error| / sqrt(variance) of n runs (n, m), where a model has no variance over the spread of the runs (m,); zero without an error."""
    size = np.abs(error)
    deviation = np.where(variance > 0.0, np.maximum(np.sqrt(np.maximum(variance, 0.0)), LEAST * spread), spread)
    return np.divide(size, deviation, out=np.zeros_like(size), where=(size > 0.0) & (deviation > 0.0))
