"""What the simulation of the charged slit must fulfil: forces, neutrality and force balance with the walls' charges, and its limit.

The checks of forces, symmetry, balance and energy are those of `_slit_truths`, with charges and diameters of this space.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from mlforhpc.core.check import Check
from mlforhpc.core.seeds import derive
from mlforhpc.core.space import FloatArray
from mlforhpc.simulations import _slit_truths as shared
from mlforhpc.simulations import nanoconfinement
from mlforhpc.simulations._slit import PER_NM2, PER_NM3
from mlforhpc.simulations._slit_truths import Definition, Point, outcome, run_once

if TYPE_CHECKING:
    from mlforhpc.simulations._slit_run import Configuration
    from mlforhpc.simulations.charged_slit import ChargedSlit

SYSTEMS: tuple[Point, ...] = (
    {"h": 3.2, "c": 0.40, "z_plus": 1, "z_minus": 1, "d_plus": 0.60, "d_minus": 0.52, "sigma": -0.010},
    {"h": 3.5, "c": 0.50, "z_plus": 2, "z_minus": 1, "d_plus": 0.55, "d_minus": 0.70, "sigma": -0.006},
    {"h": 3.3, "c": 0.35, "z_plus": 3, "z_minus": 2, "d_plus": 0.68, "d_minus": 0.62, "sigma": -0.003},
)
RUNS = 4  # of each side of the limit


def charges(x: Point, seen: Configuration) -> FloatArray:
    """What the space says: walls of charge density sigma, and ions whose valences are scaled until all is neutral (N + W,)."""
    cations, anions, points = np.bincount(seen.species.astype(int), minlength=3)
    positive, negative = float(x["z_plus"]) * cations, float(x["z_minus"]) * anions
    walls = 2 * float(x["sigma"]) * PER_NM2 * seen.side**2
    excess = (positive - negative + walls) / (positive + negative)
    per_species = [float(x["z_plus"]) * (1 - excess), -float(x["z_minus"]) * (1 + excess), walls / max(1, points)]
    return np.asarray(np.array(per_species)[seen.species.astype(int)])


MODEL = Definition(systems=SYSTEMS, charges=charges, diameters=("d_plus", "d_minus"), force_limit=0.1)


def truths(simulation: ChargedSlit, *, seed: int = 0) -> Iterator[Check]:
    """The checks, one after the other; less than a core-minute in all."""
    for check in (force_error, neutrality, mirror_symmetry, wall_balance, energy_conservation, uncharged_limit, smoothing):
        yield shared.timed(check, simulation, seed=seed)


def force_error(simulation: ChargedSlit, *, seed: int = 0) -> Check:
    """Production forces on the ions against an exact 2-D Ewald sum of ions and walls."""
    return shared.force_error(simulation, seed=seed, model=MODEL)


def neutrality(simulation: ChargedSlit, *, seed: int = 0) -> Check:
    """The anions are those of the salt, and the charge of both profiles is that of the walls."""
    worst = 0.0
    for k, x in enumerate(SYSTEMS):
        run = run_once(simulation, x, fidelity=0.0005, seed=derive(seed, "neutral", k))
        h, c, z_plus, z_minus = (float(x[name]) for name in ("h", "c", "z_plus", "z_minus"))
        cations = c * PER_NM3 * (h - float(x["d_plus"])) * float(run.values["cation"].mean())  # per nm2
        anions = c * PER_NM3 * z_plus / z_minus * (h - float(x["d_minus"])) * float(run.values["anion"].mean())
        excess, walls = run.checks["valence_excess"], 2 * float(x["sigma"]) * PER_NM2
        charge = z_plus * (1 - excess) * cations - z_minus * (1 + excess) * anions + walls
        salt = anions * z_minus / (c * PER_NM3 * h * z_plus)
        worst = max(worst, abs(charge / walls), abs(salt - 1), abs(excess) / 0.05 * 1e-6)
    sentence = (
        f"Charge of both profiles against sigma of both walls, and anions against the salt's: differ by {worst:.1e} of them, at most 1e-6, "
        f"valences scaled by at most 5 %."
    )
    return outcome("charge neutrality", worst <= 1e-6, worst, 1e-6, sentence)


def mirror_symmetry(simulation: ChargedSlit, *, seed: int = 0) -> Check:
    """The walls are charged alike: the two halves agree within their error before they are averaged."""
    return shared.mirror_symmetry(simulation, seed=seed, model=MODEL)


def smoothing(simulation: ChargedSlit, *, seed: int = 0) -> Check:
    """Smoothed short runs err much less than the runs as they are."""
    return shared.smoothing(simulation, seed=seed, model=MODEL)


def wall_balance(simulation: ChargedSlit, *, seed: int = 0) -> Check:
    """N kT + <sum of z F_z> = 0 for the ions, F with the forces of cores, charges and charged walls."""
    return shared.wall_balance(simulation, seed=seed, model=MODEL)


def energy_conservation(simulation: ChargedSlit, *, seed: int = 0) -> Check:
    """Without thermostat the energy neither drifts nor wanders."""
    return shared.energy_conservation(simulation, seed=seed, model=MODEL)


def uncharged_limit(simulation: ChargedSlit, *, seed: int = 0) -> Check:
    """With nearly uncharged walls, z- = 1 and equal diameters the profiles are those of `nanoconfinement`, made of other random numbers."""
    plain, ratios = nanoconfinement.create(), []
    for x in shared.SYSTEMS[:2]:
        same: Point = {"h": x["h"], "c": x["c"], "z_plus": x["z"], "z_minus": 1, "d_plus": x["d"], "d_minus": x["d"], "sigma": -1e-6}
        walls = [run_once(simulation, same, fidelity=0.006, seed=derive(seed, "limit", k)) for k in range(RUNS)]
        none = [run_once(plain, x, fidelity=0.006, seed=derive(seed, "plain", k)) for k in range(RUNS)]
        for name in ("cation", "anion"):
            apart = np.mean([run.values[name] for run in walls], axis=0) - np.mean([run.values[name] for run in none], axis=0)
            stated = sum((run.standard_errors[name] ** 2).sum() for run in (*walls, *none)) / RUNS**2
            ratios.append(float((apart**2).sum() / stated))
    found = float(np.mean(ratios))
    sentence = f"Squared difference to the slit with uncharged walls over the stated one: {found:.2f}, should be 1, at most 2."
    return outcome("limit of uncharged walls", found <= 2.0, found, 2.0, sentence)
