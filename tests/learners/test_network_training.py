"""The parts of the network ensemble: training, the choice of decay and splits, mean and variance, all by hand."""

from __future__ import annotations

import numpy as np
import pytest

from mlforhpc.core.learner import Dataset
from mlforhpc.core.simulation import Output
from mlforhpc.core.space import Choice, Real, Space
from mlforhpc.learners import _network_tasks, network
from mlforhpc.learners._network_model import WIDTH, Model, expand, farthest_neighbour, forward, input_columns, nearest
from mlforhpc.learners._table import tabulate

torch = pytest.importorskip("torch")
from mlforhpc.learners import _network_training as training  # noqa: E402 (needs torch)


def unit(d):
    """A space of d numbers in [0, 1]."""
    return Space({f"u{i}": Real(0.0, 1.0) for i in range(d)})


def test_distances_by_hand():
    """Runs at 0, 1 and 4: the most isolated is 3 away from its nearest; a point at 2 is 1 away."""
    runs = np.array([[0.0], [1.0], [4.0]])
    assert farthest_neighbour(runs) == pytest.approx(9.0)
    assert nearest(np.array([[2.0], [4.0]]), runs) == pytest.approx([1.0, 0.0])


def test_options_have_an_input_each():
    """A number goes from -sqrt(3) to sqrt(3); of a choice's options one is at sqrt(3), the others at -sqrt(3)."""
    space = Space(a=Real(0.0, 1.0), c=Choice(("x", "y", "z")))
    v = expand(space.encode(np.array([[0.0, 0.0], [0.5, 1.0], [1.0, 2.0]])), input_columns(space))
    assert v / WIDTH == pytest.approx(np.array([[-1, 1, -1, -1], [0, -1, 1, -1], [1, -1, -1, 1]]))


def by_hand(residual, noise=None):
    """Two members, f = silu(v) and f = 3 silu(v), on one input; one score, one column that is 2 + 10 times the score."""
    one, zero = np.ones((2, 1, 1)), np.zeros((2, 1, 1))
    return Model(
        columns=input_columns(unit(1)), layers=(one, zero, np.array([[[1.0]], [[3.0]]]), zero), centre=np.array([2.0]),
        rest=np.array([0.5]), loadings=np.array([[10.0]]), residual=2.0 * np.array([residual]), count=np.array(2.0),
        noise=np.zeros((0, 1)) if noise is None else np.array([[np.log(noise)], [0.0], [0.0]]), stated=np.ones(1),
        fidelity=np.array(0.25), runs=np.zeros((2, 1)), farthest=np.array(1.0), scale=np.ones(1),
    )  # fmt: skip


def test_mean_and_variance_by_hand():
    """Scores s and 3 s: mean 2 s, spread 2 s^2; with nu = 2 and r = 0.3 a variance of (2 s^2 + 0.6) / 3, times 100, plus what is cut."""
    s = 1.0 / (1.0 + np.exp(-1.0))  # silu(1)
    found = by_hand(0.3, noise=0.01).moments(np.array([[0.5 + 0.5 / WIDTH]]))  # v = 1
    assert found.mean == pytest.approx(np.array([[2.0 + 20.0 * s]]))
    assert found.variance == pytest.approx(np.array([[100.0 * (2.0 * s**2 + 0.6) / 3.0 + 0.5]]))
    assert found.noise == pytest.approx(np.array([[0.01 / 0.25]])) and found.distance2 == pytest.approx([1.0])


def test_large_units_do_not_overflow():
    """silu of -2000 is 0, of 2000 is 2000."""
    assert forward(np.array([[-2000.0], [2000.0]]), by_hand(0.0).layers)[0, :, 0] == pytest.approx([0.0, 2000.0])


def trained(targets, weights, seeds=(1, 2)):
    """Two networks on ten runs of two inputs."""
    v = np.random.default_rng(0).standard_normal((10, 2))
    return training.train(v, targets, weights, np.full(len(seeds), 0.1), hidden=(4,), updates=30, seeds=seeds)


