"""Judgement of a learned surrogate: error, coverage, cost and gain at equal quality against the simulation's own ladder.

What the scenario learned and what the referee measured come together here; every number is a function of `metrics`, and the
arrays that it came from are kept in `artifacts/quality.npz`, so that anyone can calculate it again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from mlforhpc.core import trace
from mlforhpc.core.broker import Broker
from mlforhpc.core.learner import Dataset, Learner, Prediction
from mlforhpc.core.seeds import derive
from mlforhpc.core.simulation import Simulation
from mlforhpc.core.space import FloatArray
from mlforhpc.metrics.coverage import Coverage, Predicted, coverage, success_rate
from mlforhpc.metrics.gain import Gain, LearnedCost, Repeat, gain_figures
from mlforhpc.metrics.ladder import Ladder, Rung, build_ladder
from mlforhpc.metrics.quality import Quality, Terms, error_terms, pair_terms, quality, replica_ratio, scale
from mlforhpc.metrics.speedup import Speedup
from mlforhpc.metrics.strata import Strata
from mlforhpc.metrics.system import system_figures
from mlforhpc.metrics.timeline import Row
from mlforhpc.scenarios.referee import LookupTimes, Measured, time_lookups
from mlforhpc.scenarios.surrogate import Learned

Postprocess: TypeAlias = Callable[[Dataset], Mapping[str, FloatArray]]


def raw(runs: Dataset) -> Mapping[str, FloatArray]:
    """Post-processing that leaves the runs as they are."""
    return runs.y


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """Everything that is known about one learned surrogate.

    Attributes:
        learned, measured: what was judged, and by what.
        predicted: 90 % intervals for the first reference runs, pointwise.
        strata, terms, quality: the error, see `metrics.quality`.
        replica_ratio: test of the stated standard errors; None without any.
        coverage, joint: pointwise and simultaneous.
        success_rate: the source's figure, per output.
        ladder, gain, speedup, lookups: cost; the first two None for a simulation without fidelity.
        raw_ladder: of conventional runs as they are; None without post-processing.
        controls: name -> error of predictors that must miss the target.
        curve: (training runs, quality) of smaller training sets.
        spent_s: "kind, charge" -> slot-seconds.
    """

    learned: Learned
    measured: Measured
    predicted: Prediction
    strata: Strata
    terms: Terms
    quality: Quality
    replica_ratio: float | None
    coverage: Coverage
    joint: Coverage
    success_rate: Mapping[str, float]
    ladder: Ladder | None
    raw_ladder: Ladder | None
    gain: Gain | None
    speedup: Speedup
    lookups: LookupTimes
    controls: Mapping[str, Quality]
    curve: Sequence[tuple[int, Quality]]
    spent_s: Mapping[str, float]


def judge(
    referee: Broker,
    learned: Learned,
    measured: Measured,
    *,
    learner: Learner,
    steps_at_full: float,
    folder: Path,
    seed: int,
    answers: float = 1000.0,
    reference_fidelity: float,
    postprocess: Postprocess = raw,
    smaller: Sequence[int] = (),
    controls: Mapping[str, Mapping[str, FloatArray]] | None = None,
) -> Judgement:
    """Judge a surrogate.

    Args:
        referee: the measuring view of the broker.
        learned: by the scenario.
        measured: by the referee, on systems that the scenario has not seen.
        learner: fits the smaller training sets of the learning curve and the control on permuted outputs, whose means alone count.
        steps_at_full: effort at fidelity 1, for the ladder's axis.
        folder: the run folder: its trace holds the costs, its `artifacts` take the arrays.
        seed: of resampling and controls.
        answers: the declared number of answers N.
        reference_fidelity: of the pairs.
        postprocess: what a careful user makes of conventional runs before using them (smoothing, control variates): of n runs, output
            name -> (n, *shape), each row from its own run alone. The ladder's errors are of what it gives; its own cost is not counted.
        smaller: training-set sizes of the learning curve.
        controls: name -> predictions for the held-out systems, output name -> (n, *shape); they must miss the target.
    """
    outputs, r1, r2, held = learned.simulation.outputs, measured.r1, measured.r2, measured.held
    strata = Strata(labels=held.stratum, weights=held.weight / held.weight.sum())

    def error(p: Mapping[str, FloatArray]) -> Quality:
        return quality(error_terms(outputs, p, r1.y, r2.y), strata, seed=seed)

    lookups = referee.submit("infer", time_lookups, learned.surrogate, seed, label="lookups").result()
    predicted = learned.surrogate.predict(held.x, se=r1.y_se)
    terms = error_terms(outputs, predicted.mean, r1.y, r2.y)
    rungs, raw_rungs = (ladder_rungs(learned.simulation, measured, steps_at_full, reference_fidelity, f) for f in (postprocess, raw))
    others = dict(controls or {}) | {"mean of the training runs": mean_predictor(learned.data, len(held.x))}
    permuted = learner.fit(permute(learned.data, derive(seed, "permutation")), seed=seed, broker=referee)
    others["surrogate of permuted outputs"] = permuted.predict(held.x).mean
    curve = []
    for n in smaller:
        part = learner.fit(learned.data.rows(np.arange(n)), seed=derive(seed, "fit"), broker=referee)
        curve.append((n, error(part.predict(held.x).mean)))
    account = system_figures(trace.read(folder / "events.jsonl"))
    spent = account.slot_s
    cost = LearnedCost(fixed_s={kind: s for (kind, charge), s in spent.items() if charge == "learned"}, lookup_s=lookups.batched_s)
    repeat = Repeat(terms=terms.by_system, rungs=rungs, strata=strata, learned=cost)
    judged = Judgement(
        learned=learned,
        measured=measured,
        predicted=predicted,
        strata=strata,
        terms=terms,
        quality=quality(terms, strata, seed=seed),
        replica_ratio=replica_ratio(outputs, r1.y, r2.y, r1.y_se, r2.y_se),
        coverage=_coverage(learned, measured, strata, seed, joint=False),
        joint=_coverage(learned, measured, strata, seed, joint=True),
        success_rate=_success(predicted, r1, strata),
        ladder=build_ladder(rungs, strata) if rungs else None,
        raw_ladder=build_ladder(raw_rungs, strata) if rungs and postprocess is not raw else None,
        gain=gain_figures([repeat], seed=seed, n=answers) if rungs else None,
        speedup=_speedup(learned, account.rows, lookups),
        lookups=lookups,
        controls={name: error(p) for name, p in others.items()},
        curve=[*curve, (int(learned.data.ok.sum()), quality(terms, strata, seed=seed))],
        spent_s={f"{kind}, {charge}": s for (kind, charge), s in spent.items()},
    )
    save(judged, folder / "artifacts")
    return judged


def mean_predictor(data: Dataset, n: int) -> dict[str, FloatArray]:
    """The mean of the training runs, for every one of n systems."""
    return {name: np.repeat(y[data.ok].mean(axis=0)[None], n, axis=0) for name, y in data.y.items()}


def permute(data: Dataset, seed: int) -> Dataset:
    """The same runs, each with another one's outputs: nothing is left to learn but the mean."""
    order = np.random.default_rng(seed).permutation(len(data))
    mixed = data.rows(order)
    return Dataset(
        space=data.space, outputs=data.outputs, x=data.x, y=mixed.y, y_se=mixed.y_se, outcome=mixed.outcome,
        fidelity=mixed.fidelity, cost_s=mixed.cost_s, keys=mixed.keys,
    )  # fmt: skip


