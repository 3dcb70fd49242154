"""Gain at equal quality: hand-computed, its limits, and what it says when it cannot say."""

import numpy as np
import pytest

from mlforhpc.metrics.gain import LearnedCost, Repeat, break_even, gain_at, gain_figures
from mlforhpc.metrics.ladder import Rung
from mlforhpc.metrics.strata import one_stratum

N = 40
STRATA = one_stratum(N)


def repeat(terms: np.ndarray, *, fixed_s: float = 300.0, lookup_s: float = 1.0, seed: int = 0) -> Repeat:
    """A ladder q^2 = 100 / steps, cost = steps / 50, that varies by a factor exp(0.3) over systems."""
    vary = np.exp(0.3 * np.random.default_rng(seed).standard_normal(N))
    vary /= vary.mean()
    rungs = [Rung(name=f"{s}", steps=s, terms=100 / s * vary, cost_s=s / 50 * np.ones(N)) for s in (50.0, 100.0, 400.0)]
    return Repeat(terms=terms, rungs=rungs, strata=STRATA, learned=LearnedCost(fixed_s={"training": fixed_s}, lookup_s=lookup_s))


def spread_terms(seed: int = 0, size: float = 0.5) -> np.ndarray:
    """Log-normal terms of mean `size`."""
    terms = np.random.default_rng(seed).lognormal(0, 0.8, N)
    return np.asarray(size * terms / terms.mean())


def test_gain_by_hand() -> None:
    """q^2 = 1/2 takes 200 steps = 4 s; gain(100) = 400 / (300 + 100) = 1; N* = 300 / (4 - 1); gain(inf) = 4."""
    found = gain_figures([repeat(np.full(N, 0.5))], seed=0, n=100.0, draws=500)
    assert found.conventional.steps == pytest.approx(200.0)
    assert found.conventional_s.value == pytest.approx(4.0)
    assert found.gain.value == pytest.approx(1.0)
    assert found.n_star.value == pytest.approx(100.0)
    assert found.at_infinity.value == pytest.approx(4.0)
    assert found.conclusion == "no difference shown" and found.basis == "equal quality" and not found.lower_bound
    learned = LearnedCost(fixed_s={"training": 200.0, "fit": 100.0}, lookup_s=1.0)
    assert gain_at(100.0, 4.0, learned) == 1.0 and break_even(4.0, learned) == 100.0 and break_even(1.0, learned) is None


def test_intervals_belong_together() -> None:
    """N*'s ends are where the curve's band crosses 1; the band holds the curve; more lookups, more gain."""
    found = gain_figures([repeat(spread_terms())], seed=0, draws=2000, grid=[1.0, 10.0, 100.0, 1000.0])
    star = found.n_star
    assert star.lower is not None and star.upper is not None and star.value is not None and star.lower < star.value < star.upper
    for n, end in ((star.lower, "upper"), (star.upper, "lower"), (star.value, "value")):
        at = gain_figures([repeat(spread_terms())], seed=0, draws=2000, n=n, grid=[])
        assert getattr(at.gain, end) == pytest.approx(1.0, rel=1e-6)
    curve = found.curve
    assert curve.lower is not None and curve.upper is not None
    rows = list(zip(curve.lower, curve.y, curve.upper, strict=True))
    assert all(a < b < c for a, b, c in rows)  # type: ignore[operator]
    assert np.all(np.diff(curve.y) > 0)  # type: ignore[arg-type]
    assert found.gain.value == pytest.approx(curve.y[-1])
    assert "conditional on its training set" in found.gain.note


def test_conclusions_follow_the_interval() -> None:
    """Above 1, below 1, or neither."""
    terms = spread_terms()
    assert gain_figures([repeat(terms)], seed=0, n=1e4, draws=500).conclusion == "learning pays"
    assert gain_figures([repeat(terms)], seed=0, n=10.0, draws=500).conclusion == "learning does not pay"
    assert gain_figures([repeat(terms)], seed=0, n=105.0, draws=500).conclusion == "no difference shown"


def test_lookups_as_dear_as_runs_never_break_even() -> None:
    """N* has no value, and says so."""
    found = gain_figures([repeat(spread_terms(), lookup_s=50.0)], seed=0, draws=500)
    assert found.n_star.value is None and "no break-even" in found.n_star.note
    assert found.at_infinity.value is not None and found.at_infinity.value < 1


