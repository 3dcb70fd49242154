"""The Gaussian process as a learner: contract, accuracy, coverage, profiles, odd data, the same digits through a broker."""

from __future__ import annotations

from concurrent.futures import Future

import cloudpickle
import numpy as np
import pytest

from mlforhpc.core.errors import UsageError
from mlforhpc.core.learner import Dataset
from mlforhpc.core.simulation import Output
from mlforhpc.core.space import Real, Space
from mlforhpc.learners import gaussian_process
from mlforhpc.learners._noise import fit_noise, predict_noise
from mlforhpc.learners._pca import fit_basis
from mlforhpc.learners._table import tabulate
from mlforhpc.simulations import borehole
from mlforhpc.strategies.sobol import design
from mlforhpc.testing import learners as conformance


@pytest.mark.parametrize("check", conformance.CHECKS, ids=lambda check: check.__name__)
def test_it_keeps_the_contract(check):
    """Conformance; ten folds where coverage is measured, three where it is not."""
    check(gaussian_process.create(folds=10 if check is conformance.covers else 3))


def unit(d):
    """A space of d numbers in [0, 1]."""
    return Space({f"u{i}": Real(0.0, 1.0) for i in range(d)})


def dataset(x, y, se=None, space=None, fidelity=None):
    """Runs of named outputs; every one is ok."""
    n = len(x)
    outputs = tuple(Output(name=name, shape=values.shape[1:]) for name, values in y.items())
    return Dataset(
        space=space or unit(x.shape[1]),
        outputs=outputs,
        x=x,
        y=y,
        y_se=se or {},
        outcome=("ok",) * n,
        fidelity=np.ones(n) if fidelity is None else fidelity,
        cost_s=np.ones(n),
    )


def test_the_borehole_is_learned_from_100_runs():
    """Error below 1.2 % of the standard deviation; 90 % intervals cover, and are narrow (FACTS: the best of the field has 1.1 %)."""
    space = borehole.SPACE

    def flows(x):
        return np.array([borehole.flow(**space.point(row)) for row in x])

    x, new = design(space, seed=3, runs=100), design(space, seed=4, runs=500)
    surrogate = gaussian_process.create().fit(dataset(x, {"flow": flows(x)}, space=space), seed=0)
    p, truth = surrogate.predict(new), flows(new)
    assert np.sqrt(np.mean((p.mean["flow"] - truth) ** 2)) < 0.012 * truth.std()
    assert np.mean((p.lower["flow"] <= truth) & (truth <= p.upper["flow"])) >= 0.82
    assert np.mean(p.upper["flow"] - p.lower["flow"]) < 0.03 * truth.std()
    assert p.inside.mean() > 0.9


def test_coverage_on_samples_of_a_gaussian_process():
    """Over 8 noisy draws of a Matern process the 90 % interval covers 85 to 95 % of independent runs, with its own error or foreseen."""
    rng, hits, foreseen = np.random.default_rng(0), [], []
    for seed in range(8):
        u = rng.random((140, 2))
        a = np.sqrt(5.0) * np.linalg.norm(u[:, None] - u, axis=2) / 0.6
        k = (1.0 + a + a**2 / 3.0) * np.exp(-a)
        f = np.linalg.cholesky(k + 1e-10 * np.eye(140)) @ rng.standard_normal(140)
        se = 0.1 + 0.2 * u[:, 0]
        y = f + se * rng.standard_normal(140)
        surrogate = gaussian_process.create(linear=False).fit(dataset(u[:50], {"y": y[:50]}, {"y": se[:50]}), seed=seed)
        own, own_se = surrogate.predict(u[50:], se={"y": se[50:]}), surrogate.predict(u[50:])
        hits.append(np.mean((own.lower["y"] <= y[50:]) & (y[50:] <= own.upper["y"])))
        foreseen.append(np.mean((own_se.lower["y"] <= y[50:]) & (y[50:] <= own_se.upper["y"])))
    assert 0.85 <= np.mean(hits) <= 0.95 and 0.85 <= np.mean(foreseen) <= 0.95


def profiles(n=40, seed=0, noise=0.0):
    """Profiles (n, 24) of two inputs, with normal errors."""
    rng = np.random.default_rng(seed)
    u, t = rng.random((n, 2)), np.linspace(0.0, 1.0, 24)
    y = 2.0 + np.exp(-t * (1.0 + 3.0 * u[:, :1])) + u[:, 1:] * np.sin(6.0 * t)
    return u, y + noise * rng.standard_normal(y.shape)


