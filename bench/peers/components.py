"""Profiles for packages that know numbers only: principal components by hand, one model a component.

    y(x) = mean + sum_k V_k s_k(x),   variance(x) = sum_k V_k^2 variance_k(x) + what was cut off
An interval of component k counts as that of a normal variable of its half-width; components are taken as independent.
"""

from __future__ import annotations

import numpy as np
from measuring import NORMAL_90, Answer, Fit, Predict

COMPONENTS = 16
"""What more components would add is a few thousandths of the profiles' spread; ten would cut off 0.026 of it."""


def on_components(fit: Fit) -> Fit:
    """The method `fit` for a number, for profiles (n, m)."""

    def fit_profiles(x: np.ndarray, y: np.ndarray, *, seed: int) -> Predict:
        centre = y.mean(axis=0)
        _, _, axes = np.linalg.svd(y - centre, full_matrices=False)
        axes = axes[:COMPONENTS]  # (k, m)
        scores = (y - centre) @ axes.T  # (n, k)
        cut_off = ((y - centre - scores @ axes) ** 2).mean(axis=0)  # (m,)
        models = [fit(x, scores[:, k], seed=seed) for k in range(len(axes))]

        def predict(points: np.ndarray) -> Answer:
            answers = [model(points) for model in models]
            mean = centre + np.column_stack([a[0] for a in answers]) @ axes  # (t, m)
            half = np.column_stack([(a[2] - a[1]) / 2 for a in answers])  # (t, k)
            width = np.sqrt(half**2 @ axes**2 + NORMAL_90**2 * cut_off)
            return mean, mean - width, mean + width

        return predict

    return fit_profiles
