"""One run of a slit: what simulations of electrolytes between walls have in common - settings, fidelity, outputs, and what to look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mlforhpc.core.errors import UsageError
from mlforhpc.core.simulation import Output, Outputs
from mlforhpc.core.space import Choice, FloatArray, Real, Space, Value
from mlforhpc.simulations import _slit_lammps as kernel
from mlforhpc.simulations._slit import Slit
from mlforhpc.simulations._slit_blocks import SPECIES, summarised

FULL_STEPS = 1_000_000  # production at fidelity 1
GRAIN = kernel.BLOCKS * kernel.SAMPLE_STEPS  # production is a multiple of this
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
    """A system, what acts in it, how it is computed, and the seed; every method starts anew."""

    slit: Slit
    physics: kernel.Physics
    settings: Mapping[str, Value]
    seed: int

    def outputs(self, *, fidelity: float, error_scale: float) -> Outputs:
        """Profiles with standard errors, times `error_scale`."""
        return summarised(self.slit, self.sampled(fidelity=fidelity), bins=BINS, error_scale=error_scale)

    def sampled(self, *, fidelity: float) -> kernel.Sampled:
        """Block averages of counts and forces, in layers."""
        steps = production_steps(fidelity)
        with kernel.running(self.slit, self.physics, settings=self.settings, seed=self.seed) as lmp:
            return kernel.sample(lmp, self.slit, steps=steps, layers=LAYERS * BINS)

    def forces(self) -> Configuration:
        """Positions and production forces of one equilibrated configuration."""
        with kernel.running(self.slit, self.physics, settings=self.settings, seed=self.seed) as lmp:
            positions, forces = kernel.positions(lmp, count=1, interval=1), kernel.forces(lmp)
            return Configuration(positions=positions, species=kernel.species(lmp), forces=forces, side=self.slit.side)

    def trajectory(self, *, count: int, interval: int) -> Configuration:
        """`count` configurations, `interval` steps apart, without forces."""
        with kernel.running(self.slit, self.physics, settings=self.settings, seed=self.seed) as lmp:
            positions = kernel.positions(lmp, count=count, interval=interval)
            return Configuration(positions=positions, species=kernel.species(lmp), forces=np.empty(0), side=self.slit.side)

    def energies(self, *, count: int, interval: int) -> FloatArray:
        """Total energy (count,) in kT, every `interval` steps, after the thermostat was taken away."""
        with kernel.running(self.slit, self.physics, settings=self.settings, seed=self.seed) as lmp:
            return kernel.isolated_energies(lmp, count=count, interval=interval)


def production_steps(fidelity: float) -> int:
    """Steps of production, fidelity times a million, to the nearest 50."""
    steps = GRAIN * round(fidelity * FULL_STEPS / GRAIN) if 0 < fidelity <= 1 else 0
    if steps < LEAST_STEPS:
        raise UsageError(f"Fidelity must lie in [{LEAST_STEPS / FULL_STEPS:g}, 1], found {fidelity:g}: the share of {FULL_STEPS:,} steps.")
    return steps


def version(physics: kernel.Physics, error_scale: float) -> str:
    """Results with other physics or other error bars never mix with the real ones."""
    plain = physics == kernel.Physics() and error_scale == 1.0
    return "2" if plain else f"2 with {physics}, errors times {error_scale:g}"


def safe(default_settings: Mapping[str, Value] | None) -> dict[str, Value]:
    """The safe settings with some of them replaced."""
    merged = {**SAFE_SETTINGS, **(default_settings or {})}
    SETTINGS.row(merged)
    return merged
