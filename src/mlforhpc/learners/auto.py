"""The family that predicts best, by the error of runs left out: Gaussian process or network, from the same folds.

Few runs are a Gaussian process's without a comparison: on every problem measured with fewer than a few hundred runs it was the more
accurate (docs/surrogate-accuracy.md), and a comparison costs more than the fit. Beyond a few thousand its cubic cost leaves the
network. What was chosen, and why, is in the surrogate's card.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mlforhpc.core.errors import UsageError
from mlforhpc.core.learner import Dataset, Surrogate
from mlforhpc.learners import _network_surrogate, _surrogate, gaussian_process, network

if TYPE_CHECKING:
    from mlforhpc.core.broker import Broker

NAME = "auto"
MOST_OF_A_PROCESS = 4000
"""Runs of a Gaussian process: its covariance matrix of so many takes 128 MB for each component."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Auto:
    """See `mlforhpc.core.learner.Learner`; the fitted surrogate is of the family that was chosen."""

    folds: int
    compare_from: int
    name: str = NAME

    def fit(self, data: Dataset, *, seed: int, broker: Broker | None = None) -> Surrogate:
        n, torch = int(data.ok.sum()), importlib.util.find_spec("torch") is not None
        if n > MOST_OF_A_PROCESS:
            return _named(network.create(folds=self.folds).fit(data, seed=seed, broker=broker), f"more than {MOST_OF_A_PROCESS} runs")
        process = gaussian_process.create(folds=self.folds).fit(data, seed=seed, broker=broker)
        if n < self.compare_from:
            return _named(process, f"fewer than {self.compare_from} runs, with which it was the more accurate wherever measured")
        if not torch:
            return _named(process, "networks were not considered: torch is not installed (pip install 'mlforhpc[torch]')")
        other = network.create(folds=self.folds).fit(data, seed=seed, broker=broker)
        errors = {s.card["learner"]: float(s.card["fold_error"]) for s in (process, other)}
        why = "error of runs left out: " + ", ".join(f"{name} {error:.3g}" for name, error in errors.items())
        return _named(process if errors[_surrogate.NAME] <= errors[_network_surrogate.NAME] else other, why)


def create(*, folds: int = 10, compare_from: int = 500) -> Auto:
    """The learner.

    Args:
        folds: refitted folds that compare and calibrate; 0 for none, and then no comparison.
        compare_from: successful runs from which families are compared.
    """
    if folds < 2 and folds != 0:
        raise UsageError(f"Wanted folds >= 2 or 0, found {folds}.")
    return Auto(folds=folds, compare_from=compare_from if folds else MOST_OF_A_PROCESS + 1)


def _named(surrogate: _surrogate.GaussianProcessSurrogate | _network_surrogate.NetworkSurrogate, why: str) -> Surrogate:
    """The surrogate, its card with the reason for its choice."""
    return replace(surrogate, card={**surrogate.card, "chosen": why})
