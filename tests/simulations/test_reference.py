"""Borehole and Branin: published values, published minima, stated noise."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mlforhpc.core.errors import UsageError
from mlforhpc.simulations import borehole, branin
from mlforhpc.testing.simulations import CHECKS


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("create", [borehole.create, branin.create], ids=["borehole", "branin"])
@pytest.mark.parametrize("noise", [0.0, 2.0])
def test_they_keep_the_contract(check, create, noise):
    """Conformance, with noise and without."""
    check(create(noise=noise))


def test_borehole_by_hand():
    """With ln(r/rw) = 2, Tu = Tl = 1 and 2 L / (2 rw^2 Kw) = 1 the flow is 2 pi (Hu - Hl) / (2 x 3)."""
    flow = borehole.flow(rw=1.0, r=math.e**2, Tu=1.0, Hu=4.0, Tl=1.0, Hl=1.0, L=1.0, Kw=1.0)
    assert flow == pytest.approx(math.pi, rel=1e-14)


def test_borehole_at_the_centre():
    """At the centre of the ranges the flow is 70.9 m3 a year; the mean over the space is 77.7 (uniform radii)."""
    x = borehole.SPACE.decode(np.full((1, 8), 0.5))[0]
    assert borehole.flow(**borehole.SPACE.point(x)) == pytest.approx(70.87, abs=0.05)
    u = np.random.default_rng(0).random((20_000, 8))
    flows = [borehole.flow(**borehole.SPACE.point(row)) for row in borehole.SPACE.decode(u)]
    assert np.mean(flows) == pytest.approx(77.7, abs=1.0)


@pytest.mark.parametrize("minimum", branin.MINIMA)
def test_branin_has_its_three_minima(minimum):
    """0.397887 at each published minimum, and more a little beside it."""
    x1, x2 = minimum
    assert branin.branin(x1=x1, x2=x2) == pytest.approx(0.397887, abs=1e-6)
    assert branin.branin(x1=x1 + 0.1, x2=x2) > 0.397888 < branin.branin(x1=x1, x2=x2 - 0.1)


@pytest.mark.parametrize("simulation", [borehole.create(noise=3.0), branin.create(noise=3.0)], ids=["borehole", "branin"])
def test_the_stated_error_is_the_spread_of_the_seeds(simulation, tmp_path):
    """At fidelity 0.25 the standard error is twice the noise, and 2,000 seeds spread that much."""
    x = simulation.space.point(simulation.space.decode(np.full((1, len(simulation.space)), 0.3))[0])
    name = simulation.outputs[0].name
    runs = [simulation.simulate(x, settings={}, fidelity=0.25, seed=s, workdir=tmp_path) for s in range(2000)]
    assert {float(r.standard_errors[name]) for r in runs} == {6.0}
    assert np.std([float(r.values[name]) for r in runs]) == pytest.approx(6.0, rel=0.06)


def test_versions_tell_noise_apart():
    """Results with noise and without never mix; negative noise is refused."""
    assert len({borehole.create().version, borehole.create(noise=1.0).version, borehole.create(noise=2.0).version}) == 3
    with pytest.raises(UsageError):
        borehole.create(noise=-1.0)
