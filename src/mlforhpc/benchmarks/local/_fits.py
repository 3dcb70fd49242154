"""Fits of scikit-learn: (table, size, seed) -> score on a quarter of the rows that the fit has not seen.

Rows of a table are parameters in the unit cube and one output. Iterations are fixed in number, so that a fit takes the same time with
every seed. Score: R2, or the share of right classes. Pedregosa et al., Scikit-learn, JMLR 12, 2011.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from scipy.optimize import minimize
from sklearn.ensemble import RandomForestRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, WhiteKernel
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPRegressor
from sklearn.svm import SVR

from mlforhpc.core.engine import Ref
from mlforhpc.core.space import FloatArray
from mlforhpc.scenarios.launching_tasks import arrived

ALPHA = 1e-3  # of the ridge
Loss: TypeAlias = Callable[[FloatArray], tuple[float, FloatArray]]


def split(table: FloatArray | Ref, seed: int) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """x, y of three quarters of the rows, by the seed, and of the others; y over its standard deviation from the mean of the table."""
    rows = np.array(arrived(table))
    rows[:, -1] = (rows[:, -1] - rows[:, -1].mean()) / rows[:, -1].std()
    order = np.random.default_rng(seed).permutation(len(rows))
    train, test = np.split(rows[order], [3 * len(rows) // 4])
    return train[:, :-1], train[:, -1], test[:, :-1], test[:, -1]


def ridge(table: FloatArray | Ref, size: int, seed: int) -> float:
    """Linear regression with a small penalty; `size` is not used."""
    x, y, unseen, wanted = split(table, seed)
    return float(Ridge(alpha=ALPHA).fit(x, y).score(unseen, wanted))


def logistic(table: FloatArray | Ref, size: int, seed: int) -> float:
    """Logistic regression of "above the mean", with penalty 1 / `size`."""
    x, y, unseen, wanted = split(table, seed)
    return float(LogisticRegression(C=size).fit(x, y > 0).score(unseen, wanted > 0))


def support_vectors(table: FloatArray | Ref, size: int, seed: int) -> float:
    """Support-vector regression with an RBF kernel and penalty `size`."""
    x, y, unseen, wanted = split(table, seed)
    return float(SVR(C=size, epsilon=0.01).fit(x, y).score(unseen, wanted))


def gaussian_process(table: FloatArray | Ref, size: int, seed: int) -> float:
    """A Gaussian process with a length scale a parameter; at most `size` evaluations of its likelihood."""
    x, y, unseen, wanted = split(table, seed)

    def optimizer(loss: Loss, start: FloatArray, bounds: Sequence[tuple[float, float]]) -> tuple[FloatArray, float]:
        found = minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B", options={"maxfun": size})
        return found.x, float(found.fun)

    kernel = RBF(np.ones(x.shape[1])) + WhiteKernel(1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a hyperparameter may end at its bound
        return float(GaussianProcessRegressor(kernel, optimizer=optimizer, random_state=seed).fit(x, y).score(unseen, wanted))


def forest(table: FloatArray | Ref, size: int, seed: int) -> float:
    """A random forest of `size` trees."""
    x, y, unseen, wanted = split(table, seed)
    return float(RandomForestRegressor(n_estimators=size, random_state=seed).fit(x, y).score(unseen, wanted))


def network(table: FloatArray | Ref, size: int, seed: int) -> float:
    """A network d-32-32-1, `size` epochs of Adam."""
    x, y, unseen, wanted = split(table, seed)
    learner = MLPRegressor(
        hidden_layer_sizes=(32, 32), learning_rate_init=5e-3, max_iter=size, tol=0.0, n_iter_no_change=size + 1, random_state=seed
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it stops after `size` epochs, as it was told
        return float(learner.fit(x, y).score(unseen, wanted))
