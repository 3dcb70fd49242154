"""The model behind the surrogate: principal components, a Gaussian process for each, a model of the stated errors.

Of column b, with component k's vector times its deviation:
    mean_b(x) = centre_b + sum_k vector_kb mean_k(x),   variance_b(x) = rest_b + sum_k vector_kb^2 variance_k(x)
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlforhpc.core.seeds import derive
from mlforhpc.core.space import FloatArray
from mlforhpc.learners._kernel import correlation
from mlforhpc.learners._noise import fit_noise, predict_noise
from mlforhpc.learners._pca import Basis, fit_basis
from mlforhpc.learners._process import Process, fit_process
from mlforhpc.learners._table import Table, sites

ROWS = 64
"""Of a triangular matrix that are multiplied at once: enough for BLAS, few enough to pass over most of the zeros."""
POINTS = 8
"""Fewer points than this are answered with the fewest calls."""
_NONE = np.zeros((1, 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to fit; None chooses from the data."""

    components: int | None = None
    starts: int = 1
    searched: int = 500


class Moments(NamedTuple):
    """Of n points: mean (n, m), model variance (n, m), variance of a run's noise (n or 1, m), variance ratio (n,)."""

    mean: FloatArray
    variance: FloatArray
    noise: FloatArray
    reach: FloatArray


