"""The learner `auto`: the family with the smaller error of runs left out, and the reason in the card."""

from __future__ import annotations

import numpy as np
import pytest

from mlforhpc import Dataset, Output, Real, Space, load
from mlforhpc.core.errors import UsageError
from mlforhpc.learners import auto, gaussian_process
from mlforhpc.testing.learners import CHECKS

SPACE = Space(a=Real(0, 1), b=Real(0, 1))


def dataset(function, n=60, seed=0):
    """n runs of a function of two parameters."""
    x = np.random.default_rng(seed).random((n, 2))
    y = {"y": function(*x.T)}
    outcome, ones = ("ok",) * n, np.ones(n)
    return Dataset(space=SPACE, outputs=(Output(name="y", scale=1.0),), x=x, y=y, y_se={}, outcome=outcome, fidelity=ones, cost_s=ones)


def wave(a, b):
    """Smooth."""
    return np.sin(4 * a) + a * b


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_it_is_a_learner(check):
    """It keeps the Learner contract."""
    check(auto.create(folds=3))


def test_few_runs_are_a_gaussian_process_s():
    """Below the number from which families are compared it is that fit, digit by digit, and says so."""
    data = dataset(wave)
    chosen, plain = auto.create(folds=4).fit(data, seed=1), gaussian_process.create(folds=4).fit(data, seed=1)
    assert np.array_equal(chosen.predict(data.x).mean["y"], plain.predict(data.x).mean["y"])
    assert chosen.card["learner"] == "gaussian_process" and "fewer than 500 runs" in chosen.card["chosen"]


def test_a_comparison_takes_the_smaller_error_of_runs_left_out(tmp_path):
    """On a smooth function the Gaussian process wins against the network, with both errors in the reason; it loads again."""
    pytest.importorskip("torch", reason="needs torch: pip install 'mlforhpc[torch]'")
    chosen = auto.create(folds=3, compare_from=20).fit(dataset(wave), seed=0)
    assert chosen.card["learner"] == "gaussian_process"
    assert chosen.card["chosen"].startswith("error of runs left out: gaussian_process ") and "network " in chosen.card["chosen"]
    chosen.save(tmp_path / "s.safetensors")
    assert load(tmp_path / "s.safetensors").version == chosen.version


def test_a_network_is_taken_where_it_is_better(monkeypatch):
    """The family with the smaller error is the one returned."""
    pytest.importorskip("torch", reason="needs torch: pip install 'mlforhpc[torch]'")
    monkeypatch.setattr(auto, "gaussian_process", Worse())
    assert auto.create(folds=3, compare_from=20).fit(dataset(wave), seed=0).card["learner"] == "network"


class Worse:
    """The Gaussian process of permuted outputs, which predicts nothing."""

    NAME = "gaussian_process"

    def create(self, *, folds):
        self.learner = gaussian_process.create(folds=folds)
        return self

    def fit(self, data, *, seed, broker):
        return self.learner.fit(dataset(lambda a, b: np.random.default_rng(5).standard_normal(len(a))), seed=seed, broker=broker)


def test_bad_folds_are_refused():
    """One fold leaves nothing to fit to."""
    with pytest.raises(UsageError, match="folds >= 2"):
        auto.create(folds=1)
