"""Is one run better than another? Ratios of headline figures with intervals, on the log scale.

    log(a / b) +- sqrt(h_a^2 + h_b^2)         two intervals: half-widths on the log scale, each side apart
    mean_s log(a_s / b_s) +- t sd / sqrt(S)   repeats paired by seed (the seeds' common part cancels)
A ratio whose interval contains 1 is "no difference shown", which is not "no difference".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, hypot, log, sqrt
from typing import Literal

from mlforhpc.core.errors import UsageError
from mlforhpc.core.result import Interval

Finding = Literal["better", "worse", "no difference shown", "not comparable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """a / b, dimensionless, in (0, inf), with its interval, and what it means for a."""

    ratio: Interval
    finding: Finding


def compare(a: Interval, b: Interval) -> Comparison:
    """Two runs' figures, each with its interval, taken as independent; `a.better` says which way is better."""
    if a.better is None or a.better != b.better:
        raise UsageError(f"Both figures must say which way is better, found {a.better} and {b.better}: set Interval.better.")
    if a.value is None or b.value is None or a.value <= 0 or b.value <= 0:
        return Comparison(ratio=Interval(value=None, note="a figure is missing or not positive"), finding="not comparable")
    if a.coverage != b.coverage:
        raise UsageError(f"Intervals of one coverage are wanted, found {a.coverage:g} and {b.coverage:g}.")
    middle = log(a.value / b.value)
    down = _combined(_width(a.lower, a.value), _width(b.value, b.upper))
    up = _combined(_width(a.value, a.upper), _width(b.lower, b.value))
    ratio = Interval(
        value=exp(middle),
        lower=None if down is None else exp(middle - down),
        upper=None if up is None else exp(middle + up),
        coverage=a.coverage,
        note="; ".join(sorted({note for note in (a.note, b.note) if note})),
    )
    return Comparison(ratio=ratio, finding=_finding(ratio, a.better))


def compare_paired(
    a: Mapping[int, float], b: Mapping[int, float], *, better: Literal["lower", "higher"], coverage: float = 0.95
) -> Comparison:
    """Two sets of repeats, seed -> figure; only seeds that both have are used, at least two of them."""
    seeds = sorted(set(a) & set(b))
    if len(seeds) < 2:
        raise UsageError(f"At least two seeds that both sets have are wanted, found {seeds}: compare their intervals instead.")
    if any(a[s] <= 0 or b[s] <= 0 for s in seeds):
        return Comparison(ratio=Interval(value=None, note="a figure is not positive"), finding="not comparable")
    from scipy.special import stdtrit

    logs = [log(a[s] / b[s]) for s in seeds]
    n = len(logs)
    middle = sum(logs) / n
    deviation = sqrt(sum((x - middle) ** 2 for x in logs) / (n - 1))
    half = float(stdtrit(n - 1, (1.0 + coverage) / 2.0)) * deviation / sqrt(n)
    ratio = Interval(
        value=exp(middle), lower=exp(middle - half), upper=exp(middle + half), coverage=coverage, note=f"paired over {n} seeds"
    )
    return Comparison(ratio=ratio, finding=_finding(ratio, better))


def _width(low: float | None, high: float | None) -> float | None:
    """log(high / low); None where an end is open or not positive."""
    return None if low is None or high is None or low <= 0 else log(high / low)


def _combined(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else hypot(a, b)


def _finding(ratio: Interval, better: Literal["lower", "higher"]) -> Finding:
    if ratio.lower is not None and ratio.lower > 1:
        return "better" if better == "higher" else "worse"
    if ratio.upper is not None and ratio.upper < 1:
        return "worse" if better == "higher" else "better"
    return "no difference shown"
