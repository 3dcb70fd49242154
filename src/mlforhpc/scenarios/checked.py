"""Runs that a surrogate had not seen, and what it says of them: held-out runs, or runs left out of the fit in turn.

Without a run to spare, the runs are parted, and for each part a surrogate is fitted to the others by the same learner, calibration and
selection included; what it says of the part stands for what the whole fit says of a new run (it saw fewer runs, so it says a little less).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from mlforhpc.core.broker import Broker
from mlforhpc.core.learner import Dataset, Learner, Prediction, Surrogate
from mlforhpc.core.seeds import derive
from mlforhpc.core.space import FloatArray
from mlforhpc.metrics.quality import Terms
from mlforhpc.scenarios.relative import scale_of

LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
STATED = 0.9
PARTS = 5
ENOUGH = 40
"""So many left-out runs say what an error is; no more parts are refitted than that takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """n runs and the intervals that a surrogate which had not seen them gives for such a run, pointwise.

    Attributes:
        runs: all of them `ok`.
        predicted: coverage -> prediction, for each of LEVELS.
        how: whether they were simulated (or set aside) for this, or left out of the fit in turn.
    """

    runs: Dataset
    predicted: Mapping[float, Prediction]
    how: Literal["held-out", "left-out"]

    @property
    def at_stated(self) -> Prediction:
        """The 90 % intervals."""
        return self.predicted[STATED]

    @property
    def scales(self) -> dict[str, FloatArray]:
        """What each run's errors are relative to, output name -> (n,)."""
        return {o.name: np.array([scale_of(o, y) for y in self.runs.y[o.name]]) for o in self.runs.outputs}

    @property
    def terms(self) -> Terms:
        """Signed squared relative errors: (p - r)^2, less the run's own stated variance."""
        columns = []
        for output in self.runs.outputs:
            r = self.runs.y[output.name]
            se = np.nan_to_num(self.runs.y_se.get(output.name, np.zeros_like(r)))
            squared = (self.at_stated.mean[output.name] - r) ** 2 - se**2
            columns.append(squared.reshape(len(r), -1).mean(axis=1) / self.scales[output.name] ** 2)
        return Terms(
            outputs=tuple(o.name for o in self.runs.outputs),
            counted=tuple(not o.derived for o in self.runs.outputs),
            values=np.stack(columns, axis=1),
        )

    def save(self, path: Path) -> None:
        """Runs and 90 % intervals as an .npz, so that anyone can calculate the error again."""
        p, r = self.at_stated, self.runs
        arrays = {"x": r.x, "q2_terms": self.terms.by_system}
        for name in p.mean:
            arrays |= {f"{name}.p": p.mean[name], f"{name}.lower": p.lower[name], f"{name}.upper": p.upper[name], f"{name}.r": r.y[name]}
        arrays |= {f"{name}.se": se for name, se in r.y_se.items()}
        with path.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)


def held_out(surrogate: Surrogate, runs: Dataset) -> Checked:
    """A surrogate against runs that were kept from it; those that failed say nothing."""
    ok = runs.rows(runs.ok)
    return Checked(runs=ok, predicted=_predicted(surrogate, ok), how="held-out")


def left_out(learner: Learner, data: Dataset, *, seed: int, broker: Broker) -> Checked | None:
    """Each part of the runs against a surrogate of the others; None with too few runs to leave any out."""
    ok = data.rows(data.ok)
    parts = np.array_split(np.random.default_rng(derive(seed, "left-out")).permutation(len(ok)), min(PARTS, len(ok)))
    if len(ok) - max(map(len, parts)) < 2:
        return None
    done: list[tuple[Dataset, Mapping[float, Prediction]]] = []
    for i, part in enumerate(parts):
        if sum(len(runs) for runs, _ in done) >= ENOUGH:
            break
        rest = np.setdiff1d(np.arange(len(ok)), part)
        fitted = learner.fit(ok.rows(rest), seed=derive(seed, "left-out", i), broker=broker)
        runs = ok.rows(np.sort(part))
        done.append((runs, _predicted(fitted, runs)))
    rows = ok.rows(np.concatenate([np.sort(part) for part in parts[: len(done)]]))
    return Checked(runs=rows, predicted={level: _joined([p[level] for _, p in done]) for level in LEVELS}, how="left-out")


def _predicted(surrogate: Surrogate, runs: Dataset) -> dict[float, Prediction]:
    """For a run that states its own standard errors, where all of them do."""
    se = {name: errors for name, errors in runs.y_se.items() if np.isfinite(errors).all()} or None
    return {level: surrogate.predict(runs.x, coverage=level, of="run", se=se) for level in LEVELS} if len(runs) else {}


def _joined(parts: Sequence[Prediction]) -> Prediction:
    def each(ends: Callable[[Prediction], Mapping[str, FloatArray]]) -> dict[str, FloatArray]:
        return {name: np.concatenate([ends(p)[name] for p in parts]) for name in ends(parts[0])}

    return Prediction(
        mean=each(lambda p: p.mean),
        lower=each(lambda p: p.lower),
        upper=each(lambda p: p.upper),
        inside=np.concatenate([p.inside for p in parts]),
        coverage=parts[0].coverage,
        of=parts[0].of,
        joint=parts[0].joint,
    )
