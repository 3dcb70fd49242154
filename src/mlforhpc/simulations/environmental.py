"""Concentration of a pollutant along a channel after two spills: four parameters, one profile of 5 positions x 20 times.

    c(s, t) = M / sqrt(D t) exp(-s^2 / (4 D t)) + [t > tau] M / sqrt(D (t - tau)) exp(-(s - L)^2 / (4 D (t - tau)))

A mass M is spilled at place 0 and time 0, and once more at place L and time tau; D is the rate of diffusion. As in the
source the concentration is multiplied by sqrt(4 pi). No time of the grid lies in [30.01, 30.295], the range of tau:
there the profile would be a discontinuous function of tau.

Bliznyuk, Ruppert, Shoemaker, Regis, Wild & Mugunthan, Bayesian calibration and uncertainty analysis for computationally
expensive models using optimization and radial basis function approximation, Journal of Computational and Graphical
Statistics 17, 2008, doi:10.1198/106186008X320681; ranges as in Surjanovic & Bingham, Virtual Library of Simulation Experiments.
"""

from __future__ import annotations

import numpy as np

from mlforhpc.core.simulation import Output
from mlforhpc.core.space import FloatArray, Real, Space
from mlforhpc.simulations._function import FunctionSimulation, simulation

SPACE = Space(
    M=Real(7.0, 13.0, unit="kg"),
    D=Real(0.02, 0.12, unit="m2/s"),
    L=Real(0.01, 3.0, unit="m"),
    tau=Real(30.01, 30.295, unit="s"),
)
POSITIONS_M = np.linspace(0.5, 2.5, 5)
TIMES_S = np.linspace(3.0, 60.0, 20)
PROFILE = Output(name="concentration", shape=(5, 20), unit="kg/m", scale="rms")
REFERENCE = (
    "Bliznyuk, Ruppert, Shoemaker, Regis, Wild & Mugunthan, Bayesian calibration and uncertainty analysis for computationally expensive"
    " models using optimization and radial basis function approximation, Journal of Computational and Graphical Statistics 17, 2008,"
    " doi:10.1198/106186008X320681"
)


def concentration(*, M: float, D: float, L: float, tau: float) -> FloatArray:
    """Scaled concentration in kg/m (5, 20): position, time."""
    s, t = POSITIONS_M[:, None], TIMES_S[None, :]  # (5, 1), (1, 20)
    late = t > tau
    since = np.where(late, t - tau, 1.0)
    first = M / np.sqrt(D * t) * np.exp(-(s**2) / (4.0 * D * t))
    second = M / np.sqrt(D * since) * np.exp(-((s - L) ** 2) / (4.0 * D * since))
    return np.asarray(first + np.where(late, second, 0.0))  # (5, 20)


def create() -> FunctionSimulation:
    """The simulation."""
    return simulation(concentration, name="environmental", version="1", space=SPACE, outputs=[PROFILE], references=[REFERENCE])
