"""The error q at which everything is compared, and what stands beside it.

    e_ia = mean over bins of (p - r1)(p - r2) / scale_ia^2      q^2 = sum_i w_i mean_a e_ia
p: prediction, r1 and r2: two independent reference runs of held-out system i, output array a. The references' errors are independent, so
the product's mean is the squared error of p itself, whatever the references' noise: no error bar is believed. Terms may be
negative and are never clipped; a total of zero or less is "below resolution". Deterministic simulations: r1 = r2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mlforhpc.core.errors import UsageError
from mlforhpc.core.result import Interval
from mlforhpc.core.simulation import Output
from mlforhpc.core.space import FloatArray
from mlforhpc.metrics.bootstrap import DRAWS, Replicates, mean, nested, resample
from mlforhpc.metrics.strata import Strata

ONE_REPEAT = "one repeat: conditional on its training set"
BELOW = "below resolution"
REPLICA_RANGE = (0.8, 1.25)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Signed squared relative errors of n systems.

    Attributes:
        outputs: names of the arrays (A,).
        counted: whether each array counts in q; derived ones do not (A,).
        values: e_ia, dimensionless, any sign (n, A).
    """

    outputs: tuple[str, ...]
    counted: tuple[bool, ...]
    values: FloatArray

    @property
    def by_system(self) -> FloatArray:
        """Mean over the counted arrays (n,)."""
        return np.asarray(self.values[:, list(self.counted)].mean(axis=1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """The error of one surrogate (or of the mean over repeats of q^2), dimensionless, in (0, inf).

    Attributes:
        q2: the signed total.
        q: its root with a two-sided 95 % interval; value None where below resolution (then `upper` says below what).
        lower, upper: one-sided limits of level 1 - 0.05 / looks, what the verdict is given by; None where open.
        median, p90, worst: signed roots sign(e) sqrt|e| of systems: weighted quantiles over the space, and the largest.
        worst_system: its index.
        by_output, by_stratum: signed root of the weighted mean, derived outputs included.
        top_share: the largest single system's share of q^2; None where below resolution.
    """

    q2: float
    q: Interval
    lower: float | None
    upper: float | None
    median: float
    p90: float
    worst: float
    worst_system: int
    by_output: Mapping[str, float]
    by_stratum: Mapping[str, float]
    top_share: float | None


def error_terms(
    outputs: Sequence[Output], p: Mapping[str, FloatArray], r1: Mapping[str, FloatArray], r2: Mapping[str, FloatArray]
) -> Terms:
    """Signed error terms of predictions (or of runs of a ladder's rung) p against references r1, r2: name -> (n, *shape)."""
    if all(output.derived for output in outputs):
        raise UsageError("At least one output that is not derived is wanted for the error q, found none.")
    columns = []
    for output in outputs:
        a, b, c = (_flat(output, arrays[output.name]) for arrays in (p, r1, r2))
        if not a.shape == b.shape == c.shape:
            raise UsageError(
                f"Output '{output.name}': prediction and references must have one shape, found {a.shape}, {b.shape} and {c.shape}."
            )
        columns.append(np.mean((a - b) * (a - c), axis=1) / scale(output, b, c) ** 2)
    return Terms(
        outputs=tuple(output.name for output in outputs),
        counted=tuple(not output.derived for output in outputs),
        values=np.stack(columns, axis=1),
    )


def pair_terms(outputs: Sequence[Output], runs: Sequence[Mapping[str, FloatArray]], made: Sequence[Mapping[str, FloatArray]]) -> Terms:
    """Squared error of what a method makes of one run, from two runs of one kind, both name -> (n, *shape), and what it made of each.

    e = mean over bins of (|made_1 - run_2|^2 + |made_2 - run_1|^2 - |run_1 - run_2|^2) / 2 / scale^2: the other run's own error is
    independent and is taken off; the method's bias stays in. Of the runs as they are: half their mean squared difference.
    """
    columns = []
    for output in outputs:
        (a, b), (s, t) = ([_flat(output, arrays[output.name]) for arrays in pair] for pair in (runs, made))
        columns.append(np.mean((s - b) ** 2 + (t - a) ** 2 - (a - b) ** 2, axis=1) / 2.0 / scale(output, a, b) ** 2)
    return Terms(
        outputs=tuple(output.name for output in outputs),
        counted=tuple(not output.derived for output in outputs),
        values=np.stack(columns, axis=1),
    )


def scale(output: Output, r1: FloatArray, r2: FloatArray) -> FloatArray:
    """What the errors of one output array are relative to, per system (n,), in the output's unit, bounded below by `scale_floor`.

    "mean": mean over bins of (r1 + r2) / 2; "rms": root of the mean of r1 r2 (unbiased by noise); or the declared number.
    """
    a, b = _flat(output, r1), _flat(output, r2)
    if output.scale == "mean":
        sizes = np.mean((a + b) / 2.0, axis=1)
    elif output.scale == "rms":
        sizes = np.sqrt(np.maximum(np.mean(a * b, axis=1), 0.0))
    else:
        sizes = np.full(len(a), float(output.scale))
    sizes = np.maximum(sizes, output.scale_floor)
    if not (sizes > 0).all():
        worst = int(np.argmin(sizes > 0))
        raise UsageError(
            f"Output '{output.name}': its scale must be positive, found {sizes[worst]:g} in held-out system {worst}. "
            "Declare a scale_floor or a number as its scale."
        )
    return np.asarray(sizes)


def quality(terms: Terms, strata: Strata, *, seed: int, looks: int = 1, draws: int = DRAWS) -> Quality:
    """Everything about the error of one surrogate; the level of the one-sided limits is split over `looks`."""
    total = replicates(terms.by_system, strata, seed=seed, draws=draws)
    return _figures(total, terms, strata, looks, ONE_REPEAT)


def quality_of_repeats(
    terms: Sequence[Terms], strata: Sequence[Strata], *, seed: int, looks: int = 1, shared: bool = False, draws: int = DRAWS
) -> Quality:
    """The same over repeats: q^2 is their mean, limits nested; median, p90, worst pool all repeats' systems.

    `worst_system` is an index into the systems of all repeats, one repeat after the other.
    """
    pairs = enumerate(zip(terms, strata, strict=True))
    each = [replicates(t.by_system, s, seed=seed if shared else seed + r, draws=draws) for r, (t, s) in pairs]
    pooled = Terms(outputs=terms[0].outputs, counted=terms[0].counted, values=np.concatenate([t.values for t in terms]))
    everyone = Strata(
        labels=tuple(label for s in strata for label in s.labels), weights=np.concatenate([s.weights for s in strata]) / len(strata)
    )
    note = ONE_REPEAT if len(terms) == 1 else f"nested in {len(terms)} repeats"
    return _figures(nested(each, seed=seed, shared=shared), pooled, everyone, looks, note)


def replicates(terms: FloatArray, strata: Strata, *, seed: int, draws: int = DRAWS) -> Replicates:
    """q^2 of per-system terms (n,) with its resamples."""
    return mean(terms, strata, resample(strata, seed=seed, draws=draws))


def replica_ratio(
    outputs: Sequence[Output],
    r1: Mapping[str, FloatArray],
    r2: Mapping[str, FloatArray],
    se1: Mapping[str, FloatArray],
    se2: Mapping[str, FloatArray],
) -> float | None:
    """sum (r1 - r2)^2 / sum (se1^2 + se2^2), in (0, inf), 1 if the stated standard errors are right; outside 0.8-1.25 the run is INVALID.

    Each array is divided by its scale, so that arrays of different units add up. None where no array has standard errors,
    or all are zero (deterministic). Derived outputs are left out.
    """
    found = stated = 0.0
    for output in outputs:
        if output.derived or output.name not in se1 or output.name not in se2:
            continue
        a, b, s1, s2 = (_flat(output, arrays[output.name]) for arrays in (r1, r2, se1, se2))
        size = scale(output, a, b) ** 2
        found += float(np.sum(np.mean((a - b) ** 2, axis=1) / size))
        stated += float(np.sum(np.mean(s1**2 + s2**2, axis=1) / size))
    return found / stated if stated > 0 else None


def signed_root(squared: float) -> float:
    """sign(e) sqrt|e|: keeps the order of signed squared errors; negative means below resolution."""
    return float(np.copysign(np.sqrt(abs(squared)), squared))


def weighted_quantile(values: FloatArray, weights: FloatArray, level: float) -> float:
    """Quantile at `level` in (0, 1) of values (n,) that stand for shares `weights` (n,), linear between the shares' midpoints."""
    order = np.argsort(values, kind="stable")
    shares = weights[order] / weights.sum()
    return float(np.interp(level, np.cumsum(shares) - shares / 2.0, values[order]))


def _figures(total: Replicates, terms: Terms, strata: Strata, looks: int, note: str) -> Quality:
    systems, weights = terms.by_system, strata.weights
    roots = np.copysign(np.sqrt(np.abs(systems)), systems)
    worst = int(np.argmax(systems))
    below = total.value <= 0
    two_sided = total.interval()
    strata_q2 = {name: strata.within(name) for name in strata.names}
    return Quality(
        q2=total.value,
        q=Interval(
            value=None if below else signed_root(total.value),
            lower=_root(two_sided.lower),
            upper=_root(two_sided.upper),
            note=f"{BELOW}; {note}" if below else note,
            meaning="relative error over the whole space, noise of the references removed",
            better="lower",
        ),
        lower=_root(total.limit("lower", alpha=0.05 / looks)),
        upper=_root(total.limit("upper", alpha=0.05 / looks)),
        median=weighted_quantile(roots, weights, 0.5),
        p90=weighted_quantile(roots, weights, 0.9),
        worst=float(roots[worst]),
        worst_system=worst,
        by_output={name: signed_root(float(weights @ terms.values[:, a])) for a, name in enumerate(terms.outputs)},
        by_stratum={name: signed_root(float(weights[i] @ systems[i] / weights[i].sum())) for name, i in strata_q2.items()},
        top_share=None if below else float(np.max(weights * systems) / total.value),
    )


def _root(limit: float | None) -> float | None:
    return None if limit is None else float(np.sqrt(max(limit, 0.0)))


def _flat(output: Output, array: FloatArray) -> FloatArray:
    flat = np.asarray(array, dtype=float)
    flat = flat.reshape(len(flat), -1)  # (n, bins)
    if not np.isfinite(flat).all():
        bad = int(np.argmax(~np.isfinite(flat).all(axis=1)))
        raise UsageError(
            f"Output '{output.name}' must be finite, found NaN in held-out system {bad}: leave failed systems out, and say so."
        )
    return flat
