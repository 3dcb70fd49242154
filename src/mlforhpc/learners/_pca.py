"""Principal components of the outputs: y = centre + sum_k score_k deviation_k vector_k + what was cut off.

All arrays share one basis, as their errors do; every number (output of shape ()) has a component of its own. Derived
outputs have none: they are regressed on the scores of the others. What is cut off enters the interval as a variance by column.

Higdon, Gattiker, Williams & Rightley, Computer Model Calibration Using High-Dimensional Output, JASA 103, 2008.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlforhpc.core.space import FloatArray
from mlforhpc.learners._table import TINY, Table

MOST = 20
"""Components of the shared basis, at most."""
STANDS_OUT = 10.0
"""Variance of a component over that of its noise if bins were independent; errors of neighbouring bins go together."""
ROUNDING = 4.0 * np.finfo(float).eps
"""What moves less, relative to its size, does not move."""
KEPT = 1.0 - 1e-6
"""Share of the variance after which nothing more is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """Attributes: centre (m,), vectors of unit length that scores come from (k, m), loadings that outputs come back by (k, m):
    the same, and of derived columns their regression; deviations of the scores (k,), variance cut off (m,)."""

    centre: FloatArray
    vectors: FloatArray
    loadings: FloatArray
    deviations: FloatArray
    rest: FloatArray

    def scores(self, y: FloatArray) -> FloatArray:
        """Standardised scores (n, k) of outputs (n, m)."""
        return np.asarray((y - self.centre) @ self.vectors.T / self.deviations)

    def score_noise(self, se2: FloatArray) -> FloatArray:
        """Variances of the scores (n, k) if the columns' errors (n, m) were independent."""
        return np.asarray(se2 @ (self.vectors**2).T / self.deviations**2)


def fit_basis(table: Table, components: int | None) -> Basis:
    """The basis of a table: `components` of the arrays, or as many as stand out of their noise."""
    low, high = table.y.min(axis=0), table.y.max(axis=0)
    varies = low < high
    centre = np.where(varies, table.y.mean(axis=0), low)
    residual = table.y - centre  # (n, m)
    size = np.array([b - a for a, b in table.blocks])
    arrays = np.repeat(size > 1, size) & ~table.derived  # (m,)
    vectors = [np.eye(1, len(centre), a) for a, b in table.blocks if b - a == 1 and not table.derived[a]]
    if arrays.any():
        found = principal(residual[:, arrays], table.se2[:, arrays], components)  # (k, arrays)
        shared = np.zeros((len(found), len(centre)))
        shared[:, arrays] = np.where(varies[arrays], found, 0.0)
        vectors.append(shared)
    basis = np.vstack(vectors)
    scores = residual @ basis.T
    deviations = np.sqrt(np.sum(scores**2, axis=0) / (len(residual) - 1))
    digits = ROUNDING * np.maximum(np.abs(low), np.abs(high))  # (m,)
    moves = deviations > np.abs(basis) @ digits + TINY
    basis, scores = basis[moves], scores[:, moves]
    loadings = basis.copy()
    if table.derived.any():
        loadings[:, table.derived] = np.linalg.lstsq(scores, residual[:, table.derived], rcond=None)[0]
    cut = residual - scores @ loadings
    freedom = max(len(residual) - 1 - len(basis), 1)
    rest = np.maximum(np.sum(cut**2 - table.se2 * freedom / len(residual), axis=0) / freedom, 0.0)
    rest = np.where(arrays | table.derived, rest, 0.0)
    return Basis(centre=centre, vectors=basis, loadings=loadings, deviations=deviations[moves], rest=rest)


def principal(residual: FloatArray, se2: FloatArray, components: int | None) -> FloatArray:
    """Principal directions (k, m) of centred outputs (n, m), by falling variance."""
    _, singular, vectors = np.linalg.svd(residual, full_matrices=False)
    variance = singular**2 / (len(residual) - 1)
    if components is None:
        noise = np.mean(se2, axis=0) @ (vectors**2).T  # (k,)
        before = np.concatenate([[0.0], np.cumsum(variance)[:-1]]) / max(float(variance.sum()), 1e-300)
        stands_out = np.cumprod((variance > STANDS_OUT * noise) & (before < KEPT))
        components = min(max(int(stands_out.sum()), 1), MOST)
    return np.asarray(vectors[: min(components, len(residual) - 1)])
