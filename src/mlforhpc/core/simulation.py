"""The simulation contract: an expensive function from parameters to outputs.

A simulation has units, bounds, a seed and a *fidelity* in (0, 1] that trades cost for error. `space` says *what* is
computed; the optional `settings` space says *how* (time step, cutoff, solver), with a safe default. Learning results
maps `space` to outputs; learning configurations maps `space` to `settings`; both see the same object.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from mlforhpc.core.errors import InvalidOutput
from mlforhpc.core.space import FloatArray, Space, Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One named output array of a simulation.

    Attributes:
        name: unique within the simulation.
        shape: shape of one sample; () for a number.
        unit: as text; "1" if dimensionless.
        scale: what its errors are relative to: "mean" (a density: the system's own mean), "rms" (the system's
            own root mean square), or a declared number.
        scale_floor: lower bound of the scale, in the output's unit.
        derived: reported, but no part of the error q.
    """

    name: str
    shape: tuple[int, ...] = ()
    unit: str = "1"
    scale: Literal["mean", "rms"] | float = "rms"
    scale_floor: float = 0.0
    derived: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """What one simulation returned.

    Attributes:
        values: name -> array of the declared shape, float64.
        standard_errors: name -> array of the same shape; empty where the simulation is deterministic.
        checks: numbers about the run itself (temperature, drift of the first against the second half, ...).
    """

    values: Mapping[str, FloatArray]
    standard_errors: Mapping[str, FloatArray] = field(default_factory=dict)
    checks: Mapping[str, float] = field(default_factory=dict)


@runtime_checkable
class Simulation(Protocol):
    """An expensive function from parameters to outputs.

    Attributes:
        name: unique; file name of a built-in one.
        version: the author's string, or a hash of the source; results of different versions never mix.
        space: the parameters.
        outputs: what it returns, in order.
        settings: space of how it computes, or None.
        default_settings: a safe point of `settings`; empty if `settings` is None.
        references: BibTeX-free one-line references ("authors, title, year, doi") of model and solver.
    """

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def space(self) -> Space: ...
    @property
    def outputs(self) -> tuple[Output, ...]: ...
    @property
    def settings(self) -> Space | None: ...
    @property
    def default_settings(self) -> Mapping[str, Value]: ...
    @property
    def references(self) -> tuple[str, ...]: ...

    def simulate(
        self,
        x: Mapping[str, Value],
        *,
        settings: Mapping[str, Value],
        fidelity: float,
        seed: int,
        workdir: Path,
    ) -> Outputs:
        """Run once.

        Args:
            x: a point of `space`.
            settings: a full point of `settings` (empty where there is none).
            fidelity: share of the full effort, in (0, 1]; its meaning is fixed by `version`.
            seed: of everything random in the run; same seed, same numbers.
            workdir: an empty folder of this run's own, removed afterwards.

        Raises:
            Exception: any; becomes a `failed` record with its traceback.
        """
        ...


@runtime_checkable
class Priced(Protocol):
    """A simulation that knows beforehand how dear its runs are, so that a strategy can weigh what a run teaches against it."""

    def relative_cost(self, x: Mapping[str, Value]) -> float:
        """Cost of a run at x over that of another of the same fidelity, in any unit; of x alone, the same on every machine; > 0."""
        ...


def checked(simulation: Simulation, outputs: Outputs) -> Outputs:
    """The outputs as float64 arrays of the declared shapes, or `InvalidOutput` naming what is wrong."""
    values, errors = {}, {}
    for output in simulation.outputs:
        if output.name not in outputs.values:
            found = ", ".join(outputs.values) or "none"
            raise InvalidOutput(f"Simulation '{simulation.name}' must return output '{output.name}', found {found}.")
        values[output.name] = _array(simulation, output, outputs.values[output.name], "output")
        if output.name in outputs.standard_errors:
            se = _array(simulation, output, outputs.standard_errors[output.name], "standard error of output")
            if (se < 0).any():
                raise InvalidOutput(f"Simulation '{simulation.name}': standard error of '{output.name}' is negative.")
            errors[output.name] = se
    unknown = [name for name in (*outputs.values, *outputs.standard_errors) if name not in values]
    if unknown:
        raise InvalidOutput(f"Simulation '{simulation.name}' returned '{unknown[0]}', which it does not declare.")
    return Outputs(values=values, standard_errors=errors, checks=dict(outputs.checks))


def _array(simulation: Simulation, output: Output, value: object, what: str) -> FloatArray:
    try:
        array = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        raise InvalidOutput(
            f"Simulation '{simulation.name}': {what} '{output.name}' must be numbers, found {type(value).__name__}."
        ) from None
    if array.shape != output.shape:
        raise InvalidOutput(f"Simulation '{simulation.name}': {what} '{output.name}' must have shape {output.shape}, found {array.shape}.")
    bad = int((~np.isfinite(array)).sum())
    if bad:
        raise InvalidOutput(f"Simulation '{simulation.name}': {what} '{output.name}' must be finite, found {bad} NaN or infinite values.")
    return array
