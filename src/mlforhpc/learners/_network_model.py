"""The ensemble behind the surrogate, in NumPy: principal components, an ensemble of perceptrons for their scores, nearest run.

Of score k, over M members f_m, with r the squared error of runs left out in the fit and nu a count of members that it stands for:
    mean_k(x) = mean_m f_mk(x),   variance_k(x) = (sum_m (f_mk(x) - mean_k(x))^2 + nu r_k) / (M - 1 + nu)
so that few members that happen to agree are not believed. Columns follow from scores as in `_pca`.

Lakshminarayanan, Pritzel & Blundell, Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles, NeurIPS 2017.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np

from mlforhpc.core.space import Choice, FloatArray, Space
from mlforhpc.learners._noise import predict_noise

WIDTH = float(np.sqrt(3.0))
"""Inputs run from -WIDTH to WIDTH: variance 1 over the unit interval."""


class Moments(NamedTuple):
    """Of n points: mean (n, m), model variance (n, m), variance of a run's noise (n or 1, m), squared distance to the runs (n,)."""

    mean: FloatArray
    variance: FloatArray
    noise: FloatArray
    distance2: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """Plain arrays: k scores, M members, n runs, d parameters, e inputs of the networks, m columns, f noise features.

    Attributes:
        columns: of each input: parameter, and for an option of a choice its place in the unit interval and half a step, else 0 (e, 3).
        layers: W_1, b_1, W_2, b_2, ...: (M, units below, units), (M, 1, units).
        centre, rest: (m,), scaled as in the table.
        loadings: vectors times the deviations of the scores (k, m).
        residual: nu r (k,).
        count: nu, ().
        noise: coefficients of log se^2 (f, m); (0, m) if nothing is stated.
        stated: 1 for columns with stated standard errors, else 0 (m,).
        fidelity: that of the run which an interval is for, (): the median of the training runs'.
        runs: inputs of the training runs (n, e).
        farthest: largest squared distance of a training run to its nearest other one, ().
        scale: (m,).
    """

    columns: FloatArray
    layers: tuple[FloatArray, ...]
    centre: FloatArray
    rest: FloatArray
    loadings: FloatArray
    residual: FloatArray
    count: FloatArray
    noise: FloatArray
    stated: FloatArray
    fidelity: FloatArray
    runs: FloatArray
    farthest: FloatArray
    scale: FloatArray

    def arrays(self) -> dict[str, FloatArray]:
        """Name -> array, as saved."""
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "layers"}
        return plain | {f"layer_{i:02d}": layer for i, layer in enumerate(self.layers)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, FloatArray]) -> Model:
        """The inverse of `arrays`."""
        layers = sorted(name for name in arrays if name.startswith("layer_"))
        return cls(layers=tuple(arrays[name] for name in layers), **{k: a for k, a in arrays.items() if k not in layers})

    def moments(self, u: FloatArray) -> Moments:
        """Moments at u (n, d), in scaled units; made for chunks that stay in the cache."""
        v = expand(u, self.columns)
        scores = forward(v, self.layers)  # (M, n, k)
        middle = scores.mean(axis=0)
        scores -= middle
        np.square(scores, out=scores)
        spread = scores.sum(axis=0)
        spread += self.residual
        spread /= len(scores) - 1 + self.count
        mean = middle @ self.loadings
        mean += self.centre
        variance = spread @ self.loadings**2
        variance += self.rest
        return Moments(mean, variance, self.run_noise(u), nearest(v, self.runs))

    def run_noise(self, u: FloatArray) -> FloatArray:
        """Variance that a run's own noise adds, (n or 1, m): as its standard errors are foreseen; 0 where none are stated."""
        if not len(self.noise):
            return np.zeros((1, len(self.centre)))
        noise = predict_noise(u, self.noise)
        noise *= self.stated / self.fidelity
        return noise

    def gradient(self, u: FloatArray) -> FloatArray:
        """Derivative of the mean by each parameter at u (n, d), in scaled units: (n, m, d); 0 for named options."""
        numbers = np.flatnonzero(self.columns[:, 2] == 0.0)
        h, n, members = expand(u, self.columns), len(u), len(self.layers[0])
        tangent = np.broadcast_to(2.0 * WIDTH * self.layers[0][:, None, numbers], (members, n, len(numbers), self.layers[0].shape[2]))
        for i in range(0, len(self.layers) - 2, 2):
            h = np.matmul(h, self.layers[i])
            h += self.layers[i + 1]
            gate = 0.5 + 0.5 * np.tanh(0.5 * h)
            tangent = tangent * (gate * (1.0 + h * (1.0 - gate)))[:, :, None]  # silu'(h)
            h *= gate
            tangent = np.matmul(tangent, self.layers[i + 2][:, None])  # (M, n, numbers, units)
        out = np.zeros((n, len(self.centre), u.shape[1]))
        out[:, :, self.columns[numbers, 0].astype(np.intp)] = np.swapaxes(tangent.mean(axis=0) @ self.loadings, 1, 2)
        return out


def forward(h: FloatArray, layers: tuple[FloatArray, ...]) -> FloatArray:
    """Scores of every member (M, n, k) at inputs (n, e)."""
    for i in range(0, len(layers), 2):
        h = np.matmul(h, layers[i])
        h += layers[i + 1]
        if i < len(layers) - 2:  # silu(h) = h / (1 + exp(-h))
            gate = 0.5 * h
            np.tanh(gate, out=gate)
            gate += 1.0
            gate *= 0.5
            h *= gate
    return h


def input_columns(space: Space) -> FloatArray:
    """`Model.columns` of a space: an input for each number, and one for each option of a choice."""
    rows = []
    for j, p in enumerate(space.parameters.values()):
        if isinstance(p, Choice):
            k = len(p.options)
            rows += [(j, (i + 0.5) / k, 0.5 / k) for i in range(k)]
        else:
            rows.append((j, 0.0, 0.0))
    return np.array(rows, dtype=float)


def expand(u: FloatArray, columns: FloatArray) -> FloatArray:
    """Unit cube (n, d) -> inputs of the networks (n, e), in [-WIDTH, WIDTH]."""
    v: FloatArray = u[:, columns[:, 0].astype(np.intp)]
    options = columns[:, 2] > 0.0
    if options.any():
        v[:, options] = np.abs(v[:, options] - columns[options, 1]) < columns[options, 2]
    v -= 0.5
    v *= 2.0 * WIDTH
    return v


def nearest(v: FloatArray, runs: FloatArray) -> FloatArray:
    """Squared distance of inputs (n, e) to the nearest of the runs (runs, e): (n,)."""
    return np.asarray(np.sum(v * v, axis=1) + (np.sum(runs * runs, axis=1) - 2.0 * v @ runs.T).min(axis=1))


def farthest_neighbour(runs: FloatArray) -> FloatArray:
    """Largest squared distance of a run to its nearest other one, and a little for rounding, ()."""
    square = np.sum(runs * runs, axis=1)
    distance2 = square[:, None] + square - 2.0 * runs @ runs.T
    np.fill_diagonal(distance2, np.inf)
    return np.array(max(float(distance2.min(axis=1).max()), 0.0) + 1e-9)
