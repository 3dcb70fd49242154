"""Splitting a budget between more runs and longer runs: the cost model, the error to expect, and what is chosen."""

from __future__ import annotations

import numpy as np
import pytest

from mlforhpc import Dataset, Output, Real, Space
from mlforhpc.core.errors import UsageError
from mlforhpc.learners import gaussian_process
from mlforhpc.scenarios import fidelity

SPACE = Space(a=Real(0, 1), b=Real(0, 1))
LOW, HIGH = 0.01, 0.16


def pilots(function, noise, fixed_s, n=32, stated=True):
    """Runs at both fidelities in turn; the noise has the standard deviation noise / sqrt(fidelity), a run costs fixed_s + 10 f."""
    rng = np.random.default_rng(0)
    x, f = fidelity.plan(SPACE, n, 5), np.where(np.arange(n) % 2, HIGH, LOW)
    se = noise / np.sqrt(f)
    y = {"y": function(*x.T) + se * rng.standard_normal(n)}
    outputs = (Output(name="y", scale=1.0),)
    y_se = {"y": se} if stated else {}
    return Dataset(space=SPACE, outputs=outputs, x=x, y=y, y_se=y_se, outcome=("ok",) * n, fidelity=f, cost_s=fixed_s + 10.0 * f)


def chosen(function, noise, fixed_s, budget_s=40.0):
    """What is chosen for a budget, and all that was compared."""
    data = pilots(function, noise, fixed_s)
    known = gaussian_process.create(folds=0).fit(data, seed=0)
    found = fidelity.splits(known, data, budget_s=budget_s, low=LOW, high=HIGH, seed=1)
    return fidelity.best(found), found


def test_the_cost_model_by_hand():
    """Runs of 0.6 s and 2.1 s at fidelities 0.01 and 0.16 cost 0.5 s and 10 s a unit; none is negative."""
    data = pilots(lambda a, b: a, 0.01, 0.5)
    assert fidelity.cost_model(data, LOW, HIGH) == pytest.approx((0.5, 10.0))
    assert fidelity.cost_model(pilots(lambda a, b: a, 0.01, 0.0), LOW, HIGH) == pytest.approx((0.0, 10.0), abs=1e-12)


def test_many_short_runs_where_the_function_is_hard():
    """A wavy function with little noise and no set-up cost wants as many runs as can be had."""
    best, found = chosen(lambda a, b: np.sin(9 * a) * np.cos(8 * b), 1e-3, 0.0)
    assert best.fidelity == pytest.approx(LOW)
    assert [s.runs for s in found] == [int(40.0 / (10.0 * s.fidelity)) for s in found]


def test_longer_runs_where_setting_up_is_dear():
    """With noise and a set-up of fifty shortest runs, the shortest run wastes the budget."""
    best, found = chosen(lambda a, b: a + b, 0.05, 5.0, budget_s=200.0)
    assert best.fidelity > 2 * LOW
    assert best.error < 0.8 * found[0].error


def test_the_error_to_expect_is_what_comes():
    """The expected error of a plan is the true one of a surrogate fitted to such runs, within a factor of 1.6."""

    def function(a, b):
        return np.sin(4 * a) * b

    data = pilots(function, 0.02, 0.5, n=48)
    known = gaussian_process.create(folds=0).fit(data, seed=0)
    x, points = fidelity.plan(SPACE, 60, 9), np.random.default_rng(3).random((500, 2))
    expected = fidelity.expected_error(known, points, x, fidelity=0.04)
    found = []
    for seed in range(5):
        rng, se = np.random.default_rng(seed), np.full(60, 0.02 / 0.2)
        more = Dataset(
            space=SPACE, outputs=data.outputs, x=np.vstack([data.x, x]), y_se={"y": np.append(data.y_se["y"], se)},
            y={"y": np.append(data.y["y"], function(*x.T) + se * rng.standard_normal(60))}, outcome=("ok",) * 108,
            fidelity=np.append(data.fidelity, np.full(60, 0.04)), cost_s=np.ones(108),
        )  # fmt: skip
        mean = gaussian_process.create(folds=0).fit(more, seed=seed).predict(points).mean["y"]
        found.append(np.mean((mean - function(*points.T)) ** 2))
    assert expected == pytest.approx(np.sqrt(np.mean(found)), rel=0.6)


def test_runs_without_stated_errors_are_refused():
    """Nothing is known of their noise; the way out is named."""
    data = pilots(lambda a, b: a, 0.01, 0.5, stated=False)
    known = gaussian_process.create(folds=0).fit(data, seed=0)
    with pytest.raises(UsageError, match="give one fidelity"):
        fidelity.splits(known, data, budget_s=10.0, low=LOW, high=HIGH, seed=1)


def test_a_budget_that_buys_nothing_is_refused():
    """Not one run is left to plan."""
    data = pilots(lambda a, b: a, 0.01, 0.5)
    known = gaussian_process.create(folds=0).fit(data, seed=0)
    with pytest.raises(UsageError, match="buys not one run"):
        fidelity.splits(known, data, budget_s=0.01, low=LOW, high=HIGH, seed=1)
