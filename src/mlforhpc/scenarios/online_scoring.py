"""Relative errors and noise, as in q: the root mean square over an array's elements over its scale, then over arrays.

observed^2 = |p - mean(r)|^2,    corrected^2 = (p - r1)(p - r2) of two runs, |p - r|^2 - se^2 of one
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mlforhpc.core.record import Record
from mlforhpc.core.simulation import Output
from mlforhpc.core.space import FloatArray
from mlforhpc.scenarios.relative import scale_of

MOST = 1e12
"""Largest squared relative error: of a value that is zero it would be infinite, which no state on disk can hold."""


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
