"""Fits `nanoconfinement_twin` to runs of the real simulation, and says whether it may stand for it.

    python bench/fit_twin.py FOLDER            # about 30 core-minutes of simulation the first time; goes on where it stopped
420 Sobol points, and 200 where ions are dense and profiles change most, make the mean; 64 pairs of runs the noise. The twin is used
only if a surrogate of 96 twin runs has an error q within 20 % of that of 96 real runs, both at the same points and held-out systems:
real from pairs of runs, the twin's from its truth.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from scipy.stats import qmc

from mlforhpc.campaign import Campaign
from mlforhpc.core.learner import Dataset
from mlforhpc.core.record import Record
from mlforhpc.core.seeds import derive
from mlforhpc.core.simulation import Outputs
from mlforhpc.core.space import FloatArray, Value
from mlforhpc.learners import gaussian_process
from mlforhpc.learners._surrogate import GaussianProcessSurrogate
from mlforhpc.simulations import nanoconfinement, nanoconfinement_twin

SEED, RUNS, DENSE, PAIRS, COMPARED = 7, 420, 200, 64, 96
COMPONENTS = 20  # all that one can have: what few runs cannot tell from noise, the twin keeps
TWIN = nanoconfinement_twin.create()
FIDELITY = nanoconfinement_twin.FIDELITY


def main() -> None:
    training, first, second = simulated(Path(sys.argv[1]))
    write(training, first, second)
    truth = columns(TWIN.truth(first.x))
    real, twin = fitted(training.rows(np.arange(COMPARED))), fitted(of_twin(training.x[:COMPARED]))
    q_real = error(real, first.x, columns(first.y), columns(second.y))
    q_twin = error(twin, first.x, truth, truth)
    ratio = q_twin / q_real
    print(f"q of all {len(training)} real runs: {error(fitted(training), first.x, columns(first.y), columns(second.y)):.4f}")
    print(f"q of {COMPARED} runs over {PAIRS} systems: real {q_real:.4f}, twin {q_twin:.4f}, ratio {ratio:.2f} (wanted 0.8 to 1.2)")
    drawn = columns(of_twin(first.x, seed=1).y), columns(of_twin(first.x, seed=2).y)
    for name, a, b in (("real", columns(first.y), columns(second.y)), ("twin", *drawn)):
        print(f"difference of two {name} runs, relative to the mean: {np.sqrt(np.mean(((a - b) / scales(truth)) ** 2)):.4f}")
    space = TWIN.space.decode(qmc.Sobol(len(TWIN.space), rng=np.random.default_rng(SEED)).random(4096))
    se, mean = nanoconfinement_twin.standard_error(TWIN.space.encode(space)), columns(TWIN.truth(space))
    print(f"noise of a twin run of 12,000 steps over the space: {np.sqrt(np.mean((se / scales(mean)) ** 2)):.4f}")
    sys.exit(0 if 0.8 <= ratio <= 1.2 else 1)


def simulated(folder: Path) -> tuple[Dataset, Dataset, Dataset]:
    """Training runs, and both runs of the pairs; profiles only."""
    simulation = nanoconfinement.create()
    with Campaign(folder) as campaign:
        runs = [
            campaign.broker.simulate(simulation, x, seed=derive(SEED, "twin", i), fidelity=FIDELITY, limit_s=120)
            for i, x in enumerate(points(512, derive(SEED, "design"))[:RUNS])
        ]
        runs += [
            campaign.broker.simulate(simulation, x, seed=derive(SEED, "dense", i), fidelity=FIDELITY, limit_s=120)
            for i, x in enumerate(dense(256, derive(SEED, "dense"))[:DENSE])
        ]
        pairs = [
            [
                campaign.referee.simulate(simulation, x, seed=derive(SEED, "pair", i, k), fidelity=FIDELITY, limit_s=120)
                for i, x in enumerate(points(PAIRS, derive(SEED, "held")))
            ]
            for k in (0, 1)
        ]
        sets = [dataset([future.result() for future in futures]) for futures in (runs, *pairs)]
    both = sets[1].ok & sets[2].ok
    return sets[0].rows(sets[0].ok), sets[1].rows(both), sets[2].rows(both)


def points(n: int, seed: int) -> list[Mapping[str, Value]]:
    design = qmc.Sobol(len(TWIN.space), rng=np.random.default_rng(seed)).random(n)
    return [TWIN.space.point(row) for row in TWIN.space.decode(design)]


def dense(n: int, seed: int) -> list[Mapping[str, Value]]:
    """Where c > 0.6 mol/L, d > 0.66 nm, z+ is 2 or (more often) 3."""
    u = qmc.Sobol(len(TWIN.space), rng=np.random.default_rng(seed)).random(n)
    return [{"h": 3.0 + h, "c": 0.6 + 0.3 * c, "z": 3 if z >= 0.4 else 2, "d": 0.66 + 0.09 * d} for h, c, z, d in u.tolist()]


def dataset(records: Sequence[Record]) -> Dataset:
    data = Dataset.of_records(nanoconfinement.create(), records)
    names = [o.name for o in TWIN.outputs]
    return replace(data, outputs=TWIN.outputs, y={name: data.y[name] for name in names}, y_se={name: data.y_se[name] for name in names})


def of_twin(x: FloatArray, seed: int = 0) -> Dataset:
    runs: list[Outputs] = [
        TWIN.simulate(TWIN.space.point(row), settings={}, fidelity=FIDELITY, seed=derive(SEED, seed, i), workdir=Path())
        for i, row in enumerate(x)
    ]
    y, se = (
        {o.name: np.array([getattr(run, part)[o.name] for run in runs]) for o in TWIN.outputs} for part in ("values", "standard_errors")
    )
    n = len(x)
    return Dataset(
        space=TWIN.space, outputs=TWIN.outputs, x=x, y=y, y_se=se, outcome=("ok",) * n, fidelity=np.full(n, FIDELITY), cost_s=np.ones(n)
    )  # fmt: skip


def fitted(data: Dataset, *, components: int | None = None) -> GaussianProcessSurrogate:
    surrogate = gaussian_process.create(folds=0, components=components).fit(data, seed=SEED)
    assert isinstance(surrogate, GaussianProcessSurrogate)
    return surrogate


def error(surrogate: GaussianProcessSurrogate, x: FloatArray, r1: FloatArray, r2: FloatArray) -> float:
    """q from two runs, or from the truth twice."""
    p = columns(surrogate.predict(x, of="mean").mean)
    return float(np.sqrt(np.mean((p - r1) * (p - r2) / scales((r1 + r2) / 2) ** 2)))


def scales(profiles: FloatArray) -> FloatArray:
    """The mean of each profile, for each of its bins (n, 128)."""
    bins = nanoconfinement_twin.BINS
    return np.repeat(profiles.reshape(len(profiles), -1, bins).mean(axis=2), bins, axis=1)


def columns(y: Mapping[str, FloatArray]) -> FloatArray:
    return np.hstack([y[o.name] for o in TWIN.outputs])


def write(training: Dataset, first: Dataset, second: Dataset) -> None:
    """The arrays of the twin, in single precision."""
    m = fitted(training, components=COMPONENTS).model
    h, variance = features(training.x), columns(training.y_se) ** 2
    log_variance = np.linalg.lstsq(h, np.log(variance), rcond=None)[0]
    log_variance[0] += np.log(variance.mean(axis=0) / np.exp(h @ log_variance).mean(axis=0))
    foreseen = np.exp(0.5 * features(first.x) @ log_variance)
    arrays = {
        "places": (1.0 - m.inputs[0, :, :, 0] / (2.0 * m.inputs[0, :, :, 2])).T / 2.0,  # (runs, d)
        "pairs": (columns(first.y) - columns(second.y)) / (np.sqrt(2.0) * foreseen),  # (pairs, 128)
        "log_variance": log_variance,
        **{name: getattr(m, name) for name in ("lengths", "shares", "growth", "weights", "trend", "centre", "vectors", "scale")},
    }
    save_file({name: np.ascontiguousarray(a, dtype=np.float32) for name, a in arrays.items()}, nanoconfinement_twin.FILE)
    nanoconfinement_twin._arrays.cache_clear()


def features(x: FloatArray) -> FloatArray:
    """1, centred inputs and their products (n, f)."""
    c = 2.0 * TWIN.space.encode(x) - 1.0
    i, j = np.triu_indices(c.shape[1])
    return np.hstack([np.ones((len(c), 1)), c, c[:, i] * c[:, j]])


if __name__ == "__main__":
    main()
