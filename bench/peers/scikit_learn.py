"""scikit-learn: constant x RBF with one length an input, plus white noise; standardised output, three restarts.

Wide bounds, and a noise level that may fall to 1e-10 of the variance: the functions without noise have none.
"""

from __future__ import annotations

import numpy as np
from measuring import NORMAL_90, Answer, Predict
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

PACKAGES = ("scikit-learn", "scipy", "numpy")
HOW = "one model a component"


def regressor(d: int, seed: int) -> GaussianProcessRegressor:
    """The estimator, unfitted."""
    kernel = ConstantKernel(1.0, (1e-3, 1e5)) * RBF(np.ones(d), (1e-2, 1e3)) + WhiteKernel(1e-4, (1e-10, 1e1))
    return GaussianProcessRegressor(kernel, normalize_y=True, n_restarts_optimizer=3, random_state=seed)


def fit(x: np.ndarray, y: np.ndarray, *, seed: int, noisy: bool) -> Predict:
    """Inputs in the unit cube (n, d), outputs (n,)."""
    model = regressor(x.shape[1], seed).fit(x, y)

    def predict(points: np.ndarray) -> Answer:
        mean, deviation = model.predict(points, return_std=True)  # the white noise is part of the kernel, so of the deviation
        return mean, mean - NORMAL_90 * deviation, mean + NORMAL_90 * deviation

    return predict
