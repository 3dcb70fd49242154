"""SMT GPX, all defaults (constant mean, squared exponential, ten starts); it has no noise level to fit."""

from __future__ import annotations

import numpy as np
from measuring import NORMAL_90, Answer, Predict
from smt.surrogate_models import GPX

PACKAGES = ("smt", "egobox", "numpy")
HOW = "one model a component"


def fit(x: np.ndarray, y: np.ndarray, *, seed: int, noisy: bool) -> Predict:
    """Inputs in the unit cube (n, d), outputs (n,)."""
    model = GPX(print_global=False, seed=seed)
    model.set_training_values(x, y)
    model.train()

    def predict(points: np.ndarray) -> Answer:
        mean = model.predict_values(points)[:, 0]
        width = NORMAL_90 * np.sqrt(np.maximum(model.predict_variances(points)[:, 0], 0.0))
        return mean, mean - width, mean + width

    return predict
