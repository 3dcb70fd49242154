"""Refitted folds: which runs are left out when, and what leaving them out says of a learner's intervals.

Any learner that predicts mean, model variance and run noise of the runs that a fold left out can be checked here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from mlforhpc.core.seeds import derive
from mlforhpc.core.space import FloatArray
from mlforhpc.learners._calibration import Calibration, calibrate, standardised_errors, uncalibrated
from mlforhpc.learners._table import Table, sites

NORMAL_90 = 1.6448536269514722
FEWEST_TO_FOLD = 6
"""With fewer runs (or runs at fewer places) none is left out, and the interval is a Student distribution's."""


class Moments(Protocol):
    """Of n points, in scaled units: mean, model variance and variance of a run's noise, each (n, m) or broadcast to it."""

    @property
    def mean(self) -> FloatArray: ...
    @property
    def variance(self) -> FloatArray: ...
    @property
    def noise(self) -> FloatArray: ...


class Check(NamedTuple):
    """What leaving runs out has shown, with the standard errors that they stated and with those foreseen for them."""

    stated: Calibration
    foreseen: Calibration
    card: dict[str, str | float]


def folds_of(n: int, folds: int, seed: int) -> list[NDArray[np.intp]]:
    """A random partition of n rows into at most `folds` parts, sizes differing by one at most; none for too few rows or no folds."""
    if folds == 0 or n < FEWEST_TO_FOLD:
        return []
    order = np.random.default_rng(derive(seed, "folds")).permutation(n)
    return [np.sort(part) for part in np.array_split(order, min(folds, n))]


def folds_by_place(u: FloatArray, folds: int, seed: int) -> list[NDArray[np.intp]]:
    """The same of the rows of u (n, d) where runs at one place are left out together, as the others would tell what is to be predicted."""
    places, which = sites(u)
    return [np.flatnonzero(np.isin(which, part)) for part in folds_of(len(places), folds, seed)]


def check(table: Table, parts: Sequence[NDArray[np.intp]], left_out: Sequence[Moments]) -> Check:
    """Scores of the runs left out, and what to say of them; noise is that of runs of the left-out ones' own fidelity."""
    if not parts:
        student = uncalibrated(table.blocks, max(len(sites(table.u)[0]), 2))
        return Check(student, student, {"calibration": "none: Student's distribution"})
    error, variance, noise = np.empty_like(table.y), np.empty_like(table.y), np.empty_like(table.y)
    for part, moments in zip(parts, left_out, strict=True):
        error[part], variance[part], noise[part] = table.y[part] - moments.mean, moments.variance, moments.noise
    spread = 0.5 * np.ptp(table.y, axis=0)
    scores = standardised_errors(error, variance + np.where(table.stated, table.se2, noise), spread)
    stated = calibrate(scores, table.blocks)
    foreseen = calibrate(standardised_errors(error, variance + noise, spread), table.blocks)
    card: dict[str, str | float] = {
        "calibration": f"{len(parts)} refitted folds",
        "fold_coverage_90_uncalibrated": float(np.mean(scores <= NORMAL_90)),
        "factor_90": float(np.mean(stated.factors(0.9, False))),
        "factor_90_joint": float(np.mean(stated.factors(0.9, True))),
        "fold_error": float(np.sqrt(max(float(np.mean(error**2 - table.se2)), 0.0))),
    }
    return Check(stated, foreseen, card)
