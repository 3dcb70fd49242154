"""Kernel, likelihood and posterior against numbers solved by hand, dense linear algebra and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from mlforhpc.learners import _kernel
from mlforhpc.learners._kernel import Pairs, Singular, cholesky, correlation, envelope, precision, restricted_likelihood, unpack
from mlforhpc.learners._process import condition, fit_process, trend_basis

FREE = np.full(3, np.nan)
"""No input has a given length."""


def theta_of(lengths, shares, growth, m=1.0, s2=1.0, t=1.0, g=0.1):
    """Hyperparameters as the search sees them."""
    r = np.array(shares)
    return np.concatenate([np.log(lengths), np.log(r / (1.0 - r)), growth, np.log([m, s2, t, g])])


def kernel(theta, a, b):
    """The kernel's formula, one pair after another (n, m)."""
    p = unpack(theta)

    def e(u):
        return np.exp(sum(w * (2.0 * x - 1.0) for w, x in zip(p.growth, u, strict=True)))

    def k(u, v):
        parts = zip(u, v, p.lengths, p.shares, strict=True)
        return p.variance * e(u) * e(v) * np.prod([1.0 - r + r * np.exp(-((x - y) ** 2) / (2.0 * length**2)) for x, y, length, r in parts])

    return np.array([[k(u, v) for v in b] for u in a])


def dense(theta, u, y, v, h, new, h_new):
    """Mean and variance at new places by inverses of whole matrices: slopes are normal with variance m, the constant is anything."""
    p = unpack(theta)
    k_inverse = np.linalg.inv(kernel(theta, u, u) + np.diag(p.noise_scale * v + p.nugget))
    s_inverse = np.linalg.inv(h.T @ k_inverse @ h + np.diag([0.0] + [1.0 / p.slope] * (h.shape[1] - 1)))
    b = s_inverse @ h.T @ k_inverse @ y
    k = kernel(theta, u, new)
    left = h_new - k.T @ k_inverse @ h
    variance = np.diag(kernel(theta, new, new) - k.T @ k_inverse @ k + left @ s_inverse @ left.T)
    return h_new @ b + k.T @ k_inverse @ (y - h @ b), variance


def moments(p, u, new, h_new):
    """Mean and variance of a process at new places, from its parts; u are the places that it knows."""
    k = p.variance * envelope(u, p.growth)[:, None] * envelope(new, p.growth) * correlation(u, new, p.lengths, p.shares)
    white = p.whiten @ k
    white[len(u) :] += p.trend_whiten @ h_new.T
    prior = p.variance * envelope(new, p.growth) ** 2
    return h_new @ p.trend + k.T @ p.weights, prior - (white[: len(u)] ** 2).sum(0) + (white[len(u) :] ** 2).sum(0)


def test_one_pair_by_hand():
    """Squared distances of one and a half lengths: (3/4 + e^-1/2 / 4) (1/2 + e^-1/8 / 2), and envelopes of e^1/2 and 1."""
    u, v = np.array([[0.0, 0.0]]), np.array([[0.3, 0.4]])
    lengths, shares, growth = np.array([0.3, 0.8]), np.array([0.25, 0.5]), np.array([0.5, -1.0])
    product = (0.75 + 0.25 * np.exp(-0.5)) * (0.5 + 0.5 * np.exp(-0.125))
    assert correlation(u, v, lengths, shares) == pytest.approx(np.array([[product]]), rel=1e-15)
    assert envelope(np.vstack([u, v]), growth) == pytest.approx([np.exp(0.5), 1.0], rel=1e-15)
    of_pair, parts = Pairs.of(np.vstack([u, v])).correlations(lengths, shares)
    assert of_pair == pytest.approx([product], rel=1e-15)
    assert parts[:, 0] == pytest.approx([0.25 / (0.75 * np.exp(0.5) + 0.25), 1.0 / (np.exp(0.125) + 1.0)], rel=1e-15)
    theta = theta_of(lengths, shares, growth, s2=2.0)
    assert kernel(theta, u, v)[0, 0] == pytest.approx(2.0 * np.exp(0.5) * product, rel=1e-14)


