"""The search for hyperparameters, on samples of processes whose own are known."""

from __future__ import annotations

import numpy as np
import pytest

from mlforhpc.learners._kernel import Pairs, correlation, envelope, unpack
from mlforhpc.learners._process import trend_basis
from mlforhpc.learners._search import FLOOR, Penalised, hyperparameters


def sample(rng, n, lengths, shares, growth, noise):
    """Places u (n, d) and standardised values y (n,) of a process with these hyperparameters, and what they are once standardised."""
    u = rng.random((n, len(lengths)))
    e = envelope(u, np.array(growth))
    k = np.outer(e, e) * correlation(u, u, np.array(lengths), np.array(shares))
    y = np.linalg.cholesky(k + 1e-9 * np.eye(n)) @ rng.standard_normal(n) + noise * rng.standard_normal(n)
    r = np.array(shares)
    scale = y.std()
    rest = np.log([1e-2, 1.0 / scale**2, 1.0, (noise**2 + 1e-9) / scale**2])
    theta = np.concatenate([np.log(lengths), np.log(r / (1.0 - r)), growth, rest])
    return u, (y - y.mean()) / scale, theta


def search(u, y, *, v=None, fixed=None, seed=0, starts=1):
    """The search's theta for u (n, d) and y (n,)."""
    n, d = u.shape
    fixed = np.full(d, np.nan) if fixed is None else np.array(fixed)
    h, v = trend_basis(u, np.isnan(fixed)), np.zeros(n) if v is None else v
    return hyperparameters(u, y, v, h, fixed, rng=np.random.default_rng(seed), starts=starts)


