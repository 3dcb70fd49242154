"""Matern-5/2 covariance with a length and a growth for each input, and its restricted likelihood with gradient.

    k(u, u') = s2 e(u) e(u') c(r),   c = (1 + a + a^2/3) exp(-a),   a = sqrt(5) r,   r^2 = sum_j (u_j - u'_j)^2 / l_j^2
    e(u) = exp(sum_j w_j (2 u_j - 1)): what a simulation does varies more in one corner of its space than in another
    K = k(U, U) + diag(t v + g),   y ~ N(H b, K),   b integrated out with a flat prior (REML):
    2 f = log|K| + log|H' K^-1 H| + y' P y,   P = K^-1 - K^-1 H (H' K^-1 H)^-1 H' K^-1

Rasmussen & Williams, Gaussian Processes for Machine Learning, 2006, chapters 2.7, 4 and 5.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import lapack

from mlforhpc.core.space import FloatArray

JITTERS = (0.0, 1e-12, 1e-10, 1e-8, 1e-6)
"""Tried in turn on the diagonal, relative to its mean, until the Cholesky factor exists."""


class Singular(ArithmeticError):
    """The covariance matrix has no Cholesky factor."""


def squared_distances(a: FloatArray, b: FloatArray) -> FloatArray:
    """|a_i - b_j|^2 for rows a (..., n, d) and b (..., m, d): (..., n, m), never negative."""
    r2: FloatArray = np.matmul(a, np.swapaxes(b, -1, -2))  # (..., n, m)
    r2 *= -2.0
    r2 += np.sum(a * a, axis=-1)[..., :, None]
    r2 += np.sum(b * b, axis=-1)[..., None, :]
    np.maximum(r2, 0.0, out=r2)
    return r2


def matern52(a2: FloatArray) -> FloatArray:
    """c of a^2, that is five times the squared scaled distance; overwrites a2 and returns an array of its shape."""
    c: FloatArray = np.sqrt(a2)
    decay = np.negative(c)
    np.exp(decay, out=decay)
    a2 *= 1.0 / 3.0
    c += a2
    c += 1.0
    c *= decay
    return c


def cholesky(k: FloatArray) -> FloatArray:
    """Lower factor of a symmetric matrix (n, n), with the smallest jitter that works; raises Singular."""
    mean = float(np.mean(np.diagonal(k)))
    for jitter in JITTERS:
        attempt = k + jitter * mean * np.eye(len(k)) if jitter else k
        factor, info = lapack.dpotrf(attempt, lower=1, clean=1)
        if info == 0:
            return np.asarray(factor)
    raise Singular


def inverse(factor: FloatArray) -> FloatArray:
    """(L L')^-1 as a full symmetric matrix (n, n)."""
    half, info = lapack.dpotri(factor, lower=1)
    if info != 0:
        raise Singular
    lower = np.tril(half)
    return np.asarray(lower + np.tril(lower, -1).T)


def envelope(u: FloatArray, growth: FloatArray) -> FloatArray:
    """e at u (n, d): (n,) for growth (d,), (k, n) for (k, d)."""
    return np.asarray(np.exp(growth @ (2.0 * u - 1.0).T))


def restricted_likelihood(theta: FloatArray, u: FloatArray, y: FloatArray, v: FloatArray, h: FloatArray) -> tuple[float, FloatArray]:
    """-log of the restricted likelihood (without its constant) and its gradient.

    Args:
        theta: log l_1 ... log l_d, w_1 ... w_d, log s2, log t, log g: (2 d + 3,).
        u: inputs (n, d).
        y: one column of standardised scores (n,).
        v: stated noise variances of y (n,), zeros where none are stated.
        h: mean functions at u (n, p).
    """
    d = u.shape[1]
    lengths, growth, (s2, t, g) = np.exp(theta[:d]), theta[d : 2 * d], np.exp(theta[2 * d :])
    a = np.sqrt(5.0) * u / lengths
    e = envelope(u, growth)
    a2 = squared_distances(a, a)
    root = np.sqrt(a2)
    decay = np.exp(-root)
    decay *= s2 * e[:, None]
    decay *= e
    k = (1.0 + root + a2 / 3.0) * decay
    np.fill_diagonal(k, s2 * e * e)
    noise = t * v + g
    factor = cholesky(k + np.diag(noise))
    k_inverse = inverse(factor)
    gain = k_inverse @ h  # (n, p)
    s = h.T @ gain  # (p, p)
    s_factor = cholesky(s)
    p = k_inverse - gain @ inverse(s_factor) @ gain.T
    alpha = p @ y
    value = float(np.log(np.diagonal(factor)).sum() + np.log(np.diagonal(s_factor)).sum() + 0.5 * y @ alpha)
    w = p - np.outer(alpha, alpha)  # df = sum(w dK) / 2
    root += 1.0
    root *= decay
    root *= w  # w s2 e e' (1 + a) exp(-a); dk / dlog l_j = that (a_j - a'_j)^2 / 3
    by_length = ((a * a).T @ root.sum(axis=1) - np.einsum("nd,nd->d", a, root @ a)) / 3.0
    row_sums = np.einsum("ij,ij->i", w, k)
    by_growth = (2.0 * u - 1.0).T @ row_sums
    diagonal = np.diagonal(w)
    others = 0.5 * np.array([row_sums.sum(), t * np.sum(diagonal * v), g * np.sum(diagonal)])
    return value, np.concatenate([by_length, by_growth, others])
