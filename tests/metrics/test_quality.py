"""The error q: known answers, unbiasedness, signs."""

import numpy as np
import pytest

from mlforhpc.core.errors import UsageError
from mlforhpc.core.simulation import Output
from mlforhpc.metrics.quality import (
    Terms,
    error_terms,
    pair_terms,
    quality,
    quality_of_repeats,
    replica_ratio,
    replicates,
    scale,
    signed_root,
    weighted_quantile,
)
from mlforhpc.metrics.strata import one_stratum, stratify

DENSITY = Output(name="y", shape=(2,), scale="mean")


def terms_of(values: list[float]) -> Terms:
    """Terms of one output."""
    return Terms(outputs=("y",), counted=(True,), values=np.array(values)[:, None])


def test_terms_by_hand_over_two_arrays() -> None:
    """Mean over bins, relative to each system's own scale, mean over arrays; derived arrays stand apart."""
    outputs = [DENSITY, Output(name="z", scale=2.0), Output(name="d", derived=True, scale=1.0)]
    p = {"y": np.array([[2.0, 2.0]]), "z": np.array([5.0]), "d": np.array([100.0])}
    r1 = {"y": np.array([[1.0, 3.0]]), "z": np.array([4.0]), "d": np.array([0.0])}
    r2 = {"y": np.array([[1.0, 1.0]]), "z": np.array([2.0]), "d": np.array([0.0])}
    terms = error_terms(outputs, p, r1, r2)
    # y: (1 * 1 + -1 * 1) / 2 = 0; z: 1 * 3 / 4; d: 10^4, which does not count
    np.testing.assert_allclose(terms.values, [[0.0, 0.75, 10_000.0]])
    np.testing.assert_allclose(terms.by_system, [0.375])


def test_a_deterministic_simulation_has_one_reference() -> None:
    """r1 = r2: the plain squared relative error."""
    r = {"y": np.array([[1.0, 3.0]])}
    np.testing.assert_allclose(error_terms([DENSITY], {"y": np.array([[1.2, 2.8]])}, r, r).by_system, [0.04 / 4.0])


def test_scales() -> None:
    """mean, rms (of the product, so that noise does not add up), a number, and the floor below them."""
    a, b = np.array([[1.0, 3.0], [0.0, 0.1]]), np.array([[3.0, 1.0], [0.0, 0.1]])
    np.testing.assert_allclose(scale(Output(name="y", shape=(2,), scale="mean", scale_floor=1.0), a, b), [2.0, 1.0])
    np.testing.assert_allclose(scale(Output(name="y", shape=(2,), scale="rms"), a, b), [np.sqrt(3.0), np.sqrt(0.005)])
    np.testing.assert_allclose(scale(Output(name="y", shape=(2,), scale=7.0), a, b), [7.0, 7.0])
    np.testing.assert_allclose(scale(Output(name="y", shape=(2,), scale="rms", scale_floor=0.5), a, -b), [0.5, 0.5])


def test_a_scale_of_zero_says_what_to_do() -> None:
    """A relative error to nothing is refused, with the way out."""
    with pytest.raises(UsageError, match="scale_floor"):
        scale(Output(name="y", scale="mean"), np.zeros(1), np.zeros(1))


def test_failed_systems_are_refused() -> None:
    """NaN would poison the total without a word."""
    nan = {"y": np.array([[1.0, np.nan]])}
    with pytest.raises(UsageError, match="held-out system 0"):
        error_terms([DENSITY], nan, {"y": np.ones((1, 2))}, {"y": np.ones((1, 2))})


def test_only_derived_outputs_are_refused() -> None:
    """Then there is nothing that q could be of."""
    with pytest.raises(UsageError, match="derived"):
        error_terms([Output(name="y", derived=True)], {}, {}, {})


