"""What the simulation of the slit must fulfil, whatever its settings: seen from outputs and measured costs alone.

Each check runs what it needs, takes 1 to 15 CPU seconds, and was seen to fail on the fault it is there for (tests/simulations).
LAMMPS's own virial with a slab correction is not used: the sum rule takes forces from `_slit_reference`, computed without LAMMPS.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from mlforhpc.core.check import Check
from mlforhpc.core.seeds import derive
from mlforhpc.core.simulation import Outputs
from mlforhpc.core.space import FloatArray, Value
from mlforhpc.simulations import _slit_reference as reference
from mlforhpc.simulations import _slit_smoothing
from mlforhpc.simulations._slit_blocks import SPECIES, counted, summarised

if TYPE_CHECKING:
    from mlforhpc.simulations._slit_run import Configuration
    from mlforhpc.simulations.charged_slit import ChargedSlit
    from mlforhpc.simulations.nanoconfinement import Nanoconfinement

Point: TypeAlias = Mapping[str, Value]
SYSTEMS: tuple[Point, ...] = (
    {"h": 3.2, "c": 0.40, "z": 1, "d": 0.55},
    {"h": 3.5, "c": 0.50, "z": 2, "d": 0.60},
    {"h": 3.3, "c": 0.45, "z": 3, "d": 0.65},
)


def _charges(x: Point, seen: Configuration) -> FloatArray:
    return np.where(seen.species == 0, float(x["z"]), -1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """What a check must know of a model to compute forces a second time.

    Attributes:
        systems: points of the space.
        charges: of a configuration at a point, (N + W,) elementary charges.
        diameters: names of the parameters of cation and anion.
        force_limit: RMS force error that is allowed, kT/d.
    """

    systems: tuple[Point, ...]
    charges: Callable[[Point, Configuration], FloatArray]
    diameters: tuple[str, str]
    force_limit: float

    def sizes(self, x: Point, seen: Configuration) -> FloatArray:
        """Diameters of the ions (N,), nm."""
        cation, anion = (float(x[name]) for name in self.diameters)
        return np.where(seen.species[seen.species < 2] == 0, cation, anion)


MODEL = Definition(systems=SYSTEMS, charges=_charges, diameters=("d", "d"), force_limit=0.06)
STEPS_TAU = (0.004, 0.009, 0.016)  # time steps, with damping tau, with which the default is compared


SMOOTHED, FORCED = 0.9, 0.35  # largest ratios of squared errors: smoothed over raw profiles, with forces over counts alone


def truths(simulation: Nanoconfinement, *, seed: int = 0) -> Iterator[Check]:
    """The checks, one after the other; about a core-minute in all."""
    for check in (force_error, ideal_gas, neutrality, mirror_symmetry, wall_balance, energy_conservation, *COSTS):
        yield timed(check, simulation, seed=seed)


def timed(check: Callable[..., Check], simulation: Nanoconfinement | ChargedSlit, *, seed: int) -> Check:
    """The check with its time; a simulation that breaks off has failed it."""
    clock = clock_of(simulation)
    start = clock()
    try:
        done = check(simulation, seed=seed)
    except Exception as error:
        done = outcome(check.__name__.replace("_", " "), False, math.nan, math.nan, f"The simulation broke off: {error}")
    return replace(done, cost_s=clock() - start)


def clock_of(simulation: Nanoconfinement | ChargedSlit) -> Callable[[], float]:
    """CPU time where the wheel runs in this process; a program's is not ours to see, so its wall time."""
    return time.process_time if simulation.program is None else time.perf_counter


def force_error(simulation: Nanoconfinement | ChargedSlit, *, seed: int = 0, model: Definition = MODEL) -> Check:
    """Production forces against an exact 2-D Ewald sum with the charges and diameters of the space."""
    squares = []
    for k, x in enumerate(model.systems * 2):
        instant = simulation.run(x, settings=simulation.default_settings, seed=derive(seed, "force", k)).forces()
        sizes, charges = model.sizes(x, instant), model.charges(x, instant)
        exact = reference.forces(instant.positions[-1], charges, side=instant.side, h=float(x["h"]), d=sizes)
        squares.append((((instant.forces[: len(sizes)] - exact) * sizes[:, None]) ** 2).sum(1).mean())
    found = float(np.sqrt(np.mean(squares)))
    sentence = f"RMS error of the forces on an ion against an exact 2-D Ewald sum: {found:.3f} kT/d, at most {model.force_limit:g}."
    return outcome("force error", found <= model.force_limit, found, model.force_limit, sentence)


