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


def calibrate(scores: FloatArray, blocks: tuple[tuple[int, int], ...]) -> Calibration:
    """From scores (n, m) of n runs; `blocks` are the columns of each output."""
    grid = np.linspace(0.0, 1.0, LEVELS)
    return Calibration(
        pointwise=np.array([np.quantile(scores[:, a:b], grid, method="inverted_cdf") for a, b in blocks]),
        joint=np.array([np.sort(scores[:, a:b].max(axis=1)) for a, b in blocks]),
    )


def uncalibrated(outputs: int, runs: int) -> Calibration:
    """Scores as a Student distribution's with runs - 1 degrees of freedom: for too few runs to leave any out."""
    from scipy.stats import t

    grid = np.linspace(0.0, 1.0, LEVELS)
    levels = (np.arange(1, runs + 1)) / (runs + 1)
    quantiles = t.ppf(0.5 + 0.5 * np.minimum(grid, 0.999), runs - 1)
    return Calibration(
        pointwise=np.tile(quantiles, (outputs, 1)),
        joint=np.tile(t.ppf(0.5 + 0.5 * levels, runs - 1), (outputs, 1)),
    )


def standardised_errors(error: FloatArray, variance: FloatArray) -> FloatArray:
    """|error| / sqrt(variance); zero where both are."""
    size = np.abs(error)
    deviation = np.sqrt(np.maximum(variance, 0.0))
    exact = size <= 1e-12 * (1.0 + deviation)
    return np.asarray(np.where(exact, 0.0, size / np.maximum(deviation, 1e-12)))