SAMPLES = {
    "one input": ([0.2], [0.9], [0.0], 0.1, 80),
    "interacting": ([0.3, 0.6], [0.9, 0.8], [0.0, 0.0], 0.05, 120),
    "additive": ([0.3, 0.4, 0.5], [0.1, 0.1, 0.1], [0.0] * 3, 0.05, 120),
    "growing": ([0.4, 0.5], [0.8, 0.7], [1.2, 0.0], 0.02, 120),
    "on more rows than it starts with": ([0.3, 0.6], [0.9, 0.8], [0.0, 0.0], 0.1, 240),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_no_worse_than_the_truth(name):
    """The penalised likelihood of what is found is at least that of the hyperparameters which made the sample."""
    *truth, n = SAMPLES[name]
    u, y, theta = sample(np.random.default_rng(7), n, *truth)
    d = u.shape[1]
    likelihood = Penalised(Pairs.of(u), y, np.zeros(n), trend_basis(u, np.ones(d, dtype=bool)))
    assert likelihood(search(u, y))[0] <= likelihood(theta)[0] + 0.1


@pytest.mark.system
@pytest.mark.parametrize("n", [90, 150, 240])
def test_all_rows_decide_in_the_end(n):
    """Also beyond the rows that the stages start with: from what is found, a search on all rows gains next to nothing."""
    gains = []
    for seed in range(5):
        u, y, _ = sample(np.random.default_rng(seed), n, [0.3, 0.6], [0.9, 0.8], [0.0, 0.0], 0.1)
        likelihood = Penalised(Pairs.of(u), y, np.zeros(n), trend_basis(u, np.array([True, True])))
        theta = search(u, y)
        but_growth = np.eye(len(theta))[:, np.r_[0:4, 6:10]]
        gains.append(likelihood(theta)[0] - likelihood.released(theta, but_growth, ftol=1e-10)[1])
    assert np.mean(gains) < 0.1  # in natural logarithms of the likelihood; 0.2 if 200 of 240 rows decide


def test_it_recovers_what_the_data_say():
    """In the middle of seven samples: the length of a strong input to a third, the noise to a fifth, the shares in their order."""
    rng, lengths, noises, shares = np.random.default_rng(1), [], [], []
    for _ in range(7):
        u, y, truth = sample(rng, 120, [0.25, 0.8], [0.9, 0.3], [0.0, 0.0], 0.2)
        found = unpack(search(u, y))
        lengths.append(np.log(found.lengths[0] / 0.25))
        noises.append(np.log(found.nugget) - truth[-1])
        shares.append(found.shares)
    assert abs(np.median(lengths)) < np.log(4.0 / 3.0) and abs(np.median(noises)) < np.log(1.2)
    assert np.median(shares, axis=0)[0] > 0.7 > np.median(shares, axis=0)[1]


@pytest.mark.parametrize("seed", range(3))
def test_growth_is_taken_where_it_is(seed):
    """A process that varies e^3 times more at one end of the first input than at the other, the same along the second."""
    u, y, _ = sample(np.random.default_rng(seed), 100, [0.3, 0.4], [0.9, 0.9], [1.5, 0.0], 0.02)
    growth = unpack(search(u, y)).growth
    assert 0.7 < growth[0] < 2.0 and abs(growth[1]) < 0.6


def test_no_growth_from_noise():
    """Noise alone has none, exactly; of ten samples that vary as much everywhere no more than three seem to grow, as chance has it."""
    rng = np.random.default_rng(10)
    for n in (60, 100, 150):
        assert unpack(search(rng.random((n, 3)), rng.standard_normal(n))).growth.tolist() == [0.0] * 3
    samples = [sample(rng, n, [0.4, 0.5], [0.8, 0.8], [0.0, 0.0], 0.05) for n in (80, 150) for _ in range(5)]
    assert sum(bool(unpack(search(u, y)).growth.any()) for u, y, _ in samples) <= 3


def test_pure_noise_is_noise():
    """Its whole variance is found as the nugget; stated, as the noise scale."""
    rng = np.random.default_rng(2)
    u, y = rng.random((150, 2)), rng.standard_normal(150)
    y = (y - y.mean()) / y.std()
    assert unpack(search(u, y)).nugget == pytest.approx(1.0, rel=0.15)
    stated = unpack(search(u, y, v=np.full(150, 0.25)))
    assert stated.noise_scale * 0.25 + stated.nugget == pytest.approx(1.0, rel=0.15)


@pytest.mark.parametrize("d", [1, 2, 4])
def test_a_fast_oscillation_is_no_noise(d):
    """Three periods along one input: from long lengths alone the search would end in noise."""
    u = np.random.default_rng(3).random((60, d))
    y = np.sin(20.0 * u[:, 0])
    y = (y - y.mean()) / y.std()
    found = unpack(search(u, y))
    assert found.nugget < 1e-6 and found.lengths[0] < 0.4


def test_an_exact_function_needs_no_noise():
    """The nugget of a smooth function without noise is a thousand times its floor at most."""
    u = np.random.default_rng(3).random((60, 2))
    y = np.exp(u[:, 0]) * (1.0 + u[:, 1])
    assert unpack(search(u, (y - y.mean()) / y.std())).nugget < 1e3 * FLOOR


def test_the_seed_decides_every_digit():
    """The same twice; another seed starts elsewhere, and one start needs no seed."""
    u, y, _ = sample(np.random.default_rng(4), 60, [0.3, 0.6], [0.9, 0.8], [0.0, 0.0], 0.1)
    assert np.array_equal(search(u, y, seed=1, starts=3), search(u, y, seed=1, starts=3))
    assert not np.array_equal(search(u, y, seed=1, starts=3), search(u, y, seed=2, starts=3))
    assert np.array_equal(search(u, y, seed=1), search(u, y, seed=2))


def test_more_starts_are_no_worse():
    """The best of three starts of each kind, on rows that all stages see."""
    u, y, _ = sample(np.random.default_rng(5), 60, [0.15, 0.6], [0.9, 0.5], [0.0, 0.0], 0.1)
    likelihood = Penalised(Pairs.of(u), y, np.zeros(60), trend_basis(u, np.array([True, True])))
    assert likelihood(search(u, y, starts=3))[0] <= likelihood(search(u, y))[0] + 1e-2


def test_given_lengths_stay():
    """An input with a given length keeps it, and has no growth; the others are found; with nothing but given ones there is a fit too."""
    u, y, _ = sample(np.random.default_rng(6), 80, [0.3, 0.05], [0.9, 0.5], [0.0, 0.0], 0.05)
    found = unpack(search(u, y, fixed=[np.nan, 0.05]))
    assert found.lengths[1] == pytest.approx(0.05, rel=1e-12) and found.growth[1] == 0.0 and 0.15 < found.lengths[0] < 0.6
    assert unpack(search(u, y, fixed=[0.3, 0.05])).lengths == pytest.approx([0.3, 0.05], rel=1e-12)


def test_the_penalty_has_the_gradient_of_its_value():
    """Likelihood and penalty together, against central differences; where no factor exists the value is huge and flat."""
    u, y, theta = sample(np.random.default_rng(8), 30, [0.3, 0.6], [0.7, 0.6], [0.1, -0.2], 0.1)
    likelihood = Penalised(Pairs.of(u), y, np.zeros(30), trend_basis(u, np.array([True, True])))
    numeric = [(likelihood(theta + e)[0] - likelihood(theta - e)[0]) / 2e-5 for e in 1e-5 * np.eye(len(theta))]
    assert likelihood(theta)[1] == pytest.approx(numeric, abs=1e-5)