def ideal_gas(simulation: Nanoconfinement, *, seed: int = 0) -> Check:
    """Without forces between ions the density is exp(-u_wall/kT), flat but for the wall's softness."""
    gas = replace(simulation, physics=replace(simulation.physics, charged=False, cores=False))
    x = SYSTEMS[0]
    runs = [run_once(gas, x, fidelity=0.05, seed=derive(seed, "gas", k)) for k in range(6)]
    profiles = np.array([[run.values[name] for name in ("cation", "anion")] for run in runs]).reshape(-1, 64)
    boltzmann = _wall_factor(x, bins=64)
    expected = boltzmann / boltzmann.mean() * float(x["h"]) / (float(x["h"]) - float(x["d"]))
    noise = profiles.var(0, ddof=1) / len(profiles)
    found = float(np.sqrt(max(0.0, ((profiles.mean(0) - expected) ** 2 - noise).mean())) / expected.mean())
    sentence = f"Uncharged points: the profile differs from exp(-u_wall/kT) by {100 * found:.2f} % of its mean, at most 1.5 %."
    return outcome("ideal gas", found <= 0.015, found, 0.015, sentence)


def neutrality(simulation: Nanoconfinement, *, seed: int = 0) -> Check:
    """Both profiles, relative to c and z c, have the mean h / (h - d): all ions are counted and the slit is neutral."""
    worst = 0.0
    for k, x in enumerate(SYSTEMS):
        run = run_once(simulation, x, fidelity=0.0005, seed=derive(seed, "neutral", k))
        inside = float(x["h"]) / (float(x["h"]) - float(x["d"]))
        worst = max(worst, *(abs(float(run.values[name].mean()) / inside - 1) for name in ("cation", "anion")))
    sentence = f"Ions counted in the profiles against those in the slit, either species: differ by {worst:.1e} of them, at most 1e-6."
    return outcome("charge neutrality", worst <= 1e-6, worst, 1e-6, sentence)


def mirror_symmetry(simulation: Nanoconfinement | ChargedSlit, *, seed: int = 0, model: Definition = MODEL) -> Check:
    """The two halves agree within their error before they are averaged, on average over independent runs."""
    seeds = [derive(seed, "mirror", k) for k in range(6)]
    ratios = [run_once(simulation, x, fidelity=0.008, seed=s).checks["asymmetry"] for s in seeds for x in model.systems[:2]]
    found, error = float(np.mean(ratios)), float(np.std(ratios, ddof=1) / np.sqrt(len(ratios)))
    limit = 1 + max(0.25, 3 * error)
    sentence = f"Squared difference of the halves over the expected one: {found:.2f} +- {error:.2f}, should be 1, at most {limit:.2f}."
    return outcome("mirror symmetry", found <= limit, found, limit, sentence)


def wall_balance(simulation: Nanoconfinement | ChargedSlit, *, seed: int = 0, model: Definition = MODEL) -> Check:
    """Mechanical equilibrium: N kT + <sum of z F_z> = 0, F from the model's definition, the walls' part being the pressure on them."""
    x, excess = model.systems[0], []
    for k in range(12):
        settings = simulation.default_settings
        path = simulation.run(x, settings=settings, seed=derive(seed, "wall", k)).trajectory(count=800, interval=5)
        excess.append(1 + _normal_virial(x, path, model))
    found, error = abs(float(np.mean(excess))), float(np.std(excess, ddof=1) / np.sqrt(len(excess)))
    passed = error <= 0.06 and found <= 3.5 * error
    sentence = (
        f"Kinetic pressure, pressure on the walls and normal virial of the ions add up to {found:.3f} +- {error:.3f} N kT, "
        f"should be 0 within 3.5 errors, the error at most 0.06."
    )
    return outcome("force balance at the walls", passed, found, 3.5 * error, sentence)


