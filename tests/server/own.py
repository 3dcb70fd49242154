"""A simulation with every kind of parameter and an array, that fails on lead and takes a minute on tar."""

from __future__ import annotations

import time

import numpy as np

from mlforhpc.core.simulation import Output
from mlforhpc.core.space import Choice, Integer, Real, Space
from mlforhpc.simulations._function import simulation

SPACE = Space(width=Real(1.0, 2.0, unit="m"), layers=Integer(1, 5), metal=Choice(("steel", "copper", "lead", "tar")))


def plate(width, layers, metal):
    """Area, and a profile of three numbers."""
    time.sleep(0.01)  # so that none is taken for a call of microseconds, of which many go to a slot at once
    if metal == "lead":
        raise ValueError("lead is too soft")
    if metal == "tar":
        time.sleep(60)
    return {"area": width * layers, "profile": width * np.arange(3.0) + (metal == "copper")}


PLATE = simulation(plate, space=SPACE, outputs=[Output(name="area"), Output(name="profile", shape=(3,))], name="plate", version="1")
