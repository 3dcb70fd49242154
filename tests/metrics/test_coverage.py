"""Coverage and score on exact, pessimistic and overconfident intervals."""

import numpy as np
import pytest

from mlforhpc.core.simulation import Output
from mlforhpc.metrics.coverage import Coverage, Predicted, coverage, interval_score, success_rate
from mlforhpc.metrics.strata import one_stratum, stratify

N, BINS = 200, 30
Z90 = 1.6448536269514722


def of_width(factor: float, sigma: np.ndarray | float = 1.0) -> Coverage:
    """Gaussian runs of standard deviation sigma about 10, intervals of `factor` times the right width."""
    y = 10 + sigma * np.random.default_rng(0).standard_normal((N, BINS))
    mean = np.full((N, BINS), 10.0)
    half = factor * Z90 * sigma * np.ones((N, BINS))
    predicted = Predicted(mean={"y": mean}, lower={"y": mean - half}, upper={"y": mean + half})
    outputs = [Output(name="y", shape=(BINS,), scale=10.0)]
    return coverage(outputs, predicted, {"y": y}, {"y": np.full(N, 10.0)}, one_stratum(N), stated=0.9, seed=0, draws=1000)


def test_exact_pessimistic_and_overconfident_intervals_are_told_apart() -> None:
    """0.9 as stated, above, below; the exact ones have the best score."""
    exact, wide, narrow = of_width(1.0), of_width(2.0), of_width(0.4)
    assert exact.pointwise.lower is not None and exact.pointwise.upper is not None and exact.pointwise.value is not None
    assert exact.pointwise.lower < 0.9 < exact.pointwise.upper
    assert exact.pointwise.upper - exact.pointwise.lower < 0.03
    assert wide.pointwise.value == pytest.approx(0.999, abs=0.001)
    assert narrow.pointwise.value == pytest.approx(0.489, abs=0.015)
    assert exact.score < wide.score and exact.score < narrow.score
    assert exact.score == pytest.approx(exact.constant_score, rel=0.01)  # constant noise: nothing to know about where
    assert exact.score == pytest.approx(4.1254 / 10, rel=0.03)  # Gaussian, 90 %: 2 phi(z) / 0.05 standard deviations
    assert exact.whole.value == pytest.approx(0.9**BINS, abs=0.03)


def test_knowing_where_one_is_unsure_beats_a_constant_width() -> None:
    """Noise that differs between systems: intervals that follow it score better than the best constant ones."""
    found = of_width(1.0, np.repeat([0.2, 3.0], N // 2)[:, None])
    assert found.score < 0.75 * found.constant_score


def test_interval_score_by_hand() -> None:
    """Width 2; plus 2 / 0.1 times the miss."""
    y, lower, upper = np.array([1.0, -0.5, 2.25]), np.zeros(3), np.full(3, 2.0)
    np.testing.assert_allclose(interval_score(y, lower, upper, alpha=0.1), [2.0, 12.0, 7.0])


def test_the_best_constant_width_is_best() -> None:
    """No other k scores less on the same residuals."""
    found = of_width(1.0)
    rows = []
    for k in np.linspace(0.5, 3.0, 200):
        rows.append(of_width(k / Z90).score if 1.4 < k < 1.9 and len(rows) % 8 == 0 else np.inf)
    assert min(rows) >= found.constant_score - 1e-12
    assert min(rows) == pytest.approx(found.constant_score, rel=2e-3)


def test_shares_are_weighted_and_split_by_stratum() -> None:
    """A corner in which nothing holds counts for its share of the space; a derived output is only listed."""
    strata = stratify(["bulk", "corner", "corner"], {"bulk": 0.9, "corner": 0.1})
    y = {"y": np.array([[0.0, 0.0], [5.0, 5.0], [5.0, 0.0]]), "d": np.full(3, 9.0)}
    zero = {"y": np.zeros((3, 2)), "d": np.zeros(3)}
    predicted = Predicted(mean=zero, lower={k: v - 1 for k, v in zero.items()}, upper={k: v + 1 for k, v in zero.items()})
    outputs = [Output(name="y", shape=(2,)), Output(name="d", derived=True)]
    found = coverage(outputs, predicted, y, {"y": np.ones(3)}, strata, stated=0.9, seed=0, draws=200)
    assert found.pointwise.value == pytest.approx(0.9 + 0.05 * 0.5)
    assert found.by_stratum == pytest.approx({"bulk": 1.0, "corner": 0.25})
    assert found.whole.value == pytest.approx(0.9)
    assert found.by_output == pytest.approx({"y": 0.925, "d": 0.0})


def test_full_coverage_has_a_lower_limit_below_one() -> None:
    """n of n systems inside: 0.025^(1/n), not an interval of no width."""
    zero = {"y": np.zeros(20)}
    predicted = Predicted(mean=zero, lower={"y": np.full(20, -1.0)}, upper={"y": np.full(20, 1.0)})
    args = ([Output(name="y")], predicted)
    found = coverage(*args, zero, {"y": np.ones(20)}, one_stratum(20), stated=0.9, seed=0, draws=50)
    assert (found.pointwise.lower, found.pointwise.upper) == (pytest.approx(0.025 ** (1 / 20)), 1.0)
    none = coverage(*args, {"y": np.full(20, 5.0)}, {"y": np.ones(20)}, one_stratum(20), stated=0.9, seed=0, draws=50)
    assert (none.pointwise.value, none.pointwise.upper) == (0.0, pytest.approx(1 - 0.025 ** (1 / 20)))


def test_success_rate_grows_as_the_reference_gets_worse() -> None:
    """The source's figure rewards noise, which is why it is no target."""
    rng = np.random.default_rng(0)
    p = np.full((50, 20), 1.05)
    good, bad = (success_rate(p, 1 + s * rng.standard_normal((50, 20)), np.full((50, 20), s), np.full(50, 0.02)) for s in (0.01, 0.2))
    assert good < 0.1 and bad > 0.9
    assert success_rate(np.array([[0.0, 3.0]]), np.zeros((1, 2)), np.ones((1, 2)), np.ones(1)) == 0.5
