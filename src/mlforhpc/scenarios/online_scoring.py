"""Relative errors, half-widths and noise, as in q: the root mean square over an array's elements over its scale, then over arrays.

observed^2 = |p - mean(r)|^2,    corrected^2 = (p - r1)(p - r2) of two runs, |p - r|^2 - se^2 of one
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt

import numpy as np

from mlforhpc.core.learner import Prediction
from mlforhpc.core.record import Record
from mlforhpc.core.simulation import Output
from mlforhpc.core.space import FloatArray
from mlforhpc.scenarios.gated import scale_of

_TINY = float(np.finfo(float).tiny)
MOST = 1e12
"""Largest squared relative error: of a value that is zero it would be infinite, which no state on disk can hold."""


def half_widths(p: Prediction, outputs: Sequence[Output]) -> FloatArray:
    """Relative half-width of the interval at each point (n,)."""
    if len(p.inside) == 1:
        return np.array([_half_width(p, outputs)])
    total, count = 0.0, 0
    for output in outputs:
        if output.derived:
            continue
        count += 1
        mean, half = p.mean[output.name], p.upper[output.name] - p.lower[output.name]
        if output.shape:
            n = len(mean)
            mean, half = mean.reshape(n, -1), half.reshape(n, -1)
            squared = np.einsum("ij,ij->i", half, half) / (4.0 * half.shape[1])
        else:
            squared = half * half / 4.0
        total = total + squared / _squared_scales(output, mean)
    return np.sqrt(np.asarray(total) / count)


def _half_width(p: Prediction, outputs: Sequence[Output]) -> float:
    """The same of one point, with the fewest calls."""
    total, count = 0.0, 0
    for output in outputs:
        if output.derived:
            continue
        count += 1
        name = output.name
        mean = p.mean[name].ravel()
        half = p.upper[name].ravel() - p.lower[name].ravel()
        if len(half) == 1:
            squared, size = float(half[0]) ** 2 / 4.0, float(mean[0]) ** 2
        else:
            squared = float(half.dot(half)) / (4.0 * len(half))
            size = (float(np.add.reduce(mean)) / len(mean)) ** 2 if output.scale == "mean" else float(mean.dot(mean)) / len(mean)
        scale = output.scale
        total += squared / (max(size, output.scale_floor**2, _TINY) if isinstance(scale, str) else float(scale) ** 2)
    return sqrt(total / count)


def _squared_scales(output: Output, mean: FloatArray) -> FloatArray | float:
    """Of each row (n,) of one array (n, m) or number (n,)."""
    if not isinstance(output.scale, str):
        return float(output.scale) ** 2
    if mean.ndim == 1:
        squared = mean * mean
    elif output.scale == "mean":
        squared = mean.mean(axis=1) ** 2
    else:
        squared = np.einsum("ij,ij->i", mean, mean) / mean.shape[1]
    return np.maximum(squared, max(output.scale_floor**2, _TINY))


def squared_errors(outputs: Sequence[Output], mean: Mapping[str, FloatArray], runs: Sequence[Record]) -> tuple[float, float]:
    """Observed and corrected squared relative error of a prediction, from one run or two of the same point."""
    observed, corrected = [], []
    for output in outputs:
        if output.derived:
            continue
        p, name = mean[output.name], output.name
        r = [np.asarray(run.outputs[name]) for run in runs]
        middle = r[0] if len(r) == 1 else (r[0] + r[1]) / 2.0
        scale = scale_of(output, middle) ** 2
        observed.append(min(float(np.mean((p - middle) ** 2)) / scale, MOST))
        if len(r) == 1:
            se = np.asarray(runs[0].standard_errors.get(name, 0.0))
            corrected.append(observed[-1] - min(float(np.mean(se**2)) / scale, MOST))
        else:
            corrected.append(max(-MOST, min(float(np.mean((p - r[0]) * (p - r[1]))) / scale, MOST)))
    return float(np.mean(observed)), float(np.mean(corrected))


def noise(outputs: Sequence[Output], run: Record) -> float:
    """Relative variance of a run by its own standard errors, in [0, MOST]."""
    terms = []
    for output in outputs:
        if not output.derived:
            se = np.asarray(run.standard_errors.get(output.name, 0.0))
            terms.append(min(float(np.mean(se**2)) / scale_of(output, run.outputs[output.name]) ** 2, MOST))
    return float(np.mean(terms))
