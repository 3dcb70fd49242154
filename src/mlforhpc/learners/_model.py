"""The model behind the surrogate: principal components, a Gaussian process for each, a model of the stated errors.

Of column b, with component k's vector times its deviation:
    mean_b(x) = centre_b + sum_k vector_kb mean_k(x),   variance_b(x) = rest_b + sum_k vector_kb^2 variance_k(x)
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np

from mlforhpc.core.seeds import derive
from mlforhpc.core.space import FloatArray
from mlforhpc.learners._kernel import envelope, matern52
from mlforhpc.learners._noise import fit_noise, predict_noise
from mlforhpc.learners._pca import fit_basis
from mlforhpc.learners._process import Process, fit_process, trend_basis
from mlforhpc.learners._table import Table

ROWS = 64
"""Of a triangular matrix that are multiplied at once: enough for BLAS, few enough to pass over most of the zeros."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to fit; None chooses from the data."""

    components: int | None = None
    linear: bool | None = None
    starts: int = 1


class Moments(NamedTuple):
    """Of n points: mean (n, m), model variance (n, m), variance of a run's noise (n, m), variance ratio (n,)."""

    mean: FloatArray
    variance: FloatArray
    noise: FloatArray
    reach: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """Plain arrays: k components, n runs, d inputs, p trend terms, m columns, f noise features.

    Attributes:
        centre, rest: (m,), scaled as in the table; with `squares` (k, m) and `vectors` (k, m) times the deviations.
        inputs: of the training runs, so that one product with (v, 1, |v|^2) gives |a - v|^2: (-2 a, |a|^2, 1) with
            a = sqrt(5) u / lengths, (k, n, d + 2).
        lengths, growth: (k, d).
        variance, nugget, noise_scale: (k,).
        trend: (k, p).
        weights: times s2 e(u) of the runs (k, n).
        whiten: the same (k, n + p, n).
        trend_whiten: (k, p, p).
        share: of each component in the variance (k,).
        noise: coefficients of log se^2 (f, m); (0, m) if nothing is stated.
        unstated: nugget by column where no errors are stated, else 0 (m,).
        misfit: nugget by column where errors are stated: part of the model's variance (m,).
        fidelity: that of the run which an interval is for, (): the median of the training runs'.
        farthest: largest variance ratio that a training point had when it was left out, ().
        scale: (m,).
    """

    centre: FloatArray
    rest: FloatArray
    vectors: FloatArray
    squares: FloatArray
    inputs: FloatArray
    lengths: FloatArray
    growth: FloatArray
    variance: FloatArray
    nugget: FloatArray
    noise_scale: FloatArray
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

    def arrays(self) -> dict[str, FloatArray]:
        """Name -> array, as saved."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def moments(self, u: FloatArray) -> Moments:
        """Moments at u (n, d), in scaled units; made for chunks that stay in the cache."""
        scores, variances, prior = self._scores(u)  # (k, n) each
        mean = scores.T @ self.vectors
        mean += self.centre
        variance = variances.T @ self.squares
        variance += self.rest
        variance += self.misfit
        if len(self.noise):
            noise = predict_noise(u, self.noise)
            noise /= self.fidelity
            noise += self.unstated
        else:
            noise = np.broadcast_to(self.unstated, mean.shape)
        return Moments(mean, variance, noise, self.share @ (variances / prior))

    def _scores(self, u: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Mean, variance and prior variance of every component's process at u, (k, n) each."""
        a2 = np.maximum(np.matmul(self.inputs, self._augmented(u)), 0.0)  # (k, runs, n)
        cross = matern52(a2)
        e = envelope(u, self.growth)  # (k, n)
        h = trend_basis(u, self.trend.shape[1] > 1).T  # (p, n)
        mean = np.matmul(self.weights[:, None, :], cross)[:, 0]
        mean *= e
        mean += self.trend @ h
        runs = self.weights.shape[1]
        trend = np.matmul(self.whiten[:, runs:], cross) * e[:, None, :] + np.matmul(self.trend_whiten, h)  # (k, p, n)
        e *= e
        prior = self.variance[:, None] * e
        variance = prior - e * self._explained(cross)
        np.maximum(variance, 0.0, out=variance)
        variance += np.sum(trend * trend, axis=1)
        return mean, variance, prior

    def _explained(self, cross: FloatArray) -> FloatArray:
        """|L^-1 k|^2 of correlations (k, runs, n), (k, n): L^-1 is lower triangular, so its first rows need the first runs only."""
        runs, total = cross.shape[1], np.zeros((len(cross), cross.shape[2]))
        for a in range(0, runs, ROWS):
            b = min(a + ROWS, runs)
            white = np.matmul(self.whiten[:, a:b, :b], cross[:, :b])  # (k, rows, n)
            total += np.einsum("kin,kin->kn", white, white)
        return total

    def _augmented(self, u: FloatArray) -> FloatArray:
        """(v, 1, |v|^2) of the points, v = sqrt(5) u / lengths: (k, d + 2, n)."""
        d = u.shape[1]
        out = np.empty((len(self.lengths), d + 2, len(u)))
        np.divide(np.sqrt(5.0) * u.T, self.lengths[:, :, None], out=out[:, :d])
        out[:, d] = 1.0
        np.sum(out[:, :d] ** 2, axis=1, out=out[:, d + 1])
        return out


