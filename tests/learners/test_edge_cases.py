"""Odd data, for every learner: each either gives a sensible answer without a warning, or refuses with a sentence."""

from __future__ import annotations

import numpy as np
import pytest

from mlforhpc.core.errors import UsageError
from mlforhpc.core.learner import Dataset
from mlforhpc.core.names import load
from mlforhpc.core.simulation import Output
from mlforhpc.core.space import Choice, Integer, Real, Space
from mlforhpc.strategies.sobol import design

LEARNERS = ("gaussian_process",)


@pytest.fixture(params=LEARNERS)
def fit(request):
    """Fits the learner of this name, with half of the usual folds: fit(dataset) -> surrogate."""
    learner = load("learners", request.param).create(folds=5)
    return lambda data, seed=0: learner.fit(data, seed=seed)


def unit(d):
    """A space of d numbers in [0, 1]."""
    return Space({f"u{i}": Real(0.0, 1.0) for i in range(d)})


def runs(x, y, *, se=None, space=None, outcome=None, outputs=None):
    """Runs at x (n, d) of named outputs (n, *shape), or of one that is called y."""
    y = y if isinstance(y, dict) else {"y": y}
    return Dataset(
        space=space or unit(x.shape[1]), outputs=outputs or tuple(Output(name=name, shape=a.shape[1:]) for name, a in y.items()),
        x=x, y=y, y_se=se or {}, outcome=outcome or ("ok",) * len(x), fidelity=np.ones(len(x)), cost_s=np.ones(len(x)),
    )  # fmt: skip


def points(d, n=1000, seed=9):
    """Random points of the cube (n, d)."""
    return np.random.default_rng(seed).random((n, d))


def error(p, truth, name="y"):
    """Root mean square error over the truth's standard deviation."""
    return np.sqrt(np.mean((p.mean[name] - truth) ** 2)) / np.std(truth)


def covered(p, truth, name="y"):
    """Share of the truth that lies in the interval."""
    return np.mean((p.lower[name] <= truth) & (truth <= p.upper[name]))


@pytest.mark.parametrize(("d", "n"), [(1, 15), (1, 60), (2, 40), (4, 60)])
def test_a_discontinuity(fit, d, n):
    """A step beside a slope: finite, not worse than the mean, and the interval still covers points that were not run."""

    def step(u):
        return np.where(u[:, 0] > 0.37, 1.0, 0.0) + 0.3 * u.sum(axis=1)

    shares, new = [], points(d)
    for seed in (1, 2):
        u = design(unit(d), seed=seed, runs=n)
        p = fit(runs(u, step(u))).predict(new)
        assert np.isfinite([p.lower["y"], p.upper["y"]]).all() and error(p, step(new)) < 0.5
        assert np.max(p.upper["y"] - p.lower["y"]) < 100.0
        shares.append(covered(p, step(new)))
    assert np.mean(shares) >= 0.8


@pytest.mark.parametrize("value", [0.0, 3.0, 0.1, -1e-12, 1e6, 1e200, 1e-310])
def test_constant_outputs(fit, value):
    """A number and an array that never move, alone and beside one that does: exact to the last digit, intervals without width."""
    u, new = design(unit(2), seed=1, runs=21), points(2, 20)
    still = {"c": np.full(21, value), "a": np.full((21, 3), value)}
    for y in (still, still | {"y": u[:, 0] * u[:, 1]}):
        p = fit(runs(u, y)).predict(new)
        for name in ("c", "a"):
            assert (p.mean[name] == value).all() and (p.lower[name] == value).all() and (p.upper[name] == value).all()


def test_constant_columns_of_a_moving_array(fit):
    """Exact in their columns, and the others are learned."""
    u, new, still = design(unit(2), seed=1, runs=30), points(2), np.linspace(0.1, 1.3, 10)
    p = fit(runs(u, np.column_stack([np.tile(still, (30, 1)), np.sin(3.0 * u[:, 0]), u[:, 1]]))).predict(new)
    assert (p.mean["y"][:, :10] == still).all() and (p.upper["y"][:, :10] == still).all()
    assert p.mean["y"][:, 10] == pytest.approx(np.sin(3.0 * new[:, 0]), abs=0.01)