def energy_conservation(simulation: Nanoconfinement | ChargedSlit, *, seed: int = 0, model: Definition = MODEL) -> Check:
    """Without thermostat the energy neither drifts nor wanders."""
    squares = []
    for k, x in enumerate(model.systems * 3):
        run = simulation.run(x, settings=simulation.default_settings, seed=derive(seed, "nve", k))
        energies = run.energies(count=100, interval=20)
        squares.append(float(energies[50:].mean() - energies[:50].mean()) ** 2 / run.slit.ions**2)
    found = float(np.sqrt(np.mean(squares)))
    sentence = f"Total energy without thermostat, 1,000 steps later: differs by {found:.4f} kT an ion (RMS), at most 0.02."
    return outcome("energy conservation", found <= 0.02, found, 0.02, sentence)


def error_bars(simulation: Nanoconfinement, *, seed: int = 0) -> Check:
    """Spread over pairs of independent runs against the stated standard errors."""
    spread = stated = 0.0
    for k in range(24):
        for x in SYSTEMS[:2]:
            first, second = (run_once(simulation, x, fidelity=0.006, seed=derive(seed, "pair", k, side)) for side in (0, 1))
            for name in ("cation", "anion"):
                spread += float(((first.values[name] - second.values[name]) ** 2).sum())
                stated += float((first.standard_errors[name] ** 2 + second.standard_errors[name] ** 2).sum())
    found = spread / stated
    sentence = f"Squared differences of 48 pairs of runs over the stated squared errors: {found:.2f}, should be 1, within 0.8 to 1.25."
    return outcome("error bars", 0.8 <= found <= 1.25, found, 1.25, sentence)


def economy(simulation: Nanoconfinement, *, seed: int = 0) -> Check:
    """The default reaches an error about as cheaply as the best of three time steps: a slow baseline flatters every surrogate."""
    x, runs, clock = SYSTEMS[0], 16, clock_of(simulation)
    others = ({**simulation.default_settings, "time_step_tau": step, "damping_tau": 1.0} for step in STEPS_TAU)
    candidates = [simulation.default_settings, *others]
    profiles: list[list[FloatArray]] = [[] for _ in candidates]
    costs = np.zeros(len(candidates))
    for k in range(runs):  # all candidates in turn, so that a busy machine slows them alike
        for i, settings in enumerate(candidates):
            start = clock()
            run = run_once(simulation, x, fidelity=0.004, seed=derive(seed, "economy", i, k), settings=settings)
            costs[i] += clock() - start
            profiles[i].append(np.concatenate([run.values["cation"], run.values["anion"]]))
    price = costs * [np.var(p, axis=0, ddof=1).mean() for p in profiles]
    found = float(price[0] / price[1:].min())
    steps = ", ".join(f"{step:g} tau" for step in STEPS_TAU)
    sentence = f"Cost times variance with the default settings, over that of the best of time steps {steps}: {found:.2f}, at most 1.5."
    return outcome("economy of the settings", found <= 1.5, found, 1.5, sentence)


def smoothing(simulation: Nanoconfinement | ChargedSlit, *, seed: int = 0, model: Definition = MODEL) -> Check:
    """Smoothed short runs err much less than the runs as they are: a baseline of raw profiles flatters every surrogate."""
    rows = [(x, k) for k in range(4) for x in model.systems]
    runs = [[run_once(simulation, x, fidelity=0.0024, seed=derive(seed, "smooth", k, side)) for x, k in rows] for side in (0, 1)]
    y = [{name: np.array([run.values[name] for run in side]) for name in SPECIES} for side in runs]
    se = [{name: np.array([run.standard_errors[name] for run in side]) for name in SPECIES} for side in runs]
    made = [_slit_smoothing.profiles(*both) for both in zip(y, se, strict=True)]
    apart = float(np.sum([((y[0][name] - y[1][name]) ** 2).sum() for name in SPECIES]))  # twice a run's own squared error
    crossed = float(np.sum([((made[k][name] - y[1 - k][name]) ** 2).sum() for name in SPECIES for k in (0, 1)]))
    found = (crossed - apart) / apart
    sentence = f"Squared error of {2 * len(rows)} smoothed runs of 2,400 steps over that of raw ones: {found:.2f}, limit {SMOOTHED}."
    return outcome("smoothing of the baseline", found <= SMOOTHED, found, SMOOTHED, sentence)


