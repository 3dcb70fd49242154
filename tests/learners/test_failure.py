"""The probability of failure: exact small cases, regions of known shape, and what must stay a constant."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal, qmc

from mlforhpc.core.errors import OutOfBounds, UsageError
from mlforhpc.core.space import Choice, Integer, Real, Space
from mlforhpc.learners._failure import LEVEL, Failure, _matern, _Objective, _propagate, fit_failure


def cube(d):
    """d parameters between 0 and 1."""
    return Space({f"x{j}": Real(0, 1) for j in range(d)})


def runs(d, n, seed):
    """A Sobol design in the cube (n, d)."""
    return qmc.Sobol(d, rng=np.random.default_rng(seed)).random(1 << (n - 1).bit_length())[:n]


def log_loss(failure, fails, seed=9):
    """Mean -log of what was said of the truth, on 4000 random points."""
    x = np.random.default_rng(seed).random((4000, len(failure.space)))
    p = np.clip(failure.probability(x), 1e-9, 1 - 1e-9)
    return -np.mean(np.where(fails(x), np.log(p), np.log(1 - p)))


REGIONS = {  # fails, d, runs, log loss of a constant, largest log loss
    "half-plane": (lambda u: u[:, 0] + 0.5 * u[:, 1] > 1.0, 2, 60, 0.56, 0.10),
    "half-plane among 20 parameters": (lambda u: u[:, 0] + 0.6 * u[:, 1] - 0.4 * u[:, 2] > 0.9, 20, 100, 0.52, 0.16),
    "three of five high": (lambda u: (u[:, :3] > 0.6).all(axis=1), 5, 100, 0.24, 0.12),
    "disc": (lambda u: ((u - 0.5) ** 2).sum(axis=1) < 0.09, 2, 100, 0.60, 0.12),
    "a single parameter": (lambda u: u[:, 3] > 0.8, 4, 100, 0.50, 0.06),
}


@pytest.mark.parametrize("name", REGIONS)
def test_a_region_of_failures_is_learned(name):
    """The log loss is a small part of a constant's."""
    fails, d, n, constant, largest = REGIONS[name]
    x = runs(d, n, seed=1)
    failure = fit_failure(cube(d), x, fails(x), seed=0)
    assert failure.weight > 0.99 and log_loss(failure, fails) < largest < constant


def test_it_is_sure_amid_runs_that_agree():
    """Below 1 % and above 95 % away from the border, near half on it; Laplace's method says 30 % at the far end."""
    x = runs(4, 100, seed=1)
    failure = fit_failure(cube(4), x, x[:, 3] > 0.8, seed=0)
    points = np.full((4, 4), 0.5)
    points[:, 3] = 0.1, 0.5, 0.8, 0.95
    p = failure.probability(points)
    assert p[0] < 0.01 and p[1] < 0.01 and 0.2 < p[2] < 0.8 and p[3] > 0.95


@pytest.mark.parametrize(("failed", "n", "p"), [(False, 30, 1 / 32), (True, 30, 31 / 32), (False, 1, 1 / 3), (True, 0, 1 / 2)])
def test_where_nothing_can_be_learned_it_is_a_constant(failed, n, p):
    """(k + 1) / (n + 2), everywhere."""
    x = runs(3, max(n, 1), seed=0)[:n]
    failure = fit_failure(cube(3), x, np.full(n, failed), seed=0)
    np.testing.assert_allclose(failure.probability(np.random.default_rng(0).random((50, 3))), p, rtol=1e-14)


def test_failures_of_chance_stay_nearly_constant():
    """A coin for every run: no more than 0.1 away from a half anywhere, and little weight."""
    rng = np.random.default_rng(4)
    x = rng.random((200, 3))
    failure = fit_failure(cube(3), x, rng.random(200) < 0.5, seed=0)
    p = failure.probability(rng.random((2000, 3)))
    assert failure.weight < 0.2 and (np.abs(p - 0.5) < 0.1).all()


def test_one_failure_raises_the_probability_about_it_and_alarms_nobody():
    """At it the likeliest but not certain, far from it nearly nothing, and on average what was found."""
    x = runs(3, 64, seed=2)
    failed = np.zeros(64, dtype=bool)
    worst = int(np.argmax(x.sum(axis=1)))
    failed[worst] = True
    failure = fit_failure(cube(3), x, failed, seed=0)
    near, far = failure.probability(np.stack([x[worst], 1 - x[worst]]))
    everywhere = failure.probability(np.random.default_rng(0).random((4000, 3)))
    assert far < 0.02 and 0.1 < near < 0.8 and 0.5 / 64 < everywhere.mean() < 3 / 64


