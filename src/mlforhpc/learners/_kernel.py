"""Matern-5/2 covariance with one length a parameter, and its restricted likelihood with analytic gradient.

    c(r) = (1 + a + a^2/3) exp(-a),  a = sqrt(5) r,  r^2 = sum_j (u_j - u'_j)^2 / l_j^2
    K = s2 C + diag(t v + g),   y ~ N(H b, K),   b integrated out with a flat prior (REML):
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
    r2 = np.matmul(a, np.swapaxes(b, -1, -2))  # (..., n, m)
    r2 *= -2.0
    r2 += np.sum(a * a, axis=-1)[..., :, None]
    r2 += np.sum(b * b, axis=-1)[..., None, :]
    return np.maximum(r2, 0.0, out=r2)


def matern52(r2: FloatArray) -> FloatArray:
    """c of squared scaled distances; overwrites r2 and returns an array of its shape."""
    r2 *= 5.0  # a^2
    c: FloatArray = np.sqrt(r2)
    decay = np.negative(c)
    np.exp(decay, out=decay)
    r2 *= 1.0 / 3.0
    c += r2
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


def restricted_likelihood(theta: FloatArray, u: FloatArray, y: FloatArray, v: FloatArray, h: FloatArray) -> tuple[float, FloatArray]:
    """-log of the restricted likelihood (without its constant) and its gradient.

    Args:
        theta: log of (l_1 ... l_d, s2, t, g), (d + 3,).
        u: inputs (n, d).
        y: one column of standardised scores (n,).
        v: stated noise variances of y (n,), zeros where none are stated.
        h: mean functions at u (n, p).
    """
    d = u.shape[1]
    lengths, (s2, t, g) = np.exp(theta[:d]), np.exp(theta[d:])
    a = np.sqrt(5.0) * u / lengths
    a2 = squared_distances(a, a)
    root = np.sqrt(a2)
    decay = s2 * np.exp(-root)
    c = (1.0 + root + a2 / 3.0) * decay  # s2 C
    np.fill_diagonal(c, s2)
    k = c.copy()
    k[np.diag_indices_from(k)] += t * v + g
    factor = cholesky(k)
    k_inverse = inverse(factor)
    gain = k_inverse @ h  # (n, p)
    s = h.T @ gain  # (p, p)
    s_factor = cholesky(s)
    p = k_inverse - gain @ inverse(s_factor) @ gain.T
    alpha = p @ y
    value = float(np.log(np.diagonal(factor)).sum() + np.log(np.diagonal(s_factor)).sum() + 0.5 * y @ alpha)
    w = p - np.outer(alpha, alpha)
    m = w * ((1.0 + root) * decay)  # dK / dlog l_j = s2 (1 + a) exp(-a) / 3 * (a_ij)^2, with the sqrt(5) inside a
    by_length = (a * a).T @ m.sum(axis=1) - np.einsum("nd,nd->d", a, m @ a)
    diagonal = np.diagonal(w)
    others = np.array([np.sum(w * c), t * np.sum(diagonal * v), g * np.sum(diagonal)])
    return value, np.concatenate([by_length / 3.0, 0.5 * others])
