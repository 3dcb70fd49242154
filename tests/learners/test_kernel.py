"""Covariance, likelihood and posterior against numbers solved by hand and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from mlforhpc.learners._kernel import Singular, cholesky, envelope, inverse, matern52, restricted_likelihood, squared_distances
from mlforhpc.learners._process import condition, fit_process, trend_basis


def theta_of(lengths, growth, s2, t, g):
    """Hyperparameters as the search sees them."""
    return np.concatenate([np.log(lengths), growth, np.log([s2, t, g])])


def moments(p, u, new, linear=False):
    """Mean and variance of a process at new points (m, d), from its parts."""
    a, b = np.sqrt(5.0) * u / p.lengths, np.sqrt(5.0) * new / p.lengths
    k = p.variance * envelope(u, p.growth)[:, None] * envelope(new, p.growth) * matern52(squared_distances(a, b))
    h = trend_basis(new, linear)
    white = p.whiten @ k
    white[len(u) :] += p.trend_whiten @ h.T
    prior = p.variance * envelope(new, p.growth) ** 2
    return h @ p.trend + k.T @ p.weights, prior - (white[: len(u)] ** 2).sum(0) + (white[len(u) :] ** 2).sum(0)


def test_matern_by_hand():
    """c(0) = 1 and c at a = sqrt(5) r = 3 is (1 + 3 + 3) e^-3."""
    assert matern52(np.array([0.0, 9.0])) == pytest.approx([1.0, 7.0 * np.exp(-3.0)], rel=1e-15)


def test_squared_distances_by_hand():
    """Pythagoras; never negative."""
    a = np.array([[0.0, 0.0], [3.0, 4.0]])
    assert squared_distances(a, a).tolist() == [[0.0, 25.0], [25.0, 0.0]]
    near = np.array([[1e8, 1.0], [1e8, 1.0 + 1e-9]])
    assert (squared_distances(near, near) >= 0.0).all()


@pytest.mark.parametrize("linear", [False, True])
def test_the_gradient_is_that_of_the_value(linear):
    """Analytic derivatives of all hyperparameters agree with central differences to 1e-6."""
    rng = np.random.default_rng(0)
    u, y, v = rng.random((25, 3)), rng.standard_normal(25), 0.1 * rng.random(25)
    theta = theta_of([0.5, 0.4, 0.9], [0.4, -0.3, 0.2], 1.3, 1.2, 0.02)
    h = trend_basis(u, linear)
    _, gradient = restricted_likelihood(theta, u, y, v, h)
    steps = 1e-5 * np.eye(len(theta))
    numeric = [(restricted_likelihood(theta + e, u, y, v, h)[0] - restricted_likelihood(theta - e, u, y, v, h)[0]) / 2e-5 for e in steps]
    assert gradient == pytest.approx(numeric, abs=1e-6)


def test_the_restricted_likelihood_is_the_density_of_contrasts():
    """With a constant mean it is the normal density of y_i - y_1, but for a constant that no parameter enters."""
    rng = np.random.default_rng(1)
    u, y, v = rng.random((6, 2)), rng.standard_normal(6), np.zeros(6)
    contrast = np.hstack([-np.ones((5, 1)), np.eye(5)])

    def both(theta):
        p = condition(theta, u, y, v, trend_basis(u, False))
        a = np.sqrt(5.0) * u / p.lengths
        e = envelope(u, p.growth)
        k = p.variance * np.outer(e, e) * matern52(squared_distances(a, a)) + p.nugget * np.eye(6)
        density = multivariate_normal(np.zeros(5), contrast @ k @ contrast.T).logpdf(contrast @ y)
        return restricted_likelihood(theta, u, y, v, trend_basis(u, False))[0] + density

    first = both(theta_of([0.5, 0.5], [0.0, 0.0], 1.0, 1.0, 0.1))
    assert both(theta_of([0.2, 0.8], [0.3, -0.5], 2.0, 1.0, 0.01)) == pytest.approx(first, abs=1e-9)


def test_two_points_solved_by_hand():
    """K = [[1 + g, c], [c, 1 + g]]: the mean at a point is b + w (k1 - k2) (y1 - y2) / 2 ... solved below in full."""
    u, y, g = np.array([[0.0], [1.0]]), np.array([1.0, 3.0]), 0.5
    c = 7.0 * np.exp(-3.0)  # lengths sqrt(5) / 3: a = 3 between the two points
    p = condition(theta_of([np.sqrt(5.0) / 3.0], [0.0], 1.0, 1.0, g), u, y, np.zeros(2), trend_basis(u, False))
    assert p.trend == pytest.approx([2.0])  # by symmetry
    assert p.weights == pytest.approx(np.array([-1.0, 1.0]) / (1.0 + g - c))
    mean, variance = moments(p, u, np.array([[0.0], [0.5]]))
    assert mean == pytest.approx([2.0 - (1.0 - c) / (1.0 + g - c), 2.0])
    k = (1.0 + 1.5 + 0.75) * np.exp(-1.5)  # at the middle, to both
    total = 2.0 / (1.0 + g + c)  # 1' K^-1 1
    expected = 1.0 - k**2 * total + (1.0 - k * total) ** 2 / total
    assert variance[1] == pytest.approx(expected)


def test_growth_multiplies_the_standard_deviation():
    """With w = 1, far from data the process varies e^2 times more at u = 1 than at u = 0."""
    e = envelope(np.array([[0.0], [0.5], [1.0]]), np.array([1.0]))
    assert e == pytest.approx(np.exp([-1.0, 0.0, 1.0]))


def test_left_out_is_what_a_fit_without_the_point_says():
    """Closed-form left-out variance and density equal those of a process conditioned on the others."""
    rng = np.random.default_rng(2)
    u, y, v = rng.random((8, 2)), rng.standard_normal(8), 0.2 * rng.random(8)
    theta = theta_of([0.4, 0.6], [0.2, 0.1], 1.0, 1.0, 0.05)
    whole = condition(theta, u, y, v, trend_basis(u, True))
    density = 0.0
    for i in range(8):
        rest = np.arange(8) != i
        part = condition(theta, u[rest], y[rest], v[rest], trend_basis(u[rest], True))
        mean, variance = moments(part, u[rest], u[i : i + 1], linear=True)
        prior = part.variance * envelope(u[i : i + 1], part.growth) ** 2
        assert whole.left_out[i] == pytest.approx((variance / prior)[0])
        density += multivariate_normal(mean[0], variance[0] + v[i] + 0.05).logpdf(y[i])
    assert whole.log_density == pytest.approx(density)


def test_jitter_only_where_it_is_needed():
    """A good matrix is factorised as it is; a repeated row with jitter; an indefinite matrix is Singular."""
    good = np.array([[2.0, 1.0], [1.0, 2.0]])
    assert cholesky(good) @ cholesky(good).T == pytest.approx(good, abs=1e-15)
    assert inverse(cholesky(good)) == pytest.approx(np.linalg.inv(good))
    assert np.isfinite(cholesky(np.ones((3, 3)))).all()
    with pytest.raises(Singular):
        cholesky(np.array([[1.0, 2.0], [2.0, 1.0]]))


def test_a_noise_free_function_is_interpolated():
    """Without noise the mean goes through the data, and the variance there is nearly nothing."""
    rng = np.random.default_rng(3)
    u = rng.random((30, 2))
    y = np.sin(4.0 * u[:, 0]) * np.cos(3.0 * u[:, 1])
    y = (y - y.mean()) / y.std()
    p = fit_process(u, y, np.zeros(30), linear=False, rng=rng, starts=1)
    mean, variance = moments(p, u, u)
    assert mean == pytest.approx(y, abs=1e-5)
    assert variance.max() < 1e-6


def test_the_noise_scale_and_nugget_find_the_noise():
    """Stated variances that are four times too small are scaled up; unstated noise becomes the nugget."""
    rng = np.random.default_rng(4)
    u = rng.random((150, 1))
    signal = np.sin(5.0 * u[:, 0])
    noisy = signal + 0.2 * rng.standard_normal(150)
    stated = fit_process(u, noisy, np.full(150, 0.01), linear=False, rng=rng, starts=2)
    assert stated.noise_scale * 0.01 + stated.nugget == pytest.approx(0.04, rel=0.3)
    unstated = fit_process(u, noisy, np.zeros(150), linear=False, rng=rng, starts=2)
    assert unstated.nugget == pytest.approx(0.04, rel=0.3)