def test_one_run_among_constants(fit):
    """Nine zeros and a one: whichever fold leaves it out knows nothing of it, and the interval is no wider than a few times the step."""
    u, y = design(unit(2), seed=1, runs=10), np.zeros(10)
    y[4] = 1.0
    p = fit(runs(u, y)).predict(points(2))
    width = p.upper["y"] - p.lower["y"]
    assert (np.abs(p.mean["y"]) < 2.0).all() and np.median(width) > 0.05 and width.max() < 20.0


def test_repeated_exact_runs(fit):
    """Every run twice with the same output: no noise is found, and points that were not run are covered, which their twins know not."""
    u, new = np.repeat(design(unit(2), seed=2, runs=25), 2, axis=0), points(2)
    p = fit(runs(u, np.sin(3.0 * u[:, 0]) * u[:, 1])).predict(new)
    truth = np.sin(3.0 * new[:, 0]) * new[:, 1]
    assert error(p, truth) < 0.01 and covered(p, truth) >= 0.8
    assert np.mean(p.upper["y"] - p.lower["y"]) < 0.1


@pytest.mark.parametrize("repeats", [2, 5])
def test_repeated_runs_that_differ(fit, repeats):
    """Several runs at each place with errors of 0.1 that are not stated: they are found, and runs are covered as stated."""
    rng, shares, widths = np.random.default_rng(repeats), [], []
    for _ in range(3):
        u, new = np.repeat(rng.random((60 // repeats, 2)), repeats, axis=0), rng.random((500, 2))
        truth = [np.sin(3.0 * v[:, 0]) + v[:, 1] for v in (u, new)]
        p = fit(runs(u, truth[0] + 0.1 * rng.standard_normal(len(u)))).predict(new)
        shares.append(covered(p, truth[1] + 0.1 * rng.standard_normal(500)))
        widths.append(np.mean(p.upper["y"] - p.lower["y"]))
        assert error(p, truth[1]) < 0.35
    assert 0.82 <= np.mean(shares) <= 0.97 and 0.28 < np.mean(widths) < 0.55  # 0.33 if all were known


def test_repeated_runs_with_stated_errors_average(fit):
    """Two runs at each place: the mean goes between them, nearer to the one with the smaller error."""
    u = np.repeat(np.linspace(0.0, 1.0, 15), 2)[:, None]
    se = np.tile([0.01, 0.2], 15)
    y = 2.0 * u[:, 0] + se * np.random.default_rng(0).standard_normal(30)
    p = fit(runs(u, y, se={"y": se})).predict(u)
    assert np.sqrt(np.mean((p.mean["y"] - 2.0 * u[:, 0]) ** 2)) < 0.02


@pytest.mark.parametrize("n", [2, 3, 5, 6, 9])
def test_very_few_runs(fit, n):
    """From two runs on: an answer near the line that they lie on, with a finite interval that is no wider than 100 times their spread."""
    u = np.linspace(0.1, 0.9, n)[:, None]
    p = fit(runs(u, 1.0 + u[:, 0])).predict(np.array([[0.5], [0.0], [1.0]]))
    assert p.mean["y"][0] == pytest.approx(1.5, abs=0.05)
    assert (p.lower["y"] <= p.mean["y"]).all() and (p.mean["y"] <= p.upper["y"]).all() and (p.upper["y"] - p.lower["y"]).max() < 80.0


def test_two_runs_at_one_place(fit):
    """Between them everywhere, with an interval that holds both."""
    p = fit(runs(np.full((2, 3), 0.4), np.array([1.0, 2.0]))).predict(np.array([[0.4, 0.4, 0.4], [0.9, 0.1, 0.5]]))
    assert p.mean["y"] == pytest.approx([1.5, 1.5], abs=0.05)
    assert (p.lower["y"] < 1.0).all() and (p.upper["y"] > 2.0).all() and (p.upper["y"] - p.lower["y"]).max() < 50.0


def test_a_single_run_is_refused(fit):
    """One run, or one of many that ended well, says nothing of how outputs change."""
    u = design(unit(2), seed=1, runs=8)
    with pytest.raises(UsageError, match="at least 2 runs that ended with 'ok', found 1 of 1"):
        fit(runs(u[:1], u[:1, 0]))
    with pytest.raises(UsageError, match="found 1 of 8"):
        fit(runs(u, u[:, 0], outcome=("ok", *["failed"] * 7)))


def test_all_runs_failed(fit):
    """Refused with how many there were."""
    u = design(unit(2), seed=1, runs=8)
    with pytest.raises(UsageError, match="found 0 of 8"):
        fit(runs(u, np.full(8, np.nan), outcome=("failed", "walltime") * 4))


def test_failed_runs_and_holes_are_ignored(fit):
    """Runs that failed, and runs called ok with NaN or infinity anywhere, leave no trace but in the count of rows."""
    u = design(unit(2), seed=1, runs=40)
    y = {"n": np.sin(3.0 * u[:, 0]), "a": u[:, 1:] * np.arange(1.0, 4.0)}
    whole = {name: values.copy() for name, values in y.items()}
    y["n"][3], y["a"][7, 1], y["n"][11], y["a"][20] = np.nan, np.inf, 1e9, np.nan
    outcome = ["ok"] * 40
    outcome[11] = outcome[20] = "failed"
    kept = np.setdiff1d(np.arange(40), [3, 7, 11, 20])
    holed, clean = fit(runs(u, y, outcome=tuple(outcome))), fit(runs(u[kept], {name: values[kept] for name, values in whole.items()}))
    assert (holed.card["runs"], holed.card["rows"]) == (36.0, 40.0)
    a, b = holed.predict(points(2, 50)), clean.predict(points(2, 50))
    for name in y:
        assert np.array_equal(a.mean[name], b.mean[name]) and np.array_equal(a.upper[name], b.upper[name])


def test_one_input(fit):
    """A function of one input with three periods, from 40 runs."""
    u, new = design(unit(1), seed=1, runs=40), points(1)
    p = fit(runs(u, np.sin(20.0 * u[:, 0]) * (u[:, 0] + 0.5))).predict(new)
    assert error(p, np.sin(20.0 * new[:, 0]) * (new[:, 0] + 0.5)) < 0.01


def test_twenty_inputs(fit):
    """An additive function of twenty inputs from 100 runs: a tenth of the mean predictor's error, and covered."""

    def additive(u):
        return np.sin(3.0 * u) @ np.linspace(0.2, 2.0, 20)

    u, new = design(unit(20), seed=1, runs=100), points(20)
    p = fit(runs(u, additive(u))).predict(new)
    assert error(p, additive(new)) < 0.1 and covered(p, additive(new)) >= 0.8


@pytest.mark.parametrize("d", [1, 8, 20])
def test_a_linear_function(fit, d):
    """Of d inputs, learned from 3 d + 10 runs."""
    rng = np.random.default_rng(d)
    u, new, slope = rng.random((3 * d + 10, d)), rng.random((50, d)), 1.0 + np.arange(d)
    assert error(fit(runs(u, u @ slope)).predict(new), new @ slope) < 0.02


def unrelated(x, order):
    """Three functions with nothing in common, one for each option; `order` says which one an option's index has."""
    which = np.array(order)[x[:, 2].astype(int)]
    return np.choose(which, [np.sin(6.0 * x[:, 0]), 3.0 * x[:, 1] ** 2 - 2.0, 5.0 * np.cos(4.0 * x[:, 0] * x[:, 1])])


def test_options_have_nothing_in_common_and_no_order(fit):
    """Three unrelated functions are learned from 90 runs, and other orders of the options give the same predictions to 1e-8."""
    found = []
    for order in ((0, 1, 2), (2, 0, 1), (1, 0, 2)):
        space = Space(a=Real(0.0, 1.0), b=Real(0.0, 1.0), c=Choice(tuple("pqr"[i] for i in order)))
        x, new = design(space, seed=1, runs=90), design(space, seed=5, runs=500)
        for rows in (x, new):
            rows[:, 2] = np.argsort(order)[rows[:, 2].astype(int)]  # the same runs, under the options' new places
        p = fit(runs(x, unrelated(x, order), space=space)).predict(new)
        assert error(p, unrelated(new, order)) < 0.05 and covered(p, unrelated(new, order)) >= 0.8
        found.append(np.array([p.mean["y"], p.lower["y"], p.upper["y"]]))
    assert np.abs(found[1] - found[0]).max() < 1e-8 and np.abs(found[2] - found[0]).max() < 1e-8


def test_an_option_without_runs_is_uncertain(fit):
    """Nothing is known of it: outside the data, and an interval wider than the other options' by far."""
    space = Space(a=Real(0.0, 1.0), c=Choice(("p", "q", "r")))
    x = design(space, seed=1, runs=40)
    x[:, 1] %= 2.0
    p = fit(runs(x, np.sin(3.0 * x[:, 0]) * (1.0 + x[:, 1]), space=space)).predict(np.array([[0.5, 0.0], [0.5, 1.0], [0.5, 2.0]]))
    width = p.upper["y"] - p.lower["y"]
    assert p.inside.tolist() == [True, True, False] and width[2] > 0.3 and width[2] > 20.0 * width[:2].max()


def test_nothing_but_options(fit):
    """A space of six combinations: what was run is known, noisy or not."""
    space = Space(c=Choice(("a", "b", "c")), k=Choice(("x", "y")))
    x, every = design(space, seed=1, runs=36), np.array([[i, j] for i in range(3) for j in range(2)], dtype=float)
    truth = every[:, 0] ** 2 + every[:, 0] * every[:, 1]
    y = x[:, 0] ** 2 + x[:, 0] * x[:, 1]
    assert fit(runs(x, y, space=space)).predict(every).mean["y"] == pytest.approx(truth, abs=1e-6)
    noisy = fit(runs(x, y + 0.1 * np.random.default_rng(0).standard_normal(36), space=space)).predict(every)
    assert noisy.mean["y"] == pytest.approx(truth, abs=0.15) and noisy.inside.all()


def test_an_integer_parameter(fit):
    """Five levels beside a number."""
    space = Space(a=Real(0.0, 1.0), k=Integer(1, 5))
    x, new = design(space, seed=1, runs=40), design(space, seed=5, runs=500)
    truth = np.sin(3.0 * new[:, 0]) * new[:, 1] ** 1.5
    p = fit(runs(x, np.sin(3.0 * x[:, 0]) * x[:, 1] ** 1.5, space=space)).predict(new)
    assert error(p, truth) < 0.01 and covered(p, truth) >= 0.8


def test_parameters_that_cannot_change(fit):
    """An integer with one level and a choice with one option are no trouble."""
    space = Space(a=Real(0.0, 1.0), k=Integer(2, 2), c=Choice(("only",)))
    x = design(space, seed=1, runs=20)
    assert fit(runs(x, np.sin(3.0 * x[:, 0]), space=space)).predict(x).mean["y"] == pytest.approx(np.sin(3.0 * x[:, 0]), abs=1e-3)


@pytest.mark.parametrize("scale", ["rms", "mean", 1.0])
def test_outputs_of_very_different_sizes(fit, scale):
    """Numbers and an array from 1e-9 to 1e12 side by side, whatever their errors are relative to: each on its own scale."""
    u, new = design(unit(2), seed=1, runs=40), points(2)
    sizes = {"tiny": np.array(1e-9), "huge": np.array(1e12), "array": np.array([1.0, 2.0, -3.0])}
    y, truth = ({name: np.multiply.outer(np.sin(3.0 * v[:, 0]) * v[:, 1], size) for name, size in sizes.items()} for v in (u, new))
    outputs = tuple(Output(name=name, shape=size.shape, scale=scale) for name, size in sizes.items())
    p = fit(runs(u, y, outputs=outputs)).predict(new)
    for name in sizes:
        assert error(p, truth[name], name) < 0.01 and covered(p, truth[name], name) >= 0.8


@pytest.mark.parametrize(("offset", "size"), [(1e6, 1.0), (1e6, 1e-3), (-1e9, 1.0), (1e12, 1.0)])
def test_a_huge_offset(fit, offset, size):
    """A small variation on a huge number: learned as well as its digits allow, and covered."""
    u, new = design(unit(2), seed=1, runs=40), points(2)
    truth = offset + size * np.sin(3.0 * new[:, 0]) * new[:, 1]
    p = fit(runs(u, offset + size * np.sin(3.0 * u[:, 0]) * u[:, 1])).predict(new)
    assert error(p, truth) < 0.01 and covered(p, truth) >= 0.8
    assert np.mean(p.upper["y"] - p.lower["y"]) < 0.1 * size


@pytest.mark.parametrize("size", [1e200, 1e-120])
def test_numbers_near_the_ends_of_double_precision(fit, size):
    """No overflow and no underflow on the way."""
    u, new = design(unit(2), seed=1, runs=30), points(2, 200)
    p = fit(runs(u, size * np.sin(3.0 * u[:, 0]) * u[:, 1])).predict(new)
    truth = np.sin(3.0 * new[:, 0]) * new[:, 1]
    assert p.mean["y"] / size == pytest.approx(truth, abs=0.01) and covered(p, size * truth) >= 0.8


def test_six_decades_of_a_logarithm(fit):
    """A parameter from 1e-3 to 1e3 whose logarithm matters; its gradient is in its own unit."""
    space = Space(a=Real(1e-3, 1e3, log=True), b=Real(0.0, 1.0))
    x, new = design(space, seed=1, runs=40), design(space, seed=5, runs=500)

    def known(x):
        return np.log10(x[:, 0]) * x[:, 1] + np.tanh(np.log10(x[:, 0]))

    surrogate = fit(runs(x, known(x), space=space))
    p = surrogate.predict(new)
    assert error(p, known(new)) < 0.01 and covered(p, known(new)) >= 0.8 and p.inside.mean() >= 0.95
    by_decade = surrogate.gradient(new)["y"][:, 0] * new[:, 0] * np.log(10.0)
    assert by_decade == pytest.approx(new[:, 1] + np.cosh(np.log10(new[:, 0])) ** -2, abs=0.15)


@pytest.mark.parametrize("d", [2, 4])
def test_runs_on_the_boundary_only(fit, d):
    """Each run at an end of one input: points between are predicted and covered, or are said to be outside."""
    rng = np.random.default_rng(0)
    u, new = rng.random((60, d)), rng.random((1000, d))
    u[np.arange(60), rng.integers(d, size=60)] = rng.integers(2, size=60)
    p = fit(runs(u, np.sin(3.0 * u[:, 0]) * u[:, 1] + u.sum(axis=1))).predict(new)
    truth = np.sin(3.0 * new[:, 0]) * new[:, 1] + new.sum(axis=1)
    assert error(p, truth) < 0.15
    assert np.mean(~p.inside | ((p.lower["y"] <= truth) & (truth <= p.upper["y"]))) >= 0.8


def test_no_points(fit):
    """Nothing asked, nothing answered, in the right shapes."""
    u = design(unit(2), seed=1, runs=10)
    surrogate = fit(runs(u, {"y": u[:, 0], "a": u @ np.ones((2, 3))}))
    p = surrogate.predict(u[:0], joint=True)
    assert p.mean["y"].shape == (0,) and p.upper["a"].shape == (0, 3) and p.inside.shape == (0,)
    assert surrogate.gradient(u[:0])["a"].shape == (0, 3, 2)
