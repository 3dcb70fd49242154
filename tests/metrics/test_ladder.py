"""The conventional cost of an error: laws recovered, partial rungs made comparable, nothing extrapolated too far."""

import numpy as np
import pytest

from mlforhpc.core.errors import UsageError
from mlforhpc.metrics.ladder import Ladder, Rung, build_ladder
from mlforhpc.metrics.strata import Strata, one_stratum, stratify

STEPS = (800.0, 2400.0, 8000.0, 24000.0)
FOUR = one_stratum(4)


def law(amplitude: float = 20.0, a: float = 0.2, b: float = 1e-4, strata: Strata = FOUR) -> Ladder:
    """Rungs that follow the law exactly, given in the wrong order."""
    n = len(strata)
    rungs = [Rung(name=str(s), steps=s, terms=np.full(n, amplitude / s), cost_s=np.full(n, a + b * s)) for s in STEPS]
    return build_ladder(rungs[::-1], strata)


def test_the_law_is_recovered() -> None:
    """q^2 = A / steps and cost = a + b steps: slope -1/2, and the cost of any error between the rungs."""
    ladder = law()
    assert ladder.model == "law" and ladder.slope == pytest.approx(-0.5)
    found = ladder.cost(20.0 / 5000.0)
    assert (found.steps, found.cost_s, found.bound) == (pytest.approx(5000.0), pytest.approx(0.2 + 0.5), "")


def test_never_beyond_twice_the_top_rung() -> None:
    """A smaller error costs at least that of 48,000 steps: a lower bound. So does an error below resolution."""
    ladder = law()
    for q2 in (20.0 / 60_000.0, 0.0, -1e-3):
        found = ladder.cost(q2)
        assert (found.steps, found.cost_s, found.bound) == (48_000.0, pytest.approx(5.0), "lower bound")
    assert ladder.cost(20.0 / 47_000.0).bound == ""
    assert ladder.cost(1.0).bound == "extrapolated"


def test_the_inverse_cost_is_smooth_and_monotonic_through_zero() -> None:
    """So that resamples of q^2 below zero are in their right place."""
    q2 = np.linspace(-1e-2, 1e-2, 201)
    for ladder in (law(), interpolated()):
        inverse = ladder.inverse_cost(q2, np.tile(ladder.q2, (201, 1)), np.tile(ladder.cost_s, (201, 1)))
        assert (np.diff(inverse) > 0).all()
        assert inverse[100] == pytest.approx(0.0, abs=1e-12)
    inverse = law().inverse_cost(q2, np.tile(law().q2, (201, 1)), np.tile(law().cost_s, (201, 1)))
    assert np.abs(np.diff(inverse, 2)).max() < 0.03 * np.diff(inverse).max()  # no kink at zero


def interpolated() -> Ladder:
    """Second order: q = (100 / steps)^2, cost = steps / 100."""
    steps = np.array([100.0, 200.0, 400.0])
    return build_ladder([Rung(name=f"{s}", steps=s, terms=np.full(4, (100 / s) ** 4), cost_s=np.full(4, s / 100)) for s in steps], FOUR)


def test_another_slope_is_interpolated_in_logs() -> None:
    """A second-order method: exact on its power law, between the rungs and up to twice the top one."""
    ladder = interpolated()
    assert ladder.model == "interpolated" and ladder.slope == pytest.approx(-2.0)
    for steps in (150.0, 200.0, 333.0, 799.0, 50.0):
        found = ladder.cost((100.0 / steps) ** 4)
        assert found.cost_s == pytest.approx(steps / 100.0)
        assert found.bound == ("extrapolated" if steps < 100 else "")
    assert ladder.cost((100.0 / 900.0) ** 4).cost_s == pytest.approx(8.0)
    assert ladder.cost((100.0 / 900.0) ** 4).bound == "lower bound"
    assert ladder.cost((100.0 / 300.0) ** 4).steps == pytest.approx(300.0)


def test_a_dominated_rung_is_passed_over() -> None:
    """A rung that costs more and errs more than another never is the cheapest setting."""
    errors = {100.0: 1.0, 200.0: 4.0, 400.0: 1e-2, 800.0: 1e-3}
    ladder = build_ladder([Rung(name=f"{s}", steps=s, terms=np.full(4, e), cost_s=np.full(4, s)) for s, e in errors.items()], FOUR)
    assert ladder.model == "interpolated"
    assert ladder.cost(0.1).cost_s == pytest.approx(200.0)  # half way from (1, 100 s) to (0.01, 400 s) in logs
    assert ladder.cost(1e-2).cost_s == pytest.approx(400.0)
    assert ladder.cost(1.0).cost_s == pytest.approx(100.0)


