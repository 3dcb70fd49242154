"""Calibration on an exact, a pessimistic and an overconfident model, and with very few runs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from mlforhpc.learners._calibration import calibrate, standardised_errors, uncalibrated

BLOCKS = ((0, 1), (1, 5))
"""A number and an array of four."""


def scores(n, deviation=1.0, seed=0):
    """|normal| scores (n, 5) of a model whose true deviations are `deviation` times what it says."""
    return np.abs(deviation * np.random.default_rng(seed).standard_normal((n, 5)))


@pytest.mark.parametrize(("deviation", "label"), [(1.0, "exact"), (0.25, "pessimistic"), (3.0, "overconfident")])
@pytest.mark.parametrize("coverage", [0.5, 0.9, 0.99])
def test_factors_undo_a_wrong_width(deviation, label, coverage):
    """The factor is the normal quantile times how wrong the model is, for arrays whole as well."""
    calibration = calibrate(scores(4000, deviation), BLOCKS)
    pointwise, joint = norm.ppf(0.5 + 0.5 * coverage), norm.ppf(0.5 + 0.5 * coverage**0.25)
    assert calibration.factors(coverage, False) == pytest.approx([deviation * pointwise] * 2, rel=0.05)
    assert calibration.factors(coverage, True) == pytest.approx([deviation * pointwise, deviation * joint], rel=0.07)


def test_nine_runs_by_hand():
    """Of scores 1 ... 9 the 90 % factor is the ceil(10 x 0.9) = 9th, the 50 % factor the 5th."""
    calibration = calibrate(np.arange(1.0, 10.0)[:, None], ((0, 1),))
    assert calibration.factors(0.9, True) == [9.0] and calibration.factors(0.5, True) == [5.0]
    assert calibration.factors(0.9, False) == [9.0]
    assert calibration.factors(0.5, False) == [5.0]


def test_beyond_the_largest_score_factors_grow_as_a_normal():
    """Nine runs say nothing of 99 %: the largest score times z(0.99) / z(0.9)."""
    calibration = calibrate(np.arange(1.0, 10.0)[:, None], ((0, 1),))
    stretch = norm.ppf(0.995) / norm.ppf(0.95)
    assert calibration.factors(0.99, False) == pytest.approx([9.0 * stretch])
    assert calibration.factors(0.99, True) == pytest.approx([9.0 * stretch])


@pytest.mark.parametrize("runs", [6, 40, 300])
def test_factors_never_fall_with_coverage(runs):
    """From 1 % to 99.9 %, pointwise and joint, calibrated and not."""
    for calibration in (calibrate(scores(runs), BLOCKS), uncalibrated(2, runs)):
        for joint in (False, True):
            factors = np.array([calibration.factors(c, joint) for c in np.linspace(0.01, 0.999, 200)])
            assert (np.diff(factors, axis=0) >= -1e-12).all()


@pytest.mark.parametrize("joint", [False, True])
def test_a_new_run_is_covered_as_stated(joint):
    """Averaged over calibrations with 30 runs, at least the stated 90 % of independent runs is covered."""
    hits = []
    for seed in range(400):
        fresh = scores(1, seed=10_000 + seed)
        factor = calibrate(scores(30, seed=seed), BLOCKS).factors(0.9, joint)[1]
        hits.append((fresh[0, 1:] <= factor).all() if joint else (fresh[0, 1:] <= factor).mean())
    assert 0.88 <= np.mean(hits) <= 0.95


def test_exact_predictions_of_constants_score_nothing():
    """Zero error with zero variance is a score of 0; an error with zero variance is a huge one."""
    found = standardised_errors(np.array([0.0, 2.0, -3.0]), np.array([0.0, 4.0, 0.0]))
    assert found[:2].tolist() == [0.0, 1.0] and found[2] > 1e9


def test_two_runs_get_a_student_interval():
    """With two runs the 90 % factor is Student's for one degree of freedom, 6.31."""
    assert uncalibrated(1, 2).factors(0.5, False) == pytest.approx([2.41], rel=0.2)
    assert uncalibrated(1, 2).factors(0.9, False)[0] >= 6.3