def test_below_resolution_gain_is_a_lower_bound() -> None:
    """C_conv at q's upper limit, open above; N* is an upper bound."""
    terms = np.random.default_rng(0).standard_normal(N)
    terms = terms - terms.mean() - 0.01
    found = gain_figures([repeat(terms)], seed=0, draws=2000)
    assert found.lower_bound and "lower bound" in found.gain.note and "upper bound" in found.n_star.note
    assert found.gain.upper is None and found.n_star.lower is None
    upper_q2 = 100.0 / found.conventional.steps  # type: ignore[operator]
    assert 0.2 < upper_q2 < 1.0  # the standard error of the mean is 0.16
    assert found.gain.lower is not None and found.gain.value is not None and found.gain.lower <= found.gain.value


def test_beyond_twice_the_top_rung_gain_is_a_lower_bound() -> None:
    """An error that 40,000 steps would reach costs at least 800 steps = 16 s."""
    found = gain_figures([repeat(spread_terms(size=100 / 40_000))], seed=0, n=100.0, draws=500)
    assert found.lower_bound and found.conventional.bound == "lower bound"
    assert found.conventional_s.value == pytest.approx(16.0)
    assert (found.gain.value, found.gain.lower, found.gain.upper) == (pytest.approx(4.0), pytest.approx(4.0), None)


def test_one_repeat_beyond_the_ladder_makes_the_mean_a_lower_bound() -> None:
    """Its gain may be larger without limit, so the mean's upper end is open."""
    within = [repeat(np.full(N, 100 / steps)) for steps in (300, 310, 320, 330, 340, 350)]
    assert gain_figures(within, seed=0, draws=500).gain.upper is not None
    found = gain_figures([*within, repeat(np.full(N, 100 / 810))], seed=0, draws=500)
    assert found.lower_bound and found.gain.upper is None and found.n_star.lower is None
    assert found.curve.upper is not None and set(found.curve.upper) == {None}


def test_a_noisy_q2_opens_the_upper_end() -> None:
    """q^2 positive, but not distinguishable from zero: no upper limit of gain, a finite lower one."""
    terms = np.random.default_rng(0).standard_normal(N)
    found = gain_figures([repeat(terms - terms.mean() + 0.25)], seed=0, draws=2000)
    assert found.gain.upper is None and found.gain.lower is not None and not found.lower_bound


def test_without_fidelity_it_is_called_gain_at_error_q() -> None:
    """And ranks apart."""
    rung = Rung(name="run", steps=None, terms=np.zeros(N), cost_s=np.full(N, 4.0))
    learned = LearnedCost(fixed_s={"training": 300.0}, lookup_s=1.0)
    found = gain_figures([Repeat(terms=np.full(N, 0.5), rungs=[rung], strata=STRATA, learned=learned)], seed=0, n=100.0, draws=100)
    assert found.basis == "at error q" and found.gain.value == pytest.approx(1.0) and not found.lower_bound


def test_free_lookups_have_no_limit() -> None:
    """gain(infinity) of a lookup that costs nothing is not a number."""
    assert gain_figures([repeat(spread_terms(), lookup_s=0.0)], seed=0, draws=100).at_infinity.value is None


def test_repeats_widen_the_interval() -> None:
    """The mean is of 1 / gain; training sets that differ make its interval wider than their systems alone do."""
    alike, unlike = ([repeat(spread_terms(i, size), seed=i) for i, size in enumerate(sizes)] for sizes in ([0.5] * 4, [0.3, 0.4, 0.6, 0.7]))
    each = [gain_figures([r], seed=0, draws=1000).gain.value for r in unlike]
    narrow, wide = (gain_figures(repeats, seed=0, draws=1000).gain for repeats in (alike, unlike))
    assert wide.value == pytest.approx(4.0 / sum(1.0 / value for value in each))  # type: ignore[operator, misc]
    assert narrow.value is not None and narrow.lower is not None and wide.value is not None and wide.lower is not None
    assert wide.value / wide.lower > 1.2 * narrow.value / narrow.lower
    assert "nested in 4 repeats" in wide.note


def test_same_seed_same_digits() -> None:
    """Every figure, curve included."""
    assert gain_figures([repeat(spread_terms())], seed=1, draws=300) == gain_figures([repeat(spread_terms())], seed=1, draws=300)


def test_the_flagship_takes_less_than_two_seconds() -> None:
    """64 systems, 4 rungs, 10,000 resamples, 60 points of the curve."""
    import time

    strata = one_stratum(64)
    rungs = [Rung(name=f"{s}", steps=s, terms=100 / s * np.ones(64), cost_s=s * np.ones(64)) for s in (50.0, 100.0, 400.0, 800.0)]
    terms = np.random.default_rng(0).lognormal(-1, 1, 64)
    learned = LearnedCost(fixed_s={"training": 300.0}, lookup_s=1.0)
    start = time.process_time()
    gain_figures([Repeat(terms=terms, rungs=rungs, strata=strata, learned=learned)], seed=0)
    assert time.process_time() - start < 2.0
