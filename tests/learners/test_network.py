"""The network ensemble as a learner: contract, accuracy, coverage, noise, odd data, gradients, no trace of torch where it is not needed."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import Future

import cloudpickle
import numpy as np
import pytest

from mlforhpc.core import names
from mlforhpc.core.errors import MissingExtra, StoreDamaged, UsageError
from mlforhpc.core.learner import Dataset
from mlforhpc.core.simulation import Output
from mlforhpc.core.space import Choice, Integer, Real, Space
from mlforhpc.learners import _network_tasks, network
from mlforhpc.simulations import borehole
from mlforhpc.strategies.sobol import design
from mlforhpc.testing import learners as conformance

torch = pytest.importorskip("torch")


def small(**options):
    """A learner for tests: two hidden layers, three members, two folds, 100 updates."""
    return network.create(**{"hidden": (16, 16), "members": 3, "folds": 2, "updates": 100, **options})


def unit(d):
    """A space of d numbers in [0, 1]."""
    return Space({f"u{i}": Real(0.0, 1.0) for i in range(d)})


def dataset(x, y, se=None, space=None, fidelity=None):
    """Runs of named outputs; every one is ok."""
    n = len(x)
    return Dataset(
        space=space or unit(x.shape[1]),
        outputs=tuple(Output(name=name, shape=values.shape[1:]) for name, values in y.items()),
        x=x,
        y=y,
        y_se=se or {},
        outcome=("ok",) * n,
        fidelity=np.ones(n) if fidelity is None else fidelity,
        cost_s=np.ones(n),
    )


def profiles(n=40, seed=0, noise=0.0):
    """Profiles (n, 24) of two inputs, with normal errors."""
    rng = np.random.default_rng(seed)
    u, t = rng.random((n, 2)), np.linspace(0.0, 1.0, 24)
    y = 2.0 + np.exp(-t * (1.0 + 3.0 * u[:, :1])) + u[:, 1:] * np.sin(6.0 * t)
    return u, y + noise * rng.standard_normal(y.shape)


MIXED = Space(a=Real(0.1, 10.0, log=True, unit="nm"), b=Real(-1.0, 1.0), k=Integer(1, 3), c=Choice(("x", "y", "z")))


def mixed(n=40):
    """Runs with every kind of parameter, a number and an array."""
    x = MIXED.decode(np.random.default_rng(0).random((n, 4)))
    number = np.log(x[:, 0]) * x[:, 2] + x[:, 1]
    return dataset(x, {"n": number, "p": number[:, None, None] * np.ones((2, 3)) + (x[:, 3] == 1)[:, None, None]}, space=MIXED)


@pytest.mark.parametrize("check", conformance.CHECKS, ids=lambda check: check.__name__)
def test_it_keeps_the_contract(check):
    """Conformance; six folds where coverage is measured, none where it is not."""
    check(small(folds=6 if check is conformance.covers else 0, updates=300))


def test_the_borehole_is_learned_from_100_runs():
    """With the default layers an error below 3 % of the standard deviation; 90 % intervals cover, and are not wide."""
    space = borehole.SPACE

    def flows(x):
        return np.array([borehole.flow(**space.point(row)) for row in x])

    x, new = design(space, seed=3, runs=100), design(space, seed=4, runs=500)
    p = network.create(members=3, folds=3).fit(dataset(x, {"flow": flows(x)}, space=space), seed=0).predict(new)
    truth = flows(new)
    assert np.sqrt(np.mean((p.mean["flow"] - truth) ** 2)) < 0.03 * truth.std()
    assert np.mean((p.lower["flow"] <= truth) & (truth <= p.upper["flow"])) >= 0.82
    assert np.mean(p.upper["flow"] - p.lower["flow"]) < 0.12 * truth.std()
    assert p.inside.mean() > 0.9


def test_a_profile_is_recovered_through_its_components():
    """Noise-free profiles to 3 % of their standard deviation."""
    (u, y), (new, truth) = profiles(60), profiles(200, seed=1)
    p = small(folds=0, updates=300).fit(dataset(u, {"p": y}), seed=0).predict(new)
    assert np.sqrt(np.mean((p.mean["p"] - truth) ** 2)) < 0.03 * truth.std()


def test_the_source_s_architecture():
    """hidden=(512, 256) for five inputs and an array of ten: 5-512-256-k, with k components; no two members alike."""
    rng = np.random.default_rng(0)
    u = rng.random((20, 5))
    surrogate = network.create(hidden=(512, 256), folds=0, updates=2).fit(dataset(u, {"p": u @ rng.random((5, 10))}), seed=0)
    k = int(surrogate.card["components"])
    assert [layer.shape for layer in surrogate.model.layers] == [
        *[(5, 5, 512), (5, 1, 512)],
        *[(5, 512, 256), (5, 1, 256)],
        *[(5, 256, k), (5, 1, k)],
    ]
    assert len({member.tobytes() for member in surrogate.model.layers[0]}) == 5


def test_noise_that_is_not_stated_is_answered_by_decay():
    """Without noise the smallest decay is chosen; with noise a larger one, and the mean goes through the middle."""
    rng = np.random.default_rng(0)
    u, new = rng.random((80, 2)), rng.random((200, 2))
    truth, exact = np.sin(3.0 * new[:, 0]) + new[:, 1], np.sin(3.0 * u[:, 0]) + u[:, 1]
    learner = small(folds=0, updates=300)
    assert learner.fit(dataset(u, {"y": exact}), seed=0).card["decay"] == _network_tasks.DECAYS[0]
    noisy = learner.fit(dataset(u, {"y": exact + 0.3 * rng.standard_normal(80)}), seed=0)
    assert noisy.card["decay"] > _network_tasks.DECAYS[0]
    assert np.sqrt(np.mean((noisy.predict(new).mean["y"] - truth) ** 2)) < 0.15


def test_runs_with_large_stated_errors_count_little():
    """Every second run is wrong by 2 and says so: the others are believed."""
    rng = np.random.default_rng(0)
    u, new = rng.random((80, 1)), rng.random((200, 1))
    wrong = np.arange(80) % 2 == 0
    y = np.sin(3.0 * u[:, 0]) + 2.0 * wrong
    p = small(folds=0).fit(dataset(u, {"y": y}, {"y": np.where(wrong, 5.0, 0.01)}), seed=0).predict(new)
    assert np.abs(p.mean["y"] - np.sin(3.0 * new[:, 0])).mean() < 0.1


def test_an_interval_for_a_run_foresees_its_error():
    """Where errors grow with an input, so does the interval for a run; an error that is handed in replaces the foreseen one."""
    rng = np.random.default_rng(0)
    u = rng.random((80, 1))
    se = 0.05 * np.exp(2.0 * u[:, 0])
    y = np.sin(3.0 * u[:, 0]) + se * rng.standard_normal(80)
    surrogate = small(updates=200).fit(dataset(u, {"y": y}, {"y": se}, fidelity=np.full(80, 0.1)), seed=0)
    ends = surrogate.predict(np.array([[0.1], [0.9]]))
    width = ends.upper["y"] - ends.lower["y"]
    assert 2.0 < width[1] / width[0] < 6.5
    own = surrogate.predict(np.array([[0.5], [0.5]]), se={"y": np.array([0.0, 1.0])})
    assert own.upper["y"][1] - own.lower["y"][1] > 5.0 * (own.upper["y"][0] - own.lower["y"][0])
    # se that names no output leaves the foreseen variances, and takes the factors of runs that state theirs
    kept, foreseen = surrogate.predict(u, se={}), surrogate.predict(u)
    ratio = (kept.upper["y"] - kept.lower["y"]) / (foreseen.upper["y"] - foreseen.lower["y"])
    assert ratio == pytest.approx(surrogate.stated.factors(0.9, False)[0] / surrogate.foreseen.factors(0.9, False)[0])


def test_without_stated_errors_mean_and_run_have_one_interval():
    """Misfit and noise cannot be told apart."""
    u, y = profiles(30, noise=0.05)
    surrogate = small(folds=2).fit(dataset(u, {"p": y}), seed=0)
    run, mean = surrogate.predict(u), surrogate.predict(u, of="mean")
    assert np.array_equal(run.lower["p"], mean.lower["p"])


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


@pytest.mark.parametrize(("limit", "each"), [(50_000, 1), (0, 3)], ids=["small networks together", "a large network alone"])
def test_a_broker_changes_no_digit(monkeypatch, limit, each):
    """Deciding and training as tasks of kind "learn" give the surrogate that a fit without a broker gives."""
    monkeypatch.setattr(_network_tasks, "SMALL", limit)
    u, y = profiles(30, noise=0.02)
    data, broker = dataset(u, {"p": y}, {"p": np.full(y.shape, 0.02)}), DoneBroker()
    alone = small(folds=3, updates=20).fit(data, seed=2)
    assert small(folds=3, updates=20).fit(data, seed=2, broker=broker).version == alone.version
    parts = ["fit", "fold 0", "fold 1", "fold 2"]
    assert broker.tasks == [("learn", f"{p}: choose") for p in parts] + [("learn", f"{p}: train") for p in parts for _ in range(each)]


def test_loading_and_predicting_need_no_torch(tmp_path, monkeypatch):
    """A saved surrogate answers bit for bit the same where torch cannot be imported; fitting there names the extra."""
    data = mixed()
    surrogate = small(folds=2, updates=20).fit(data, seed=0)
    surrogate.save(tmp_path / "s.safetensors")
    np.save(tmp_path / "x.npy", data.x)
    script = f"""