def test_a_choice_and_an_integer_may_decide():
    """One option of three fails, whatever the others are; parameters in their own units."""
    space = Space(a=Real(1, 100, log=True), k=Integer(1, 5), solver=Choice(("fast", "wrong", "slow")))
    x = space.decode(runs(3, 60, seed=0))
    failure = fit_failure(space, x, x[:, 2] == 1, seed=0)
    p = failure.probability([[10, 3, 0], [10, 3, 1], [10, 3, 2], [90, 1, 1]])
    assert (p[[0, 2]] < 0.1).all() and (p[[1, 3]] > 0.9).all()


def test_the_evidence_is_that_of_an_orthant():
    """Of one run exactly log 1/2; of two, the bivariate normal's orthant, to what the approximation allows."""
    assert _propagate(np.array([[3.0]]), np.array([1.0])).evidence == pytest.approx(np.log(0.5), abs=1e-9)
    k, y = np.array([[2.0, 0.7], [0.7, 1.5]]), np.array([1.0, -1.0])
    exact = multivariate_normal(np.zeros(2), (k + np.eye(2)) * np.outer(y, y)).cdf(np.zeros(2))
    assert _propagate(k, y).evidence == pytest.approx(np.log(exact), abs=2e-4)


def test_the_probability_is_that_of_the_exact_posterior():
    """P(y3 | y1, y2) as a ratio of trivariate and bivariate orthants, to what the approximation allows."""
    u, y, lengths, variance = np.array([[0.2], [0.9], [0.7]]), np.array([-1.0, 1.0]), np.array([0.5]), 4.0
    k = _matern(u, u, lengths, variance)[0] + LEVEL
    found = _propagate(k[:2, :2], y)
    failure = Failure(
        space=cube(1), constant=np.array(0.5), weight=np.array(1.0), inputs=u[:2], lengths=lengths, variance=np.array(variance),
        gain=found.gain, whiten=found.whiten,
    )  # fmt: skip
    signs = np.append(y, 1.0)
    three = multivariate_normal(np.zeros(3), (k + np.eye(3)) * np.outer(signs, signs)).cdf(np.zeros(3), rng=np.random.default_rng(0))
    two = multivariate_normal(np.zeros(2), (k[:2, :2] + np.eye(2)) * np.outer(y, y)).cdf(np.zeros(2))
    assert failure.probability(u[2:]) == pytest.approx([three / two], abs=0.01)


def test_the_gradient_is_that_of_the_value():
    """Analytic derivatives of all hyperparameters agree with central differences."""
    u = np.random.default_rng(0).random((40, 3))
    objective = _Objective(u, np.where(u[:, 0] + u[:, 1] > 1.1, 1.0, -1.0))
    theta = np.array([0.1, -0.4, 0.6, 1.0])
    numeric = [(objective(theta + e)[0] - objective(theta - e)[0]) / 2e-4 for e in 1e-4 * np.eye(4)]
    assert objective(theta)[1] == pytest.approx(numeric, abs=5e-3)


def test_runs_at_one_place_that_disagree_are_no_trouble():
    """Repeats with both outcomes: about their share."""
    x = np.repeat(np.array([[0.3, 0.6]]), 12, axis=0)
    failure = fit_failure(cube(2), x, np.arange(12) < 3, seed=0)
    assert failure.probability(x[:1]) == pytest.approx([0.25], abs=0.1)


def test_it_can_be_kept_as_plain_arrays_and_the_seed_decides_the_digits():
    """The same probabilities after the arrays went through bytes, and after a second fit; more runs than are searched."""
    x = runs(2, 210, seed=3)
    fits = [fit_failure(cube(2), x, x[:, 0] > 0.7, seed=5) for _ in range(2)]
    kept = {name: np.frombuffer(a.tobytes()).reshape(a.shape) for name, a in fits[0].arrays().items()}
    points = runs(2, 5000, seed=4)
    p = fits[0].probability(points)
    np.testing.assert_array_equal(p, Failure.from_arrays(cube(2), kept).probability(points))
    np.testing.assert_array_equal(p, fits[1].probability(points))
    assert p.shape == (5000,) and (p > 0).all() and (p < 1).all()


def test_bad_input_is_refused():
    """Outcomes that are no booleans or do not fit, runs and points outside the space."""
    x = runs(2, 8, seed=0)
    with pytest.raises(UsageError, match="8 booleans"):
        fit_failure(cube(2), x, np.zeros(7, dtype=bool), seed=0)
    with pytest.raises(UsageError, match="8 booleans"):
        fit_failure(cube(2), x, np.zeros(8), seed=0)
    with pytest.raises(OutOfBounds, match="x0"):
        fit_failure(cube(2), x + 1, np.zeros(8, dtype=bool), seed=0)
    with pytest.raises(OutOfBounds, match="x1"):
        fit_failure(cube(2), x, np.zeros(8, dtype=bool), seed=0).probability([[0.5, 2.0]])
