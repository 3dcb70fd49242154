"""Looks, forecasts and their sentence, on learners whose error is known exactly."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from math import inf, isinf
from types import SimpleNamespace

import numpy as np
import pytest

from mlforhpc.core.errors import UsageError
from mlforhpc.core.learner import Dataset, Informative
from mlforhpc.core.simulation import Output
from mlforhpc.core.space import Real, Space
from mlforhpc.learners import gaussian_process
from mlforhpc.scenarios import learning_curve
from mlforhpc.scenarios.learning_curve import Forecast, Look, Prior, forecast, look, next_look, sentence

SPACE = Space(a=Real(0, 1), b=Real(0, 1))
OUTPUT = Output(name="y", scale=2.0)
BELIEVING = Prior(slope_sd=3.0, spread=0.001, look_bias=0.0, look_sd=0.001, ahead_sd=0.001)


def truth(x):
    """What the runs give (n,)."""
    return np.sin(3 * x[:, 0]) + x[:, 1] ** 2


def runs(n, *, noise=0.0, stated=True, broken=0):
    """The first n runs of one design; with `broken` k, each k-th failed."""
    rng = np.random.default_rng(7)
    x, z = rng.random((400, 2))[:n], rng.standard_normal(400)[:n]
    bad = np.arange(n) % broken == 1 if broken else np.zeros(n, dtype=bool)
    return Dataset(
        space=SPACE,
        outputs=(OUTPUT,),
        x=x,
        y={"y": np.where(bad, np.nan, truth(x) + noise * z)},
        y_se={"y": np.where(bad, np.nan, noise)} if noise and stated else {},
        outcome=tuple("failed" if b else "ok" for b in bad),
        fidelity=np.ones(n),
        cost_s=np.ones(n),
    )


@dataclass(frozen=True)
class Off:
    """A surrogate that is off by exactly `error`, relative to the scale, to one side or the other."""

    error: float
    space: Space = SPACE

    def predict(self, x):
        side = np.where(np.floor(1000 * x[:, 0]) % 2 == 0, 1.0, -1.0)
        return SimpleNamespace(mean={"y": truth(x) + side * self.error * OUTPUT.scale})


@dataclass(frozen=True)
class Knowing(Off):
    """The same, which expects a third of its error: the ratio alone counts."""

    def covariance(self, x, x2):
        return np.full((1, len(x), len(x2)), (self.error / 3) ** 2)

    def run_variance(self, x, *, fidelity):
        return np.zeros((1, len(x)))


@dataclass(frozen=True)
class PowerLaw:
    """A learner whose error with n runs is a n^-b."""

    a: float
    b: float
    kind: type = Knowing
    name: str = "power_law"

    def error(self, n):
        return self.a * n**-self.b

    def fit(self, data, *, seed, broker=None):
        assert data.ok.all()
        return self.kind(self.error(len(data)))


class Counting:
    """A broker that runs tasks at once and keeps their kinds."""

    def __init__(self):
        self.kinds = []

    def submit(self, kind, function, *args, label=""):
        self.kinds.append(kind)
        future = Future()
        future.set_result(function(*args))
        return future


def looks_at(sizes, learner):
    """Looks at these numbers of runs."""
    return [look(runs(n), learner, seed=n) for n in sizes]


def test_a_look_finds_the_error_of_all_runs():
    """Folds of four fifths are put right by what the surrogate expects: a n^-b of all runs; so is the limit, as no error varies."""
    learner = PowerLaw(a=3.0, b=1.5)
    assert isinstance(learner.fit(runs(20), seed=0), Informative)
    found = look(runs(60), learner, seed=1)
    assert found.runs == 60 and found.share == 1.0
    assert found.error == pytest.approx(learner.error(60), rel=1e-9)
    assert found.upper == pytest.approx(found.error, rel=1e-6)


def test_a_surrogate_that_cannot_tell_is_not_put_right():
    """The error is that of four fifths of the runs, and the look says so."""
    learner = PowerLaw(a=3.0, b=1.5, kind=Off)
    found = look(runs(60), learner, seed=1)
    assert found.share == pytest.approx(0.8)
    assert found.error == pytest.approx(learner.error(48), rel=1e-9)


def test_stated_noise_is_taken_out():
    """An error of 0.05 is seen under noise of 0.1 (relative); not stated, the noise counts as error."""
    learner = PowerLaw(a=0.05, b=0.0)
    stated = look(runs(400, noise=0.2), learner, seed=1)
    silent = look(runs(400, noise=0.2, stated=False), learner, seed=1)
    assert stated.error == pytest.approx(0.05, rel=0.25) and stated.upper > 0.05
    assert silent.error == pytest.approx((0.05**2 + 0.1**2) ** 0.5, rel=0.1)


def test_an_error_below_the_noise_has_a_limit():
    """Without any error, noise leaves nearly none, and the limit is above it and below the noise."""
    found = look(runs(200, noise=0.2), PowerLaw(a=0.0, b=0.0), seed=1)
    assert 0.0 <= found.error < found.upper < 0.1


@pytest.mark.parametrize("n", [30, 100, 400])
def test_the_limit_covers_heavy_tails(n):
    """Squares of normal errors whose spread varies log-normally: the 95 % limit covers their mean in 0.88 to 0.98 of 1000 samples."""
    rng = np.random.default_rng(3)
    samples = (rng.standard_normal((1000, n)) * rng.lognormal(sigma=0.4, size=(1000, n))) ** 2
    limits = np.array([learning_curve._limit(sample, 0.95)[1] for sample in samples])
    assert 0.88 <= np.mean(limits**2 >= np.exp(2 * 0.4**2)) <= 0.98


def test_failed_runs_are_left_aside_and_counted():
    """Each third run failed: the error is that of the others, the runs are all, and so are those of a forecast."""
    learner = PowerLaw(a=3.0, b=2.0)
    data = runs(90, broken=3)
    found = look(data, learner, seed=1)
    assert found.runs == 90 and found.error == pytest.approx(learner.error(60), rel=1e-9)
    foreseen = forecast([found], data, learner, tolerance=learner.error(120), seed=1, prior=BELIEVING)
    assert foreseen.at == 90 and foreseen.runs == pytest.approx(180, rel=0.04)


def test_too_few_runs_say_nothing():
    """Nine runs give an open limit, and a forecast that is as open."""
    found = look(runs(9), PowerLaw(a=1.0, b=1.0), seed=1)
    assert (found.runs, found.error, found.upper) == (9, inf, inf)
    foreseen = forecast([found], runs(9), PowerLaw(a=1.0, b=1.0), tolerance=0.01, seed=1)
    assert isinf(foreseen.runs) and isinf(foreseen.upper) and foreseen.lower == 9


@pytest.mark.parametrize("kind", [Off, Knowing])
@pytest.mark.parametrize("b", [1.0, 1.5, 2.0, 3.0])
def test_a_power_law_is_foreseen(b, kind):
    """Looks at 30 to 80 runs of an error a n^-b: the runs at which it meets the tolerance, 160, lie in the interval."""
    learner = PowerLaw(a=1.0, b=b, kind=kind)
    found = forecast(looks_at([30, 35, 41, 60, 80], learner), runs(80), learner, tolerance=learner.error(160), seed=1)
    assert found.lower <= 160 <= found.upper
    assert found.upper < 3 * found.lower


@pytest.mark.parametrize("kind", [Off, Knowing])
@pytest.mark.parametrize("b", [0.7, 2.0, 4.0])
def test_a_power_law_is_foreseen_exactly_by_who_believes_the_looks(b, kind):
    """Told that looks are exact and curves straight, from one look at 40 runs: 160, to a step of the grid, and no doubt."""
    learner = PowerLaw(a=1.0, b=b, kind=kind)
    found = forecast(looks_at([40], learner), runs(40), learner, tolerance=learner.error(160), seed=1, prior=BELIEVING)
    assert found.runs == pytest.approx(160, rel=0.04)
    assert found.upper < 1.1 * found.lower


def test_an_interval_widens_with_the_way_to_go():
    """From 40 runs, the interval for 320 is wider, as a ratio, than that for 80."""
    learner = PowerLaw(a=1.0, b=2.0)
    near, far = (forecast(looks_at([40], learner), runs(40), learner, tolerance=learner.error(n), seed=1) for n in (80, 320))
    assert 1.0 < near.upper / near.lower < far.upper / far.lower


def test_a_tolerance_that_is_reached_needs_no_more_runs():
    """The limit is just within the tolerance: all numbers are those of now, whatever curves do later."""
    learner = PowerLaw(a=1.0, b=2.0)
    found = forecast(looks_at([40], learner), runs(40), learner, tolerance=1.001 * learner.error(40), seed=1)
    assert (found.at, found.runs, found.lower, found.upper) == (40, 40, 40, 40)


def test_a_flat_curve_never_gets_there():
    """An error of 0.1 whatever the runs, and a tolerance of 0.001: out of sight, above and in the middle."""
    learner = PowerLaw(a=0.1, b=0.0)
    found = forecast(looks_at([40, 60, 80, 160], learner), runs(160), learner, tolerance=0.001, seed=1)
    assert isinf(found.runs) and isinf(found.upper)


def test_a_hidden_error_is_somewhere_below_its_limit():
    """Where noise leaves no error, a forecast takes the limit for it, and is open enough."""
    learner = PowerLaw(a=0.0, b=0.0)
    found = forecast([Look(runs=100, error=0.0, upper=0.02)], runs(100, noise=0.2), learner, tolerance=0.005, seed=1)
    assert 100 <= found.lower <= found.runs < found.upper and found.upper > 1.5 * found.lower


def test_tasks_run_on_the_broker_and_change_nothing():
    """Six tasks of kind "learn" for a look, two for a forecast; the same numbers as without a broker, each time."""
    learner, broker = PowerLaw(a=1.0, b=2.0), Counting()
    here = look(runs(50), learner, seed=2)
    assert look(runs(50), learner, seed=2, broker=broker) == here
    assert broker.kinds == ["learn"] * 6
    foreseen = forecast([here], runs(50), learner, tolerance=1e-4, seed=2, broker=broker)
    assert broker.kinds == ["learn"] * 8
    assert foreseen == forecast([here], runs(50), learner, tolerance=1e-4, seed=2)


def test_a_gaussian_process_knows_its_error():
    """40 runs of a smooth function: the look is within a factor 3 of the error on 500 fresh points, and its limit is not below."""
    learner, data = gaussian_process.create(folds=0), runs(40)
    x = np.random.default_rng(0).random((500, 2))
    off = learner.fit(data, seed=1).predict(x).mean["y"] - truth(x)
    q = float(np.sqrt(np.mean(off**2))) / OUTPUT.scale
    found = look(data, learner, seed=1)
    assert q / 3 < found.error < 3 * q and found.upper > q


def test_looks_come_in_steps_of_15_percent():
    """From 20 runs on; and always two more."""
    assert [next_look(n) for n in (2, 20, 100)] == [4, 23, 115]


def test_bad_input_is_refused():
    """A level of one, no looks, and a tolerance of nothing."""
    learner = PowerLaw(a=1.0, b=1.0)
    for wrong in (
        lambda: look(runs(20), learner, seed=0, level=1.0),
        lambda: forecast([], runs(20), learner, tolerance=0.1, seed=0),
        lambda: forecast(looks_at([20], learner), runs(20), learner, tolerance=0.0, seed=0),
    ):
        with pytest.raises(UsageError):
            wrong()


@pytest.mark.parametrize(
    ("runs_needed", "text"),
    [
        ((138, 109, 182), "0.03 needs about 140 runs (110 to 180), 7 core-minutes, 1.8 minutes on 4 slots."),
        ((138, 109, inf), "0.03 needs about 140 runs (110 to more than 530), 7 core-minutes, 1.8 minutes on 4 slots."),
        ((inf, 109, inf), "0.03 is out of sight: after 33 runs, 530 do not seem enough."),
        ((33, 33, 33), "0.03 is reached with 33 runs."),
    ],
)
def test_a_forecast_in_words(runs_needed, text):
    """105 more runs of 4 s are 7 core-minutes; what is open and what is reached is said."""
    median, lower, upper = runs_needed
    found = Forecast(tolerance=0.03, at=33, runs=median, lower=lower, upper=upper)
    assert sentence(found, cost_s=4.0, slots=4) == text
