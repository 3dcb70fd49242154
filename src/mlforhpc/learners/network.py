"""Network surrogate: an ensemble of multilayer perceptrons on principal components, intervals calibrated on refitted folds.

Training needs torch (the extra `torch`); loading and predicting do not. Spread of the members and the error of runs left out
make the width of an interval, refitted folds its factor, as for the Gaussian process, which is more accurate with few runs.

Ensemble: Lakshminarayanan, Pritzel & Blundell, Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles,
NeurIPS 2017. `create(hidden=(512, 256))` is the architecture 5-512-256-m of Kadupitiya, Fox & Jadhao, Machine Learning for
Parameter Auto-tuning in Molecular Dynamics Simulations, 2019, doi 10.1007/978-3-030-22741-8_9, trained as described here.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlforhpc.core.errors import UsageError
from mlforhpc.core.learner import Dataset
from mlforhpc.core.names import missing
from mlforhpc.core.seeds import derive
from mlforhpc.learners._folds import check, folds_by_place
from mlforhpc.learners._network_model import Model, input_columns
from mlforhpc.learners._network_surrogate import NAME, NetworkSurrogate, from_saved
from mlforhpc.learners._network_tasks import Options, assemble, choose, groups, predict_left_out, train_members
from mlforhpc.learners._saved import read
from mlforhpc.learners._table import tabulate

if TYPE_CHECKING:
    from mlforhpc.core.broker import Broker


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """See `mlforhpc.core.learner.Learner`."""

    options: Options
    folds: int
    name: str = NAME

    def fit(self, data: Dataset, *, seed: int, broker: Broker | None = None) -> NetworkSurrogate:
        """Fit and calibrate; for all runs and for each fold a task that decides, then tasks that train members.

        Raises:
            UsageError: fewer than two usable runs.
            MissingExtra: torch is not installed.
        """
        if importlib.util.find_spec("torch") is None:
            raise missing(f"Learner '{NAME}'", "torch")
        table, columns, options = tabulate(data), input_columns(data.space), self.options
        n = len(table.u)
        parts = folds_by_place(table.u, self.folds, seed)
        names = ["fit", *(f"fold {i}" for i in range(len(parts)))]
        seeds = [seed, *(derive(seed, "fold", i) for i in range(len(parts)))]
        tables = [table, *(table.rows(np.setdiff1d(np.arange(n), part)) for part in parts)]
        submit = _submitter(broker)
        deciding = [submit(f"{name}: choose", choose, t, columns, options, s) for name, t, s in zip(names, tables, seeds, strict=True)]
        chosen = [task.result() for task in deciding]
        training = [
            [submit(f"{name}: train", train_members, t, columns, c, options, group) for group in groups(t, columns, c, options, s)]
            for name, t, c, s in zip(names, tables, chosen, seeds, strict=True)
        ]
        model, *refitted = [
            assemble(t, columns, c, [task.result() for task in tasks]) for t, c, tasks in zip(tables, chosen, training, strict=True)
        ]
        found = check(table, parts, [predict_left_out(m, table, part) for m, part in zip(refitted, parts, strict=True)])
        return NetworkSurrogate(
            space=data.space,
            outputs=data.outputs,
            card={
                "learner": NAME,
                "runs": float(n),
                "rows": float(len(data)),
                **_describe(model, options, chosen[0].decay, options.updates_for(n)),
                **found.card,
            },
            model=model,
            stated=found.stated,
            foreseen=found.foreseen,
        )


def create(
    *, hidden: tuple[int, ...] = (64, 64, 64), members: int = 5, components: int | None = None, folds: int = 10, updates: int | None = None
) -> Network:
    """The learner.

    Args:
        hidden: units of the hidden layers, from the inputs on.
        members: networks of the ensemble; at least 2, as their spread is part of the interval.
        components: principal components of the arrays; None takes what stands out of the noise.
        folds: refitted folds that calibrate the intervals; 0 for none, which is for those who need no intervals.
        updates: steps of the optimiser, 64 runs each; None takes 500, and beyond 200 runs more, as the square root of the runs.
    """
    if not hidden or min(hidden) < 1 or members < 2:
        raise UsageError(f"Wanted at least one hidden layer with at least one unit, and members >= 2; found {hidden} and {members}.")
    if (folds < 2 and folds != 0) or (components is not None and components < 1) or (updates is not None and updates < 1):
        raise UsageError(f"Wanted folds >= 2 or 0, components >= 1, updates >= 1; found {folds}, {components}, {updates}.")
    return Network(options=Options(hidden=tuple(hidden), members=members, components=components, updates=updates), folds=folds)


def load(path: Path) -> NetworkSurrogate:
    """A saved surrogate, its content verified; raises StoreDamaged if it was changed."""
    return from_saved(*read(path, NAME))


def _submitter(broker: Broker | None) -> Callable[..., Future[Any]]:
    """How a task is run: submit(label, function, *arguments) -> future; here and at once if there is no broker."""

    def here(label: str, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(function(*arguments))
        return future

    def there(label: str, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        assert broker is not None
        return broker.submit("learn", function, *arguments, label=label)

    return here if broker is None else there


def _describe(model: Model, options: Options, decay: float, updates: int) -> dict[str, str | float]:
    """The fitted model in a few words."""
    return {
        "components": float(len(model.residual)),
        "members": float(options.members),
        "hidden": " ".join(map(str, options.hidden)),
        "parameters": float(sum(layer[0].size for layer in model.layers)),
        "updates": float(updates),
        "decay": decay,
        "cut_off": float(np.sqrt(model.rest.mean())),
        "fidelity": float(model.fidelity),
    }
