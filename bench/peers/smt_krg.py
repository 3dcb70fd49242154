"""SMT KRG, defaults (constant mean, squared exponential, ten starts of TNC); `eval_noise` where the data are noisy."""

from __future__ import annotations

import numpy as np
from measuring import NORMAL_90, Answer, Predict
from smt.surrogate_models import KRG

PACKAGES = ("smt", "scipy", "numpy")
HOW = "one model a component"


def fit(x: np.ndarray, y: np.ndarray, *, seed: int, noisy: bool) -> Predict:
    """Inputs in the unit cube (n, d), outputs (n,)."""
    model = KRG(print_global=False, seed=seed, eval_noise=noisy)
    model.set_training_values(x, y)
    model.train()
    # fitted relative to the process variance; the package's own variance is that of the noise-free mean
    noise = float(model.optimal_noise * model.optimal_par["sigma2"][0]) if noisy else 0.0

    def predict(points: np.ndarray) -> Answer:
        mean = model.predict_values(points)[:, 0]
        width = NORMAL_90 * np.sqrt(model.predict_variances(points)[:, 0] + noise)
        return mean, mean - width, mean + width

    return predict
