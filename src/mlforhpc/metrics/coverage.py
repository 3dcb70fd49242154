"""Do intervals hold? Coverage of independent runs, and the interval score.

    hit = lower <= y <= upper,    score = (u - l) + 2/alpha (l - y)_+ + 2/alpha (y - u)_+
y are independent runs, never the noise-free truth: the only event that calibration on noisy targets can promise. Bins of one
system are not independent, so uncertainty is by system. Score: Gneiting & Raftery 2007, doi 10.1198/016214506000001437;
beside it that of the best intervals of constant relative width, p +- k scale: what knowing *where* one is unsure is worth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mlforhpc.core.errors import UsageError
from mlforhpc.core.result import Interval
from mlforhpc.core.simulation import Output
from mlforhpc.core.space import FloatArray
from mlforhpc.metrics.bootstrap import DRAWS, resample
from mlforhpc.metrics.strata import Strata

Label = Literal["pointwise", "simultaneous", "model-based"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How often intervals held, shares in [0, 1], systems weighted back to the space.

    Attributes:
        label: "pointwise", "simultaneous" (whole arrays), or "model-based" (of the noise-free mean, which nothing checks).
        stated: what the intervals promise.
        pointwise: share of bins inside, by-system interval.
        by_stratum: the same per stratum.
        by_output: pointwise share per array, derived ones included.
        whole: share of whole arrays with every bin inside, by-system interval.
        score: mean interval score in units of each array's scale, in (0, inf), lower is better.
        constant_score: of the best intervals of constant relative width, chosen in hindsight on the same residuals.
    """

    label: Label
    stated: float
    pointwise: Interval
    by_stratum: Mapping[str, float]
    by_output: Mapping[str, float]
    whole: Interval
    score: float
    constant_score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicted:
    """Predictions with intervals for held-out systems: output name -> (n, *shape)."""

    mean: Mapping[str, FloatArray]
    lower: Mapping[str, FloatArray]
    upper: Mapping[str, FloatArray]


def coverage(
    outputs: Sequence[Output],
    predicted: Predicted,
    runs: Mapping[str, FloatArray],
    scales: Mapping[str, FloatArray],
    strata: Strata,
    *,
    stated: float,
    seed: int,
    label: Label = "pointwise",
    draws: int = DRAWS,
) -> Coverage:
    """Coverage and score of intervals against independent runs.

    Args:
        outputs: derived ones are reported per output, and count in nothing else.
        predicted: means and intervals.
        runs: one independent run of each system (n, *shape).
        scales: of each system's arrays (n,), as in q (`quality.scale`).
        strata: of the systems.
        stated: promised coverage, in (0, 1).
        seed: of the resampling.
        label: what the intervals are.
        draws: bootstrap resamples.
    """
    counted = [output.name for output in outputs if not output.derived]
    inside = {o.name: _inside(runs[o.name], predicted.lower[o.name], predicted.upper[o.name]) for o in outputs}  # (n, bins)
    shares = np.mean([inside[name].mean(axis=1) for name in counted], axis=0)  # (n,)
    whole = np.mean([inside[name].all(axis=1) for name in counted], axis=0)  # (n,)
    counts = resample(strata, seed=seed, draws=draws)
    scores = [_scores(predicted, runs, scales, name, 1.0 - stated) for name in counted]
    within = {name: strata.within(name) for name in strata.names}
    return Coverage(
        label=label,
        stated=stated,
        pointwise=_share(shares, strata, counts, stated),
        by_stratum={name: float(strata.weights[i] @ shares[i] / strata.weights[i].sum()) for name, i in within.items()},
        by_output={name: float(strata.weights @ hits.mean(axis=1)) for name, hits in inside.items()},
        whole=_share(whole, strata, counts, stated),
        score=float(strata.weights @ np.mean(scores, axis=0)),
        constant_score=_constant_score([_residuals(predicted, runs, scales, name) for name in counted], strata.weights, 1.0 - stated),
    )


def interval_score(y: FloatArray, lower: FloatArray, upper: FloatArray, *, alpha: float) -> FloatArray:
    """Interval score of central intervals of coverage 1 - alpha, elementwise, in y's unit, in (0, inf); lower is better."""
    below, above = np.maximum(lower - y, 0.0), np.maximum(y - upper, 0.0)
    return np.asarray((upper - lower) + 2.0 / alpha * (below + above))


def success_rate(p: FloatArray, r: FloatArray, se: FloatArray, weights: FloatArray, *, z: float = 1.96) -> float:
    """Share in [0, 1] of bins (n, *shape) in which |p - r| <= z se, systems weighted (n,).

    The figure of the surrogate's source: it grows as the reference gets worse, so it is reported and never a target
    (Kadupitiya, Sun, Fox & Jadhao 2020, doi 10.1016/j.jocs.2020.101107).
    """
    hits = np.abs(p - r) <= z * se
    return float(weights @ hits.reshape(len(hits), -1).mean(axis=1))


def _inside(y: FloatArray, lower: FloatArray, upper: FloatArray) -> FloatArray:
    if not y.shape == lower.shape == upper.shape:
        raise UsageError(f"Runs and interval ends must have one shape, found {y.shape}, {lower.shape} and {upper.shape}.")
    return np.asarray((lower <= y) & (y <= upper), dtype=float).reshape(len(y), -1)


def _share(shares: FloatArray, strata: Strata, counts: FloatArray, stated: float) -> Interval:
    """Weighted share with a 95 % bootstrap percentile interval by system; where all systems agree on 0 or 1, that of n successes of n."""
    value = float(strata.weights @ shares)
    resampled = np.einsum("bn,n->b", counts, strata.weights * shares)
    lower, upper = (float(q) for q in np.quantile(resampled, [0.025, 0.975]))
    exact = 0.025 ** (1.0 / len(shares))
    if (shares == 1.0).all():
        lower, upper = exact, 1.0
    elif (shares == 0.0).all():
        lower, upper = 0.0, 1.0 - exact
    return Interval(
        value=value, lower=lower, upper=upper, note="by system", meaning="share of independent runs inside the interval", reference=stated
    )


def _residuals(predicted: Predicted, runs: Mapping[str, FloatArray], scales: Mapping[str, FloatArray], name: str) -> FloatArray:
    """|y - mean| / scale (n, bins)."""
    residuals = np.abs(runs[name] - predicted.mean[name]).reshape(len(runs[name]), -1)
    return np.asarray(residuals / scales[name][:, None])


def _scores(predicted: Predicted, runs: Mapping[str, FloatArray], scales: Mapping[str, FloatArray], name: str, alpha: float) -> FloatArray:
    """Each system's mean score over bins, relative to its scale (n,)."""
    scores = interval_score(runs[name], predicted.lower[name], predicted.upper[name], alpha=alpha)
    return np.asarray(scores.reshape(len(scores), -1).mean(axis=1) / scales[name])


def _constant_score(residuals: Sequence[FloatArray], weights: FloatArray, alpha: float) -> float:
    """min over k of mean [2 k + 2/alpha (residual - k)_+]: k is the residuals' weighted 1 - alpha quantile."""
    values = np.concatenate([r.ravel() for r in residuals])
    shares = np.concatenate([np.repeat(weights / r.shape[1], r.shape[1]) for r in residuals]) / len(residuals)
    order = np.argsort(values, kind="stable")
    k = values[order][min(int(np.searchsorted(np.cumsum(shares[order]), 1.0 - alpha)), len(values) - 1)]
    return float(2.0 * k + 2.0 / alpha * np.sum(shares * np.maximum(values - k, 0.0)))
