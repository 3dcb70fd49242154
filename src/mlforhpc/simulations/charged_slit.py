"""Ions of two sizes between charged walls: the electrolyte of `nanoconfinement` with seven parameters, by molecular dynamics with LAMMPS.

Valences z+ and -z-, diameters d+ and d-, and the charge density sigma of both walls join confinement and salt concentration; the model,
units and settings are those of `nanoconfinement`, whose results this one gives at sigma = 0, z- = 1, d+ = d- (same seed, same numbers).
Source: Sun, Kadupitiya, Jadhao, J. Chem. Theory Comput. 19:4606 (2023), doi 10.1021/acs.jctc.2c01282.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

from mlforhpc.core.simulation import Output, Outputs
from mlforhpc.core.space import Integer, Real, Space, Value
from mlforhpc.simulations import _slit_blocks
from mlforhpc.simulations._charged_slit_truths import truths
from mlforhpc.simulations._slit import Slit
from mlforhpc.simulations._slit_executable import Program, configuration, program
from mlforhpc.simulations._slit_input import Physics
from mlforhpc.simulations._slit_run import FULL_STEPS, OUTPUTS, SAFE_SETTINGS, SETTINGS, SlitRun, safe, version
from mlforhpc.simulations._slit_smoothing import REFERENCES, smoothed


@dataclass(frozen=True, kw_only=True)
class ChargedSlit:
    """The electrolyte between charged walls; see `create`.

    z_plus and z_minus are magnitudes. sigma is 0 to -0.01 C/m2, the range of the source's program (its README, github.com/softmaterialslab/
    nanoconfinement-md), as are the seven parameters. c counts the salt's cations; the counterions are cations on top of them. Profiles have
    64 bins of the width h - d that the centres of their own species reach, relative to the salt's concentrations c and c z+/z-.
    """

    physics: Physics = field(default_factory=Physics)
    error_scale: float = 1.0
    default_settings: Mapping[str, Value] = field(default_factory=lambda: dict(SAFE_SETTINGS))
    program: Program | None = None

    name: ClassVar[str] = "charged_slit"
    space: ClassVar[Space] = Space(
        h=Real(3.0, 4.0, unit="nm"),
        c=Real(0.3, 0.9, unit="mol/L"),
        z_plus=Integer(1, 3),
        z_minus=Integer(1, 3),
        d_plus=Real(0.5, 0.75, unit="nm"),
        d_minus=Real(0.5, 0.75, unit="nm"),
        sigma=Real(-0.01, 0.0, unit="C/m2"),
    )
    settings: ClassVar[Space] = SETTINGS
    outputs: ClassVar[tuple[Output, ...]] = OUTPUTS
    references: ClassVar[tuple[str, ...]] = (
        "Sun, Kadupitiya, Jadhao, Probing Accuracy-Speedup Tradeoff in Machine Learning Surrogates for Molecular Dynamics Simulations, "
        "J. Chem. Theory Comput. 19:4606-4618, 2023, doi 10.1021/acs.jctc.2c01282",
        "Thompson et al., LAMMPS, Comput. Phys. Commun. 271:108171, 2022, doi 10.1016/j.cpc.2021.108171",
        *_slit_blocks.REFERENCES,
        *REFERENCES,
    )

    @property
    def version(self) -> str:
        return version(self.physics, self.error_scale, self.program)

    def simulate(self, x: Mapping[str, Value], *, settings: Mapping[str, Value], fidelity: float, seed: int, workdir: Path) -> Outputs:
        run = self.run(x, settings=settings, seed=seed, folder=workdir)
        found = run.outputs(fidelity=fidelity, error_scale=self.error_scale)
        return replace(found, checks={**found.checks, "valence_excess": run.slit.excess})

    def relative_cost(self, x: Mapping[str, Value]) -> float:
        """See `mlforhpc.core.simulation.Priced`."""
        return Slit.charged_at(x).expense

    def run(self, x: Mapping[str, Value], *, settings: Mapping[str, Value], seed: int, folder: Path | None = None) -> SlitRun:
        """A run at a point, for what profiles do not tell: forces, trajectories, energies; `folder` is for what a program writes."""
        self.space.row(x)
        self.settings.row(settings)
        return SlitRun(slit=Slit.charged_at(x), physics=self.physics, settings=settings, seed=seed, program=self.program, folder=folder)


def create(
    *,
    slab: bool = True,
    charged: bool = True,
    valence_shift: int = 0,
    error_scale: float = 1.0,
    default_settings: Mapping[str, Value] | None = None,
    lmp: str | Sequence[str] | None = None,
) -> ChargedSlit:
    """The electrolyte between charged walls; the options are those of `nanoconfinement.create`."""
    physics = Physics(slab=slab, charged=charged, valence_shift=valence_shift)
    return ChargedSlit(physics=physics, error_scale=error_scale, default_settings=safe(default_settings), program=program(lmp))


__all__ = ["FULL_STEPS", "ChargedSlit", "configuration", "create", "smoothed", "truths"]