def test_a_partial_rung_is_made_comparable() -> None:
    """24,000 steps on the five cheapest and easiest of ten systems: the ratio to the nearest full rung gives the whole's figures."""
    strata = stratify(["a"] * 5 + ["b"] * 5, {"a": 0.8, "b": 0.2})
    hard, price = np.array([1.0] * 5 + [9.0] * 5), np.array([1.0] * 5 + [4.0] * 5)
    rungs = [Rung(name=f"{s}", steps=s, terms=20 / s * hard, cost_s=price * s) for s in STEPS]
    part = np.where(np.arange(10) < 5, 1.0, np.nan)
    rungs[-1] = Rung(name="partial", steps=STEPS[-1], terms=rungs[-1].terms * part, cost_s=rungs[-1].cost_s * part)
    ladder = build_ladder(rungs, strata)
    np.testing.assert_allclose(ladder.q2, [20 / s * (0.8 + 0.2 * 9.0) for s in STEPS])
    np.testing.assert_allclose(ladder.cost_s, [s * (0.8 + 0.2 * 4.0) for s in STEPS])
    assert ladder.partner == (0, 1, 2, 2)


def test_without_fidelity_the_simulation_is_its_own_conventional_method() -> None:
    """Any error costs one run."""
    ladder = build_ladder([Rung(name="run", steps=None, terms=np.zeros(4), cost_s=np.array([1.0, 2.0, 3.0, 2.0]))], FOUR)
    assert ladder.model == "fixed"
    assert ladder.cost(1e-9).cost_s == ladder.cost(-1.0).cost_s == pytest.approx(2.0)


def test_one_rung_follows_the_law_without_a_slope() -> None:
    """The reference pair alone: the slope is untested, and says so by being None; cost through the origin."""
    ladder = build_ladder([Rung(name="reference", steps=1000.0, terms=np.full(4, 1e-3), cost_s=np.full(4, 5.0))], FOUR)
    assert ladder.model == "law" and ladder.slope is None
    assert ladder.cost(2e-3).cost_s == pytest.approx(2.5)


def test_costs_that_fall_short_of_the_origin_are_not_negative() -> None:
    """A fitted a < 0 would make short runs free: it is set to zero."""
    rungs = [Rung(name=f"{s}", steps=s, terms=np.full(4, 1 / s), cost_s=np.full(4, s**1.3)) for s in (10.0, 100.0, 1000.0)]
    assert build_ladder(rungs, FOUR).cost(10.0).cost_s > 0


@pytest.mark.parametrize(
    "rungs, message",
    [
        ([], "at least one rung"),
        ([Rung(name="a", steps=1.0, terms=np.ones(3), cost_s=np.ones(4))], "4 terms and costs"),
        ([Rung(name="a", steps=0.0, terms=np.ones(4), cost_s=np.ones(4))], "positive steps"),
        ([Rung(name="a", steps=1.0, terms=np.ones(4), cost_s=np.zeros(4))], "positive cost"),
        ([Rung(name="a", steps=1.0, terms=np.zeros(4), cost_s=np.ones(4))], "deterministic reference pair"),
        ([Rung(name="a", steps=1.0, terms=np.ones(4), cost_s=np.ones(4))] * 2, "differ in steps"),
        ([Rung(name="a", steps=1.0, terms=np.array([1, 1, 1, np.nan]), cost_s=np.ones(4))], "cover all"),
        ([Rung(name=s or "n", steps=s and 1.0, terms=np.ones(4), cost_s=np.ones(4)) for s in ("a", None)], "one rung"),  # type: ignore[arg-type]
    ],
)
def test_bad_ladders_are_refused(rungs: list[Rung], message: str) -> None:
    """Each with a sentence."""
    with pytest.raises(UsageError, match=message):
        build_ladder(rungs, FOUR)


def test_a_resample_without_any_system_of_a_partial_rung_keeps_the_intervals_closed():
    """One system of twenty carries the top rung: a third of all resamples miss it, and every limit is still a number."""
    from mlforhpc.metrics.gain import LearnedCost, Repeat, gain_figures
    from mlforhpc.metrics.strata import one_stratum

    rng, n = np.random.default_rng(0), 20
    full = [Rung(name=str(s), steps=s, terms=rng.gamma(4.0, 0.25, n) / s, cost_s=np.full(n, s / 1000)) for s in (1000.0, 4000.0)]
    top = np.full(n, np.nan)
    top[3] = 1 / 16000
    partial = Rung(name="top", steps=16000.0, terms=top, cost_s=np.where(np.isfinite(top), 16.0, np.nan))
    repeat = Repeat(terms=rng.gamma(4.0, 0.25, n) / 3000, rungs=[*full, partial], strata=one_stratum(n),
                    learned=LearnedCost(fixed_s={"training": 10.0}, lookup_s=1e-3))  # fmt: skip
    for seed in range(3):
        found = gain_figures([repeat], seed=seed, draws=2000)
        assert found.gain.lower is not None and found.gain.lower < found.gain.value < found.gain.upper
