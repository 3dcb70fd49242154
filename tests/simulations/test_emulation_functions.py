"""The functions that surrogates are compared on: values by another way, scales, bounds, noise from the seed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, optimize, stats
from scipy.stats import qmc

from mlforhpc.core.errors import OutOfBounds, UsageError
from mlforhpc.core.simulation import Simulation
from mlforhpc.core.space import bounds
from mlforhpc.simulations import environmental, friedman, otl_circuit, piston, wing_weight
from mlforhpc.testing.simulations import CHECKS

ALL = [m.create() for m in (otl_circuit, piston, wing_weight, friedman, environmental)]


def values(simulation: Simulation, tmp_path, n: int, seed: int = 0):
    """Points x (n, d) of a scrambled Sobol sequence, and the only output there (n, *shape)."""
    x = simulation.space.decode(qmc.Sobol(len(simulation.space), rng=seed).random(n))
    runs = [simulation.simulate(simulation.space.point(row), settings={}, fidelity=1.0, seed=0, workdir=tmp_path) for row in x]
    return x, np.array([run.values[simulation.outputs[0].name] for run in runs])


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("simulation", [*ALL, friedman.create(noise=1.0)], ids=lambda s: f"{s.name} {s.version}")
def test_they_keep_the_contract(check, simulation):
    """Conformance."""
    check(simulation)


@pytest.mark.parametrize(("simulation", "d"), list(zip(ALL, (6, 7, 10, 10, 4), strict=True)), ids=lambda v: getattr(v, "name", ""))
def test_the_space_has_the_published_size_and_ends(simulation, d):
    """A value beyond either end of any parameter is refused."""
    assert len(simulation.space) == d
    for j, u in ((j, u) for j in range(d) for u in (0.0, 1.0)):
        row = simulation.space.decode(np.full((1, d), 0.5))[0]
        row[j] = simulation.space.decode(np.full((1, d), u))[0, j] + (1e-6 if u else -1e-6)
        with pytest.raises(OutOfBounds, match=f"'{simulation.space.names[j]}'"):
            simulation.space.row(simulation.space.point(row))


@pytest.mark.parametrize("simulation", ALL[:4], ids=lambda s: s.name)
def test_the_scale_is_the_standard_deviation_over_the_space(simulation, tmp_path):
    """To one per cent, on 4,096 points."""
    _, y = values(simulation, tmp_path, 4096)
    assert simulation.outputs[0].scale == pytest.approx(y.std(), rel=0.01)


def test_circuit_by_hand():
    """Vb1 = 6 and g = 1000: (6.74 x 1000 + 11.35 + 370) / 1001 volts."""
    assert otl_circuit.voltage(Rb1=60.0, Rb2=60.0, Rf=1.0, Rc1=2.0, Rc2=1.0, beta=100.0) == pytest.approx(7121.35 / 1001, rel=1e-14)


def test_circuit_is_a_mean_of_two_voltages(tmp_path):
    """With w = beta (Rc2 + 9) / (beta (Rc2 + 9) + Rf): w (Vb1 + 0.74 (1 + Rf/Rc1)) + (1 - w) 11.35."""
    (b1, b2, f, c1, c2, beta), v = (a.T for a in values(otl_circuit.create(), tmp_path, 64))
    w = 1 / (1 + f / (beta * (c2 + 9)))
    np.testing.assert_allclose(v, w * (12 / (1 + b1 / b2) + 0.74 * (1 + f / c1)) + (1 - w) * 11.35, rtol=1e-13)


def test_piston_swings_about_its_balance_of_forces(tmp_path):
    """Where gas, spring, weight and atmosphere balance, the period is 2 pi sqrt(mass / stiffness), both found numerically."""
    for (m, s, v0, k, p0, ta, t0), found in zip(*values(piston.create(), tmp_path, 32), strict=True):

        def force(v, m=m, s=s, v0=v0, k=k, p0=p0, ta=ta, t0=t0):
            return p0 * v0 * ta / (t0 * v) * s - p0 * s - 19.62 * m - k * (v - v0) / s

        v = optimize.brentq(force, 1e-6, 1.0, xtol=1e-16, rtol=1e-14)
        step = 1e-5 * v
        stiffness = -s * (force(v + step) - force(v - step)) / (2 * step)  # per metre: the volume changes by s a metre
        assert found == pytest.approx(2 * math.pi * math.sqrt(m / stiffness), rel=1e-7)


def test_wing_weight_in_logarithms(tmp_path):
    """Without the paint it is a product of powers: its logarithm is linear in those of the parameters."""
    x, found = values(wing_weight.create(), tmp_path, 64)
    cosine = np.cos(x[:, 3] * np.pi / 180)
    factors = np.column_stack([x[:, [0, 1, 2, 4, 5, 6, 7, 8]], cosine])
    powers = [0.758, 0.0035, 0.6, 0.006, 0.04, -0.3, 0.49, 0.49, 0.3 - 1.2]
    bare = 0.036 * 100**-0.3 * np.exp(np.log(factors) @ powers)
    np.testing.assert_allclose(found, bare + x[:, 0] * x[:, 9], rtol=1e-13)


def test_friedman_by_hand():
    """10 sin(pi/2) + 20 / 4 + 3 + 1, whatever the last five are."""
    for last in (0.0, 0.7):
        inert = {f"x{i}": last for i in range(6, 11)}
        assert friedman.friedman(x1=0.5, x2=1.0, x3=1.0, x4=0.3, x5=0.2, **inert) == pytest.approx(19, rel=1e-14)


def test_friedman_has_the_variance_of_its_terms():
    """Independent terms: var of 10 sin(pi x1 x2) by quadrature, 400/180, 100/12 and 25/12."""
    first, second = (integrate.dblquad(lambda a, b, p=p: (10 * math.sin(math.pi * a * b)) ** p, 0, 1, 0, 1)[0] for p in (1, 2))
    variance = second - first**2 + 400 / 180 + 125 / 12
    assert friedman.F.scale == pytest.approx(math.sqrt(variance), abs=0.005)


def test_friedmans_noise_is_the_runs_seed(tmp_path):
    """One seed, one number; 2,000 seeds spread as stated, more at a lower fidelity, about the plain value."""
    simulation, plain = friedman.create(noise=1.0), friedman.create()
    x = simulation.space.point(np.full(10, 0.3))
    again = {float(simulation.simulate(x, settings={}, fidelity=1.0, seed=5, workdir=tmp_path).values["f"]) for _ in range(3)}
    runs = [simulation.simulate(x, settings={}, fidelity=0.25, seed=s, workdir=tmp_path) for s in range(2000)]
    errors = np.array([float(run.values["f"]) for run in runs]) - float(plain.function(**x))
    assert len(again) == 1
    assert {float(run.standard_errors["f"]) for run in runs} == {2.0}
    assert errors.mean() == pytest.approx(0, abs=0.15) and errors.std() == pytest.approx(2, rel=0.06)
    assert len({plain.version, simulation.version, friedman.create(noise=2.0).version}) == 3
    with pytest.raises(UsageError):
        friedman.create(noise=-1.0)


def test_the_spills_spread_as_normal_densities(tmp_path):
    """Each spill is M sqrt(4 pi) times a normal density of variance 2 D t, the second one about L and from tau on."""
    x, found = values(environmental.create(), tmp_path, 32)
    s, t = environmental.POSITIONS_M[:, None], environmental.TIMES_S
    for (m, d, place, tau), profile in zip(x, found, strict=True):
        first = stats.norm.pdf(s, 0, np.sqrt(2 * d * t))
        second = np.zeros((5, 20))
        second[:, t > tau] = stats.norm.pdf(s, place, np.sqrt(2 * d * (t[t > tau] - tau)))
        np.testing.assert_allclose(profile, m * math.sqrt(4 * math.pi) * (first + second), rtol=1e-11, atol=1e-13)


def test_no_time_lies_where_the_second_spill_may_begin():
    """Half of the grid's times are before every tau, half behind: the profile is smooth in tau."""
    times, (low, high) = environmental.TIMES_S, bounds(environmental.SPACE.parameters["tau"])
    assert times.shape == (20,) and environmental.POSITIONS_M.shape == (5,)
    assert (times < low).sum() == (times > high).sum() == 10