def test_an_envelope_for_each_component():
    """Growth (k, d) gives (k, n); w = 1 makes the process vary e^2 times more at u = 1 than at u = 0."""
    e = envelope(np.array([[0.0], [0.5], [1.0]]), np.array([[1.0], [0.0]]))
    assert e == pytest.approx(np.array([np.exp([-1.0, 0.0, 1.0]), np.ones(3)]))


def test_unpack_undoes_logarithms_and_logits():
    """Each hyperparameter comes back under its name."""
    p = unpack(theta_of([0.5, 2.0], [0.1, 0.9], [0.3, -0.2], m=3.0, s2=4.0, t=5.0, g=6.0))
    assert p.lengths == pytest.approx([0.5, 2.0]) and p.shares == pytest.approx([0.1, 0.9]) and p.growth.tolist() == [0.3, -0.2]
    assert (p.slope, p.variance, p.noise_scale, p.nugget) == pytest.approx((3.0, 4.0, 5.0, 6.0))


@pytest.mark.parametrize("block", [1, 7, 64])
def test_pairs_in_blocks_are_pairs_at_once(monkeypatch, block):
    """However few numbers a block has: the same products to the last digit, the same sums to rounding."""
    rng = np.random.default_rng(0)
    u, lengths, shares, weight = rng.random((20, 3)), np.array([0.3, 0.5, 2.0]), np.array([0.2, 0.5, 0.9]), rng.standard_normal(190)
    pairs = Pairs.of(u)
    product, part = pairs.correlations(lengths, shares)
    sums = np.array(pairs.slopes(part, weight))
    monkeypatch.setattr(_kernel, "BLOCK", block)
    again, part_again = pairs.correlations(lengths, shares)
    assert np.array_equal(again, product) and np.array_equal(part_again, part)
    assert np.array(pairs.slopes(part, weight)) == pytest.approx(sums, rel=1e-12)
    whole = correlation(u, u, lengths, shares)
    assert whole[pairs.second, pairs.first] == pytest.approx(product, rel=1e-14)
    assert whole.ravel(order="F")[pairs.place] == pytest.approx(product, rel=1e-14)
    assert sums == pytest.approx(np.array([part @ weight, (part * pairs.squared) @ weight]), rel=1e-12)


@pytest.mark.parametrize("ordered", [[True, True, True], [True, False, True], [False, False, False]], ids=["all", "one choice", "choices"])
@pytest.mark.parametrize("stated", [True, False])
def test_the_gradient_is_that_of_the_value(ordered, stated):
    """Analytic derivatives of all hyperparameters agree with central differences, whichever inputs have a slope."""
    rng = np.random.default_rng(0)
    u, y, v = rng.random((25, 3)), rng.standard_normal(25), 0.1 * stated * rng.random(25)
    theta = theta_of([0.5, 0.4, 0.9], [0.3, 0.8, 0.5], [0.4, -0.3, 0.2], m=0.7, s2=1.3, t=1.2, g=0.02)
    pairs, h = Pairs.of(u), trend_basis(u, np.array(ordered))
    _, gradient = restricted_likelihood(theta, pairs, y, v, h)
    value = [[restricted_likelihood(theta + e, pairs, y, v, h)[0] for e in sign * 1e-5 * np.eye(len(theta))] for sign in (1.0, -1.0)]
    numeric = np.subtract(*value) / 2e-5
    assert gradient == pytest.approx(numeric, abs=1e-6)
    assert (gradient != 0.0).sum() == len(theta) - (not any(ordered)) - (not stated)


@pytest.mark.parametrize("ordered", [[True, True], [True, False], [False, False]])
def test_the_restricted_likelihood_is_the_density_of_contrasts(ordered):
    """With the slopes' prior in the covariance it is the density of y_i - y_1, but for a constant that no parameter enters."""
    rng = np.random.default_rng(1)
    u, y, v = rng.random((7, 2)), rng.standard_normal(7), 0.3 * rng.random(7)
    h, contrast = trend_basis(u, np.array(ordered)), np.hstack([-np.ones((6, 1)), np.eye(6)])

    def both(theta):
        p = unpack(theta)
        k = kernel(theta, u, u) + np.diag(p.noise_scale * v + p.nugget) + p.slope * h[:, 1:] @ h[:, 1:].T
        density = multivariate_normal(np.zeros(6), contrast @ k @ contrast.T).logpdf(contrast @ y)
        return restricted_likelihood(theta, Pairs.of(u), y, v, h)[0] + density

    first = both(theta_of([0.5, 0.5], [0.5, 0.5], [0.0, 0.0]))
    assert both(theta_of([0.2, 0.8], [0.1, 0.9], [0.3, -0.5], m=3.0, s2=2.0, t=0.5, g=0.01)) == pytest.approx(first, abs=1e-9)


