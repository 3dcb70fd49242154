"""Gaussian process surrogate: interaction kernel, profiles through principal components, intervals calibrated on refitted folds.

The default for few to a few thousand runs. Noise comes from the standard errors that the simulation states, and a
fitted nugget; what it learns of profiles and fields are the scores of their principal components. Float64, NumPy and
SciPy, analytic gradients, one BLAS thread, so that a task on any engine gives the same digits.
"""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mlforhpc.core.errors import UsageError
from mlforhpc.core.learner import Dataset
from mlforhpc.core.seeds import derive
from mlforhpc.learners._folds import check, folds_by_place
from mlforhpc.learners._model import Model, Moments, Options, fit_model
from mlforhpc.learners._saved import read
from mlforhpc.learners._surrogate import NAME, GaussianProcessSurrogate, from_saved
from mlforhpc.learners._table import Table, tabulate

if TYPE_CHECKING:
    from mlforhpc.core.broker import Broker


@dataclass(frozen=True, slots=True, kw_only=True)
class GaussianProcess:
    """See `mlforhpc.core.learner.Learner`."""

    options: Options
    folds: int
    name: str = NAME

    def fit(self, data: Dataset, *, seed: int, broker: Broker | None = None) -> GaussianProcessSurrogate:
        table = tabulate(data)
        parts = folds_by_place(table.u, self.folds, seed)
        fold_seeds = [derive(seed, "fold", i) for i in range(len(parts))]
        if broker is None:
            model = fit_whole(table, self.options, seed)
            left_out = [fit_fold(table, part, self.options, s) for part, s in zip(parts, fold_seeds, strict=True)]
        else:
            whole: Future[Model] = broker.submit("learn", fit_whole, table, self.options, seed, label="fit")
            tasks = [
                broker.submit("learn", fit_fold, table, part, self.options, s, label=f"fold {i}")
                for i, (part, s) in enumerate(zip(parts, fold_seeds, strict=True))
            ]
            left_out, model = [task.result() for task in tasks], whole.result()
        found = check(table, parts, left_out)
        return GaussianProcessSurrogate(
            space=data.space,
            outputs=data.outputs,
            card={"learner": NAME, "runs": float(len(table.u)), "rows": float(len(data)), **_describe(model), **found.card},
            model=model,
            stated=found.stated,
            foreseen=found.foreseen,
        )


def create(*, components: int | None = None, folds: int = 10, starts: int = 1, searched: int = 500) -> GaussianProcess:
    """The learner.

    Args:
        components: principal components of the arrays; None takes what stands out of the noise, at most 20.
        folds: refitted folds that calibrate the intervals; 0 for none, which is for those who ask only what to simulate next.
        starts: of each hyperparameter search.
        searched: random runs that such a search looks at, at most; fewer make quick fits of many runs.
    """
    if (folds < 2 and folds != 0) or starts < 1 or (components is not None and components < 1) or searched < 2:
        found = f"{folds}, {starts}, {components}, {searched}"
        raise UsageError(f"Wanted folds >= 2 or 0, starts >= 1, components >= 1, searched >= 2; found {found}.")
    return GaussianProcess(options=Options(components=components, starts=starts, searched=searched), folds=folds)


def load(path: Path) -> GaussianProcessSurrogate:
    """A saved surrogate, its content verified; raises StoreDamaged if it was changed."""
    return from_saved(*read(path, NAME))


def fit_whole(table: Table, options: Options, seed: int) -> Model:
    """The task that fits all runs."""
    with threadpool_limits(1, "blas"):
        return fit_model(table, options, seed)


def fit_fold(table: Table, part: NDArray[np.intp], options: Options, seed: int) -> Moments:
    """The task that fits all runs but those of `part`, from nothing, and predicts those."""
    with threadpool_limits(1, "blas"):
        rest = np.setdiff1d(np.arange(len(table.u)), part)
        model = fit_model(table.rows(rest), options, seed)
        moments = model.moments(table.u[part])
        effort = np.where(table.stated, model.fidelity / table.fidelity[part, None], 1.0)  # (part, m)
        return moments._replace(noise=moments.noise * effort)


def _describe(model: Model) -> dict[str, str | float]:
    """The fitted model in a few words."""
    return {
        "components": float(len(model.weights)),
        "lengths": "; ".join(" ".join(f"{value:.3g}" for value in row) for row in model.lengths),
        "shares": "; ".join(" ".join(f"{value:.2g}" for value in row) for row in model.shares),
        "nugget": " ".join(f"{value:.2g}" for value in model.nugget),
        "noise_scale": " ".join(f"{value:.2g}" for value in model.noise_scale),
        "cut_off": float(np.sqrt(model.rest.mean())),
        "fidelity": float(model.fidelity),
    }
