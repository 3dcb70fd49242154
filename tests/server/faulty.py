"""A simulation that is quick, or slow, or never ends, as it is told; its points are many, so that a load never asks twice."""

from __future__ import annotations

import time

from mlforhpc.core.simulation import Output
from mlforhpc.core.space import Choice, Real, Space
from mlforhpc.simulations._function import simulation


def run(x, pace):
    """Smooth in x."""
    time.sleep({"quick": 0.002, "slow": 0.5, "never": 3_600.0}[pace])
    return {"y": 1.0 + x * x}


RUN = simulation(
    run, space=Space(x=Real(0.0, 1.0), pace=Choice(("quick", "slow", "never"))), outputs=[Output(name="y")], name="run", version="1"
)
