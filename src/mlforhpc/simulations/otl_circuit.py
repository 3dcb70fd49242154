"""Mid-point voltage of an output transformerless (OTL) push-pull circuit: six parameters, a closed formula, microseconds.

    g = beta (Rc2 + 9),   Vb1 = 12 Rb2 / (Rb1 + Rb2)
    V = ((Vb1 + 0.74) g + 11.35 Rf + 0.74 Rf g / Rc1) / (g + Rf)   in volts

Ben-Ari & Steinberg, Modeling data from computer experiments: an empirical comparison of kriging with MARS and projection
pursuit regression, Quality Engineering 19, 2007, doi:10.1080/08982110701580930; formula and ranges as in Surjanovic &
Bingham, Virtual Library of Simulation Experiments.
"""

from __future__ import annotations

from mlforhpc.core.simulation import Output
from mlforhpc.core.space import Real, Space
from mlforhpc.simulations._function import FunctionSimulation, simulation

SPACE = Space(
    Rb1=Real(50.0, 150.0, unit="kOhm"),
    Rb2=Real(25.0, 70.0, unit="kOhm"),
    Rf=Real(0.5, 3.0, unit="kOhm"),
    Rc1=Real(1.2, 2.5, unit="kOhm"),
    Rc2=Real(0.25, 1.2, unit="kOhm"),
    beta=Real(50.0, 300.0),
)
VOLTAGE = Output(name="voltage", unit="V", scale=1.14)  # its standard deviation over the space
REFERENCE = (
    "Ben-Ari & Steinberg, Modeling data from computer experiments: an empirical comparison of kriging with MARS and projection"
    " pursuit regression, Quality Engineering 19, 2007, doi:10.1080/08982110701580930"
)


def voltage(*, Rb1: float, Rb2: float, Rf: float, Rc1: float, Rc2: float, beta: float) -> float:
    """Mid-point voltage in V; resistances in kOhm, `beta` a current gain."""
    gain = beta * (Rc2 + 9.0)
    base = 12.0 * Rb2 / (Rb1 + Rb2)
    return ((base + 0.74) * gain + 11.35 * Rf + 0.74 * Rf * gain / Rc1) / (gain + Rf)


def create() -> FunctionSimulation:
    """The simulation."""
    return simulation(voltage, name="otl_circuit", version="1", space=SPACE, outputs=[VOLTAGE], references=[REFERENCE])
