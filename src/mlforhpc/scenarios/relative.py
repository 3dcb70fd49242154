"""Scales and half-widths, as in q: the root mean square over an array's elements over the array's scale, then over arrays.

The scale is the array's mean for densities, else its root mean square or the declared number.
"""

from __future__ import annotations

from math import sqrt

import numpy as np

from mlforhpc.core.learner import Prediction
from mlforhpc.core.output_columns import columns, placed
from mlforhpc.core.simulation import Output
from mlforhpc.core.space import FloatArray

_LEAST = 1e-150
"""Scale of an array that is zero."""


def scale_of(output: Output, value: FloatArray) -> float:
    """What an array's error is relative to; its square is above 0."""
    if not isinstance(output.scale, str):
        return float(output.scale)
    size = float(np.mean(value)) if output.scale == "mean" else float(np.sqrt(np.mean(value**2)))
    return max(abs(size), output.scale_floor, _LEAST)


class HalfWidths:
    """Relative half-widths of predictions for some outputs; made once for them."""

    def __init__(self, outputs: tuple[Output, ...]) -> None:
        self._places = placed(outputs)
        self._counted = [(o, *self._places[o.name][:2]) for o in outputs if not o.derived]
        self._averages = {n: np.full(n, 1.0 / n) for n in {end - begin for _, begin, end in self._counted}}

    def one(self, p: Prediction) -> float:
        """Of the interval at the first point, with the fewest calls."""
        mean = columns(p.mean, self._places)[0]
        width = columns(p.upper, self._places)[0] - columns(p.lower, self._places)[0]
        total = 0.0
        for output, begin, end in self._counted:
            n, scale = end - begin, output.scale
            if n == 1:
                squared, size = width.item(begin) ** 2, mean.item(begin) ** 2
            else:
                part, value = width[begin:end], mean[begin:end]
                squared = float(part.dot(part)) / n
                size = float(value.dot(self._averages[n])) ** 2 if scale == "mean" else float(value.dot(value)) / n
            total += squared / (max(size, output.scale_floor**2, _LEAST**2) if isinstance(scale, str) else float(scale) ** 2)
        return sqrt(total / len(self._counted)) / 2.0

    def __call__(self, p: Prediction) -> FloatArray:
        """Of the interval at each point (n,)."""
        mean = columns(p.mean, self._places)
        width = columns(p.upper, self._places) - columns(p.lower, self._places)
        total = np.zeros(len(mean))
        for output, begin, end in self._counted:
            part = width[:, begin:end]
            total += np.vecdot(part, part) / (end - begin) / _squared_scales(output, mean[:, begin:end])
        return np.sqrt(total / len(self._counted)) / 2.0


def _squared_scales(output: Output, mean: FloatArray) -> FloatArray | float:
    """Of each row (n,) of one array (n, m)."""
    if not isinstance(output.scale, str):
        return float(output.scale) ** 2
    squared: FloatArray = mean.mean(axis=1) ** 2 if output.scale == "mean" else np.vecdot(mean, mean) / mean.shape[1]
    return np.maximum(squared, max(output.scale_floor, _LEAST) ** 2)
