"""What a careful user makes of the profiles of one run in the slit before using them: the conventional method smooths, too.

Whittaker's smoother of the log density over one half of the mirror-symmetric profile: it minimises
    sum_i (a_i - log y_i)^2 + lambda sum_i (second difference of a at bin i)^2
in which the bin at the wall, whose density rises from zero within it, is bound to no other. lambda is chosen for each run, for both
species at once, by Stein's unbiased estimate of the squared error of exp(a), from nothing but the run's own profiles and standard errors:
    sum_i [(exp(a_i) - y_i)^2 + 2 se_i^2 d exp(a_i) / d y_i],    relative to the mean density squared.
So it falls with the errors, and long runs are left as they are.

References: `REFERENCES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from mlforhpc.core.learner import Dataset
from mlforhpc.core.space import FloatArray
from mlforhpc.simulations._slit_blocks import SPECIES

REFERENCES = (
    "Whittaker, On a new method of graduation, Proc. Edinburgh Math. Soc. 41:63-75, 1922, doi 10.1017/S0013091500077853",
    "Eilers, A perfect smoother, Anal. Chem. 75:3631-3636, 2003, doi 10.1021/ac034173t",
    "Stein, Estimation of the mean of a multivariate normal distribution, Ann. Stat. 9:1135-1151, 1981, doi 10.1214/aos/1176345632",
)
PENALTIES = (0.0, *(10.0 ** np.linspace(-3, 5, 33)))
LEAST = 1e-3  # density whose logarithm is taken where a bin was never visited, relative like the profile


def smoothed(runs: Dataset) -> dict[str, FloatArray]:
    """The runs' outputs with both profiles smoothed; derived densities as they are, what failed NaN as it was."""
    return {**runs.y, **profiles(runs.y, runs.y_se)}


def profiles(y: Mapping[str, FloatArray], se: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """Both species' profiles of n runs, smoothed; y and their standard errors: species -> (n, bins)."""
    candidates, risks = [], []
    for name in SPECIES:
        half, error = _half(y[name]), _half(se[name])
        bounded = np.maximum(half, LEAST)
        smoothers = _smoothers(half.shape[1], PENALTIES)  # (K, half, half)
        a = np.exp(np.log(bounded) @ smoothers.transpose(0, 2, 1))  # (K, n, half)
        slope = a / bounded * np.einsum("kii->ki", smoothers)[:, None]
        risks.append(((a - half) ** 2 + 2 * error**2 * slope).mean(axis=2) / half.mean(axis=1) ** 2)
        candidates.append(a)
    best = np.argmin(risks[0] + risks[1], axis=0)
    halves = [a[best, np.arange(len(best))] for a in candidates]
    return {name: np.concatenate([a, a[:, ::-1]], axis=1) for name, a in zip(SPECIES, halves, strict=True)}


def _half(profiles: FloatArray) -> FloatArray:
    return np.asarray(profiles[:, : profiles.shape[1] // 2])


@lru_cache(maxsize=4)
def _smoothers(half: int, penalties: tuple[float, ...]) -> FloatArray:
    """For each penalty, the matrix that takes log densities, from the wall inwards, to smoothed ones (K, half, half)."""
    mirrored = np.concatenate([np.eye(half), np.eye(half)[::-1]])  # (2 half, half)
    differences = np.diff(mirrored, 2, axis=0)[1:half]
    return np.stack([np.linalg.inv(np.eye(half) + penalty * differences.T @ differences) for penalty in penalties])
