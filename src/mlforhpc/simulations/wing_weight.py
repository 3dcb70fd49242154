"""Weight of a light aircraft's wing from its design: ten parameters, a closed formula, microseconds.

    W = 0.036 Sw^0.758 Wfw^0.0035 (A / cos^2 sweep)^0.6 q^0.006 taper^0.04 (100 tc / cos sweep)^-0.3 (Nz Wdg)^0.49 + Sw Wp   in lb

Forrester, Sobester & Keane, Engineering Design via Surrogate Modelling: A Practical Guide, 2008, doi:10.1002/9780470770801;
formula and ranges as in Surjanovic & Bingham, Virtual Library of Simulation Experiments.
"""

from __future__ import annotations

import math

from mlforhpc.core.simulation import Output
from mlforhpc.core.space import Real, Space
from mlforhpc.simulations._function import FunctionSimulation, simulation

SPACE = Space(
    Sw=Real(150.0, 200.0, unit="ft2"),
    Wfw=Real(220.0, 300.0, unit="lb"),
    A=Real(6.0, 10.0),
    sweep=Real(-10.0, 10.0, unit="degree"),
    q=Real(16.0, 45.0, unit="lb/ft2"),
    taper=Real(0.5, 1.0),
    tc=Real(0.08, 0.18),
    Nz=Real(2.5, 6.0),
    Wdg=Real(1700.0, 2500.0, unit="lb"),
    Wp=Real(0.025, 0.08, unit="lb/ft2"),
)
WEIGHT = Output(name="weight", unit="lb", scale=48.1)  # its standard deviation over the space
REFERENCE = "Forrester, Sobester & Keane, Engineering Design via Surrogate Modelling: A Practical Guide, 2008, doi:10.1002/9780470770801"


def weight(*, Sw: float, Wfw: float, A: float, sweep: float, q: float, taper: float, tc: float, Nz: float, Wdg: float, Wp: float) -> float:
    """Weight in lb.

    Args:
        Sw: wing area in ft2.
        Wfw: weight of the fuel in the wing, in lb.
        A: aspect ratio.
        sweep: of the quarter chord, in degrees.
        q: dynamic pressure at cruise, in lb/ft2.
        taper: ratio of tip to root chord.
        tc: thickness over chord.
        Nz: ultimate load factor.
        Wdg: flight design gross weight in lb.
        Wp: weight of the paint, in lb/ft2.
    """
    cosine = math.cos(math.radians(sweep))
    size: float = 0.036 * Sw**0.758 * Wfw**0.0035 * q**0.006 * taper**0.04
    shape: float = (A / cosine**2) ** 0.6 * (100.0 * tc / cosine) ** -0.3
    load: float = (Nz * Wdg) ** 0.49
    return size * shape * load + Sw * Wp


def create() -> FunctionSimulation:
    """The simulation."""
    return simulation(weight, name="wing_weight", version="1", space=SPACE, outputs=[WEIGHT], references=[REFERENCE])
