"""VALID or INVALID, and why in one sentence.

VALID: the one-sided 95 % upper limit of the error is at most the target. INVALID: the lower limit is above it. In between more
systems are added at pre-declared sizes, the level split over the looks (`quality(..., looks=)` makes limits of level
1 - 0.05 / looks); still open at the last look is INVALID, "not resolved".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from mlforhpc.core.result import Verdict
from mlforhpc.metrics.quality import BELOW, REPLICA_RANGE, Quality


def standing(quality: Quality, target: float) -> Literal["VALID", "INVALID", "open"]:
    """Where a run stands at one look; while "open" and looks are left, add systems."""
    if quality.upper is not None and quality.upper <= target:
        return "VALID"
    if quality.lower is not None and quality.lower > target:
        return "INVALID"
    return "open"


def judge(quality: Quality, *, target: float, failures: Sequence[str] = ()) -> Verdict:
    """The verdict at the last look.

    Args:
        quality: with limits of the level split over the looks.
        target: of the benchmark's size.
        failures: sentences of gates that failed (`replica_failure`, ...); the first one is the reason.
    """
    if failures:
        return Verdict(status="INVALID", reason=failures[0], target=target, ranked=False)
    figures = _figures(quality, target)
    match standing(quality, target):
        case "VALID":
            return Verdict(status="VALID", reason=f"the error is within the target: {figures}", target=target, ranked=True)
        case "INVALID":
            return Verdict(status="INVALID", reason=f"the error misses the target: {figures}", target=target, ranked=False)
        case "open":
            return Verdict(status="INVALID", reason=f"not resolved: {figures}", target=target, ranked=False)


def judge_installation(quality: Quality, *, target: float, failures: Sequence[str] = ()) -> Verdict:
    """Size tiny: an installation check without rank; too few systems for limits, so q itself is compared with the target."""
    if failures:
        return Verdict(status="INVALID", reason=failures[0], target=target, ranked=False)
    q = quality.q.value
    if q is None or q <= target:
        return Verdict(status="VALID", reason="installation check, no rank", target=target, ranked=False)
    return Verdict(
        status="INVALID", reason=f"installation check: q {_number(q, target)} misses the target {target:g}", target=target, ranked=False
    )


def replica_failure(ratio: float | None) -> str | None:
    """Why a replica ratio makes a run INVALID, or None; a ratio of None (no stated standard errors) does not."""
    low, high = REPLICA_RANGE
    if ratio is None or low <= ratio <= high:
        return None
    return f"the stated standard errors are wrong: replica ratio {ratio:.2f}, wanted {low:g}-{high:g}"


def _figures(quality: Quality, target: float) -> str:
    limit, name = (quality.lower, "lower limit") if standing(quality, target) == "INVALID" else (quality.upper, "upper limit")
    q = f"q {BELOW}" if quality.q.value is None else f"q {_number(quality.q.value, target)}"
    return f"{q}, {name} {'open' if limit is None else _number(limit, target)}, target {target:g}"


def _number(value: float, target: float) -> str:
    """Two digits, more where two would make it look equal to the target."""
    for digits in range(2, 6):
        text = f"{value:.{digits}g}"
        if float(text) != target:
            break
    return text