import sys; sys.modules["torch"] = None
import numpy as np
from mlforhpc.core import names
s = names.load("learners", "network").load({str(tmp_path / "s.safetensors")!r})
p = s.predict(np.load({str(tmp_path / "x.npy")!r}), joint=True)
np.savez({str(tmp_path / "p.npz")!r}, version=s.version, **p.upper)
"""
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, timeout=120)
    wanted = surrogate.predict(data.x, joint=True).upper
    with np.load(tmp_path / "p.npz") as found:
        assert str(found["version"]) == surrogate.version
        assert all(np.array_equal(found[name], wanted[name]) for name in wanted)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtra, match=r"Learner 'network' needs the package 'torch'.*pip install 'mlforhpc\[torch\]'"):
        names.load("learners", "network").create().fit(data, seed=0)


def test_a_changed_file_is_refused(tmp_path):
    """One bit of a weight; what was saved comes back with its space, outputs and card."""
    data, path = mixed(), tmp_path / "s.safetensors"
    surrogate = small(folds=2, updates=5).fit(data, seed=0)
    surrogate.save(path)
    loaded = network.load(path)
    assert (loaded.version, loaded.space, loaded.outputs) == (surrogate.version, MIXED, data.outputs)
    assert dict(loaded.card) == dict(surrogate.card)
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(StoreDamaged):
        network.load(path)


def test_the_gradient_is_that_of_the_mean():
    """In physical units, through a logarithm; NaN for integers and choices; shapes of number and array."""
    data = mixed()
    surrogate = small(folds=0).fit(data, seed=0)
    x = MIXED.decode(0.1 + 0.8 * np.random.default_rng(1).random((30, 4)))
    found = surrogate.gradient(x)
    assert found["n"].shape == (30, 4) and found["p"].shape == (30, 2, 3, 4)
    for j in (0, 1):
        step = np.zeros((30, 4))
        step[:, j] = 1e-5 * np.abs(x[:, j])
        plus, minus = surrogate.predict(x + step).mean, surrogate.predict(x - step).mean
        for name, values in found.items():
            numeric = (plus[name] - minus[name]) / (2.0 * step[:, j].reshape(-1, *[1] * (values.ndim - 2)))
            assert values[..., j] == pytest.approx(numeric, rel=1e-5, abs=1e-6)
    assert np.isnan(found["p"][..., 2:]).all()


def test_a_batch_does_not_change_gradients_or_answers():
    """A point alone or in a chunk of many: the same to 10 digits."""
    u, y = profiles(30)
    surrogate = small(folds=2, updates=20).fit(dataset(u, {"p": y}), seed=0)
    many = np.random.default_rng(0).random((5000, 2))
    whole, one = surrogate.predict(many), surrogate.predict(many[4321:4322])
    for part in ("mean", "lower", "upper"):
        assert getattr(one, part)["p"][0] == pytest.approx(getattr(whole, part)["p"][4321], rel=1e-10)
    assert surrogate.gradient(many[4321:4322])["p"][0] == pytest.approx(surrogate.gradient(many)["p"][4321], rel=1e-10, abs=1e-12)


def test_inside_is_where_a_run_is_near():
    """Training points are inside; points at the far end, and an option that no run had, are not."""
    rng = np.random.default_rng(0)
    u = rng.random((40, 2)) * [0.5, 1.0]
    surrogate = small(folds=0, updates=5).fit(dataset(u, {"y": u.sum(axis=1)}), seed=0)
    assert surrogate.predict(u).inside.all()
    assert surrogate.predict(np.array([[0.25, 0.5], [0.95, 0.5], [1.0, 1.0]])).inside.tolist() == [True, False, False]
    space = Space(a=Real(0.0, 1.0), c=Choice(("x", "y", "z")))
    x = np.column_stack([rng.random(20), np.arange(20) % 2])
    options = small(folds=0, updates=5).fit(dataset(x, {"y": x.sum(axis=1)}, space=space), seed=0)
    assert options.predict(np.array([[0.5, 0.0], [0.5, 1.0], [0.5, 2.0]])).inside.tolist() == [True, True, False]


@pytest.mark.parametrize("n", [2, 3, 5, 6, 9])
def test_very_few_runs(n):
    """From two runs on there is an answer with a finite interval."""
    u = np.linspace(0.1, 0.9, n)[:, None]
    p = small(updates=20).fit(dataset(u, {"y": 1.0 + u[:, 0]}), seed=0).predict(np.array([[0.5], [0.0]]))
    assert np.isfinite(p.lower["y"]).all() and (p.lower["y"] <= p.upper["y"]).all()


def test_constant_outputs_are_constant():
    """A constant number and a constant array beside a moving one: exact, with intervals of no width."""
    u = np.random.default_rng(0).random((20, 2))
    data = dataset(u, {"c": np.full(20, 3.0), "a": np.full((20, 4), 2.0), "y": u[:, 0]})
    p = small(updates=20).fit(data, seed=0).predict(u[:5])
    assert p.mean["c"].tolist() == [3.0] * 5 and p.mean["a"] == pytest.approx(np.full((5, 4), 2.0))
    assert (p.upper["c"] - p.lower["c"]).max() < 1e-9 and (p.upper["a"] - p.lower["a"]).max() < 1e-3


def test_nothing_but_constants(tmp_path):
    """Even if no output moves: nothing is trained, and the surrogate is kept and answers."""
    u = np.random.default_rng(0).random((12, 2))
    surrogate = small().fit(dataset(u, {"c": np.full(12, 4.0)}), seed=0)
    surrogate.save(tmp_path / "s.safetensors")
    p = network.load(tmp_path / "s.safetensors").predict(u)
    assert p.mean["c"].tolist() == [4.0] * 12 and (p.upper["c"] - p.lower["c"]).max() < 1e-9
    assert surrogate.gradient(u)["c"].tolist() == [[0.0, 0.0]] * 12


def test_all_runs_at_one_place():
    """There is nothing to leave out by place; the mean is near the runs'."""
    y = 1.0 + 0.1 * np.random.default_rng(0).standard_normal(12)
    p = small().fit(dataset(np.full((12, 2), 0.5), {"y": y}), seed=0).predict(np.full((1, 2), 0.5))
    assert p.mean["y"] == pytest.approx([1.0], abs=0.2) and p.inside.all()


