"""The work of fitting a network ensemble, as tasks of plain arrays: choose the weight decay, train members, put them together.

Targets are the standardised scores of the principal components. Each is weighted by FLOOR / (FLOOR + its noise variance, from
the stated standard errors): noise that is stated is allowed for, so that the decay has to answer only for noise that is not.
The decay is the one with which networks predict best the third of the runs that each has not seen.

`_network_training` needs torch and is imported where it is needed: everything else works without.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mlforhpc.core.seeds import derive
from mlforhpc.core.space import FloatArray
from mlforhpc.learners._network_model import Model, Moments, expand, farthest_neighbour, forward
from mlforhpc.learners._noise import fit_noise
from mlforhpc.learners._pca import Basis, fit_basis
from mlforhpc.learners._table import Table, sites

DECAYS = (0.05, 0.25, 1.25, 6.25)
FLOOR = 0.02
SPLITS = 3
COUNT = 2.0
"""nu: how many members the error of runs left out stands for in the variance of a score."""
UPDATES, ENOUGH_RUNS = 500, 200
"""Updates up to so many runs; beyond, they grow as the square root."""
SMALL = 50_000
"""Networks of fewer parameters are trained together in one task: alone, a core would mostly wait for Python."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to fit; None chooses from the data."""

    hidden: tuple[int, ...]
    members: int
    components: int | None
    updates: int | None

    def updates_for(self, runs: int) -> int:
        """Steps of the optimiser."""
        return self.updates or round(UPDATES * np.sqrt(max(runs / ENOUGH_RUNS, 1.0)))


class Chosen(NamedTuple):
    """What is decided before the members are trained: basis, weight decay, squared error of runs left out by score (k,)."""

    basis: Basis
    decay: float
    residual: FloatArray


def choose(table: Table, columns: FloatArray, options: Options, seed: int) -> Chosen:
    """The task that decides on components and weight decay."""
    from mlforhpc.learners._network_training import train

    with threadpool_limits(1, "blas"):
        basis = fit_basis(table, options.components)
        inputs, targets, noise, weights = _problem(table, columns, basis)
        n, parts = len(inputs), _splits(table.u, seed)
        seen = np.ones((len(parts), n, 1))
        for i, part in enumerate(parts):
            seen[i, part] = 0.0
        layers = train(
            inputs, targets, np.repeat(seen * weights, len(DECAYS), axis=0), np.tile(DECAYS, len(parts)),
            hidden=options.hidden, updates=max(options.updates_for(n) // 2, 1),
            seeds=[derive(seed, "split", i) for i in range(len(parts)) for _ in DECAYS],
        )  # fmt: skip
        squared = (forward(inputs, tuple(layers)) - targets) ** 2  # (splits decays, n, k)
        left_out = np.empty((len(DECAYS), *targets.shape))
        for i, part in enumerate(parts):
            left_out[:, part] = squared[i * len(DECAYS) : (i + 1) * len(DECAYS), part]
        best = int(np.argmin((weights * left_out).sum(axis=(1, 2))))
        return Chosen(basis, DECAYS[best], np.maximum((left_out[best] - noise).mean(axis=0), 0.0))


def _splits(u: FloatArray, seed: int) -> list[NDArray[np.intp]]:
    """A random partition of the rows of u (n, d), runs at one place together where there are several places."""
    which = sites(u)[1] if np.ptp(u, axis=0).any() else np.arange(len(u))
    places = int(which.max()) + 1
    order = np.random.default_rng(derive(seed, "splits")).permutation(places)
    return [np.flatnonzero(np.isin(which, part)) for part in np.array_split(order, min(SPLITS, places))]


def train_members(table: Table, columns: FloatArray, chosen: Chosen, options: Options, seeds: Sequence[int]) -> list[FloatArray]:
    """The task that trains some members on all runs of a table: W_1, b_1, W_2, ... with one row a member."""
    from mlforhpc.learners._network_training import train

    with threadpool_limits(1, "blas"):
        inputs, targets, _, weights = _problem(table, columns, chosen.basis)
        updates = options.updates_for(len(inputs))
        everywhere = np.broadcast_to(weights, (len(seeds), *weights.shape))
        return train(inputs, targets, everywhere, np.full(len(seeds), chosen.decay), hidden=options.hidden, updates=updates, seeds=seeds)


def groups(table: Table, columns: FloatArray, chosen: Chosen, options: Options, seed: int) -> list[list[int]]:
    """Seeds of the members that are trained in one task."""
    sizes = (len(columns), *options.hidden, len(chosen.basis.deviations))
    seeds = [derive(seed, "member", i) for i in range(options.members)]
    small = sum(a * b for a, b in itertools.pairwise(sizes)) < SMALL
    return [seeds] if small else [[s] for s in seeds]


def assemble(table: Table, columns: FloatArray, chosen: Chosen, trained: Sequence[Sequence[FloatArray]]) -> Model:
    """The model of all members."""
    basis, runs = chosen.basis, expand(table.u, columns)
    with threadpool_limits(1, "blas"):
        return Model(
            columns=columns,
            layers=tuple(np.concatenate(parts) for parts in zip(*trained, strict=True)),
            centre=basis.centre,
            rest=basis.rest,
            loadings=basis.loadings * basis.deviations[:, None],
            residual=COUNT * chosen.residual,
            count=np.array(COUNT),
            noise=fit_noise(table.u, table.se2, table.fidelity) if table.stated.any() else np.zeros((0, len(basis.centre))),
            stated=table.stated.astype(float),
            fidelity=np.array(np.median(table.fidelity)),
            runs=runs,
            farthest=farthest_neighbour(runs),
            scale=table.scale,
        )


def predict_left_out(model: Model, table: Table, part: NDArray[np.intp]) -> Moments:
    """What a model that has not seen `part` of a table says of it, noise at each run's own fidelity."""
    with threadpool_limits(1, "blas"):
        moments = model.moments(table.u[part])
        return moments._replace(noise=moments.noise * (model.fidelity / table.fidelity[part, None]))


def _problem(table: Table, columns: FloatArray, basis: Basis) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Inputs (n, e), targets, their noise variances and weights, (n, k) each."""
    noise = basis.score_noise(table.se2)
    return expand(table.u, columns), basis.scores(table.y), noise, FLOOR / (FLOOR + noise)
