"""Flow of water through a borehole between two aquifers: eight parameters, a closed formula, microseconds.

    flow = 2 pi Tu (Hu - Hl) / (ln(r/rw) (1 + 2 L Tu / (ln(r/rw) rw^2 Kw) + Tu/Tl))   in m3 a year

Morris, Mitchell & Ylvisaker, Bayesian design and analysis of computer experiments, Technometrics 35, 1993; ranges as
in Surjanovic & Bingham, Virtual Library of Simulation Experiments. With `noise`, each run adds a normal error of
standard deviation noise / sqrt(fidelity) and states it.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from mlforhpc.core.errors import UsageError
from mlforhpc.core.simulation import Output, Outputs
from mlforhpc.core.space import Real, Space
from mlforhpc.simulations._function import FunctionSimulation, simulation

SPACE = Space(
    rw=Real(0.05, 0.15, unit="m"),
    r=Real(100.0, 50_000.0, unit="m"),
    Tu=Real(63_070.0, 115_600.0, unit="m2/yr"),
    Hu=Real(990.0, 1110.0, unit="m"),
    Tl=Real(63.1, 116.0, unit="m2/yr"),
    Hl=Real(700.0, 820.0, unit="m"),
    L=Real(1120.0, 1680.0, unit="m"),
    Kw=Real(9855.0, 12_045.0, unit="m/yr"),
)
FLOW = Output(name="flow", unit="m3/yr", scale=45.5)  # its standard deviation over the space
REFERENCE = "Morris, Mitchell & Ylvisaker, Bayesian design and analysis of computer experiments, Technometrics 35, 1993"


def flow(*, rw: float, r: float, Tu: float, Hu: float, Tl: float, Hl: float, L: float, Kw: float) -> float:
    """Flow in m3 a year; lengths in m, transmissivities in m2 a year, conductivity Kw in m a year."""
    log_ratio = math.log(r / rw)
    return 2.0 * math.pi * Tu * (Hu - Hl) / (log_ratio * (1.0 + 2.0 * L * Tu / (log_ratio * rw**2 * Kw) + Tu / Tl))


def noisy_flow(*, noise: float, fidelity: float, seed: int, **parameters: float) -> Outputs:
    """The flow with a normal error that is stated."""
    deviation = noise / math.sqrt(fidelity)
    value = flow(**parameters) + deviation * float(np.random.default_rng(seed).standard_normal())
    return Outputs(values={"flow": np.array(value)}, standard_errors={"flow": np.array(deviation)})


def create(*, noise: float = 0.0) -> FunctionSimulation:
    """The simulation; `noise` in m3 a year at fidelity 1."""
    if noise < 0:
        raise UsageError(f"Noise is a standard deviation in m3/yr and cannot be negative, found {noise}.")
    function = functools.partial(noisy_flow, noise=noise) if noise else flow
    version = f"1+noise={noise!r}" if noise else "1"
    return simulation(function, name="borehole", version=version, space=SPACE, outputs=[FLOW], references=[REFERENCE])