def test_a_row_with_a_hole_is_ignored():
    """A run called ok whose output is not finite is left out, not learned."""
    u, y = np.random.default_rng(0).random((20, 1)), np.arange(20.0)
    y[3] = np.nan
    assert small(folds=0, updates=5).fit(dataset(u, {"y": y}), seed=0).card["runs"] == 19.0


@pytest.mark.parametrize("d", [1, 4])
def test_a_discontinuity(d):
    """A step beside a slope, from 60 runs: finite, better than the mean, and the interval covers most points that were not run."""

    def step(u):
        return np.where(u[:, 0] > 0.37, 1.0, 0.0) + 0.3 * u.sum(axis=1)

    u, new = design(unit(d), seed=1, runs=60), np.random.default_rng(9).random((1000, d))
    p = small(updates=300, folds=5).fit(dataset(u, {"y": step(u)}), seed=0).predict(new)
    assert np.isfinite([p.lower["y"], p.upper["y"]]).all()
    assert np.sqrt(np.mean((p.mean["y"] - step(new)) ** 2)) < 0.5 * step(new).std()
    assert np.mean((p.lower["y"] <= step(new)) & (step(new) <= p.upper["y"])) >= 0.8


def test_twenty_inputs():
    """A nearly linear function from 100 runs is learned; of one that goes up and down in each it says that it knows little."""
    u, new = design(unit(20), seed=1, runs=100), np.random.default_rng(9).random((1000, 20))
    for bend, most in ((0.5, 0.3), (3.0, 1.3)):

        def additive(x, bend=bend):
            return np.sin(bend * x) @ np.linspace(0.2, 2.0, 20)

        p = small(updates=300, folds=5).fit(dataset(u, {"y": additive(u)}), seed=0).predict(new)
        assert np.sqrt(np.mean((p.mean["y"] - additive(new)) ** 2)) < most * additive(new).std()
        assert np.mean((p.lower["y"] <= additive(new)) & (additive(new) <= p.upper["y"])) >= 0.8


