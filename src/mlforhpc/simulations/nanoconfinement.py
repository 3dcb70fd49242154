"""Ions between two walls: density profiles of a primitive-model electrolyte in a slit, by molecular dynamics with LAMMPS.

Charged, purely repulsive (WCA) spheres of diameter d between purely repulsive walls, water as a dielectric (78.5) and a Langevin
thermostat at 298 K, Coulomb forces by an Ewald sum with slab correction. Time in tau = d sqrt(m/kT), m = 23 g/mol.
Source: Kadupitiya, Sun, Fox, Jadhao, J. Comput. Sci. 42:101107 (2020), doi 10.1016/j.jocs.2020.101107.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from mlforhpc.core.errors import UsageError
from mlforhpc.core.simulation import Output, Outputs
from mlforhpc.core.space import Choice, FloatArray, Integer, Real, Space, Value
from mlforhpc.simulations import _slit_lammps as kernel
from mlforhpc.simulations._slit import Slit
from mlforhpc.simulations._slit_blocks import SPECIES, summarised
from mlforhpc.simulations._slit_truths import truths

FULL_STEPS = 1_000_000  # production at fidelity 1
GRAIN = kernel.BLOCKS * kernel.SAMPLE_STEPS  # production is a multiple of this
LEAST_STEPS = 400
BINS = 64
SAFE_SETTINGS: Mapping[str, Value] = {
    "time_step_tau": 0.016,
    "damping_tau": 1.0,
    "kspace": "ewald",
    "kspace_accuracy": 1e-5,
    "cutoff_nm": 3.0,
    "skin_nm": 0.6,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """Instants of an equilibrated system.

    Attributes:
        positions: (instants, N, 3), nm; z = 0 in the middle of the slit.
        species: (N,) 0 for cations, 1 for anions.
        forces: (N, 3) at the last instant, kT/nm, from ions and walls, none from the thermostat; or empty.
        side: lateral period, nm.
    """

    positions: FloatArray
    species: FloatArray
    forces: FloatArray
    side: float


@dataclass(frozen=True, kw_only=True)
class Nanoconfinement:
    """The electrolyte in a slit; see `create`."""

    physics: kernel.Physics = field(default_factory=kernel.Physics)
    error_scale: float = 1.0
    default_settings: Mapping[str, Value] = field(default_factory=lambda: dict(SAFE_SETTINGS))

    name: ClassVar[str] = "nanoconfinement"
    space: ClassVar[Space] = Space(
        h=Real(3.0, 4.0, unit="nm"), c=Real(0.3, 0.9, unit="mol/L"), z=Integer(1, 3), d=Real(0.5, 0.75, unit="nm")
    )
    settings: ClassVar[Space] = Space(
        time_step_tau=Real(0.002, 0.03),
        damping_tau=Real(0.1, 10.0, log=True),
        kspace=Choice(("ewald", "pppm")),
        kspace_accuracy=Real(1e-7, 1e-2, log=True),
        cutoff_nm=Real(1.2, 4.0, unit="nm"),
        skin_nm=Real(0.1, 1.5, unit="nm"),
    )
    outputs: ClassVar[tuple[Output, ...]] = (
        *(Output(name=species, shape=(BINS,), scale="mean") for species in SPECIES),
        *(Output(name=f"{species}_{what}", derived=True) for species in SPECIES for what in ("contact", "peak", "centre")),
    )
    references: ClassVar[tuple[str, ...]] = (
        "Kadupitiya, Fox, Jadhao, Machine Learning for Performance Enhancement of Molecular Dynamics Simulations, "
        "ICCS 2019, doi 10.1007/978-3-030-22741-8_9",
        "Kadupitiya, Sun, Fox, Jadhao, Machine learning surrogates for molecular dynamics simulations of soft materials, "
        "J. Comput. Sci. 42:101107, 2020, doi 10.1016/j.jocs.2020.101107",
        "Thompson et al., LAMMPS, Comput. Phys. Commun. 271:108171, 2022, doi 10.1016/j.cpc.2021.108171",
    )

    @property
    def version(self) -> str:
        """Results with other physics or other error bars never mix with the real ones."""
        plain = self.physics == kernel.Physics() and self.error_scale == 1.0
        return "1" if plain else f"1 with {self.physics}, errors times {self.error_scale:g}"

    def simulate(self, x: Mapping[str, Value], *, settings: Mapping[str, Value], fidelity: float, seed: int, workdir: Path) -> Outputs:
        steps = production_steps(fidelity)
        slit = self._slit(x, settings)
        with kernel.running(slit, self.physics, settings=settings, seed=seed) as lmp:
            sampled = kernel.sample(lmp, slit, steps=steps, bins=BINS)
        return summarised(slit, sampled, error_scale=self.error_scale)

    def forces(self, x: Mapping[str, Value], *, settings: Mapping[str, Value], seed: int) -> Configuration:
        """Positions and production forces of one equilibrated configuration."""
        slit = self._slit(x, settings)
        with kernel.running(slit, self.physics, settings=settings, seed=seed) as lmp:
            positions, forces = kernel.positions(lmp, count=1, interval=1), kernel.forces(lmp)
            return Configuration(positions=positions, species=kernel.species(lmp), forces=forces, side=slit.side)

    def trajectory(self, x: Mapping[str, Value], *, settings: Mapping[str, Value], seed: int, count: int, interval: int) -> Configuration:
        """`count` configurations, `interval` steps apart, without forces."""
        slit = self._slit(x, settings)
        with kernel.running(slit, self.physics, settings=settings, seed=seed) as lmp:
            positions = kernel.positions(lmp, count=count, interval=interval)
            return Configuration(positions=positions, species=kernel.species(lmp), forces=np.empty(0), side=slit.side)

    def energies(self, x: Mapping[str, Value], *, settings: Mapping[str, Value], seed: int, count: int, interval: int) -> FloatArray:
        """Total energy (count,) in kT, every `interval` steps, after the thermostat was taken away."""
        slit = self._slit(x, settings)
        with kernel.running(slit, self.physics, settings=settings, seed=seed) as lmp:
            return kernel.isolated_energies(lmp, count=count, interval=interval)

    def ions(self, x: Mapping[str, Value]) -> int:
        """Number of ions at a point of the space."""
        return Slit.at(x).ions

    def _slit(self, x: Mapping[str, Value], settings: Mapping[str, Value]) -> Slit:
        self.space.row(x)
        self.settings.row(settings)
        return Slit.at(x)


def production_steps(fidelity: float) -> int:
    """Steps of production, fidelity times a million, to the nearest 50."""
    steps = GRAIN * round(fidelity * FULL_STEPS / GRAIN) if 0 < fidelity <= 1 else 0
    if steps < LEAST_STEPS:
        raise UsageError(f"Fidelity must lie in [{LEAST_STEPS / FULL_STEPS:g}, 1], found {fidelity:g}: the share of {FULL_STEPS:,} steps.")
    return steps


def create(
    *,
    slab: bool = True,
    charged: bool = True,
    cores: bool = True,
    valence_shift: int = 0,
    error_scale: float = 1.0,
    default_settings: Mapping[str, Value] | None = None,
) -> Nanoconfinement:
    """The electrolyte in a slit. Every option but `default_settings` makes a limit or a fault that `verify` must see.

    Args:
        slab: correct the Ewald sum for the missing third period.
        charged: Coulomb forces (False: a limit without k-space sum).
        cores: repulsion between ions (False and not charged: an ideal gas).
        valence_shift: added to the cation's charge in the forces, not to the number of ions.
        error_scale: factor of every stated standard error.
        default_settings: replaces some of the safe settings.
    """
    merged = {**SAFE_SETTINGS, **(default_settings or {})}
    Nanoconfinement.settings.row(merged)
    physics = replace(kernel.Physics(), slab=slab, charged=charged, cores=cores, valence_shift=valence_shift)
    return Nanoconfinement(physics=physics, error_scale=error_scale, default_settings=merged)


__all__ = ["Configuration", "Nanoconfinement", "create", "production_steps", "truths"]
