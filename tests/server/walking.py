"""A simulation that takes as many twentieths of a second as it is told, and marks how far it is."""

from __future__ import annotations

import time

from mlforhpc.core.marks import mark
from mlforhpc.core.simulation import Output
from mlforhpc.core.space import Integer, Real, Space
from mlforhpc.simulations._function import simulation


def walk(steps, pace):
    """The way; too fast is an error."""
    if pace > 9:
        raise ValueError("nobody walks that fast")
    for step in range(steps):
        time.sleep(0.05)
        mark("steps", step + 1)
    return {"way": 1 + steps * pace}


WALK = simulation(walk, space=Space(steps=Integer(0, 2000), pace=Real(0.0, 10.0)), outputs=[Output(name="way")], name="walk", version="1")
