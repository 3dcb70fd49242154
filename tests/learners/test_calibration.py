"""Calibration on an exact, a pessimistic and an overconfident model, with very few runs, and the folds that it comes from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import f as fisher
from scipy.stats import norm
from scipy.stats import t as student

from mlforhpc.core.learner import Dataset
from mlforhpc.core.simulation import Output
from mlforhpc.core.space import Real, Space
from mlforhpc.learners._calibration import calibrate, standardised_errors, uncalibrated
from mlforhpc.learners._folds import check, folds_by_place, folds_of
from mlforhpc.learners._model import Moments
from mlforhpc.learners._table import tabulate

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
    for calibration in (calibrate(scores(runs), BLOCKS), uncalibrated(BLOCKS, runs)):
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


def test_scores_by_hand():
    """No error is a score of 0 whatever the variance; 2 and -3 over deviations of 2 and 1/2 are 1 and 6."""
    error, variance = np.array([[0.0, 0.0], [2.0, -3.0]]), np.array([[0.0, 4.0], [4.0, 0.25]])
    assert standardised_errors(error, variance, np.ones(2)).tolist() == [[0.0, 0.0], [1.0, 6.0]]


def test_a_model_without_variance_is_scored_by_the_spread():
    """A fold of constants that leaves out the one run which differs: its error over the runs' spread; rounding is no deviation."""
    found = standardised_errors(np.array([[3.0, 1e-9]]), np.array([[0.0, 1e-40]]), np.array([1.5, 1.0]))
    assert found[0].tolist() == pytest.approx([2.0, 1e3])


@pytest.mark.parametrize("coverage", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("runs", [2, 3, 5])
def test_few_runs_get_a_student_interval(runs, coverage):
    """Pointwise Student's quantile with runs - 1 degrees of freedom (6.31 for two runs and 90 %), for arrays whole Scheffe's."""
    calibration, f = uncalibrated(BLOCKS, runs), runs - 1
    quantile = student.ppf(0.5 + 0.5 * coverage, f)
    assert calibration.factors(coverage, False) == pytest.approx([quantile] * 2, rel=0.06)
    rank = min(4, f)
    assert calibration.factors(coverage, True) == pytest.approx([quantile, np.sqrt(rank * fisher.ppf(coverage, rank, f))], rel=0.06)


@pytest.mark.parametrize(("n", "folds"), [(23, 10), (6, 10), (40, 2)])
def test_folds_leave_each_run_out_once(n, folds):
    """A partition into parts whose sizes differ by one at most; another seed, another partition."""
    parts = folds_of(n, folds, 0)
    assert len(parts) == min(n, folds) and sorted(np.concatenate(parts).tolist()) == list(range(n))
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    assert [part.tolist() for part in parts] != [part.tolist() for part in folds_of(n, folds, 1)]


def test_too_few_runs_or_no_folds_leave_none_out():
    """Below six runs, six places, or where no folds are wanted."""
    assert folds_of(5, 10, 0) == [] == folds_of(40, 0, 0)
    assert folds_by_place(np.repeat(np.arange(5.0), 8)[:, None], 10, 0) == [] == folds_by_place(np.arange(9.0)[:, None], 0, 0)


def test_runs_at_one_place_are_left_out_together():
    """Twelve places with one to three runs: each run once, each place in one fold; without repeats the folds are those of the rows."""
    rng = np.random.default_rng(0)
    which = np.concatenate([np.arange(12), [3, 3, 7, 11]])
    u = rng.random((12, 2))[which]
    parts = folds_by_place(u, 5, seed=1)
    assert len(parts) == 5 and sorted(np.concatenate(parts).tolist()) == list(range(16))
    assert sum(len(set(which[part])) for part in parts) == 12
    single = folds_by_place(u[:12], 5, seed=1)
    assert [part.tolist() for part in single] == [part.tolist() for part in folds_of(12, 5, seed=1)]


def runs_of(y, se=None):
    """A table of numbers y (n,) of one input."""
    n = len(y)
    data = Dataset(
        space=Space(a=Real(0.0, 1.0)), outputs=(Output(name="y", scale=1.0),), x=np.linspace(0.0, 1.0, n)[:, None], y={"y": y},
        y_se={} if se is None else {"y": se}, outcome=("ok",) * n, fidelity=np.ones(n), cost_s=np.ones(n),
    )  # fmt: skip
    return tabulate(data)


@pytest.mark.parametrize("stated", [True, False])
def test_what_left_out_runs_show_by_hand(stated):
    """Errors of 1 ... 6 with model variance 3 and noise 1 (stated or foreseen): scores of half as much."""
    y = np.arange(1.0, 7.0)
    table = runs_of(y, np.ones(6) if stated else None)
    parts = [np.array([0, 1, 2]), np.array([3, 4, 5])]
    left_out = [Moments(np.zeros((3, 1)), np.full((3, 1), 3.0), np.ones((1, 1)), np.zeros(3)) for _ in parts]
    found = check(table, parts, left_out)
    assert found.stated.joint.tolist() == [[0.5, 1.0, 1.5, 2.0, 2.5, 3.0]] == found.foreseen.joint.tolist()
    assert found.card["fold_coverage_90_uncalibrated"] == 0.5
    assert found.card["fold_error"] == pytest.approx(np.sqrt(np.mean(y**2) - stated))
    assert found.card["calibration"] == "2 refitted folds"


def test_without_folds_the_card_says_so():
    """Student's distribution, with one degree of freedom less than there are places."""
    three = runs_of(np.arange(3.0))
    often = replace(three.rows(np.repeat(np.arange(3), 4)), u=np.repeat(three.u, 4, axis=0))
    for table in (three, often):
        found = check(table, [], [])
        assert found.card == {"calibration": "none: Student's distribution"}
        assert found.stated.factors(0.9, False) == pytest.approx([2.92], rel=0.02)
