"""One point at a time: the mean and its interval with the fewest calls, for services that answer in microseconds.

The same formulas as in `_model.Model.moments`. What these compute for many points at once costs forty calls of NumPy, each a microsecond;
here weights and whitening are one product, scales and widths are multiplied in beforehand, and what is a number stays one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from math import exp, log, sqrt
from typing import TypeAlias

import numpy as np

from mlforhpc.core.space import FloatArray, Real, Space, bounds
from mlforhpc.learners._model import Model

Ends: TypeAlias = tuple[FloatArray, FloatArray, FloatArray, bool]
"""Mean, lower and upper end (1, m), and whether the point is inside."""


class Single:
    """See the file's docstring; made once for a surrogate."""

    def __init__(self, space: Space, model: Model) -> None:
        self._model = model
        self._axes = [_axis(p, *bounds(p)) for p in space.parameters.values()]
        k, d, n, _ = model.inputs.shape
        self._runs = n
        self._inputs = np.ascontiguousarray(model.inputs.transpose(1, 3, 0, 2)).reshape(d, 3, k * n)
        self._constant = np.repeat(1.0 - model.shares.T, n, axis=1)  # (d, k n)
        self._shape = k, n, 1
        self._product = np.concatenate([model.whiten, model.weights[:, None, :]], axis=1)  # (k, n + p + 1, n)
        self._reach = model.share / model.variance
        terms = _linear(model, d)  # (k, p + 2, 3 d)
        self._terms = terms.shape[:2]
        self._linear = terms.reshape(math.prod(self._terms), 3 * d)
        self._vectors, self._centre = model.vectors * model.scale, model.centre * model.scale
        self._floor = model.rest + model.misfit
        self._widths: dict[int, tuple[FloatArray, FloatArray]] = {}
        self._numbers = (k, model.vectors.shape[1]) == (1, 1)
        self._farthest = float(model.farthest)
        if self._numbers:
            self._variance, self._share = float(model.variance[0]), float(model.share[0])
            self._vector, self._middle = float(self._vectors[0, 0]), float(self._centre[0])

    def locate(self, x: Sequence[float]) -> list[float] | None:
        """The point as w = 2 u - 1 (d,); None if it is not plainly inside the space, which others put into words."""
        w: list[float] = []
        if len(x) != len(self._axes):
            return None
        for value, (low, high, zero, step, logarithm, whole) in zip(x, self._axes, strict=True):
            if not low <= value <= high or (whole and value != round(value)):
                return None
            w.append(((log(value) if logarithm else value) - zero) * step - 1.0)
        return w

    def answer(self, w: list[float], width: FloatArray) -> Ends:
        """Interval for the mean at w (d,); `width` (m,) in physical units, the same array for the same coverage."""
        powers = np.array([one for a in w for one in (a, 1.0, a * a)])
        factors = np.matmul(powers.reshape(-1, 1, 3), self._inputs)[:, 0]  # (d, k n)
        np.exp(factors, out=factors)
        factors += self._constant
        cross = np.multiply.reduce(factors).reshape(self._shape)
        linear = np.dot(self._linear, powers).reshape(self._terms)  # (k, p + 2)
        return self._number(linear[0].tolist(), cross[0, :, 0], width) if self._numbers else self._arrays(linear, cross, width)

    def _number(self, linear: list[float], cross: FloatArray, width: FloatArray) -> Ends:
        """Of one output that is a number; `linear` (p + 2,) and `cross` (n,) at the point."""
        product, n, e = np.dot(self._product[0], cross), self._runs, exp(linear[0])  # (n + p + 1,)
        white = product[:n]
        *rest, score = [a * e + b for a, b in zip(product[n:].tolist(), linear[1:], strict=True)]
        prior = self._variance * e * e
        variance = max(prior - float(white.dot(white)) * e * e, 0.0)
        for a in rest:
            variance += a * a
        squares, floor = self._squares(width)
        mean = score * self._vector + self._middle
        half = sqrt(variance * float(squares[0, 0]) + float(floor[0]))
        inside = variance / prior * self._share <= self._farthest
        return np.array([[mean]]), np.array([[mean - half]]), np.array([[mean + half]]), inside

    def _arrays(self, linear: FloatArray, cross: FloatArray, width: FloatArray) -> Ends:
        """Of k components; `linear` (k, p + 2) and `cross` (k, n, 1) at the point."""
        n, e = self._runs, np.exp(linear[:, 0])
        product = np.matmul(self._product, cross).reshape(self._product.shape[:2])  # (k, n + p + 1)
        white, tail = product[:, :n], product[:, n:] * e[:, None] + linear[:, 1:]
        rest = tail[:, :-1]
        e *= e
        variance = self._model.variance - np.vecdot(white, white)
        variance *= e
        np.maximum(variance, 0.0, out=variance)
        variance += np.vecdot(rest, rest)
        squares, floor = self._squares(width)
        half = np.dot(variance, squares)
        half += floor
        np.sqrt(half, out=half)
        mean = np.dot(tail[:, -1], self._vectors)
        mean += self._centre
        variance /= e
        return mean[None], (mean - half)[None], (mean + half)[None], float(np.dot(self._reach, variance)) <= self._farthest

    def _squares(self, width: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Of a width: what makes a half-width's square of the variances (k, m) and the floor (m,)."""
        found = self._widths.get(id(width))
        if found is None:
            found = self._widths[id(width)] = (self._model.squares * width**2, self._floor * width**2)
        return found


def _linear(model: Model, d: int) -> FloatArray:
    """What is linear in w: the logarithm of the growth, the trend within the whitened rest, and the trend itself, as factors of the powers
    (w, 1, w^2) of every input (k, p + 2, 3 d)."""
    slopes = 3 * np.flatnonzero(model.ordered)
    found = np.zeros((len(model.weights), model.trend_whiten.shape[1] + 2, 3 * d))
    found[:, 0, ::3] = model.growth
    found[:, 1:-1, [1, *slopes]] = model.trend_whiten
    found[:, -1, [1, *slopes]] = model.trend
    return found


def _axis(p: object, low: float, high: float) -> tuple[float, float, float, float, bool, bool]:
    """(low, high, zero, step, logarithm, whole) of a parameter, w = (x - zero) step - 1."""
    logarithm, whole = isinstance(p, Real) and p.log, not isinstance(p, Real)
    zero, top = (log(low), log(high)) if logarithm else (low, high)
    if whole:
        zero, top = low - 0.5, high + 0.5
    return low, high, zero, 2.0 / (top - zero), logarithm, whole
