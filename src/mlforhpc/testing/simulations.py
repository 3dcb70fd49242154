"""Does a simulation keep its contract? Run by our own tests, and by those of a simulation from outside:

    @pytest.mark.parametrize("check", mlforhpc.testing.simulations.CHECKS, ids=lambda check: check.__name__)
    def test_my_simulation(check):
        check(my_simulation.create())
Each check makes a few runs at the middle and near the ends of the space, at the fidelity it is given.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import cloudpickle
import numpy as np

from mlforhpc.core.simulation import Output, Outputs, Simulation, checked
from mlforhpc.core.space import Space, Value
from mlforhpc.testing.conforming import require


def states_what_it_is(simulation: Simulation, *, fidelity: float = 1.0) -> None:
    """Name, version, space, outputs and default settings are there and of one piece."""
    require(isinstance(simulation, Simulation), f"{simulation!r} lacks an attribute of the Simulation contract.")
    require(bool(simulation.name) and bool(simulation.version), "A simulation needs a name and a version.")
    require(isinstance(simulation.space, Space), "`space` must be a Space.")
    names = [o.name for o in simulation.outputs]
    require(bool(names) and all(isinstance(o, Output) for o in simulation.outputs), "`outputs` must be one Output or more.")
    require(len(set(names)) == len(names), f"Outputs must have different names, found {names}.")
    if simulation.settings is None:
        require(not simulation.default_settings, "Default settings need a `settings` space.")
    else:
        simulation.settings.row(simulation.default_settings)


def returns_what_it_declares(simulation: Simulation, *, fidelity: float = 1.0) -> None:
    """Finite arrays of the declared shapes, at the middle and near both ends of every parameter."""
    for u in (0.5, 0.02, 0.98):
        _run(simulation, _point(simulation, u), fidelity=fidelity, seed=1)


def repeats_itself(simulation: Simulation, *, fidelity: float = 1.0) -> None:
    """The same seed gives the same numbers, in another folder."""
    first, second = (_run(simulation, _point(simulation, 0.5), fidelity=fidelity, seed=7) for _ in range(2))
    for name in first.values:
        require(bool(np.array_equal(first.values[name], second.values[name])), f"Output '{name}' differs between two runs of one seed.")


def uses_its_seed_if_it_states_errors(simulation: Simulation, *, fidelity: float = 1.0) -> None:
    """A simulation with standard errors gives other numbers for another seed; one without gives the same."""
    first, second = (_run(simulation, _point(simulation, 0.5), fidelity=fidelity, seed=seed) for seed in (1, 2))
    for name in first.values:
        same = bool(np.array_equal(first.values[name], second.values[name]))
        stated = name in first.standard_errors and bool((first.standard_errors[name] > 0).any())
        require(not (same and stated), f"Output '{name}' states standard errors, but does not change with the seed.")


def travels(simulation: Simulation, *, fidelity: float = 1.0) -> None:
    """A copy that went through cloudpickle, as to a worker, gives the same numbers."""
    copy = cloudpickle.loads(cloudpickle.dumps(simulation))
    x = _point(simulation, 0.5)
    here, there = _run(simulation, x, fidelity=fidelity, seed=3), _run(copy, x, fidelity=fidelity, seed=3)
    require(copy.version == simulation.version, "The version of a simulation must not change on its way to a worker.")
    for name in here.values:
        require(bool(np.array_equal(here.values[name], there.values[name])), f"Output '{name}' differs after cloudpickle.")


CHECKS = (states_what_it_is, returns_what_it_declares, repeats_itself, uses_its_seed_if_it_states_errors, travels)


def _point(simulation: Simulation, u: float) -> dict[str, Value]:
    return simulation.space.point(simulation.space.decode(np.full((1, len(simulation.space)), u))[0])


def _run(simulation: Simulation, x: Mapping[str, Value], *, fidelity: float, seed: int) -> Outputs:
    with tempfile.TemporaryDirectory() as folder:
        settings = dict(simulation.default_settings)
        return checked(simulation, simulation.simulate(x, settings=settings, fidelity=fidelity, seed=seed, workdir=Path(folder)))