def test_torch_is_left_as_it_was():
    """Its random state, its threads and its gradients; and none of them changes a digit."""
    targets, weights = np.ones((10, 1)), np.ones((2, 10, 1))
    first, threads = trained(targets, weights), torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(5)
            state = torch.get_rng_state()
            again = trained(targets, weights)
            assert torch.equal(torch.get_rng_state(), state) and not torch.is_grad_enabled()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert all(np.array_equal(p, q) for p, q in zip(first, again, strict=True))


def test_a_run_of_no_weight_has_no_say():
    """Whatever its target: the networks that leave it out come out the same, the others do not; one of another seed differs."""
    targets, weights = np.random.default_rng(1).standard_normal((10, 3)), np.ones((2, 10, 3))
    weights[0, 4] = 0.0
    other = targets.copy()
    other[4] += 7.0
    a, b = trained(targets, weights), trained(other, weights)
    assert all(np.array_equal(p[0], q[0]) for p, q in zip(a, b, strict=True))
    assert not any(np.array_equal(p[1], q[1]) for p, q in zip(a, b, strict=True))
    assert not np.array_equal(a[0][0], a[0][1])


def test_a_large_decay_leaves_a_constant():
    """Weights go to nearly nothing, the last bias to the mean of the targets."""
    v, targets = np.random.default_rng(0).standard_normal((40, 2)), np.linspace(0.0, 2.0, 40)[:, None]
    layers = training.train(v, targets, np.ones((1, 40, 1)), np.array([1e5]), hidden=(8,), updates=400, seeds=[0])
    assert forward(v, tuple(layers))[0] == pytest.approx(np.ones((40, 1)), abs=0.05)


def test_every_run_is_seen_once_a_pass():
    """Ten batches of 64 from 160 runs are four passes; few runs are one batch."""
    rows = np.concatenate(list(training._batches(160, 10, 0)))
    assert (np.bincount(rows, minlength=160) == 4).all() and not np.array_equal(rows[:160], rows[160:320])
    assert [len(b) for b in training._batches(50, 3, 0)] == [50] * 3


def test_the_rate_rises_and_falls():
    """From a twenty-fifth at the first of 500 updates to its largest after 25, to nothing at the end."""
    rates = [training._schedule(step, 500) for step in range(500)]
    assert rates[0] == pytest.approx(0.04, rel=1e-3) and int(np.argmax(rates)) == 24 and rates[-1] < 1e-4


def test_updates_grow_with_the_root_of_the_runs():
    """500 up to 200 runs, 1,000 at 800; an own number is kept."""
    options = network.create().options
    assert [options.updates_for(n) for n in (20, 200, 800)] == [500, 500, 1000]
    assert network.create(updates=7).options.updates_for(800) == 7


def test_runs_at_one_place_are_left_out_together():
    """So that no network is asked for what a twin has told it."""
    u = np.repeat(np.random.default_rng(0).random((9, 2)), 3, axis=0)
    parts = _network_tasks._splits(u, 0)
    assert sorted(np.concatenate(parts).tolist()) == list(range(27))
    assert all(part.tolist() == [3 * (i // 3) + i % 3 for i in part] and len(part) == 9 for part in parts)
    assert all({3 * (i // 3) + j for i in part for j in range(3)} == set(part.tolist()) for part in parts)


def test_left_out_noise_is_that_of_the_run_s_fidelity():
    """Errors stated at fidelities 0.1 and 0.4: foreseen for each run as it stated them."""
    u = np.random.default_rng(0).random((60, 1))
    fidelity = np.tile([0.1, 0.4], 30)
    se = 0.1 / np.sqrt(fidelity)
    data = Dataset(
        space=unit(1), outputs=(Output(name="y"),), x=u, y={"y": 5.0 + u[:, 0]}, y_se={"y": se}, outcome=("ok",) * 60,
        fidelity=fidelity, cost_s=np.ones(60),
    )  # fmt: skip
    table, columns = tabulate(data), input_columns(unit(1))
    options = network.create(hidden=(4,), members=2, updates=5).options
    chosen = _network_tasks.choose(table, columns, options, 0)
    layers = [_network_tasks.train_members(table, columns, chosen, options, [0, 1])]
    found = _network_tasks.predict_left_out(_network_tasks.assemble(table, columns, chosen, layers), table, np.arange(60))
    assert found.noise == pytest.approx(table.se2, rel=0.05)