def fit_model(table: Table, options: Options, seed: int) -> Model:
    """Fit everything that a table decides: basis, mean functions, hyperparameters, noise."""
    basis = fit_basis(table, options.components)
    scores, noise = basis.scores(table.y), basis.score_noise(table.se2)
    n, d = table.u.shape
    choices = (False, True) if options.linear is None else (options.linear,)
    candidates = [linear for linear in choices if not linear or n > 2 * (d + 1)] or [False]
    fits = [_fit_processes(table.u, scores, noise, linear=c, starts=options.starts, seed=seed) for c in candidates]
    processes = max(fits, key=lambda ps: sum(p.log_density for p in ps))
    return _assemble(table, basis.centre, basis.rest, basis.loadings * basis.deviations[:, None], processes)


def _fit_processes(u: FloatArray, scores: FloatArray, noise: FloatArray, *, linear: bool, starts: int, seed: int) -> list[Process]:
    return [
        fit_process(u, scores[:, k], noise[:, k], linear=linear, rng=np.random.default_rng(derive(seed, "process", k)), starts=starts)
        for k in range(scores.shape[1])
    ]


def _assemble(table: Table, centre: FloatArray, rest: FloatArray, vectors: FloatArray, processes: list[Process]) -> Model:
    (n, d), k = table.u.shape, len(processes)
    p = len(processes[0].trend) if processes else 1

    def stacked(name: str, shape: tuple[int, ...]) -> FloatArray:
        return np.array([getattr(process, name) for process in processes], dtype=float).reshape(k, *shape)

    lengths, growth = stacked("lengths", (d,)), stacked("growth", (d,))
    variance, nugget = stacked("variance", ()), stacked("nugget", ())
    a = np.sqrt(5.0) * table.u / lengths[:, None, :]  # (k, n, d)
    outer = variance[:, None] * envelope(table.u, growth)  # (k, n)
    squares = vectors**2
    share = squares.sum(axis=1) / max(float(squares.sum()), 1e-300)
    left_out = share @ stacked("left_out", (n,))  # (n,)
    by_nugget = nugget @ squares
    return Model(
        centre=centre,
        rest=rest,
        vectors=vectors,
        squares=squares,
        inputs=np.concatenate([-2.0 * a, np.sum(a * a, axis=2, keepdims=True), np.ones((k, n, 1))], axis=2),
        lengths=lengths,
        growth=growth,
        variance=variance,
        nugget=nugget,
        noise_scale=stacked("noise_scale", ()),
        trend=stacked("trend", (p,)),
        weights=stacked("weights", (n,)) * outer,
        whiten=stacked("whiten", (n + p, n)) * outer[:, None, :],
        trend_whiten=stacked("trend_whiten", (p, p)),
        share=share,
        noise=fit_noise(table.u, table.se2, table.fidelity) if table.stated.any() else np.zeros((0, len(centre))),
        unstated=np.where(table.stated, 0.0, by_nugget),
        misfit=np.where(table.stated, by_nugget, 0.0),
        fidelity=np.array(np.median(table.fidelity)),
        farthest=np.array(left_out.max() if k else np.inf),
        scale=table.scale,
    )