def test_q2_is_unbiased_under_reference_noise_of_any_size() -> None:
    """Noise of ten times the error in both references moves the mean of q^2 by nothing."""
    rng = np.random.default_rng(0)
    n, bins = 4000, 50
    output = Output(name="y", shape=(bins,), scale=1.0)
    truth = np.ones((n, bins))
    p = truth + 0.05 * rng.standard_normal((n, bins))
    r1, r2 = (truth + 0.5 * rng.standard_normal((n, bins)) for _ in range(2))
    q2 = float(error_terms([output], {"y": p}, {"y": r1}, {"y": r2}).by_system.mean())
    assert q2 == pytest.approx(0.0025, abs=4 * 0.25 / np.sqrt(n * bins))
    same = float(error_terms([output], {"y": p}, {"y": r1}, {"y": r1}).by_system.mean())
    assert same > 0.2  # with one reference for both, the noise is counted as the surrogate's


def test_the_reference_pair_is_a_rung() -> None:
    """Half the mean squared difference is one run's squared error."""
    pair = {"y": np.array([[1.0, 3.0]])}, {"y": np.array([[3.0, 1.0]])}
    np.testing.assert_allclose(pair_terms([DENSITY], pair, pair).by_system, [(4.0 / 2.0) / 4.0])


def test_what_is_made_of_a_pair_is_judged_with_its_bias_and_without_the_noise_of_the_other_run() -> None:
    """Each run halved: error^2 = bias^2 + variance = 0.5^2 + 0.2^2 / 4, within four standard errors of 4,000 pairs."""
    rng, output = np.random.default_rng(5), Output(name="y", scale=1.0)
    runs = tuple({"y": 1 + 0.2 * rng.standard_normal(4000)} for _ in range(2))
    terms = pair_terms([output], runs, [{"y": run["y"] / 2} for run in runs]).by_system
    assert terms.mean() == pytest.approx(0.25 + 0.01, abs=4 * terms.std() / np.sqrt(4000))
    assert terms.std() / np.sqrt(4000) < 0.005


def test_q_by_hand() -> None:
    """q^2 = 0.9 * 0.01 + 0.1 * 0.25, its root, worst and strata."""
    terms = terms_of([0.01, 0.01, 0.25, 0.25])
    found = quality(terms, stratify(["bulk", "bulk", "corner", "corner"], {"bulk": 0.9, "corner": 0.1}), seed=0)
    assert found.q2 == pytest.approx(0.034)
    assert found.q.value == pytest.approx(np.sqrt(0.034))
    assert found.lower == found.upper == pytest.approx(np.sqrt(0.034))  # no spread within strata
    assert found.by_stratum == pytest.approx({"bulk": 0.1, "corner": 0.5})
    assert (found.worst, found.worst_system) == (pytest.approx(0.5), 2)
    assert found.by_output == pytest.approx({"y": np.sqrt(0.034)})
    assert found.top_share == pytest.approx(0.0125 / 0.034)


def test_negative_terms_are_kept_and_may_put_the_total_below_resolution() -> None:
    """Clipping them would bias q upwards; a total of zero or less has an upper limit instead of a value."""
    found = quality(terms_of([-0.03, 0.01, -0.02, 0.02, 0.01]), one_stratum(5), seed=0)
    assert found.q2 == pytest.approx(-0.002)
    assert found.q.value is None and "below resolution" in found.q.note
    assert found.upper is not None and 0 < found.upper < 0.3
    assert found.by_output["y"] == pytest.approx(-np.sqrt(0.002))


def test_median_and_p90_are_of_the_space_not_of_the_sample() -> None:
    """Half of the sample is a corner of a tenth: the median is the bulk's."""
    terms = terms_of([0.01] * 10 + [1.0] * 10)
    found = quality(terms, stratify(["bulk"] * 10 + ["corner"] * 10, {"bulk": 0.95, "corner": 0.05}), seed=0)
    assert found.median == pytest.approx(0.1) and found.p90 == pytest.approx(0.1)
    assert weighted_quantile(np.array([3.0, 1.0, 2.0]), np.ones(3), 0.5) == 2.0
    assert weighted_quantile(np.array([1.0, 2.0]), np.array([3.0, 1.0]), 0.625) == 1.5
    assert signed_root(-4.0) == -2.0