@pytest.mark.parametrize("ordered", [[True, True, True], [True, False, True], [False, False, False]], ids=["all", "one choice", "choices"])
def test_the_posterior_is_that_of_whole_matrices(ordered):
    """Mean, variance and coefficients with a prior on the slopes, noise stated and not, growth, and a choice without a slope."""
    rng = np.random.default_rng(3)
    u, new, v = rng.random((30, 3)), rng.random((9, 3)), 0.1 * rng.random(30)
    y = np.sin(4.0 * u[:, 0]) + u[:, 1] * u[:, 2] + 0.1 * rng.standard_normal(30)
    theta = theta_of([0.4, 0.7, 0.9], [0.6, 0.3, 0.8], [0.3, -0.2, 0.1], m=0.4, s2=1.5, t=1.3, g=0.01)
    h, h_new = (trend_basis(x, np.array(ordered)) for x in (u, new))
    process = condition(theta, u, y, v, h)
    mean, variance = dense(theta, u, y, v, h, new, h_new)
    found = moments(process, u, new, h_new)
    assert found[0] == pytest.approx(mean, abs=1e-9) and found[1] == pytest.approx(variance, abs=1e-9)
    assert process.trend.shape == (1 + sum(ordered),)


def test_runs_at_one_place_are_their_weighted_mean():
    """Places run up to three times, with different errors: the posterior is that of all runs, kept by place."""
    rng = np.random.default_rng(4)
    places = rng.random((12, 2))
    which = np.array([3, 0, 1, 2, 3, 4, 5, 6, 3, 7, 8, 9, 9, 10, 11, 0])
    u, v, new = places[which], 0.05 + 0.3 * rng.random(16), rng.random((6, 2))
    y, every = u.sum(axis=1) + np.sqrt(v) * rng.standard_normal(16), np.array([True, True])
    theta = theta_of([0.5, 0.5], [0.6, 0.7], [0.2, -0.1], g=0.02)
    h, h_new = trend_basis(u, every), trend_basis(new, every)
    process = condition(theta, u, y, v, h)
    assert process.weights.shape == (12,)
    found, expected = moments(process, places[[3, 0, 1, 2, *range(4, 12)]], new, h_new), dense(theta, u, y, v, h, new, h_new)
    assert found[0] == pytest.approx(expected[0], abs=1e-9) and found[1] == pytest.approx(expected[1], abs=1e-9)


def test_two_points_solved_by_hand():
    """K = [[1 + g, c], [c, 1 + g]] with a constant mean: b, weights, and mean and variance half-way."""
    u, y, g = np.array([[0.0], [1.0]]), np.array([1.0, 3.0]), 0.5
    c = 0.5 + 0.5 * np.exp(-0.5)  # one length apart, share 1/2
    no_slope = np.array([False])
    p = condition(theta_of([1.0], [0.5], [0.0], g=g), u, y, np.zeros(2), trend_basis(u, no_slope))
    assert p.trend == pytest.approx([2.0])  # by symmetry
    assert p.weights == pytest.approx(np.array([-1.0, 1.0]) / (1.0 + g - c))
    new = np.array([[0.0], [0.5]])
    mean, variance = moments(p, u, new, trend_basis(new, no_slope))
    assert mean == pytest.approx([2.0 - (1.0 - c) / (1.0 + g - c), 2.0])
    k = 0.5 + 0.5 * np.exp(-0.125)  # at the middle, to both
    total = 2.0 / (1.0 + g + c)  # 1' K^-1 1
    assert variance[1] == pytest.approx(1.0 - k**2 * total + (1.0 - k * total) ** 2 / total)