def forces_and_counts(simulation: Nanoconfinement | ChargedSlit, *, seed: int = 0, model: Definition = MODEL) -> Check:
    """Profiles from forces and counts are those from counts alone, with less noise: forces that do not belong to them give others."""
    apart, noise, own = [], [], []
    for k, x in enumerate(model.systems):
        runs = []
        for r in range(8):
            run = simulation.run(x, settings=simulation.default_settings, seed=derive(seed, "forces", k, r))
            seen = run.sampled(fidelity=0.008)
            runs.append([profiles_of(summarised(run.slit, seen, bins=64, error_scale=1.0)), profiles_of(counted(run.slit, seen, bins=64))])
        both, counts = np.array(runs).transpose(1, 0, 2, 3)  # (runs, species, bins) each
        difference = both - counts
        apart.append((difference.mean(axis=0) ** 2).sum() - (difference.var(axis=0, ddof=1) / len(runs)).sum())
        noise.append(counts.var(axis=0, ddof=1).sum())
        own.append(both.var(axis=0, ddof=1).sum())
    found = float((np.sum(own) + max(np.sum(apart), 0.0)) / np.sum(noise))
    sentence = f"Squared error of 24 runs of 8,000 steps from counts and forces over that from counts: {found:.2f}, limit {FORCED}."
    return outcome("forces and counts", found <= FORCED, found, FORCED, sentence)


def profiles_of(run: Outputs) -> FloatArray:
    return np.array([run.values[name] for name in SPECIES])


COSTS = (error_bars, economy, smoothing, forces_and_counts)


def run_once(simulation: Nanoconfinement | ChargedSlit, x: Point, *, fidelity: float, seed: int, settings: Point | None = None) -> Outputs:
    with tempfile.TemporaryDirectory() as folder:
        return simulation.simulate(x, settings=settings or simulation.default_settings, fidelity=fidelity, seed=seed, workdir=Path(folder))


def outcome(name: str, passed: bool, found: float, limit: float, sentence: str) -> Check:
    return Check(name=name, passed=bool(passed), found=found, limit=limit, sentence=sentence, cost_s=0.0)


def _normal_virial(x: Point, path: Configuration, model: Definition) -> float:
    """Mean of the sum of z F_z over the ions, in N kT, over a path; the smooth Coulomb part from every 20th instant."""
    h, d, charges, side = float(x["h"]), model.sizes(x, path), model.charges(x, path), path.side
    ions = path.positions[:, : len(d)]
    stiff = [(r * (reference.cores(r, side=side, d=d) + reference.walls(r, h=h, d=d)))[:, 2].mean() for r in ions]
    smooth = [(r[: len(d)] * reference.coulomb(r, charges, side=side, on=len(d)))[:, 2].mean() for r in path.positions[::20]]
    return float(np.mean(stiff) + np.mean(smooth))


def _wall_factor(x: Point, *, bins: int) -> FloatArray:
    """Mean of exp(-u_wall/kT) over each bin of the width h - d (bins,); what lies beyond counts in the outermost ones."""
    h, d = float(x["h"]), float(x["d"])
    z = np.linspace(-0.499 * h, 0.499 * h, 200_001)
    power = (d / 2 / (h / 2 - np.abs(z))) ** 6
    energy = np.where(power > 0.5, 4 * (power**2 - power) + 1, 0.0)
    bin_of = np.clip(np.floor((z / (h - d) + 0.5) * bins).astype(int), 0, bins - 1)
    return np.bincount(bin_of, np.exp(-energy), minlength=bins).astype(float)
