"""One Gaussian process: y(u) = h(u)' b + z(u) + noise, hyperparameters by penalised restricted likelihood.

Runs at one place enter as their mean, weighted by their precisions, which says the same of the process. Prediction at u, with
K = L L', G = L^-1 H, S = G' G + diag(0, 1/m, ...) = R R' and w = L^-1 k(u):
    mean      h' b + k' K^-1 (y - H b)
    variance  k(u, u) - |w|^2 + |R^-1 (h - G' w)|^2
Santner, Williams & Notz, The Design and Analysis of Computer Experiments, 2018, chapter 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from mlforhpc.core.space import FloatArray
from mlforhpc.learners._kernel import STABLE, cholesky, correlation, envelope, precision, unpack
from mlforhpc.learners._search import hyperparameters
from mlforhpc.learners._table import sites


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A fitted process for standardised y at s distinct places; p - 1 inputs have an order, and so a slope.

    Attributes:
        lengths, shares, growth: (d,).
        slope: m, prior variance of the mean's slopes.
        variance: s2 of the process.
        noise_scale: t, by which stated noise variances are multiplied.
        nugget: g, noise that was not stated.
        trend: b (p,).
        weights: K^-1 (y - H b), (s,).
        whiten: L^-1 over -R^-1 G' L^-1, (s + p, s): both terms of the variance in one product.
        trend_whiten: R^-1 (p, p).
        left_out: share of the prior variance that is left at each place when its runs are left out (s,).
    """

    lengths: FloatArray
    shares: FloatArray
    growth: FloatArray
    slope: float
    variance: float
    noise_scale: float
    nugget: float
    trend: FloatArray
    weights: FloatArray
    whiten: FloatArray
    trend_whiten: FloatArray
    left_out: FloatArray


def trend_basis(u: FloatArray, ordered: NDArray[np.bool_]) -> FloatArray:
    """h(u): 1 and the centred inputs that have an order (d,), (n, p)."""
    return np.hstack([np.ones((len(u), 1)), 2.0 * u[:, ordered] - 1.0])


def fit_process(
    u: FloatArray, y: FloatArray, v: FloatArray, *, fixed: FloatArray, rng: np.random.Generator, starts: int, searched: int
) -> Process:
    """Fit to standardised y (n,) at u (n, d) with stated noise variances v (n,).

    Args:
        u, y, v: the runs.
        fixed: given lengths, NaN for the others (d,).
        rng: of starts and rows.
        starts: of the search.
        searched: hyperparameters are searched on at most so many random rows; the posterior uses all.
    """
    h = trend_basis(u, np.isnan(fixed))
    some = rng.permutation(len(u))[:searched]
    theta = hyperparameters(u[some], y[some], v[some], h[some], fixed, rng=rng, starts=starts)
    return condition(theta, u, y, v, h)


def condition(theta: FloatArray, u: FloatArray, y: FloatArray, v: FloatArray, h: FloatArray) -> Process:
    """The process given its hyperparameters."""
    hyper = unpack(theta)
    noise = hyper.noise_scale * v + hyper.nugget
    places, which = sites(u)
    if len(places) < len(u):
        precisions = np.bincount(which, 1.0 / noise)
        y, noise = np.bincount(which, y / noise) / precisions, 1.0 / precisions
        u, h = places, h[np.unique(which, return_index=True)[1]]
    e = envelope(u, hyper.growth)
    prior = hyper.variance * e * e
    k = correlation(u, u, hyper.lengths, hyper.shares)
    k *= hyper.variance * e[:, None]
    k *= e
    noise = noise + STABLE * prior
    factor = cholesky(k + np.diag(noise))
    whiten = solve_triangular(factor, np.eye(len(u)), lower=True)
    h_white = whiten @ h  # G (n, p)
    r = cholesky(h_white.T @ h_white + precision(hyper.slope, h.shape[1]))
    r_inverse = solve_triangular(r, np.eye(h.shape[1]), lower=True)
    trend_rows = r_inverse @ h_white.T @ whiten  # R^-1 G' L^-1 (p, n)
    p_matrix = whiten.T @ whiten - trend_rows.T @ trend_rows
    trend = r_inverse.T @ (r_inverse @ (h_white.T @ (whiten @ y)))
    residual = y - h @ trend
    diagonal = np.maximum(np.diagonal(p_matrix), 1e-300)
    return Process(
        lengths=hyper.lengths,
        shares=hyper.shares,
        growth=hyper.growth,
        slope=hyper.slope,
        variance=hyper.variance,
        noise_scale=hyper.noise_scale,
        nugget=hyper.nugget,
        trend=trend,
        weights=whiten.T @ (whiten @ residual),
        whiten=np.vstack([whiten, -trend_rows]),
        trend_whiten=r_inverse,
        left_out=np.maximum(1.0 / diagonal - noise, 0.0) / prior,
    )