def test_left_out_is_what_a_fit_without_the_place_says():
    """Closed-form variance ratios equal those of processes conditioned on the others; a place with two runs loses both."""
    rng = np.random.default_rng(2)
    u, y, v, every = rng.random((9, 2)), rng.standard_normal(9), 0.2 * rng.random(9), np.array([True, True])
    u[8] = u[0]
    theta = theta_of([0.4, 0.6], [0.5, 0.7], [0.2, 0.1], m=2.0, g=0.05)
    whole = condition(theta, u, y, v, trend_basis(u, every))
    assert whole.left_out.shape == (8,)
    for i in range(8):
        rest, at = (u != u[i]).any(axis=1), u[i : i + 1]
        part = condition(theta, u[rest], y[rest], v[rest], trend_basis(u[rest], every))
        known = u[rest] if i == 0 else u[:8][rest[:8]]
        variance = moments(part, known, at, trend_basis(at, every))[1]
        assert whole.left_out[i] == pytest.approx((variance / (part.variance * envelope(at, part.growth) ** 2))[0])


def test_jitter_only_where_it_is_needed():
    """A good matrix is factorised as it is; a repeated row with jitter; an indefinite matrix is Singular."""
    good = np.array([[2.0, 1.0], [1.0, 2.0]])
    assert cholesky(good) @ cholesky(good).T == pytest.approx(good, abs=1e-15)
    assert np.isfinite(cholesky(np.ones((3, 3)))).all()
    with pytest.raises(Singular):
        cholesky(np.array([[1.0, 2.0], [2.0, 1.0]]))


def test_slopes_have_a_prior_and_the_constant_has_none():
    """1 / m on the diagonal, but 0 for the constant; mean functions are 1 and 2 u - 1 of the inputs that have an order."""
    assert precision(4.0, 3).tolist() == [[0.0, 0.0, 0.0], [0.0, 0.25, 0.0], [0.0, 0.0, 0.25]]
    u = np.array([[0.0, 0.2, 1.0]])
    assert trend_basis(u, np.array([True, False, True])).tolist() == [[1.0, -1.0, 1.0]]


def test_a_noise_free_function_is_interpolated():
    """Without noise the mean goes through the data, and the variance there is nearly nothing."""
    rng = np.random.default_rng(3)
    u = rng.random((30, 2))
    y = np.sin(4.0 * u[:, 0]) * np.cos(3.0 * u[:, 1])
    y = (y - y.mean()) / y.std()
    p = fit_process(u, y, np.zeros(30), fixed=FREE[:2], rng=rng, starts=1, searched=500)
    mean, variance = moments(p, u, u, trend_basis(u, np.array([True, True])))
    assert mean == pytest.approx(y, abs=1e-4)
    assert variance.max() < 1e-6


def test_the_noise_scale_and_nugget_find_the_noise():
    """Stated variances that are four times too small are scaled up; unstated noise becomes the nugget."""
    rng = np.random.default_rng(4)
    u = rng.random((150, 1))
    signal = np.sin(5.0 * u[:, 0])
    noisy = signal + 0.2 * rng.standard_normal(150)
    stated = fit_process(u, noisy, np.full(150, 0.01), fixed=FREE[:1], rng=rng, starts=2, searched=500)
    assert stated.noise_scale * 0.01 + stated.nugget == pytest.approx(0.04, rel=0.3)
    unstated = fit_process(u, noisy, np.zeros(150), fixed=FREE[:1], rng=rng, starts=2, searched=500)
    assert unstated.nugget == pytest.approx(0.04, rel=0.3)


def test_a_choice_keeps_its_length_and_has_no_slope():
    """A given length stays as it is; the mean has a slope for the other input only."""
    rng = np.random.default_rng(5)
    u = np.column_stack([rng.random(40), rng.integers(2, size=40) / 2.0 + 0.25])
    y = np.where(u[:, 1] > 0.5, np.sin(5.0 * u[:, 0]), u[:, 0])
    p = fit_process(u, y, np.zeros(40), fixed=np.array([np.nan, 0.05]), rng=rng, starts=1, searched=500)
    assert p.lengths[1] == pytest.approx(0.05, rel=1e-12) and p.trend.shape == (2,) and p.growth[1] == 0.0
