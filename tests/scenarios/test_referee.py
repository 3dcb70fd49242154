"""What the referee measures: pairs of references, and the rungs of the ladder."""

from __future__ import annotations

import numpy as np
import pytest

from mlforhpc import Campaign, Output, Outputs, Real, Space, simulation
from mlforhpc.scenarios.judgement import ladder_rungs
from mlforhpc.scenarios.referee import HeldOut, Rung, measure

NOISE = 0.01  # of a run of fidelity 1


def noisy(a: float, fidelity: float, seed: int) -> Outputs:
    """a + 1 with an error that falls with the root of the effort; a run at a > 0.9 fails at full length."""
    if a > 0.9 and fidelity == 1.0:
        raise FloatingPointError("too long")
    error = NOISE / fidelity**0.5
    return Outputs(
        values={"y": np.array(a + 1 + error * np.random.default_rng(seed).standard_normal())}, standard_errors={"y": np.array(error)}
    )


MADE = simulation(noisy, space=Space(a=Real(0, 1)), outputs=[Output(name="y", scale=1.0)], version="1")


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """40 systems, references of a hundredth of the full effort, a shorter rung on all and the full effort on every fourth."""
    x = np.linspace(0.0, 1.0, 40)[:, None]
    held = HeldOut(x=x, stratum=("all",) * 40, weight=np.full(40, 1 / 40))
    with Campaign(tmp_path_factory.mktemp("campaign"), engine="serial") as campaign:
        return measure(campaign.referee, MADE, held, fidelity=0.01, rungs=[Rung(fidelity=0.0025), Rung(fidelity=1.0, every=4)], seed=0)


def test_a_rung_longer_than_the_references_is_a_pair(measured):
    """Two runs of their own seeds on the same systems; a shorter rung is one run."""
    short, long = measured.rungs
    assert short.again is None and len(short.data) == 40
    assert long.again is not None and (long.data.x == long.again.x).all() and not set(long.data.keys) & set(long.again.keys)


def test_a_system_whose_run_failed_is_left_out_of_the_rung_alone(measured):
    """Of every fourth system the last one fails at full effort; it keeps its references."""
    long = measured.rungs[1]
    assert measured.dropped == 0 and long.index.tolist() == [0, 4, 8, 12, 16, 20, 24, 28, 32]
    assert (measured.r1.x[long.index] == long.data.x).all()


def test_half_the_squared_difference_of_a_pair_is_one_run_s_error(measured):
    """NOISE^2 within what nine pairs can tell, where a run against references of ten times its error could tell nothing."""
    long = measured.rungs[1]
    found = float(np.mean((long.data.y["y"] - long.again.y["y"]) ** 2) / 2)
    assert 0.2 * NOISE**2 < found < 2.5 * NOISE**2


def test_the_ladder_gets_each_rung_s_error_and_cost_by_its_kind(measured):
    """Single runs against both references; pairs by half their squared difference and their mean cost; nothing where a rung was not run."""
    reference, short, long = ladder_rungs(MADE, measured, steps_at_full=1000.0, reference_fidelity=0.01)
    assert [r.steps for r in (reference, short, long)] == [10.0, 2.5, 1000.0]
    (one, pair), r1, r2 = measured.rungs, measured.r1.y["y"], measured.r2.y["y"]
    np.testing.assert_allclose(reference.terms, (r1 - r2) ** 2 / 2)
    np.testing.assert_allclose(short.terms, (one.data.y["y"] - r1) * (one.data.y["y"] - r2))
    np.testing.assert_allclose(long.terms[pair.index], (pair.data.y["y"] - pair.again.y["y"]) ** 2 / 2)
    np.testing.assert_allclose(long.cost_s[pair.index], (pair.data.cost_s + pair.again.cost_s) / 2)
    assert long.covered.sum() == 9 and np.isnan(long.terms[[1, 36]]).all()


def test_the_ladder_s_errors_are_of_what_post_processing_makes_of_a_run(measured):
    """Runs drawn halfway to 1.5: single ones against both references, pairs each against the other's run, less that run's own error."""

    def drawn(runs):
        return {"y": (runs.y["y"] + 1.5) / 2}

    reference, short, long = ladder_rungs(MADE, measured, steps_at_full=1000.0, reference_fidelity=0.01, postprocess=drawn)
    raw = ladder_rungs(MADE, measured, steps_at_full=1000.0, reference_fidelity=0.01)
    (one, pair), r1, r2 = measured.rungs, measured.r1.y["y"], measured.r2.y["y"]
    a, b = pair.data.y["y"], pair.again.y["y"]
    np.testing.assert_allclose(reference.terms, (((r1 + 1.5) / 2 - r2) ** 2 + ((r2 + 1.5) / 2 - r1) ** 2 - (r1 - r2) ** 2) / 2)
    np.testing.assert_allclose(short.terms, ((one.data.y["y"] + 1.5) / 2 - r1) * ((one.data.y["y"] + 1.5) / 2 - r2))
    np.testing.assert_allclose(long.terms[pair.index], (((a + 1.5) / 2 - b) ** 2 + ((b + 1.5) / 2 - a) ** 2 - (a - b) ** 2) / 2)
    for made, as_it_is in zip((reference, short, long), raw, strict=True):
        np.testing.assert_array_equal(made.cost_s, as_it_is.cost_s)
    bias = (1.5 - measured.r1.x[pair.index, 0] - 1) / 2  # of a + 1
    np.testing.assert_allclose(long.terms[pair.index], bias**2 + NOISE**2 / 4, atol=2 * NOISE)
