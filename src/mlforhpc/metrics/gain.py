"""Gain at equal quality: N conventional runs of the surrogate's own error q against learning plus N lookups.

    gain(N) = N C_conv(q) / C_learned(N),   C_learned(N) = fixed + N lookup,   gain(N*) = 1
Intervals are bootstrap-t on 1 / gain = C_learned(N) / (N C_conv), inverted. 1 / C_conv is nearly linear in q^2 and smooth through
q^2 = 0, so resamples with q^2 <= 0 need no special treatment (they open the upper end); log gain breaks down there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from mlforhpc.core.errors import UsageError
from mlforhpc.core.result import Interval, Series
from mlforhpc.core.space import FloatArray
from mlforhpc.metrics.bootstrap import DRAWS, Replicates, nested, replicate, resample
from mlforhpc.metrics.ladder import Cost, Ladder, Rung, build_ladder
from mlforhpc.metrics.quality import ONE_REPEAT
from mlforhpc.metrics.strata import Strata

GRID: tuple[float, ...] = tuple(float(n) for n in np.geomspace(1.0, 1e6, 60))
_FOREVER = 1e15  # an N* beyond this many lookups is none


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedCost:
    """What the learned method costs, slot-seconds.

    Attributes:
        fixed_s: item -> slot-seconds: training runs, pilots, search, fitting, audits, moving data, ...
        lookup_s: of one lookup with its interval.
    """

    fixed_s: Mapping[str, float]
    lookup_s: float

    def per_lookup_s(self, n: float) -> float:
        """C_learned(n) / n."""
        return sum(self.fixed_s.values()) / n + self.lookup_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeat:
    """One campaign judged on its held-out systems: terms (n,) of the surrogate, the ladder on the same systems, strata and cost."""

    terms: FloatArray
    rungs: Sequence[Rung]
    strata: Strata
    learned: LearnedCost


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """Gain at equal quality with its intervals.

    Attributes:
        n: the benchmark's declared number of lookups.
        gain: at n; an end is None where it is open.
        n_star: break-even; value None where lookups never pay off learning.
        at_infinity: gain's limit for many lookups; value None where a lookup costs nothing.
        conventional_s: C_conv(q), slot-seconds a run.
        conventional: the same as a point on the (first repeat's) ladder, with its steps.
        curve: gain over N with its band.
        lower_bound: the true gain may be larger: q below resolution or beyond twice the top rung.
        basis: "equal quality", or "at error q" for a simulation without fidelity (ranks apart).
        conclusion: "learning pays", "learning does not pay" or "no difference shown", of `gain`.
    """

    n: float
    gain: Interval
    n_star: Interval
    at_infinity: Interval
    conventional_s: Interval
    conventional: Cost
    curve: Series
    lower_bound: bool
    basis: Literal["equal quality", "at error q"]
    conclusion: Literal["learning pays", "learning does not pay", "no difference shown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judge:
    """Limits of 1 / C_conv per repeat, ready to be scaled by C_learned(N) / N."""

    inverse: Sequence[Replicates]
    learned: Sequence[LearnedCost]
    point: FloatArray  # 1 / C_conv as reported, ceilings and upper limits applied (R,)
    ceiling: FloatArray  # (R,)
    seed: int
    shared: bool

    def ends(self, n: float) -> tuple[float, float | None, float | None]:
        """gain(n), its lower and its upper limit; n = inf for the limit of many lookups."""
        factors = [cost.lookup_s if np.isinf(n) else cost.per_lookup_s(n) for cost in self.learned]
        return self._invert(factors)

    def conventional(self) -> tuple[float, float | None, float | None]:
        """C_conv and its limits."""
        return self._invert([1.0] * len(self.learned))

    def _invert(self, factors: Sequence[float]) -> tuple[float, float | None, float | None]:
        if min(factors) <= 0:
            return np.inf, None, None
        scaled = [r.scaled(f) for r, f in zip(self.inverse, factors, strict=True)]
        interval = nested(scaled, seed=self.seed, shared=self.shared).interval()
        least = float(np.mean(np.asarray(factors) / self.ceiling))  # 1 / gain at twice the top rung
        point = float(np.mean(np.asarray(factors) * self.point))
        lower = None if interval.upper is None else 1.0 / max(interval.upper, least, point)
        upper = 1.0 / interval.lower if interval.lower is not None and interval.lower > least else None
        return 1.0 / point, lower, upper


def gain_figures(
    repeats: Sequence[Repeat], *, seed: int, n: float = 1000.0, grid: Sequence[float] = GRID, shared: bool = False, draws: int = DRAWS
) -> Gain:
    """Every figure of gain from one repeat or several.

    Args:
        repeats: at least one; 1 / gain is averaged over them.
        seed: of the resampling.
        n: declared number of lookups.
        grid: numbers of lookups of the curve.
        shared: whether all repeats are judged on the same held-out systems.
        draws: bootstrap resamples.
    """
    ladders = [build_ladder(repeat.rungs, repeat.strata) for repeat in repeats]
    if len({ladder.model == "fixed" for ladder in ladders}) != 1:
        raise UsageError("Repeats with and without fidelity cannot be mixed: give at least one, all of the same simulation.")
    counted = [_inverse(r, ladder, seed if shared else seed + i, draws) for i, (r, ladder) in enumerate(zip(repeats, ladders, strict=True))]
    points = [_point(q2, ladder) for (q2, _), ladder in zip(counted, ladders, strict=True)]
    judge = _Judge(
        inverse=[inverse for _, inverse in counted],
        learned=[repeat.learned for repeat in repeats],
        point=np.array([1.0 / cost.cost_s for cost in points]),
        ceiling=np.array([ladder.ceiling_s for ladder in ladders]),
        seed=seed,
        shared=shared,
    )
    lower_bound = any(q2.value <= 0 for q2, _ in counted) or any(cost.bound == "lower bound" for cost in points)
    lower_bound = lower_bound and ladders[0].model != "fixed"
    note = ONE_REPEAT if len(repeats) == 1 else f"nested in {len(repeats)} repeats"
    note = f"lower bound; {note}" if lower_bound else note
    at_n = _as_gain(_interval(judge.ends(n), note, lower_bound), f"times cheaper than simulating at equal quality, for {n:g} lookups")
    return Gain(
        n=n,
        gain=at_n,
        n_star=_break_even(judge, note, lower_bound),
        at_infinity=_as_gain(_interval(judge.ends(np.inf), note, lower_bound), "times cheaper once learning is paid off"),
        conventional_s=_interval(judge.conventional(), note, lower_bound),
        conventional=points[0],
        curve=_curve(judge, grid, lower_bound),
        lower_bound=lower_bound,
        basis="at error q" if ladders[0].model == "fixed" else "equal quality",
        conclusion=_conclusion(at_n),
    )


def gain_at(n: float, conventional_s: float, learned: LearnedCost) -> float:
    """gain(n) = n C_conv / C_learned(n), in (0, inf)."""
    return conventional_s / learned.per_lookup_s(n)


def break_even(conventional_s: float, learned: LearnedCost) -> float | None:
    """N* = fixed / (C_conv - lookup); None where a lookup costs as much as a conventional run."""
    saved = conventional_s - learned.lookup_s
    return sum(learned.fixed_s.values()) / saved if saved > 0 else None


def _inverse(repeat: Repeat, ladder: Ladder, seed: int, draws: int) -> tuple[Replicates, Replicates]:
    """Replicates of q^2 and of 1 / C_conv(q^2), on the same resamples."""
    counts = resample(repeat.strata, seed=seed, draws=draws)
    columns = np.column_stack([repeat.strata.weights * repeat.terms, ladder.columns])

    def statistic(means: FloatArray) -> FloatArray:
        return ladder.inverse_cost(means[:, 0], *ladder.figures(means[:, 1:]))

    q2 = replicate(columns[:, :1], lambda means: means[:, 0], repeat.strata, counts)
    return q2, replicate(columns, statistic, repeat.strata, counts)


def _point(q2: Replicates, ladder: Ladder) -> Cost:
    """C_conv at q, or at q's upper limit where q is below resolution."""
    if q2.value > 0:
        return ladder.cost(q2.value)
    upper = q2.limit("upper")
    return ladder.cost(max(upper, 0.0) if upper is not None else float(ladder.q2.max()))


def _interval(ends: tuple[float, float | None, float | None], note: str, lower_bound: bool) -> Interval:
    value, lower, upper = ends
    return Interval(value=value if np.isfinite(value) else None, lower=lower, upper=None if lower_bound else upper, note=note)


def _as_gain(interval: Interval, meaning: str) -> Interval:
    return replace(interval, meaning=meaning, reference=1.0, better="higher")


def _break_even(judge: _Judge, note: str, lower_bound: bool) -> Interval:
    """N* and its limits: where gain, its upper and its lower limit reach 1. A lower bound of gain is an upper bound of N*."""
    value = _crossing(judge, 0)
    note = note.replace("lower bound", "upper bound")
    if value is None:
        note = f"no break-even; {note}"
    return Interval(
        value=value,
        lower=None if lower_bound else _crossing(judge, 2),
        upper=_crossing(judge, 1),
        note=note,
        meaning="lookups from which learning costs less than simulating at equal quality",
        better="lower",
    )


def _crossing(judge: _Judge, end: int) -> float | None:
    """The N at which an end of gain(N), which rises with N, is 1, by bisection in log N; None where it never is."""

    def reached(n: float) -> bool:
        found = judge.ends(n)[end]
        return found is not None and found >= 1.0

    low, high = np.log(1e-9), np.log(_FOREVER)
    if not reached(float(np.exp(high))):
        return None
    while high - low > 1e-10:
        middle = (low + high) / 2.0
        low, high = (low, middle) if reached(float(np.exp(middle))) else (middle, high)
    return float(np.exp(high))


def _curve(judge: _Judge, grid: Sequence[float], lower_bound: bool) -> Series:
    ends = [judge.ends(n) for n in grid]
    return Series(
        label="gain (lower bound)" if lower_bound else "gain",
        x=list(grid),
        y=[value for value, _, _ in ends],
        lower=[lower for _, lower, _ in ends],
        upper=[None if lower_bound else upper for _, _, upper in ends],
    )


def _conclusion(gain: Interval) -> Literal["learning pays", "learning does not pay", "no difference shown"]:
    if gain.lower is not None and gain.lower > 1:
        return "learning pays"
    if gain.upper is not None and gain.upper < 1:
        return "learning does not pay"
    return "no difference shown"
