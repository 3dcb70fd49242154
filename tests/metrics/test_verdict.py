"""Verdicts and their sentences."""

from dataclasses import replace

import numpy as np
import pytest

from mlforhpc.core.result import Interval
from mlforhpc.metrics.quality import Quality, Terms, quality
from mlforhpc.metrics.strata import one_stratum
from mlforhpc.metrics.verdict import judge, judge_installation, replica_failure, standing

BASE = quality(Terms(outputs=("y",), counted=(True,), values=np.full((4, 1), 1e-4)), one_stratum(4), seed=0, draws=10)


def with_limits(q: float | None, lower: float | None, upper: float | None) -> Quality:
    """A quality of which only these figures matter."""
    return replace(BASE, q=Interval(value=q), lower=lower, upper=upper)


@pytest.mark.parametrize(
    "limits, status, reason",
    [
        ((0.040, 0.034, 0.049), "VALID", "the error is within the target: q 0.04, upper limit 0.049, target 0.05"),
        ((0.048, 0.042, 0.055), "INVALID", "not resolved: q 0.048, upper limit 0.055, target 0.05"),
        ((0.070, 0.061, 0.090), "INVALID", "the error misses the target: q 0.07, lower limit 0.061, target 0.05"),
        ((0.049, 0.040, 0.0503), "INVALID", "not resolved: q 0.049, upper limit 0.0503, target 0.05"),
        ((None, 0.0, 0.012), "VALID", "the error is within the target: q below resolution, upper limit 0.012, target 0.05"),
        ((0.049, None, None), "INVALID", "not resolved: q 0.049, upper limit open, target 0.05"),
    ],
)
def test_verdicts(limits: tuple[float | None, float | None, float | None], status: str, reason: str) -> None:
    """By the one-sided limits, never by q itself; only VALID runs are ranked."""
    found = judge(with_limits(*limits), target=0.05)
    assert (found.status, found.reason, found.ranked, found.target) == (status, reason, status == "VALID", 0.05)


def test_an_open_run_asks_for_more_systems() -> None:
    """Between the limits, while looks are left."""
    assert standing(with_limits(0.048, 0.042, 0.055), 0.05) == "open"
    assert standing(with_limits(0.048, 0.042, 0.050), 0.05) == "VALID"
    assert standing(with_limits(0.060, 0.051, 0.070), 0.05) == "INVALID"


def test_a_failed_gate_is_the_reason() -> None:
    """However small the error is."""
    failure = replica_failure(1.6)
    assert failure == "the stated standard errors are wrong: replica ratio 1.60, wanted 0.8-1.25"
    assert judge(with_limits(0.01, 0.01, 0.01), target=0.05, failures=[failure]).reason == failure
    assert replica_failure(None) is None and replica_failure(1.2) is None and replica_failure(0.79) is not None


def test_tiny_has_no_rank() -> None:
    """An installation check: q against the target, without limits."""
    found = judge_installation(with_limits(0.1, None, None), target=0.2)
    assert (found.status, found.reason, found.ranked) == ("VALID", "installation check, no rank", False)
    assert judge_installation(with_limits(0.3, None, None), target=0.2).status == "INVALID"
    assert judge_installation(with_limits(0.1, None, None), target=0.2, failures=["no"]).reason == "no"
