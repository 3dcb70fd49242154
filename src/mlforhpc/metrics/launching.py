"""How well an engine launches many short tasks: efficiency against task length, and the length from which it passes a level.

    efficiency = sum t_i / (slots x makespan)           t_i: the same tasks in plain loops on the same slots, in the same round
    lost       = slots x makespan / n - mean t_i        slot-seconds a task beyond its own
    inside     = sum of the tasks' times in their slots, from the trace / (slots x makespan)
1 - inside is what launching takes; efficiency / inside is how fast a task runs once it does, against the plain loop.
Over rounds: the median, which a hiccup of the machine does not move, with order statistics as its interval: of n rounds the k-th from
below and from above, k the largest with 2 P(Binomial(n, 1/2) < k) <= 0.05; six rounds at least (Conover, Practical Nonparametric
Statistics, 1999). Between lengths: linear in the logarithm of the length.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import comb

import numpy as np

from mlforhpc.core.events import Event, Finished, Submitted
from mlforhpc.core.result import Interval
from mlforhpc.core.space import FloatArray


def efficiency(bare_s: Sequence[float], *, slots: int, makespan_s: float) -> float:
    """Share of the slots' time that the tasks need in plain loops; dimensionless, > 0, 1 where nothing is lost."""
    return float(np.sum(bare_s)) / (slots * makespan_s)


def lost_s(bare_s: Sequence[float], *, slots: int, makespan_s: float) -> float:
    """Slot-seconds a task beyond what it needs in a plain loop; negative where noise is larger than what is lost."""
    return slots * makespan_s / len(bare_s) - float(np.mean(bare_s))


def task_s(events: Iterable[Event]) -> dict[str, float]:
    """Label -> seconds that its tasks took in their slots, from a trace."""
    labels: dict[int, str] = {}
    found: dict[str, float] = {}
    for event in events:
        if isinstance(event, Submitted):
            labels[event.task] = event.label
        elif isinstance(event, Finished) and event.task in labels:
            label = labels[event.task]
            found[label] = found.get(label, 0.0) + (event.ended_ns - event.started_ns) / 1e9
    return found


def unequal_share(wanted: Sequence[float], found: Sequence[float | None]) -> float:
    """Share of scores that are not, to the last bit, what they should be; one that is missing, or NaN, is not. In [0, 1]."""
    return sum(b is None or a != b for a, b in zip(wanted, found, strict=True)) / len(wanted)


def over_rounds(values: Sequence[float], *, coverage: float = 0.95) -> Interval:
    """Median over rounds, with its distribution-free interval of at least `coverage`; without one where there are too few rounds."""
    ordered, n = np.sort(np.asarray(values, dtype=float)), len(values)
    tails = 2.0 * np.cumsum([comb(n, k) for k in range(n // 2 + 1)]) / 2.0**n  # of leaving out k = 0, 1, ... rounds at each end
    left_out = int((tails <= 1.0 - coverage).sum()) - 1
    middle = float(np.median(ordered))
    if left_out < 0:
        return Interval(value=middle, coverage=coverage, note=f"{n} rounds, too few for an interval")
    return Interval(value=middle, lower=float(ordered[left_out]), upper=float(ordered[n - 1 - left_out]), coverage=coverage)


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Efficiency against task length.

    Attributes:
        lengths_s: of the tasks in a plain loop, rising (L,).
        value: efficiency (L,).
        lower, upper: ends of its pointwise 95 % interval (L,); None where there are too few rounds for it.
    """

    lengths_s: FloatArray
    value: FloatArray
    lower: FloatArray | None
    upper: FloatArray | None


def curve(lengths_s: Sequence[float], rounds: FloatArray) -> Curve:
    """The curve over rounds (R, L) of efficiencies at L lengths, which are put in rising order."""
    order = np.argsort(lengths_s)
    found = [over_rounds(rounds[:, i].tolist()) for i in order]
    value, lower, upper = (np.array([getattr(one, part) for one in found], dtype=float) for part in ("value", "lower", "upper"))
    known = not np.isnan(lower).any()
    lengths = np.asarray(lengths_s, dtype=float)[order]
    return Curve(lengths_s=lengths, value=value, lower=lower if known else None, upper=upper if known else None)


def at(found: Curve, length_s: float) -> Interval:
    """Efficiency at one length; None outside the measured ones."""
    if not found.lengths_s[0] <= length_s <= found.lengths_s[-1]:
        return Interval(value=None, note=f"measured from {found.lengths_s[0]:.3g} to {found.lengths_s[-1]:.3g} s only")
    where, x = np.log(found.lengths_s), np.log(length_s)
    ends = [None if side is None else float(np.interp(x, where, side)) for side in (found.lower, found.upper)]
    return Interval(value=float(np.interp(x, where, found.value)), lower=ends[0], upper=ends[1])


def passing(found: Curve, level: float) -> Interval:
    """The length in s from which on efficiency stays at or above a level, as far as it was measured.

    The interval's ends are where the upper and the lower end of the curve's interval pass it; open where they do not. A value of None
    is above the level at every length (then `upper` is the shortest one), or still below it at the longest (then `lower` is that one).
    """
    shortest, longest = float(found.lengths_s[0]), float(found.lengths_s[-1])
    point, note = _passed(found.lengths_s, found.value, level)
    early = None if found.upper is None else _passed(found.lengths_s, found.upper, level)[0]
    late = None if found.lower is None else _passed(found.lengths_s, found.lower, level)[0]
    if note == "above":
        return Interval(value=None, upper=shortest, note="above it at every length measured")
    if note == "below":
        return Interval(value=None, lower=longest, note="still below it at the longest length measured")
    return Interval(value=point, lower=early, upper=late)


def _passed(lengths_s: FloatArray, values: FloatArray, level: float) -> tuple[float | None, str]:
    """Where the values rise through the level for the last time; or None and why."""
    below = np.flatnonzero(values < level)
    if len(below) == 0:
        return None, "above"
    i = int(below[-1])
    if i == len(values) - 1:
        return None, "below"
    share = (level - values[i]) / (values[i + 1] - values[i])
    return float(np.exp(np.log(lengths_s[i]) + share * np.log(lengths_s[i + 1] / lengths_s[i]))), ""
