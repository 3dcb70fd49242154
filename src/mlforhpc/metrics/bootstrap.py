"""Paired bootstrap-t over systems within strata, nested in repeats.

One table of counts M (B, n) resamples everything measured on the systems together: surrogate, ladder, costs. A figure
is theta = f(mean_1 .. mean_K) with mean_k = sum_i u_ik; its variance, in every resample anew, is that of its linearisation
L_i = sum_k (df/dmean_k) u_ik:    V = sum_h n_h s_h^2(L),    t* = (theta* - theta) / sqrt(V*).
Limits are theta - sqrt(V) quantile(t*) (Efron 1982, doi 10.1137/1.9781611970319; Hall 1988, doi 10.1214/aos/1176350933).

Errors by system are heavy-tailed (one of 64 may carry half of q^2). There the plain bootstrap-t covers too little on one
side: a nominal 95 % upper limit of q^2 covers 0.88-0.90 (bench/bootstrap_coverage.py). So on the heavy side, and only there, the
tail's level is calibrated (Loh 1987, doi 10.1080/01621459.1987.10478408): alpha / 4 instead of alpha.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from mlforhpc.core.errors import UsageError
from mlforhpc.core.result import Interval
from mlforhpc.core.seeds import derive
from mlforhpc.core.space import FloatArray
from mlforhpc.metrics.strata import Strata

DRAWS = 10_000
HEAVY = 4.0  # the calibrated level of the heavy tail is alpha / HEAVY
Statistic: TypeAlias = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicates:
    """A figure, its standard error, and both in every resample. Its heavy tail is the upper one.

    Attributes:
        value, se: on the sample; se is NaN where fewer than two systems were resampled.
        values, ses: in the resamples (B,).
    """

    value: float
    se: float
    values: FloatArray
    ses: FloatArray

    def scaled(self, factor: float) -> Replicates:
        """The same of `factor` > 0 times the figure."""
        return Replicates(value=self.value * factor, se=self.se * factor, values=self.values * factor, ses=self.ses * factor)

    def limit(self, side: Literal["lower", "upper"], *, alpha: float = 0.05) -> float | None:
        """One-sided limit of level 1 - alpha; None where it is open."""
        if not np.isfinite(self.se):
            return None
        if self.se == 0.0:
            return self.value
        difference = self.values - self.value
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.where(difference == 0.0, 0.0, difference / self.ses)
        level = alpha / HEAVY if side == "upper" else 1.0 - alpha
        limit = self.value - self.se * float(np.quantile(t, level, method="inverted_cdf"))
        return limit if np.isfinite(limit) else None

    def interval(self, *, coverage: float = 0.95, note: str = "") -> Interval:
        """Two-sided interval, equal tails."""
        alpha = (1.0 - coverage) / 2.0
        lower, upper = self.limit("lower", alpha=alpha), self.limit("upper", alpha=alpha)
        return Interval(value=self.value, lower=lower, upper=upper, coverage=coverage, note=note)


def resample(strata: Strata, *, seed: int, draws: int = DRAWS) -> FloatArray:
    """How often each system is drawn, with replacement within its stratum: counts (draws, n)."""
    rng = np.random.default_rng(seed)
    counts = np.zeros((draws, len(strata)))
    for group in strata.groups:
        counts[:, group] = rng.multinomial(len(group), np.full(len(group), 1.0 / len(group)), size=draws)
    return counts


def replicate(columns: FloatArray, statistic: Statistic, strata: Strata, counts: FloatArray) -> Replicates:
    """A smooth figure of weighted means, on the sample and in every resample.

    Args:
        columns: weighted terms u_ik = w_i value_ik (n, K); their sum over i is the k-th mean.
        statistic: means (B, K) -> figure (B,), smooth.
        strata: of the systems.
        counts: of `resample` (B, n).
    """
    ones = np.ones((1, len(strata)))
    sums = np.einsum("bn,nk->bk", ones, columns)  # (1, K); einsum, because BLAS' digits depend on its threads
    resampled = np.einsum("bn,nk->bk", counts, columns)  # (B, K)
    size = np.abs(sums[0])
    se = _standard_errors(columns, _gradient(statistic, sums, size), strata, ones)
    ses = _standard_errors(columns, _gradient(statistic, resampled, size), strata, counts)
    return Replicates(value=float(statistic(sums)[0]), se=float(se[0]), values=statistic(resampled), ses=ses)


def mean(terms: FloatArray, strata: Strata, counts: FloatArray) -> Replicates:
    """The weighted mean of one term a system (n,)."""
    return replicate((strata.weights * terms)[:, None], lambda means: means[:, 0], strata, counts)


def nested(repeats: Sequence[Replicates], *, seed: int, shared: bool = False) -> Replicates:
    """The mean over repeats (training sets), repeats resampled outside, systems inside.

    V = max(s_b^2, mean V_r) / R with s_b^2 the variance between R repeats of own systems; where all repeats are judged on the same
    systems (`shared`), V = mean V_r + s_b^2 / R, which is conservative.
    """
    if not repeats:
        raise UsageError("At least one repeat is wanted, found none.")
    if len(repeats) == 1:
        return repeats[0]
    r, draws = len(repeats), len(repeats[0].values)
    values = np.array([repeat.value for repeat in repeats])
    variances = np.array([repeat.se**2 for repeat in repeats])
    chosen = np.random.default_rng(derive(seed, "repeats")).integers(0, r, size=(draws, r))
    # A repeat drawn twice brings two inner resamples; on shared systems all repeats keep the same one.
    shift = np.zeros(r, dtype=np.intp) if shared else np.arange(r) * (draws // r)
    inner = (np.arange(draws)[:, None] + shift) % draws  # (B, R)
    drawn = np.stack([repeat.values for repeat in repeats])[chosen, inner]
    spread = np.stack([repeat.ses**2 for repeat in repeats])[chosen, inner]
    return Replicates(
        value=float(values.mean()),
        se=float(np.sqrt(_combined(values[None, :], variances[None, :], shared)[0])),
        values=drawn.mean(axis=1),
        ses=np.sqrt(_combined(drawn, spread, shared)),
    )


def _combined(values: FloatArray, variances: FloatArray, shared: bool) -> FloatArray:
    r = values.shape[1]
    between, within = values.var(axis=1, ddof=1), variances.mean(axis=1)
    combined: FloatArray = within + between / r if shared else np.maximum(between, within) / r
    return combined


def _gradient(statistic: Statistic, means: FloatArray, size: FloatArray) -> FloatArray:
    """Central differences (B, K)."""
    gradient = np.empty_like(means)
    for k in range(means.shape[1]):
        step = 1e-5 * (np.abs(means[:, k]) + 1e-3 * size[k]) + 1e-300
        up, down = means.copy(), means.copy()
        up[:, k] += step
        down[:, k] -= step
        gradient[:, k] = (statistic(up) - statistic(down)) / (up[:, k] - down[:, k])
    return gradient


def _standard_errors(columns: FloatArray, gradient: FloatArray, strata: Strata, counts: FloatArray) -> FloatArray:
    linear = np.einsum("bk,nk->bn", gradient, columns)  # (B, n)
    variance = np.zeros(len(counts))
    for group in strata.groups:
        n = len(group)
        if n < 2:
            return np.full(len(counts), np.nan)
        part, count = linear[:, group], counts[:, group]
        centred = part - (np.sum(count * part, axis=1) / n)[:, None]
        variance += n / (n - 1) * np.sum(count * centred**2, axis=1)
    return np.sqrt(variance)
