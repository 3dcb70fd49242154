"""Known truths about a promise: the limit by hand, a gate that must close, and a law that must break the promise and be found."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlforhpc.core.check import Check
from mlforhpc.core.learner import Dataset
from mlforhpc.core.simulation import Simulation
from mlforhpc.core.space import FloatArray
from mlforhpc.learners import gaussian_process
from mlforhpc.metrics.anytime import most_broken
from mlforhpc.scenarios.answering import Answering, Spent, Stream, StreamJob
from mlforhpc.scenarios.answering_result import judged
from mlforhpc.scenarios.gate import EvidenceLaw, ProximaLaw, Scored
from mlforhpc.scenarios.relative import HalfWidths
from mlforhpc.scenarios.request_streams import Overconfident
from mlforhpc.simulations import nanoconfinement_twin as twins

DELTA, TOLERANCE = 0.1, 0.0642
_MIXTURE = ((0.99, 0.4), (0.05, 0.1), (0.15, 0.1), (0.3, 0.1), (0.5, 0.1), (0.7, 0.1), (0.9, 0.1))
"""Theta / p and weight of each bet, as docs/online.md's limit has them."""
_RUNS, _REQUESTS = 11, 400
_NOTHING = Spent(simulations=0, simulation_s=0.0, audit_runs=0, audit_s=0.0, fits=0, fit_s=0.0)


@dataclass(frozen=True, slots=True)
class Always:
    """A law that lets the surrogate answer everything."""

    limit: float = math.inf

    def learn(self, scored: Scored) -> tuple[bool, bool]:
        """Nothing."""
        return False, False


def checks() -> Iterator[Check]:
    """See the file's docstring; together some core-seconds."""
    for violations, audit in ((0, 0.05), (3, 0.05), (2, 0.2)):
        yield _limit(violations, audit)
    yield _closes()
    yield from _laws()


def _limit(violations: int, audit: float) -> Check:
    """At the limit B, the mean of (1 - theta / p)^violations e^(theta B) over the mixture is 1 / alpha = 20."""
    found = most_broken({audit: violations} if violations else {}, answers=100_000, lowest=audit, alpha=0.05)
    capital = sum(weight * (1.0 - share) ** violations * math.exp(share * audit * found) for share, weight in _MIXTURE)
    away = abs(math.log(capital / 20.0))
    sentence = f"{violations} broken of answers audited with p = {audit:g}: at the limit of {found:.1f} the capital is {capital:.3f} (20)"
    return Check(name=f"limit, {violations} broken, p {audit:g}", passed=away < 0.02, found=away, limit=0.02, sentence=sentence)


def _closes() -> Check:
    """Answers are right until the gate is open, and from then on all broken: audits of every answer close it at the third."""
    law, answered = EvidenceLaw(delta=DELTA), 0
    while law.limit < 0.5:
        law.learn(Scored(rho=0.5, error=0.1, weight=1.0, answered=False))
    while law.limit >= 0.5 and answered < 100:
        answered += 1
        law.learn(Scored(rho=0.5, error=2.0, weight=1.0, answered=True))
    sentence = f"answers broken on purpose close the gate after {answered} audits (limit 3)"
    return Check(name="the gate closes", passed=answered <= 3, found=float(answered), limit=3.0, sentence=sentence)


def _laws() -> Iterator[Check]:
    """Of an overconfident surrogate, evidence lets few broken answers through; a law that always answers breaks the promise."""
    rho, errors = overconfident(twins.create())
    kept, broken = (walked(law, rho, errors, seed=0) for law in (EvidenceLaw(delta=DELTA), Always()))
    sentence = f"of an overconfident surrogate's answers {kept.broken_share:.3f} are broken where evidence decides (limit {DELTA:g})"
    passed = (
        judged(Answering(streams=[kept], loaded=None, growth=None), target=DELTA, installation=False).status == "VALID"
        and kept.answered > 0
    )
    yield Check(name="evidence keeps the promise", passed=passed, found=kept.broken_share, limit=DELTA, sentence=sentence)
    sentence = f"a law that always answers breaks {broken.broken_share:.3f} of them and is INVALID (wanted more than {DELTA:g})"
    passed = judged(Answering(streams=[broken], loaded=None, growth=None), target=DELTA, installation=False).status == "INVALID"
    yield Check(name="always answering is found", passed=passed, found=broken.broken_share, limit=DELTA, sentence=sentence)


def overconfident(simulation: twins.Twin) -> tuple[FloatArray, FloatArray]:
    """rho, and error over tolerance (n,), at points over the space, of a surrogate of few runs whose intervals are a third of what they
    should be."""
    rng = np.random.default_rng(11)
    x, asked = (simulation.space.decode(rng.random((n, len(simulation.space)))) for n in (_RUNS, _REQUESTS))
    learner = Overconfident(gaussian_process.create(folds=2, components=3, searched=20))
    p = learner.fit(_runs(simulation, x), seed=0).predict(asked, of="mean")
    true = simulation.truth(asked)
    squared = [np.mean((p.mean[o.name] - true[o.name]) ** 2, axis=1) / true[o.name].mean(axis=1) ** 2 for o in simulation.outputs]
    return HalfWidths(simulation.outputs)(p) / TOLERANCE, np.sqrt(np.mean(squared, axis=0)) / TOLERANCE


def _runs(simulation: Simulation, x: FloatArray) -> Dataset:
    found = [
        simulation.simulate(simulation.space.point(row), settings={}, fidelity=twins.FIDELITY, seed=i, workdir=Path())
        for i, row in enumerate(x)
    ]
    names, n = [o.name for o in simulation.outputs], len(x)
    return Dataset(
        space=simulation.space, outputs=tuple(simulation.outputs), x=x,
        y={name: np.array([run.values[name] for run in found]) for name in names},
        y_se={name: np.array([run.standard_errors[name] for run in found]) for name in names},
        outcome=("ok",) * n, fidelity=np.full(n, twins.FIDELITY), cost_s=np.ones(n), keys=tuple(str(i) for i in range(n)),
    )  # fmt: skip


def walked(law: EvidenceLaw | ProximaLaw | Always, rho: Sequence[float] | FloatArray, errors: Sequence[float] | FloatArray, *, seed: int,
           audit: float = 0.05) -> Stream:  # fmt: skip
    """A stream through one gate in front of one surrogate that never learns: fallbacks and audits are scored by the exact truth."""
    coin, by, broken = np.random.default_rng(seed), 0, 0
    late = []
    for half, error in zip(rho, errors, strict=True):
        answered = half <= law.limit
        by, broken = by + answered, broken + (answered and error > 1.0)
        late.append(answered)
        if (answered and coin.random() < audit) or (not answered and half <= 1.0):
            weight = 1.0 if answered or not law.limit else audit
            law.learn(Scored(rho=float(half), error=float(error), weight=weight, answered=bool(answered)))
    job = StreamJob(
        law="evidence", case="overconfident", seed=seed, requests=len(late), tolerance=TOLERANCE, fidelity=twins.FIDELITY,
        learner=gaussian_process.create(), corner={},
    )  # fmt: skip
    return Stream(
        job=job, answered=int(by), answered_late=float(np.mean(late[-(len(late) // 4) :])), broken_share=float(broken / max(1, by)),
        error=None, limit=None, limit_held=True, curve=(), spent=_NOTHING,
    )  # fmt: skip