def ladder_rungs(
    simulation: Simulation, measured: Measured, steps_at_full: float, reference_fidelity: float, postprocess: Postprocess = raw
) -> list[Rung]:
    """The ladder as metrics wants it; empty for a simulation whose pairs are identical (deterministic)."""
    r1, r2, outputs = measured.r1, measured.r2, simulation.outputs
    if not measured.rungs:
        return []

    def pair(one: Dataset, other: Dataset) -> FloatArray:
        return pair_terms(outputs, (one.y, other.y), (postprocess(one), postprocess(other))).by_system

    cost = (r1.cost_s + r2.cost_s) / 2
    rungs = [Rung(name="reference", steps=reference_fidelity * steps_at_full, terms=pair(r1, r2), cost_s=cost)]
    for rung in measured.rungs:
        i, terms, cost = rung.index, np.full(len(r1), np.nan), np.full(len(r1), np.nan)
        if rung.again is None:
            terms[i] = error_terms(outputs, postprocess(rung.data), r1.rows(i).y, r2.rows(i).y).by_system
            cost[i] = rung.data.cost_s
        else:
            terms[i] = pair(rung.data, rung.again)
            cost[i] = (rung.data.cost_s + rung.again.cost_s) / 2
        rungs.append(Rung(name=f"fidelity {rung.fidelity:g}", steps=rung.fidelity * steps_at_full, terms=terms, cost_s=cost))
    return rungs


