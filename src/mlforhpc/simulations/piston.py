"""Cycle time of a piston in a cylinder, against a gas and a spring: seven parameters, a closed formula, microseconds.

    A = P0 S + 19.62 M - k V0 / S,   V = S / (2k) (sqrt(A^2 + 4 k P0 V0 Ta / T0) - A)
    C = 2 pi sqrt(M / (k + S^2 P0 V0 Ta / (T0 V^2)))   in seconds

Kenett & Zacks, Modern Industrial Statistics, 1998; as used by Ben-Ari & Steinberg, Modeling data from computer experiments:
an empirical comparison of kriging with MARS and projection pursuit regression, Quality Engineering 19, 2007,
doi:10.1080/08982110701580930; formula and ranges as in Surjanovic & Bingham, Virtual Library of Simulation Experiments.
"""

from __future__ import annotations

import math

from mlforhpc.core.simulation import Output
from mlforhpc.core.space import Real, Space
from mlforhpc.simulations._function import FunctionSimulation, simulation

SPACE = Space(
    M=Real(30.0, 60.0, unit="kg"),
    S=Real(0.005, 0.02, unit="m2"),
    V0=Real(0.002, 0.01, unit="m3"),
    k=Real(1000.0, 5000.0, unit="N/m"),
    P0=Real(90_000.0, 110_000.0, unit="N/m2"),
    Ta=Real(290.0, 296.0, unit="K"),
    T0=Real(340.0, 360.0, unit="K"),
)
CYCLE = Output(name="cycle_time", unit="s", scale=0.1395)  # its standard deviation over the space
REFERENCES = (
    "Kenett & Zacks, Modern Industrial Statistics, 1998",
    "Ben-Ari & Steinberg, Modeling data from computer experiments: an empirical comparison of kriging with MARS and projection"
    " pursuit regression, Quality Engineering 19, 2007, doi:10.1080/08982110701580930",
)


def cycle_time(*, M: float, S: float, V0: float, k: float, P0: float, Ta: float, T0: float) -> float:
    """Time of one cycle in s; SI units throughout."""
    force = P0 * S + 19.62 * M - k * V0 / S
    gas = P0 * V0 * Ta / T0
    volume = S / (2.0 * k) * (math.sqrt(force**2 + 4.0 * k * gas) - force)
    return 2.0 * math.pi * math.sqrt(M / (k + S**2 * gas / volume**2))


def create() -> FunctionSimulation:
    """The simulation."""
    return simulation(cycle_time, name="piston", version="1", space=SPACE, outputs=[CYCLE], references=REFERENCES)
