"""MAPIE jackknife+ around the scikit-learn process, in its cross-conformal form: ten folds instead of leaving out each run.

The point prediction is the package's default, the mean of the fold models.
"""

from __future__ import annotations

import numpy as np
from mapie.regression import CrossConformalRegressor
from measuring import Answer, Predict
from scikit_learn import regressor
from sklearn.model_selection import KFold

PACKAGES = ("mapie", "scikit-learn", "numpy")
HOW = "one model a component, half-widths added in quadrature"
FOLDS = 10


def fit(x: np.ndarray, y: np.ndarray, *, seed: int, noisy: bool) -> Predict:
    """Inputs in the unit cube (n, d), outputs (n,)."""
    folds = KFold(FOLDS, shuffle=True, random_state=seed)
    model = CrossConformalRegressor(regressor(x.shape[1], seed), confidence_level=0.9, method="plus", cv=folds)
    model.fit_conformalize(x, y)

    def predict(points: np.ndarray) -> Answer:
        mean, ends = model.predict_interval(points)  # (t,), (t, 2, 1)
        return mean, ends[:, 0, 0], ends[:, 1, 0]

    return predict