class Latent(NamedTuple):
    """Of the k processes at n points: correlations with the runs (k, runs, n), without s2 e of the runs, which is in the model's
    arrays; envelope e (k, n); mean functions (p, n)."""

    cross: FloatArray
    envelope: FloatArray
    basis: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """Plain arrays: k components, n distinct places of the runs, d inputs, p mean functions, m columns, f noise features; w = 2 u - 1 of
    an input.

    Attributes:
        centre, rest: (m,), scaled as in the table; with `squares` (k, m) and `vectors` (k, m) times the deviations.
        projection: squares of what makes a score of the columns (k, m).
        importance: share of each component's variance in the mean squared error over the outputs that are not derived (k,).
        inputs: of the places, so that one product with (w, 1, w^2) gives log r_j - (u_j - u'_j)^2 / (2 l_j^2): (k, d, n, 3).
        lengths, shares, growth: (k, d).
        slope, variance, nugget, noise_scale: (k,).
        ordered: 1 for inputs that have a slope, 0 for named options (d,).
        trend: (k, p).
        weights: times s2 e(u) of the places (k, n).
        whiten: the same (k, n + p, n).
        trend_whiten: (k, p, p).
        share: of each component in the variance (k,).
        noise: coefficients of log se^2 (f, m); (0, m) if nothing is stated.
        unstated: nugget by column where no errors are stated, else 0 (m,).
        misfit: nugget by column where errors are stated: part of the model's variance (m,).
        fidelity: that of the run which an interval is for, (): the median of the training runs'.
        farthest: largest variance ratio that one of the places had when its runs were left out, ().
        scale: (m,).
    """

    centre: FloatArray
    rest: FloatArray
    vectors: FloatArray
    squares: FloatArray
    projection: FloatArray
    importance: FloatArray
    inputs: FloatArray
    lengths: FloatArray
    shares: FloatArray
    growth: FloatArray
    slope: FloatArray
    variance: FloatArray
    nugget: FloatArray
    noise_scale: FloatArray
    ordered: FloatArray
    trend: FloatArray
    weights: FloatArray
    whiten: FloatArray
    trend_whiten: FloatArray
    share: FloatArray
    noise: FloatArray
    unstated: FloatArray
    misfit: FloatArray
    fidelity: FloatArray
    farthest: FloatArray
    scale: FloatArray
    _constant: FloatArray = field(init=False)
    _floor: FloatArray = field(init=False)
    _slopes: NDArray[np.intp] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_constant", (1.0 - self.shares)[:, :, None, None])
        object.__setattr__(self, "_floor", self.rest + self.misfit)
        object.__setattr__(self, "_slopes", np.flatnonzero(self.ordered))

    def arrays(self) -> dict[str, FloatArray]:
        """Name -> array, as saved."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.init}

    def moments(self, u: FloatArray, *, noisy: bool = True) -> Moments:
        """Moments at u (n, d), in scaled units; made for chunks that stay in the cache. `noisy` asks for the noise of a run, else zero."""
        cross, e, basis = self.latent(u)
        runs = cross.shape[1]
        scores = np.matmul(self.weights[:, None, :], cross)[:, 0]  # (k, n)
        scores *= e
        scores += np.dot(self.trend, basis)
        if len(u) < POINTS:  # one product: calls cost more than the zeros of a triangle
            white = np.matmul(self.whiten, cross)
            explained, left = _squares(white[:, :runs]), white[:, runs:]
        else:
            explained, left = self._explained(cross), np.matmul(self.whiten[:, runs:], cross)
        left *= e[:, None]
        left += np.matmul(self.trend_whiten, basis)  # what the runs leave of the mean functions (k, p, n)
        e *= e
        prior = self.variance[:, None] * e
        explained *= e
        variances = prior - explained
        np.maximum(variances, 0.0, out=variances)
        variances += _squares(left)
        mean = np.dot(scores.T, self.vectors)
        mean += self.centre
        variance = np.dot(variances.T, self.squares)
        variance += self._floor
        return Moments(mean, variance, self.run_noise(u) if noisy else _NONE, np.dot(self.share, variances / prior))

    def run_noise(self, u: FloatArray) -> FloatArray:
        """Variance that a run's own noise adds at u (n, d), in scaled units: (n or 1, m)."""
        noise = self.unstated[None]
        return predict_noise(u, self.noise) / self.fidelity + noise if len(self.noise) else noise

    def latent(self, u: FloatArray) -> Latent:
        """What every prediction at u (n, d) starts from."""
        w = 2.0 * u.T - 1.0  # (d, n)
        factors = np.matmul(self.inputs, _powers(w))  # (k, d, runs, n)
        np.exp(factors, out=factors)
        factors += self._constant
        basis = np.empty((self.trend.shape[1], len(u)))
        basis[0] = 1.0
        basis[1:] = w if len(w) == len(self._slopes) else w[self._slopes]
        return Latent(np.multiply.reduce(factors, axis=1), np.exp(np.dot(self.growth, w)), basis)

    def _explained(self, cross: FloatArray) -> FloatArray:
        """|L^-1 k|^2 of correlations (k, runs, n), (k, n): L^-1 is lower triangular, so its first rows need the first runs only."""
        runs, total = cross.shape[1], np.zeros((len(cross), cross.shape[2]))
        for a in range(0, runs, ROWS):
            b = min(a + ROWS, runs)
            white = np.matmul(self.whiten[:, a:b, :b], cross[:, :b])  # (k, rows, n)
            total += _squares(white)
        return total

    def covariance(self, u: FloatArray, other: FloatArray) -> FloatArray:
        """Of the processes' errors at u (n, d) and other (n2, d), times their importance: (k, n, n2)."""
        (cross, e, left), (cross2, e2, left2) = self._whitened(u), self._whitened(other)
        prior = np.array([correlation(u, other, lengths, shares) for lengths, shares in zip(self.lengths, self.shares, strict=True)])
        prior *= self.variance[:, None, None]
        prior -= np.matmul(cross.transpose(0, 2, 1), cross2)
        prior *= e[:, :, None]
        prior *= e2[:, None, :]
        prior += np.matmul(left.transpose(0, 2, 1), left2)
        prior *= self.importance[:, None, None]
        return prior

    def _whitened(self, u: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """L^-1 k without e (k, runs, n), e (k, n), and what the runs leave of the mean functions (k, p, n)."""
        cross, e, basis = self.latent(u)
        white, runs = np.matmul(self.whiten, cross), cross.shape[1]
        return white[:, :runs], e, white[:, runs:] * e[:, None] + np.matmul(self.trend_whiten, basis)

    def run_variance(self, u: FloatArray, fidelity: float) -> FloatArray:
        """Of the noise that a run of this fidelity adds at u (n, d), times the importance: (k, n)."""
        stated = np.zeros((len(self.nugget), len(u)))
        if len(self.noise):
            stated = self.projection @ (predict_noise(u, self.noise) / fidelity).T
        return np.asarray((self.noise_scale[:, None] * stated + self.nugget[:, None]) * self.importance[:, None])

    def gradient(self, u: FloatArray) -> FloatArray:
        """Derivative of the mean by each input at u (n, d), in scaled units: (n, m, d)."""
        w = 2.0 * u.T - 1.0
        parts = np.exp(np.matmul(self.inputs, _powers(w)))  # (k, d, runs, n)
        factors = parts + self._constant
        e = np.exp(self.growth @ w)  # (k, n)
        terms = self.weights[:, :, None] * np.multiply.reduce(factors, axis=1) * e[:, None]  # (k, runs, n)
        rate = self.inputs[:, :, :, 0, None] + 2.0 * self.inputs[:, :, :, 2, None] * w[:, None]  # of the exponent by w
        slopes = np.einsum("kin,kdin->kdn", terms, parts / factors * rate) + self.growth[:, :, None] * terms.sum(axis=1)[:, None]
        slopes[:, self._slopes] += self.trend[:, 1:, None]
        return np.asarray(2.0 * np.einsum("kdn,km->nmd", slopes, self.vectors))


def _squares(a: FloatArray) -> FloatArray:
    """Sums of squares of rows: (k, n) of (k, rows, n)."""
    return np.vecdot(a, a, axis=1)  # type: ignore[call-overload, no-any-return]  # NumPy's stubs lack axis


def _powers(w: FloatArray) -> FloatArray:
    """(w, 1, w^2) of centred inputs (d, n): (d, 3, n)."""
    out = np.empty((len(w), 3, w.shape[1]))
    out[:, 0] = w
    out[:, 1] = 1.0
    np.multiply(w, w, out=out[:, 2])
    return out


def fit_model(table: Table, options: Options, seed: int) -> Model:
    """Fit everything that a table decides: basis, hyperparameters, noise."""
    basis = fit_basis(table, options.components)
    scores, noise = basis.scores(table.y), basis.score_noise(table.se2)
    processes = [
        fit_process(table.u, scores[:, k], noise[:, k], fixed=table.fixed, rng=rng, starts=options.starts, searched=options.searched)
        for k, rng in enumerate(np.random.default_rng(derive(seed, "process", k)) for k in range(scores.shape[1]))
    ]
    return _assemble(table, basis, processes)


def _assemble(table: Table, basis: Basis, processes: list[Process]) -> Model:
    places = sites(table.u)[0]
    (n, d), k = places.shape, len(processes)
    ordered = np.isnan(table.fixed)
    p = 1 + int(ordered.sum())

    def stacked(name: str, shape: tuple[int, ...]) -> FloatArray:
        return np.array([getattr(process, name) for process in processes], dtype=float).reshape(k, *shape)

    lengths, shares, growth = stacked("lengths", (d,)), stacked("shares", (d,)), stacked("growth", (d,))
    variance, nugget = stacked("variance", ()), stacked("nugget", ())
    w = 2.0 * places - 1.0
    rate = 0.125 / lengths[:, :, None] ** 2  # (k, d, 1)
    outer = variance[:, None] * np.exp(growth @ w.T)  # (k, n)
    vectors = basis.loadings * basis.deviations[:, None]
    squares = vectors**2
    share = squares.sum(axis=1) / max(float(squares.sum()), 1e-300)
    left_out = share @ stacked("left_out", (n,))  # (n,)
    by_nugget = nugget @ squares
    size = np.repeat([b - a for a, b in table.blocks], [b - a for a, b in table.blocks])
    counted = np.where(table.derived, 0.0, 1.0 / size)
    columns = np.broadcast_to(rate, (k, d, n))
    return Model(
        centre=basis.centre,
        rest=basis.rest,
        vectors=vectors,
        squares=squares,
        projection=(basis.vectors / basis.deviations[:, None]) ** 2,
        importance=squares @ (counted / counted.sum()),
        inputs=np.stack([2.0 * columns * w.T, np.log(shares)[:, :, None] - columns * w.T**2, -columns], axis=3),
        lengths=lengths,
        shares=shares,
        growth=growth,
        slope=stacked("slope", ()),
        variance=variance,
        nugget=nugget,
        noise_scale=stacked("noise_scale", ()),
        ordered=ordered.astype(float),
        trend=stacked("trend", (p,)),
        weights=stacked("weights", (n,)) * outer,
        whiten=stacked("whiten", (n + p, n)) * outer[:, None, :],
        trend_whiten=stacked("trend_whiten", (p, p)),
        share=share,
        noise=fit_noise(table.u, table.se2, table.fidelity) if table.stated.any() else np.zeros((0, len(basis.centre))),
        unstated=np.where(table.stated, 0.0, by_nugget),
        misfit=np.where(table.stated, by_nugget, 0.0),
        fidelity=np.array(np.median(table.fidelity)),
        farthest=np.array(left_out.max() if k else np.inf),
        scale=table.scale,
    )
