"""Branin's function: two parameters, three global minima of 0.397887, the smallest picture worth drawing.

    f = (x2 - 5.1 x1^2 / (4 pi^2) + 5 x1 / pi - 6)^2 + 10 (1 - 1 / (8 pi)) cos(x1) + 10

Branin, Widely convergent method for finding multiple solutions of simultaneous nonlinear equations, IBM Journal of
Research and Development 16, 1972. With `noise`, each run adds a normal error of standard deviation
noise / sqrt(fidelity) and states it.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from mlforhpc.core.errors import UsageError
from mlforhpc.core.simulation import Output, Outputs
from mlforhpc.core.space import Real, Space
from mlforhpc.simulations._function import FunctionSimulation, simulation

SPACE = Space(x1=Real(-5.0, 10.0), x2=Real(0.0, 15.0))
MINIMA = ((-math.pi, 12.275), (math.pi, 2.275), (3.0 * math.pi, 2.475))
REFERENCE = "Branin, Widely convergent method for finding multiple solutions of simultaneous nonlinear equations, IBM J. Res. Dev. 16, 1972"


def branin(*, x1: float, x2: float) -> float:
    """The function's value, dimensionless."""
    valley = x2 - 5.1 * x1**2 / (4.0 * math.pi**2) + 5.0 * x1 / math.pi - 6.0
    return valley**2 + 10.0 * (1.0 - 1.0 / (8.0 * math.pi)) * math.cos(x1) + 10.0


def noisy_branin(*, noise: float, fidelity: float, seed: int, x1: float, x2: float) -> Outputs:
    """The value with a normal error that is stated."""
    deviation = noise / math.sqrt(fidelity)
    value = branin(x1=x1, x2=x2) + deviation * float(np.random.default_rng(seed).standard_normal())
    return Outputs(values={"f": np.array(value)}, standard_errors={"f": np.array(deviation)})


def create(*, noise: float = 0.0) -> FunctionSimulation:
    """The simulation; `noise` at fidelity 1."""
    if noise < 0:
        raise UsageError(f"Noise is a standard deviation and cannot be negative, found {noise}.")
    function = functools.partial(noisy_branin, noise=noise) if noise else branin
    version = f"1+noise={noise!r}" if noise else "1"
    return simulation(function, name="branin", version=version, space=SPACE, outputs=[Output(name="f")], references=[REFERENCE])
