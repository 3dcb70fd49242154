"""The learning contracts: a Learner is something to fit, a Surrogate is what fitting returns.

A surrogate stands in for a simulation: mean and calibrated interval for any parameters, per named output, of any
shape. Intervals are labelled by what they are for: `of="run"` covers an independent run of the simulation (its own
noise included, the only event that calibration on noisy targets can promise), `of="mean"` the noise-free mean
(model-based); pointwise, or `joint=True` for the whole array at once (simultaneous).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from numpy.typing import NDArray

from mlforhpc.core.simulation import Output
from mlforhpc.core.space import FloatArray, Space

if TYPE_CHECKING:
    import numpy as np

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
        import numpy as np

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

    @property
    def ok(self) -> NDArray[np.bool_]:
        """Which runs have outputs (n,)."""
        import numpy as np

        return np.array([o == "ok" for o in self.outcome], dtype=bool)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """A surrogate's answer for n points.

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

    def predict(self, x: FloatArray, *, coverage: float = 0.9, of: Literal["run", "mean"] = "run", joint: bool = False) -> Prediction:
        """Mean and interval at x (n, d) in physical units; raises OutOfBounds outside the space."""
        ...

    def save(self, path: Path) -> None:
        """One safetensors file at `path`, written then renamed; no pickle."""
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
