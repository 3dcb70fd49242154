"""Interaction kernel: for each input a constant and a Gaussian part, multiplied; its restricted likelihood with gradient.

    k(u, u') = s2 e(u) e(u') prod_j (1 - r_j + r_j exp(-(u_j - u'_j)^2 / (2 l_j^2)))
    e(u) = exp(sum_j w_j (2 u_j - 1)): what a simulation does varies more in one corner of its space than in another
    K = k(U, U) + diag(t v + g + c k(u, u)),   y ~ N(H b, K),   H = (1, 2 u - 1),   b ~ N(0, diag(inf, m, ..., m)) integrated out:
    2 f = log|K| + log|S| + d log m + y' P y,   S = H' K^-1 H + diag(0, 1/m, ...),   P = K^-1 - K^-1 H S^-1 H' K^-1

Multiplied out it holds every interaction of the inputs, each as strong as the product of its shares r: small ones make an
additive function, ones near 1 the usual Gaussian kernel with a length for each input. An input of named options has a
length so short that its part is 1 for equal options and 0 for others.

Durrande, Ginsbourger, Roustant & Carraro, ANOVA kernels and RKHS of zero mean functions for model-based sensitivity analysis,
Journal of Multivariate Analysis 115, 2013, doi 10.1016/j.jmva.2012.08.016. Rasmussen & Williams, Gaussian Processes for
Machine Learning, 2006, chapters 2.7 and 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas, lapack
from scipy.special import expit

from mlforhpc.core.space import FloatArray

STABLE = 1e-13
"""c, as large as K's rounding errors. Without it smooth functions end where a factor barely exists and digits are chance: from 200 runs
of x^3 + y z + cos(2 x z) the error was 1e-4 of the standard deviation instead of 1e-5."""
JITTERS = (0.0, 1e-12, 1e-10, 1e-8, 1e-6)
"""Tried in turn on the diagonal, relative to its mean, until the Cholesky factor exists."""
BLOCK = 32_768
"""Numbers in a block of pairs: what stays in the cache from one operation to the next."""


class Singular(ArithmeticError):
    """The covariance matrix has no Cholesky factor."""


class Hyper(NamedTuple):
    """Hyperparameters: lengths, shares and growth (d,), variance m of the slopes, s2 of the process, noise scale t, nugget g."""

    lengths: FloatArray
    shares: FloatArray
    growth: FloatArray
    slope: float
    variance: float
    noise_scale: float
    nugget: float


def unpack(theta: FloatArray) -> Hyper:
    """From log l (d,), logit r (d,), w (d,), log m, log s2, log t, log g: theta (3 d + 4,)."""
    d = (len(theta) - 4) // 3
    m, s2, t, g = np.exp(theta[3 * d :]).tolist()
    return Hyper(np.exp(theta[:d]), expit(theta[d : 2 * d]), theta[2 * d : 3 * d], m, s2, t, g)


def cholesky(k: FloatArray) -> FloatArray:
    """Lower factor of a symmetric matrix (n, n), of which the lower triangle is read, with the smallest jitter that works; raises
    Singular."""
    mean = float(np.mean(np.diagonal(k)))
    for jitter in JITTERS:
        attempt = k + jitter * mean * np.eye(len(k)) if jitter else k
        factor, info = lapack.dpotrf(attempt, lower=1, clean=1)
        if info == 0:
            return np.asarray(factor)
    raise Singular


def envelope(u: FloatArray, growth: FloatArray) -> FloatArray:
    """e at u (n, d): (n,) for growth (d,), (k, n) for (k, d)."""
    return np.asarray(np.exp(growth @ (2.0 * u - 1.0).T))


def correlation(a: FloatArray, b: FloatArray, lengths: FloatArray, shares: FloatArray) -> FloatArray:
    """The product at a (n, d) and b (m, d), without variance and envelope: (n, m)."""
    k = np.ones((len(a), len(b)))
    for j, (length, share) in enumerate(zip(lengths, shares, strict=True)):
        part = np.subtract.outer(a[:, j], b[:, j])
        part *= part
        part *= -0.5 / length**2
        np.exp(part, out=part)
        part *= share
        part += 1.0 - share
        k *= part
    return k


@dataclass(frozen=True, slots=True)
class Pairs:
    """Inputs u (n, d) as their n (n - 1) / 2 pairs: places in the lower triangle of a matrix in Fortran order, squared distances
    (d, pairs)."""

    u: FloatArray
    place: NDArray[np.intp]
    first: NDArray[np.intp]
    second: NDArray[np.intp]
    squared: FloatArray

    @classmethod
    def of(cls, u: FloatArray) -> Pairs:
        """All pairs of the rows of u (n, d)."""
        second, first = np.triu_indices(len(u), 1)  # row > column
        return cls(u, second * len(u) + first, first, second, np.ascontiguousarray(((u[first] - u[second]) ** 2).T))

    def correlations(self, lengths: FloatArray, shares: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The product (pairs,), and of each factor the share that its Gaussian part has in it (d, pairs)."""
        d, pairs = self.squared.shape
        product, part = np.empty(pairs), np.empty((d, pairs))
        rate, constant, share = -0.5 / lengths[:, None] ** 2, 1.0 - shares[:, None], shares[:, None]
        step = max(1, BLOCK // d)
        factor = np.empty((d, step))
        for i in range(0, pairs, step):
            block, f = part[:, i : i + step], factor[:, : min(step, pairs - i)]
            np.multiply(self.squared[:, i : i + step], rate, out=f)
            np.exp(f, out=block)
            block *= share
            np.add(block, constant, out=f)
            np.multiply.reduce(f, axis=0, out=product[i : i + step])
            block /= f
        return product, part

    def slopes(self, part: FloatArray, weight: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Sums over pairs of weight (pairs,) times part (d, pairs), and of that times the squared distances: (d,) each."""
        d, pairs = self.squared.shape
        plain, squared, step = np.zeros(d), np.zeros(d), max(1, BLOCK // d)
        for i in range(0, pairs, step):
            block, w = part[:, i : i + step], weight[i : i + step]
            plain += block @ w
            squared += (block * self.squared[:, i : i + step]) @ w
        return plain, squared


def restricted_likelihood(theta: FloatArray, pairs: Pairs, y: FloatArray, v: FloatArray, h: FloatArray) -> tuple[float, FloatArray]:
    """-log of the restricted likelihood (without its constant) and its gradient.

    Args:
        theta: see `unpack`, (3 d + 4,).
        pairs: of the inputs (n, d).
        y: one column of standardised scores (n,).
        v: stated noise variances of y (n,), zeros where none are stated.
        h: mean functions at the inputs, a constant and slopes (n, p).
    """
    n, hyper = len(y), unpack(theta)
    e = envelope(pairs.u, hyper.growth)
    product, part = pairs.correlations(hyper.lengths, hyper.shares)
    product *= hyper.variance * e[pairs.first]
    product *= e[pairs.second]
    prior = hyper.variance * e * e
    k = np.zeros(n * n)
    k[pairs.place] = product
    prior *= 1.0 + STABLE
    k[:: n + 1] = prior + hyper.noise_scale * v + hyper.nugget
    factor = cholesky(k.reshape((n, n), order="F"))
    half, info = lapack.dpotri(factor, lower=1)
    if info != 0:
        raise Singular
    right = np.column_stack([h, y])
    solved = blas.dsymm(1.0, half, right, lower=1)  # K^-1 (H, y), (n, p + 1)
    gain = solved[:, :-1]
    s_factor = cholesky(h.T @ gain + precision(hyper.slope, h.shape[1]))
    s_half = lapack.dtrtri(s_factor, lower=1)[0]  # R^-1, S = R R'
    half_gain = gain @ s_half.T  # K^-1 H R^-T, (n, p)
    coefficients = s_half.T @ (half_gain.T @ y)
    alpha = solved[:, -1] - gain @ coefficients  # P y
    slopes = h.shape[1] - 1
    value = np.log(np.diagonal(factor)).sum() + np.log(np.diagonal(s_factor)).sum() + 0.5 * (slopes * np.log(hyper.slope) + y @ alpha)
    outer = np.column_stack([half_gain, alpha])
    half -= outer @ outer.T  # its lower triangle is W = P - alpha alpha', df = sum(W dK) / 2
    diagonal = np.diagonal(half).copy()
    product *= half.reshape(-1, order="F")[pairs.place]  # W k
    by_part, by_distance = pairs.slopes(part, product)
    rows = np.bincount(pairs.first, product, n) + np.bincount(pairs.second, product, n) + diagonal * prior
    by_share = by_part - hyper.shares * product.sum()  # of r: k (part / r - 1 / factor), and dr / dlogit = r (1 - r)
    by_growth = (2.0 * pairs.u - 1.0).T @ rows
    by_slope = 0.5 * (slopes - (np.sum(s_half[:, 1:] ** 2) + np.sum(coefficients[1:] ** 2)) / hyper.slope)
    by_scale = 0.5 * np.array([rows.sum(), hyper.noise_scale * np.sum(diagonal * v), hyper.nugget * np.sum(diagonal)])
    by_length = by_distance / hyper.lengths**2
    return float(value), np.concatenate([by_length, by_share, by_growth, [by_slope], by_scale])


def precision(slope: float, p: int) -> FloatArray:
    """Prior precision of the mean's coefficients (p, p): none for the constant, 1 / m for the slopes."""
    return np.diag([0.0] + [1.0 / slope] * (p - 1))