def test_the_order_of_systems_does_not_matter() -> None:
    """Point figures to rounding, limits to the resampling's noise."""
    rng = np.random.default_rng(1)
    values, labels = rng.lognormal(-7, 1, 40), np.array(["a"] * 25 + ["b"] * 15)
    order = rng.permutation(40)
    shares = {"a": 0.8, "b": 0.2}
    one = quality(terms_of(values.tolist()), stratify(labels.tolist(), shares), seed=0)
    two = quality(terms_of(values[order].tolist()), stratify(labels[order].tolist(), shares), seed=0)
    assert two.q2 == pytest.approx(one.q2, rel=1e-12)
    assert (two.median, two.p90, two.worst) == pytest.approx((one.median, one.p90, one.worst), rel=1e-12)
    assert two.upper == pytest.approx(one.upper, rel=0.05) and two.lower == pytest.approx(one.lower, rel=0.02)


def test_same_seed_same_digits() -> None:
    """And another seed gives others."""
    terms, strata = terms_of(np.random.default_rng(2).lognormal(-7, 1, 30).tolist()), one_stratum(30)
    assert quality(terms, strata, seed=3) == quality(terms, strata, seed=3)
    assert quality(terms, strata, seed=3).upper != quality(terms, strata, seed=4).upper


def test_more_looks_make_wider_limits() -> None:
    """The level is split over the looks."""
    terms, strata = terms_of(np.random.default_rng(2).lognormal(-7, 1, 30).tolist()), one_stratum(30)
    one, two = quality(terms, strata, seed=0), quality(terms, strata, seed=0, looks=3)
    assert one.upper is not None and two.upper is not None and one.lower is not None and two.lower is not None
    assert two.lower < one.lower < np.sqrt(one.q2) < one.upper < two.upper


def test_repeats_average_q2_and_widen_with_their_spread() -> None:
    """The mean of q^2, not of q; training sets that differ make the limits wider than their systems alone do."""
    rng = np.random.default_rng(5)
    base = rng.lognormal(0, 0.3, (4, 40))
    alike = [terms_of(row.tolist()) for row in base]
    unlike = [terms_of((row * f).tolist()) for row, f in zip(base, [0.2, 0.6, 1.4, 1.8], strict=True)]
    strata = [one_stratum(40)] * 4
    a, b = quality_of_repeats(alike, strata, seed=0), quality_of_repeats(unlike, strata, seed=0)
    assert a.q2 == pytest.approx(base.mean()) and "4 repeats" in a.q.note
    assert a.upper is not None and b.upper is not None and b.upper / np.sqrt(b.q2) > 1.3 * a.upper / np.sqrt(a.q2)
    one = quality_of_repeats(alike[:1], strata[:1], seed=0)
    assert one == quality(alike[0], strata[0], seed=0) and "conditional on its training set" in one.q.note


def test_replica_ratio_tests_the_stated_errors() -> None:
    """One where they are right, four where they are half of what they should be, None where there are none."""
    rng = np.random.default_rng(3)
    r1, r2 = ({"y": 1 + 0.1 * rng.standard_normal((50, 40))} for _ in range(2))
    se, half = {"y": np.full((50, 40), 0.1)}, {"y": np.full((50, 40), 0.05)}
    output = [Output(name="y", shape=(40,), scale=1.0)]
    assert replica_ratio(output, r1, r2, se, se) == pytest.approx(1.0, abs=0.1)
    assert replica_ratio(output, r1, r2, half, half) == pytest.approx(4.0, abs=0.4)
    assert replica_ratio(output, r1, r2, {}, {}) is None
    assert replica_ratio(output, r1, r1, {"y": 0 * se["y"]}, {"y": 0 * se["y"]}) is None


def test_replicates_of_one_system_have_open_limits() -> None:
    """Nothing can be said about the next system from one."""
    assert replicates(np.array([1.0]), one_stratum(1), seed=0, draws=10).limit("upper") is None