def _coverage(learned: Learned, measured: Measured, strata: Strata, seed: int, *, joint: bool) -> Coverage:
    """Of the 90 % interval, by both reference runs of each system, each with its own stated error."""
    outputs, r = learned.simulation.outputs, measured.r1
    p = learned.surrogate.predict(measured.held.x, joint=joint, se=r.y_se)
    return coverage(
        outputs,
        Predicted(mean=p.mean, lower=p.lower, upper=p.upper),
        r.y,
        {o.name: scale(o, r.y[o.name], measured.r2.y[o.name]) for o in outputs},
        strata,
        stated=0.9,
        seed=seed,
        label="simultaneous" if joint else "pointwise",
    )


def _success(predicted: Prediction, r: Dataset, strata: Strata) -> dict[str, float]:
    """The source's success rate of each array that states errors and counts for q."""
    names = [o.name for o in r.outputs if o.name in r.y_se and not o.derived]
    return {name: success_rate(predicted.mean[name], r.y[name], r.y_se[name], strata.weights) for name in names}


def _speedup(learned: Learned, rows: Sequence[Row], lookups: LookupTimes) -> Speedup:
    data = learned.data.rows(learned.data.ok)
    phases = {kind: occupied_s([r for r in rows if r.charge == "learned" and r.kind == kind]) for kind in ("simulate", "learn")}
    return Speedup(
        n_train=len(data),
        t_seq_s=float(data.cost_s.mean()),
        t_train_s=phases["simulate"] / len(data),
        t_learn_s=phases["learn"] / len(data),
        t_lookup_s=lookups.batched_s,
    )


def occupied_s(rows: Sequence[Row]) -> float:
    """Makespan of a phase: the time in which at least one of its tasks ran; gaps between resumptions do not count."""
    total, end = 0.0, -np.inf
    for row in sorted(rows, key=lambda r: r.start_s):
        total += max(0.0, row.end_s - max(row.start_s, end))
        end = max(end, row.end_s)
    return total


def save(j: Judgement, folder: Path) -> None:
    """`surrogate.safetensors` and `quality.npz`: predictions, references and ladder, as arrays."""
    j.learned.surrogate.save(folder / "surrogate.safetensors")
    m, p = j.measured, j.predicted
    arrays = {"x": m.held.x, "stratum": np.array(m.held.stratum), "weight": j.strata.weights, "q2_terms": j.terms.by_system}
    for name in p.mean:
        arrays |= {f"{name}.p": p.mean[name], f"{name}.lower": p.lower[name], f"{name}.upper": p.upper[name]}
        arrays |= {f"{name}.r1": m.r1.y[name], f"{name}.r2": m.r2.y[name]}
        arrays |= {f"{name}.se{k}": r.y_se[name] for k, r in ((1, m.r1), (2, m.r2)) if name in r.y_se}
    arrays |= {"cost1_s": m.r1.cost_s, "cost2_s": m.r2.cost_s}
    for r in j.ladder.rungs if j.ladder else ():
        arrays |= {f"ladder_{r.name}.steps": np.array(r.steps), f"ladder_{r.name}.q2_terms": r.terms, f"ladder_{r.name}.cost_s": r.cost_s}
    arrays["ladder"] = np.array([r.name for r in j.ladder.rungs] if j.ladder else [], dtype=str)
    for rung in m.rungs:
        arrays[f"rung_{rung.fidelity:g}.index"] = rung.index
        for label, runs in ((f"rung_{rung.fidelity:g}", rung.data), (f"rung_{rung.fidelity:g}_again", rung.again)):
            if runs is not None:
                arrays |= {f"{label}.cost_s": runs.cost_s, **{f"{label}.{name}": y for name, y in runs.y.items()}}
                arrays |= {f"{label}.{name}.se": error for name, error in runs.y_se.items()}
    with (folder / "quality.npz").open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