def test_a_profile_is_recovered_through_its_components():
    """Noise-free profiles to 0.1 % of their standard deviation."""
    (u, y), (new, truth) = profiles(), profiles(200, seed=1)
    p = gaussian_process.create(folds=2).fit(dataset(u, {"p": y}), seed=0).predict(new)
    assert np.sqrt(np.mean((p.mean["p"] - truth) ** 2)) < 1e-3 * truth.std()


def test_what_the_components_cut_off_is_in_the_interval():
    """One component of a profile that needs two: the rest is its variance, and the interval still covers."""
    (u, y), (new, truth) = profiles(60), profiles(300, seed=1)
    data = dataset(u, {"p": y})
    table = tabulate(data)
    rest = fit_basis(table, 1).rest
    left = np.linalg.svd(table.y - table.y.mean(0))[1][1:]
    assert rest.sum() == pytest.approx((left**2).sum() / 58.0)
    p = gaussian_process.create(components=1).fit(data, seed=0).predict(new, of="mean")
    assert 0.85 <= np.mean((p.lower["p"] <= truth) & (truth <= p.upper["p"])) <= 0.95


def test_components_that_are_noise_are_left_out():
    """Of 24 columns with noise, two components stand out; without noise, as many as the variance needs."""
    u, y = profiles(60, noise=0.02)
    noisy = fit_basis(tabulate(dataset(u, {"p": y}, {"p": np.full(y.shape, 0.02)})), None)
    exact = fit_basis(tabulate(dataset(u, {"p": profiles(60)[1]})), None)
    assert len(noisy.deviations) == 2 <= len(exact.deviations)


def test_numbers_and_arrays_keep_apart():
    """A number beside a large array is learned on its own scale."""
    u, y = profiles()
    number = 1e-6 * (u[:, 0] + u[:, 1] ** 2)
    p = gaussian_process.create(folds=2).fit(dataset(u, {"p": 1e6 * y, "n": number}), seed=0).predict(u)
    assert p.mean["n"] == pytest.approx(number, rel=1e-3)
    assert p.mean["p"] == pytest.approx(1e6 * y, rel=1e-3)


class DoneBroker:
    """Runs tasks at once, their arguments and results pickled as on the way to a worker."""

    def __init__(self):
        self.tasks = []

    def submit(self, kind, function, *args, label="", **_):
        """One task."""
        self.tasks.append((kind, label))
        future = Future()
        f, a = cloudpickle.loads(cloudpickle.dumps((function, args)))
        future.set_result(cloudpickle.loads(cloudpickle.dumps(f(*a))))
        return future


def test_a_broker_changes_no_digit():
    """Fit and folds as tasks of kind "learn" give the surrogate that a fit without a broker gives."""
    u, y = profiles(30, noise=0.02)
    data, broker = dataset(u, {"p": y}, {"p": np.full(y.shape, 0.02)}), DoneBroker()
    alone = gaussian_process.create(folds=5).fit(data, seed=2)
    assert gaussian_process.create(folds=5).fit(data, seed=2, broker=broker).version == alone.version
    assert broker.tasks == [("learn", "fit"), *(("learn", f"fold {i}") for i in range(5))]


def test_folds_leave_each_run_out_once():
    """A partition into parts whose sizes differ by one at most; another seed, another partition."""
    parts = gaussian_process.folds_of(23, 10, 0)
    assert sorted(np.concatenate(parts).tolist()) == list(range(23))
    assert {len(p) for p in parts} == {2, 3}
    assert [p.tolist() for p in parts] != [p.tolist() for p in gaussian_process.folds_of(23, 10, 1)]


def test_an_interval_for_a_run_foresees_its_error():
    """Where errors grow with an input, so does the interval for a run; an error that is handed in replaces the foreseen one."""
    rng = np.random.default_rng(0)
    u = rng.random((80, 1))
    se = 0.05 * np.exp(2.0 * u[:, 0])
    y = np.sin(3.0 * u[:, 0]) + se * rng.standard_normal(80)
    coarse = gaussian_process.create().fit(dataset(u, {"y": y}, {"y": se}, fidelity=np.full(80, 0.1)), seed=0)
    ends = coarse.predict(np.array([[0.1], [0.9]]))
    width = ends.upper["y"] - ends.lower["y"]
    assert width[1] / width[0] == pytest.approx(np.exp(1.6), rel=0.3)
    own = coarse.predict(np.array([[0.5], [0.5]]), se={"y": np.array([0.0, 1.0])})
    assert own.upper["y"][1] - own.lower["y"][1] > 5.0 * (own.upper["y"][0] - own.lower["y"][0])


