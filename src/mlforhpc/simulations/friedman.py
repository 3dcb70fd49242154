"""Friedman's function: ten parameters, of which the last five do nothing, usually observed with noise.

    f = 10 sin(pi x1 x2) + 20 (x3 - 1/2)^2 + 10 x4 + 5 x5

Friedman, Multivariate adaptive regression splines, The Annals of Statistics 19, 1991, doi:10.1214/aos/1176347963. With
`noise`, each run adds a normal error of standard deviation noise / sqrt(fidelity) and states it; in the source it is 1.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from mlforhpc.core.errors import UsageError
from mlforhpc.core.simulation import Output, Outputs
from mlforhpc.core.space import Real, Space
from mlforhpc.simulations._function import FunctionSimulation, simulation

SPACE = Space({f"x{i}": Real(0.0, 1.0) for i in range(1, 11)})
F = Output(name="f", scale=4.88)  # its standard deviation over the space
REFERENCE = "Friedman, Multivariate adaptive regression splines, The Annals of Statistics 19, 1991, doi:10.1214/aos/1176347963"


def friedman(*, x1: float, x2: float, x3: float, x4: float, x5: float, **inert: float) -> float:
    """The function's value, dimensionless; x6 to x10 do not matter."""
    return 10.0 * math.sin(math.pi * x1 * x2) + 20.0 * (x3 - 0.5) ** 2 + 10.0 * x4 + 5.0 * x5


def noisy_friedman(*, noise: float, fidelity: float, seed: int, **parameters: float) -> Outputs:
    """The value with a normal error that is stated."""
    deviation = noise / math.sqrt(fidelity)
    value = friedman(**parameters) + deviation * float(np.random.default_rng(seed).standard_normal())
    return Outputs(values={"f": np.array(value)}, standard_errors={"f": np.array(deviation)})


def create(*, noise: float = 0.0) -> FunctionSimulation:
    """The simulation; `noise` at fidelity 1."""
    if noise < 0:
        raise UsageError(f"Noise is a standard deviation and cannot be negative, found {noise}.")
    function = functools.partial(noisy_friedman, noise=noise) if noise else friedman
    version = f"1+noise={noise!r}" if noise else "1"
    return simulation(function, name="friedman", version=version, space=SPACE, outputs=[F], references=[REFERENCE])
