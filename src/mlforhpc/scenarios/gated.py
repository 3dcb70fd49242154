"""The gated call: the surrogate answers where it is sure, the simulation everywhere else, and every answer is kept.

    rho = half-width of the calibrated interval for the noise-free mean / tolerance,    sure: rho <= 1

The half-width is relative, as in q: for each output array the root mean square over its elements, divided by the
array's scale (its mean for densities, else its RMS or the declared number), then the root mean square over arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from mlforhpc.core.broker import Broker
from mlforhpc.core.errors import TaskError, UsageError
from mlforhpc.core.learner import Surrogate
from mlforhpc.core.record import Record
from mlforhpc.core.seeds import derive
from mlforhpc.core.simulation import Simulation
from mlforhpc.core.space import FloatArray, Value
from mlforhpc.scenarios.relative import HalfWidths


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer and its lineage.

    Attributes:
        values: output name -> array of its shape.
        lower, upper: 90 % interval (of the surrogate, or of the run's stated errors; equal to values if it states none).
        source: "surrogate", "simulation", or "store": a run that was made before.
        rho: relative half-width of the surrogate's interval / tolerance; above 1 the simulation was asked.
        surrogate_version: which surrogate was consulted.
        key: the store key of the run that answered; empty if the surrogate did.
        kept: False if the run could not be kept (the store's budget is spent), so that asking again will run it again.
    """

    values: Mapping[str, FloatArray]
    lower: Mapping[str, FloatArray]
    upper: Mapping[str, FloatArray]
    source: Literal["surrogate", "simulation", "store"]
    rho: float
    surrogate_version: str
    key: str = ""
    kept: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class GatedCall:
    """Surrogate first, simulation if not sure."""

    broker: Broker
    simulation: Simulation
    surrogate: Surrogate
    fidelity: float
    settings: Mapping[str, Value] | None
    limit_s: float | None
    seed: int
    _half_widths: HalfWidths = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_half_widths", HalfWidths(self.simulation.outputs))

    def __call__(self, x: Mapping[str, Value], *, tolerance: float) -> Answer:
        """See `Learned.ask`."""
        if not (np.isfinite(tolerance) and tolerance > 0):
            raise UsageError(f"tolerance must be a relative error above 0, found {tolerance!r}.")
        row = self.simulation.space.row(x)  # (d,)
        p = self.surrogate.predict(row[None], of="mean")
        rho = self._half_widths.one(p) / tolerance
        if rho <= 1 and p.inside[0]:
            mean, lower, upper = ({name: a[0] for name, a in part.items()} for part in (p.mean, p.lower, p.upper))
            return Answer(values=mean, lower=lower, upper=upper, source="surrogate", rho=rho, surrogate_version=self.surrogate.version)
        return self._simulate(x, rho)

    def _simulate(self, x: Mapping[str, Value], rho: float) -> Answer:
        record = self.broker.simulate(
            self.simulation,
            x,
            seed=derive(self.seed, "fallback"),
            settings=self.settings,
            fidelity=self.fidelity,
            limit_s=self.limit_s,
            label="fallback",
        ).result()
        self.broker.decide("gate", source="simulation", rho=rho, key=record.key, version=self.surrogate.version)
        if record.outcome != "ok":
            message = f"The surrogate was not sure (rho {rho:.2f}), and the simulation ended as {record.outcome}."
            raise TaskError(message, outcome=record.outcome, remote_traceback=record.reason)
        return of_run(record, rho=rho, version=self.surrogate.version)


def of_run(record: Record, *, rho: float, version: str, source: Literal["simulation", "store"] = "simulation") -> Answer:
    """The answer that a run gives, with the 90 % interval of its stated errors."""
    values = dict(record.outputs)
    half = {name: 1.645 * record.standard_errors.get(name, np.zeros_like(v)) for name, v in values.items()}
    return Answer(
        values=values,
        lower={name: v - half[name] for name, v in values.items()},
        upper={name: v + half[name] for name, v in values.items()},
        source=source,
        rho=rho,
        surrogate_version=version,
        key=record.key,
        kept=getattr(record, "kept", True),
    )