def test_foreseen_errors_fall_with_the_root_of_the_fidelity():
    """Errors stated at fidelities 0.1 and 0.4, half as large there, are one curve at fidelity 1."""
    u = np.random.default_rng(0).random((80, 1))
    fidelity = np.tile([0.1, 0.4], 40)
    at_one = 0.01 * np.exp(2.0 * u)
    foreseen = predict_noise(u, fit_noise(u, at_one / fidelity[:, None], fidelity))
    assert foreseen == pytest.approx(at_one, rel=0.05)


@pytest.mark.parametrize("n", [5, 64, 65, 150])
def test_mean_and_variance_are_those_of_the_textbook(n):
    """Universal kriging by plain linear algebra on the fitted hyperparameters; 64 rows are multiplied at once."""
    rng = np.random.default_rng(n)
    x, at = rng.random((n, 2)), rng.random((7, 2))
    y = np.sin(4 * x[:, 0]) + x[:, 1] ** 2 + 0.1 * rng.standard_normal(n)
    model = gaussian_process.create(folds=2, linear=False).fit(dataset(x, {"y": y}), seed=0).model

    def covariance(a, b):
        r2 = (((a[:, None] - b) / model.lengths[0]) ** 2).sum(axis=2)
        scaled = np.sqrt(5 * r2)
        e, f = (np.exp((2 * u - 1) @ model.growth[0]) for u in (a, b))
        return model.variance[0] * np.outer(e, f) * (1 + scaled + 5 * r2 / 3) * np.exp(-scaled)

    scores = (y / model.scale[0] - model.centre[0]) / model.vectors[0, 0]
    inverse = np.linalg.inv(covariance(x, x) + model.nugget[0] * np.eye(n))
    h, k = np.ones(n), covariance(x, at)
    b = h @ inverse @ scores / (h @ inverse @ h)
    mean = b + k.T @ inverse @ (scores - b)
    variance = np.diag(covariance(at, at) - k.T @ inverse @ k) + (1 - h @ inverse @ k) ** 2 / (h @ inverse @ h)
    found = model.moments(at)
    np.testing.assert_allclose(found.mean[:, 0], model.centre[0] + model.vectors[0, 0] * mean, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(found.variance[:, 0] - model.rest[0] - model.misfit[0], model.squares[0, 0] * variance, rtol=1e-5, atol=1e-9)


def test_far_from_the_data_is_outside():
    """Runs in one half of the space: points there are inside, points at the far end are not."""
    u = np.random.default_rng(0).random((40, 2)) * [0.5, 1.0]
    surrogate = gaussian_process.create(folds=2).fit(dataset(u, {"y": np.sin(9.0 * u[:, 0]) + np.sin(7.0 * u[:, 1])}), seed=0)
    near = surrogate.predict(np.array([[0.25, 0.5], [0.1, 0.6]]))
    far = surrogate.predict(np.array([[0.95, 0.5], [1.0, 1.0]]))
    assert near.inside.all() and not far.inside.any()


@pytest.mark.parametrize("n", [2, 3, 5, 6, 9])
def test_very_few_runs(n):
    """From two runs on there is an answer with a finite interval."""
    u = np.linspace(0.1, 0.9, n)[:, None]
    p = gaussian_process.create().fit(dataset(u, {"y": 1.0 + u[:, 0]}), seed=0).predict(np.array([[0.5], [0.0]]))
    assert np.isfinite(p.lower["y"]).all() and (p.lower["y"] <= p.upper["y"]).all()


@pytest.mark.parametrize("d", [1, 8, 20])
def test_one_to_twenty_inputs(d):
    """A linear function of d inputs is learned from 3 d + 10 runs."""
    rng = np.random.default_rng(d)
    u, new, slope = rng.random((3 * d + 10, d)), rng.random((50, d)), 1.0 + np.arange(d)
    p = gaussian_process.create(folds=2).fit(dataset(u, {"y": u @ slope}), seed=0).predict(new)
    assert np.sqrt(np.mean((p.mean["y"] - new @ slope) ** 2)) < 0.02 * (new @ slope).std()


def test_constant_outputs_are_constant():
    """A constant number and a constant array beside a moving one: exact, with intervals of no width."""
    u = np.random.default_rng(0).random((20, 2))
    data = dataset(u, {"c": np.full(20, 3.0), "a": np.full((20, 4), 2.0), "y": u[:, 0]})
    p = gaussian_process.create().fit(data, seed=0).predict(u[:5])
    assert p.mean["c"].tolist() == [3.0] * 5 and p.mean["a"] == pytest.approx(np.full((5, 4), 2.0))
    assert (p.upper["c"] - p.lower["c"]).max() < 1e-9 and (p.upper["a"] - p.lower["a"]).max() < 1e-3


def test_nothing_but_constants():
    """Even if no output moves."""
    u = np.random.default_rng(0).random((12, 2))
    p = gaussian_process.create().fit(dataset(u, {"c": np.zeros(12)}), seed=0).predict(u)
    assert p.mean["c"].tolist() == [0.0] * 12 and p.upper["c"].max() < 1e-9


def test_repeated_inputs_average():
    """Two noisy runs at each input: the mean goes between them."""
    rng = np.random.default_rng(0)
    u = np.repeat(np.linspace(0.0, 1.0, 15), 2)[:, None]
    y = 2.0 * u[:, 0] + 0.1 * rng.standard_normal(30)
    p = gaussian_process.create(folds=2).fit(dataset(u, {"y": y}, {"y": np.full(30, 0.1)}), seed=0).predict(u)
    assert np.sqrt(np.mean((p.mean["y"] - 2.0 * u[:, 0]) ** 2)) < 0.06


def test_repeated_exact_runs_are_no_trouble():
    """The same run twice, without noise: a singular covariance gets the least jitter."""
    u = np.repeat(np.random.default_rng(1).random((10, 2)), 2, axis=0)
    p = gaussian_process.create(folds=2).fit(dataset(u, {"y": u.sum(1)}), seed=0).predict(u)
    assert p.mean["y"] == pytest.approx(u.sum(1), abs=1e-3)


def test_a_row_with_a_hole_is_ignored():
    """A run called ok whose output is not finite is left out, not learned."""
    u, y = np.random.default_rng(0).random((20, 1)), np.arange(20.0)
    y[3] = np.nan
    assert gaussian_process.create(folds=2).fit(dataset(u, {"y": y}), seed=0).card["runs"] == 19.0


def test_more_rows_than_are_searched(monkeypatch):
    """Beyond the search's limit the posterior still uses every run."""
    monkeypatch.setattr("mlforhpc.learners._process.MOST_SEARCHED", 30)
    u = np.random.default_rng(0).random((90, 2))
    surrogate = gaussian_process.create(folds=2).fit(dataset(u, {"y": np.sin(5.0 * u[:, 0]) * u[:, 1]}), seed=0)
    assert surrogate.model.weights.shape == (1, 90)
    assert surrogate.predict(u).mean["y"] == pytest.approx(np.sin(5.0 * u[:, 0]) * u[:, 1], abs=5e-3)


def test_batches_do_not_change_answers():
    """A point alone, in a batch, or in a chunk of many: the same answer to 10 digits."""
    u, y = profiles(30, noise=0.02)
    surrogate = gaussian_process.create(folds=2).fit(dataset(u, {"p": y}, {"p": np.full(y.shape, 0.02)}), seed=0)
    many = np.random.default_rng(0).random((5000, 2))
    whole, one = surrogate.predict(many), surrogate.predict(many[4321:4322])
    for part in ("mean", "lower", "upper"):
        assert getattr(one, part)["p"][0] == pytest.approx(getattr(whole, part)["p"][4321], rel=1e-10)


@pytest.mark.parametrize("wrong", [{"folds": 1}, {"starts": 0}, {"components": 0}])
def test_nonsense_is_refused(wrong):
    """Options that mean nothing."""
    with pytest.raises(UsageError):
        gaussian_process.create(**wrong)


def test_wrong_questions_are_refused():
    """An unknown `of`, and standard errors of the wrong shape."""
    u = np.random.default_rng(0).random((8, 1))
    surrogate = gaussian_process.create().fit(dataset(u, {"y": u[:, 0]}), seed=0)
    with pytest.raises(UsageError, match="'run' or of the 'mean'"):
        surrogate.predict(u, of="median")
    with pytest.raises(UsageError, match=r"shape \(8,\), found \(3,\)"):
        surrogate.predict(u, se={"y": np.ones(3)})