def test_named_options():
    """Three functions, one for each option of a choice, from 120 runs."""
    space = Space(a=Real(0.0, 1.0), c=Choice(("p", "q", "r")))

    def truth(x):
        return np.choose(x[:, 1].astype(int), [np.sin(4.0 * x[:, 0]), 2.0 - x[:, 0], x[:, 0] ** 2])

    x, new = design(space, seed=1, runs=120), design(space, seed=5, runs=500)
    p = small(updates=500).fit(dataset(x, {"y": truth(x)}, space=space), seed=0).predict(new)
    assert np.sqrt(np.mean((p.mean["y"] - truth(new)) ** 2)) < 0.1 * truth(new).std()


@pytest.mark.parametrize("wrong", [{"hidden": ()}, {"hidden": (8, 0)}, {"members": 1}, {"folds": 1}, {"components": 0}, {"updates": 0}])
def test_nonsense_is_refused(wrong):
    """Options that mean nothing."""
    with pytest.raises(UsageError):
        network.create(**wrong)


def test_wrong_questions_are_refused():
    """An unknown `of`, and standard errors of the wrong shape."""
    u = np.random.default_rng(0).random((8, 1))
    surrogate = small(folds=0, updates=5).fit(dataset(u, {"y": u[:, 0]}), seed=0)
    with pytest.raises(UsageError, match="'run' or of the 'mean'"):
        surrogate.predict(u, of="median")
    with pytest.raises(UsageError, match=r"shape \(8,\), found \(3,\)"):
        surrogate.predict(u, se={"y": np.ones(3)})
