"""One Gaussian process: y(u) = h(u)' b + z(u) + noise, hyperparameters by penalised restricted likelihood.

Prediction at u, with K = L L', G = L^-1 H, G' G = R R' and w = L^-1 k(u):
    mean      h' b + k' K^-1 (y - H b)
    variance  k(u, u) - |w|^2 + |R^-1 (h - G' w)|^2
Santner, Williams & Notz, The Design and Analysis of Computer Experiments, 2018, chapter 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular

from mlforhpc.core.space import FloatArray
from mlforhpc.learners._kernel import cholesky, envelope, matern52, squared_distances
from mlforhpc.learners._search import hyperparameters

MOST_SEARCHED = 500
"""Hyperparameters are searched on at most so many random rows; the posterior uses all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A fitted process for standardised y; p = 1 (constant mean) or d + 1 (linear mean).

    Attributes:
        lengths: (d,).
        variance: s2 of the process.
        noise_scale: t, by which stated noise variances are multiplied.
        nugget: g, noise that was not stated.
        trend: b (p,).
        weights: K^-1 (y - H b), (n,).
        whiten: L^-1 over -R^-1 G' L^-1, (n + p, n): both terms of the variance in one product.
        trend_whiten: R^-1 (p, p).
        left_out: share of the prior variance that is left at each training point when it is left out (n,).
        log_density: sum over rows of the log density of each when it is left out, hyperparameters kept.
    """

    lengths: FloatArray
    growth: FloatArray
    variance: float
    noise_scale: float
    nugget: float
    trend: FloatArray
    weights: FloatArray
    whiten: FloatArray
    trend_whiten: FloatArray
    left_out: FloatArray
    log_density: float


def trend_basis(u: FloatArray, linear: bool) -> FloatArray:
    """h(u): 1, or 1 and the centred inputs, (n, p)."""
    one = np.ones((len(u), 1))
    return np.hstack([one, 2.0 * u - 1.0]) if linear else one


def fit_process(u: FloatArray, y: FloatArray, v: FloatArray, *, linear: bool, rng: np.random.Generator, starts: int) -> Process:
    """Fit to standardised y (n,) at u (n, d) with stated noise variances v (n,)."""
    h = trend_basis(u, linear)
    some = rng.permutation(len(u))[:MOST_SEARCHED] if len(u) > MOST_SEARCHED else np.arange(len(u))
    theta = hyperparameters(u[some], y[some], v[some], h[some], rng=rng, starts=starts)
    return condition(theta, u, y, v, h)


def condition(theta: FloatArray, u: FloatArray, y: FloatArray, v: FloatArray, h: FloatArray) -> Process:
    """The process given its hyperparameters."""
    d, n = u.shape[1], len(u)
    lengths, growth, (s2, t, g) = np.exp(theta[:d]), theta[d : 2 * d], np.exp(theta[2 * d :])
    e = envelope(u, growth)
    a = np.sqrt(5.0) * u / lengths
    k = matern52(squared_distances(a, a))
    np.fill_diagonal(k, 1.0)
    k *= s2 * e[:, None]
    k *= e
    noise = t * v + g
    factor = cholesky(k + np.diag(noise))
    whiten = solve_triangular(factor, np.eye(n), lower=True)
    h_white = whiten @ h  # G (n, p)
    r = cholesky(h_white.T @ h_white)
    r_inverse = solve_triangular(r, np.eye(h.shape[1]), lower=True)
    trend_rows = r_inverse @ h_white.T @ whiten  # R^-1 G' L^-1 (p, n)
    p_matrix = whiten.T @ whiten - trend_rows.T @ trend_rows
    trend = r_inverse.T @ (r_inverse @ (h_white.T @ (whiten @ y)))
    residual = y - h @ trend
    weights = p_matrix @ y
    diagonal = np.maximum(np.diagonal(p_matrix), 1e-300)
    error = weights / diagonal  # y_i less its mean from the others
    return Process(
        lengths=lengths,
        growth=growth,
        variance=float(s2),
        noise_scale=float(t),
        nugget=float(g),
        trend=trend,
        weights=whiten.T @ (whiten @ residual),
        whiten=np.vstack([whiten, -trend_rows]),
        trend_whiten=r_inverse,
        left_out=np.maximum(1.0 / diagonal - noise, 0.0) / (s2 * e * e),
        log_density=float(-0.5 * np.sum(np.log(2 * np.pi / diagonal) + error**2 * diagonal)),
    )
