"""The learning contracts: a Learner is something to fit, a Surrogate is what fitting returns.

A surrogate stands in for a simulation: mean and calibrated interval for any parameters, per named output, of any
shape. Intervals are labelled by what they are for: `of="run"` covers an independent run of the simulation (its own
noise included, the only event that calibration on noisy targets can promise), `of="mean"` the noise-free mean
(model-based); pointwise, or `joint=True` for the whole array at once (simultaneous).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mlforhpc.core.record import Record
from mlforhpc.core.simulation import Output, Simulation
from mlforhpc.core.space import FloatArray, Space

if TYPE_CHECKING:
    from mlforhpc.core.broker import Broker


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """What a learner sees. Rows are runs; rows that failed have NaN outputs.

    Attributes:
        space: the parameters' space.
        outputs: the output arrays' declarations, in order.
        x: parameters in physical units (n, d).
        y: output name -> values (n, *shape).
        y_se: output name -> standard errors (n, *shape); a name is absent where none are stated.
        outcome: how each run ended (n,).
        fidelity: (n,) in (0, 1].
        cost_s: slot-seconds of each run (n,).
        keys: store key of each run (n,): the lineage of every later answer.
    """

    space: Space
    outputs: tuple[Output, ...]
    x: FloatArray
    y: Mapping[str, FloatArray]
    y_se: Mapping[str, FloatArray]
    outcome: tuple[str, ...]
    fidelity: FloatArray
    cost_s: FloatArray
    keys: tuple[str, ...] = ()

    def __len__(self) -> int:
        return int(self.x.shape[0])

    def rows(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> Dataset:
        """The dataset of some rows, by integer or boolean index (k,)."""
        chosen = np.arange(len(self))[index]
        return Dataset(
            space=self.space,
            outputs=self.outputs,
            x=self.x[chosen],
            y={name: a[chosen] for name, a in self.y.items()},
            y_se={name: a[chosen] for name, a in self.y_se.items()},
            outcome=tuple(self.outcome[i] for i in chosen),
            fidelity=self.fidelity[chosen],
            cost_s=self.cost_s[chosen],
            keys=tuple(self.keys[i] for i in chosen) if self.keys else (),
        )

    @classmethod
    def of_records(cls, simulation: Simulation, records: Sequence[Record]) -> Dataset:
        """One row a record, in order; rows that are not `ok` have NaN outputs."""
        y, y_se = {}, {}
        for output in simulation.outputs:
            blank = np.full(output.shape, np.nan)
            y[output.name] = np.array([r.outputs.get(output.name, blank) for r in records])  # (n, *shape)
            if any(output.name in r.standard_errors for r in records):
                y_se[output.name] = np.array([r.standard_errors.get(output.name, blank) for r in records])
        return cls(
            space=simulation.space,
            outputs=tuple(simulation.outputs),
            x=np.array([simulation.space.row(r.parameters) for r in records]).reshape(-1, len(simulation.space)),
            y=y,
            y_se=y_se,
            outcome=tuple(r.outcome for r in records),
            fidelity=np.array([r.fidelity for r in records]),
            cost_s=np.array([r.cost_s for r in records]),
            keys=tuple(r.key for r in records),
        )

    @property
    def ok(self) -> NDArray[np.bool_]:
        """Which runs have outputs (n,)."""
        return np.array([o == "ok" for o in self.outcome], dtype=bool)


class Prediction(NamedTuple):
    """A surrogate's answer for n points; a tuple with names, since one is made for every answer of a service.

    Attributes:
        mean: output name -> (n, *shape).
        lower, upper: the interval's ends, output name -> (n, *shape).
        inside: whether each point lies within the data's reach (n,); outside it, do not believe the interval.
        coverage: the interval's stated coverage, in (0, 1).
        of: "run" or "mean".
        joint: whether the interval holds for the whole array at once.
    """

    mean: Mapping[str, FloatArray]
    lower: Mapping[str, FloatArray]
    upper: Mapping[str, FloatArray]
    inside: NDArray[np.bool_]
    coverage: float
    of: Literal["run", "mean"]
    joint: bool


@runtime_checkable
class Surrogate(Protocol):
    """Immutable; calibrated and checked when it was fitted.

    Attributes:
        space, outputs: of the simulation it stands for.
        version: short content hash; goes out with every answer.
        card: name -> text or number: learner, rows, calibration scores, hyperparameters; for people and reports.
    """

    @property
    def space(self) -> Space: ...
    @property
    def outputs(self) -> tuple[Output, ...]: ...
    @property
    def version(self) -> str: ...
    @property
    def card(self) -> Mapping[str, str | float]: ...

    def predict(
        self,
        x: FloatArray,
        *,
        coverage: float = 0.9,
        of: Literal["run", "mean"] = "run",
        joint: bool = False,
        se: Mapping[str, FloatArray] | None = None,
    ) -> Prediction:
        """Mean and interval.

        Args:
            x: points in physical units (n, d).
            coverage: of the interval, in (0, 1).
            of: "run", an independent run of the training runs' fidelity, or "mean", the noise-free mean.
            joint: whether the interval is to hold for each whole output array at once.
            se: what the runs to be covered state as their standard errors, output name -> (n, *shape).

        Raises:
            OutOfBounds: a point outside the space.
        """
        ...

    def gradient(self, x: FloatArray) -> Mapping[str, FloatArray]:
        """Derivative of the mean with respect to the parameters.

        Args:
            x: points in physical units (n, d).

        Returns:
            output name -> (n, *shape, d), in the output's unit over the parameter's; NaN for integers and choices, which have none.
        """
        ...

    def save(self, path: Path) -> None:
        """One safetensors file at `path`, written then renamed; no pickle."""
        ...


@runtime_checkable
class Informative(Protocol):
    """A surrogate that can say what further runs would teach it, before they are made: its error as k independent parts."""

    def covariance(self, x: FloatArray, x2: FloatArray) -> FloatArray:
        """Posterior covariance of the parts of the mean's error at x (n, d) and x2 (n2, d), both in physical units: (k, n, n2).

        The sum over parts of the variance at a point is the expected squared error there, relative to the outputs' scales, as in q.
        """
        ...

    def run_variance(self, x: FloatArray, *, fidelity: float) -> FloatArray:
        """Variance of the noise of a run at x (n, d), in each part and the same unit: (k, n)."""
        ...


@runtime_checkable
class Learner(Protocol):
    """Something to fit; stateless, so that one learner serves many datasets."""

    @property
    def name(self) -> str: ...

    def fit(self, data: Dataset, *, seed: int, broker: Broker | None = None) -> Surrogate:
        """Fit, calibrate, return.

        Args:
            data: at least two `ok` rows.
            seed: of starts and folds.
            broker: where refitted folds run as tasks of kind "learn"; None runs them here.
        """
        ...
