"""A learned surrogate of somebody's own simulation or table as a result: verdict, headline, tables; figures are in learned_figures.

There is no second method and no referee: the error is that of held-out runs, or of runs left out in turn, and nothing is ranked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mlforhpc.core.learner import Dataset, Surrogate
from mlforhpc.core.record import Record
from mlforhpc.core.result import Cell, Interval, Result, Table, Verdict
from mlforhpc.core.simulation import Simulation
from mlforhpc.core.space import Choice, Integer, Parameter
from mlforhpc.learners._failure import fit_failure
from mlforhpc.metrics import verdict
from mlforhpc.metrics.bootstrap import DRAWS
from mlforhpc.metrics.coverage import Coverage, Predicted, coverage
from mlforhpc.metrics.quality import Quality, quality
from mlforhpc.metrics.strata import one_stratum
from mlforhpc.scenarios.checked import STATED, Checked
from mlforhpc.scenarios.course import Course, course_table
from mlforhpc.scenarios.judged_result import REFERENCES
from mlforhpc.scenarios.learned_figures import figures
from mlforhpc.scenarios.referee import LookupTimes
from mlforhpc.scenarios.sensitivity_figure import REFERENCES as SENSITIVITY_REFERENCES
from mlforhpc.scenarios.sensitivity_figure import sensitivity_figure, sensitivity_table, surrogate_sensitivity

DRAWS_OF_MANY = 2000
"""Resamples where there are more than 500 runs."""
HOW = {"held-out": "held-out runs", "left-out": "runs left out of the fit in turn"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What a run made, and what is known about it.

    Attributes:
        simulation: what was learned; `Recorded` for a table.
        surrogate: its stand-in.
        data, records: the training runs, failed ones included.
        checked: against runs that it had not seen; None where there were too few.
        spent_s: (kind, charge) -> slot-seconds.
        lookups: time of an answer.
        course: how the simulating went; None for a table.
        notes: what was decided about the parameters, in sentences.
        files: sentences about the files that were written or not.
    """

    simulation: Simulation
    surrogate: Surrogate
    data: Dataset
    records: Sequence[Record]
    checked: Checked | None
    spent_s: Mapping[tuple[str, str], float]
    lookups: LookupTimes
    course: Course | None = None
    notes: Sequence[str] = ()
    files: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """Error and coverage; None where nothing could be checked."""

    quality: Quality
    coverage: Coverage


def result(made: Made, *, tolerance: float | None, seed: int) -> Result:
    """The result of a run.

    Args:
        made: what it made.
        tolerance: of the relative error, what the verdict is given against; None for no judgement.
        seed: of resampling.
    """
    found = _found(made.checked, seed) if made.checked is not None and len(made.checked.runs) else None
    matters = surrogate_sensitivity(made.surrogate, errors=_errors(made.checked) if made.checked is not None and found else None, seed=seed)
    drawn = [*(figures(made.checked, tolerance=tolerance) if made.checked is not None and found else []), sensitivity_figure(matters)]
    return Result(
        verdict=_verdict(made, found, tolerance),
        headline=_headline(made, found, tolerance),
        quality=_quality(made, found),
        performance=_performance(made),
        figures=[figure for figure in drawn if figure is not None],
        tables=[*_tables(made, found), sensitivity_table(matters)],
        references=list(dict.fromkeys([*made.simulation.references, *REFERENCES, *SENSITIVITY_REFERENCES])),
    )


def _found(checked: Checked, seed: int) -> _Found:
    n, p = len(checked.runs), checked.at_stated
    strata = one_stratum(n)
    draws = DRAWS if n <= 500 else DRAWS_OF_MANY
    predicted = Predicted(mean=p.mean, lower=p.lower, upper=p.upper)
    return _Found(
        quality=quality(checked.terms, strata, seed=seed, draws=draws),
        coverage=coverage(checked.runs.outputs, predicted, checked.runs.y, checked.scales, strata, stated=STATED, seed=seed, draws=draws),
    )


def _verdict(made: Made, found: _Found | None, tolerance: float | None) -> Verdict:
    """Against the tolerance as a benchmark's against its target; without one there is nothing to judge by, and the sentence says so."""
    if found is None or made.checked is None:
        return Verdict(status="INVALID", reason="no run was left to check the surrogate with", target=tolerance, ranked=False)
    runs = f"{len(made.checked.runs)} {HOW[made.checked.how]}"
    if tolerance is None:
        q = found.quality.q.value
        stated = "below the noise of the runs" if q is None else f"{q:.2g}"
        return Verdict(status="VALID", reason=f"no tolerance was given to judge by; error q {stated} on {runs}", target=None, ranked=False)
    if made.checked.how == "left-out" and made.course is not None and made.course.looks:
        return _last_look(made.course, tolerance)
    judged = verdict.judge(found.quality, target=tolerance)
    return replace(judged, reason=f"{judged.reason}, on {runs}", ranked=False)


def _last_look(course: Course, tolerance: float) -> Verdict:
    """Without held-out runs, what the last look saw: it takes into account how much better a fit to all runs is."""
    last = course.looks[-1]
    said = f"error {last.error:.2g}, upper limit {last.upper:.2g}, tolerance {tolerance:g}, by runs left out of refits of {last.runs} runs"
    if last.upper <= tolerance:
        return Verdict(status="VALID", reason=f"the tolerance was reached: {said}", target=tolerance, ranked=False)
    return Verdict(status="INVALID", reason=f"the tolerance was not reached: {said}", target=tolerance, ranked=False)


def _headline(made: Made, found: _Found | None, tolerance: float | None) -> dict[str, Interval]:
    headline = {}
    if found is not None and made.checked is not None:
        q = found.quality
        limit = "one-sided upper limit open" if q.upper is None else f"one-sided 95 % upper limit {q.upper:.3g}"
        headline["error q"] = replace(
            q.q,
            note="; ".join([limit, f"{len(made.checked.runs)} {HOW[made.checked.how]}", *_near_zero(made.checked)]),
            meaning="Error of the surrogate's answers relative to the outputs' size, the runs' own stated noise removed; 0 is perfect.",
            reference=tolerance,
        )
        headline["coverage of the 90 % interval"] = replace(
            found.coverage.pointwise, meaning="Share of these runs' outputs inside the surrogate's interval for a run.", note="by run"
        )
    if (cost_s := _run_s(made)) is not None:
        headline["S(infinity)"] = Interval(
            value=cost_s / made.lookups.batched_s,
            meaning="How many times faster an answer is than a run; it says nothing of quality.",
            note="batched lookups",
            better="higher",
        )
    return headline


def _near_zero(checked: Checked) -> list[str]:
    """An error relative to a run's own number means little where that goes through zero."""
    names = [o.name for o in checked.runs.outputs if o.shape == () and isinstance(o.scale, str) and not o.derived]
    through = [name for name in names if checked.runs.y[name].min() <= 0 <= checked.runs.y[name].max()]
    return [f"{name} goes through 0, where an error relative to it is large: declare a scale to judge it by" for name in through]


def _errors(checked: Checked) -> dict[str, float]:
    """Variance of the surrogate's error, mean over elements, output name -> in the output's unit squared; the runs' own noise taken out."""
    found = {}
    for output in checked.runs.outputs:
        r = checked.runs.y[output.name]
        error = (checked.at_stated.mean[output.name] - r).reshape(len(r), -1)  # (n, m)
        noise = np.mean(np.nan_to_num(checked.runs.y_se.get(output.name, np.zeros_like(r))) ** 2)
        found[output.name] = max(float(error.var(axis=0).mean() - noise), 0.0)
    return found


def _quality(made: Made, found: _Found | None) -> dict[str, float | None]:
    figures: dict[str, float | None] = {"training_runs": float(made.data.ok.sum()), "failed_runs": float((~made.data.ok).sum())}
    figures |= {name: float(v) for name, v in made.surrogate.card.items() if name.startswith("fold_") and not isinstance(v, str)}
    if found is None or made.checked is None:
        return figures
    q, c = found.quality, found.coverage
    figures |= {
        "q": q.q.value, "q2": q.q2, "q_lower": q.lower, "q_upper": q.upper, "median": q.median, "p90": q.p90, "worst": q.worst,
        "top_share": q.top_share, "coverage": c.pointwise.value, "coverage_whole_by_pointwise": c.whole.value,
        "interval_score": c.score, "interval_score_constant": c.constant_score, "checked_runs": float(len(made.checked.runs)),
    }  # fmt: skip
    return figures | {f"q[{name}]": v for name, v in q.by_output.items()} | {f"coverage[{name}]": v for name, v in c.by_output.items()}


def _performance(made: Made) -> dict[str, float | None]:
    figures: dict[str, float | None] = {"T_lookup_single_s": made.lookups.single_s, "T_lookup_batched_s": made.lookups.batched_s}
    if (cost_s := _run_s(made)) is not None:
        figures |= {"T_seq_s": cost_s, "S_infinity": cost_s / made.lookups.batched_s}
    return figures | {f"slot_s[{kind}, {charge}]": s for (kind, charge), s in made.spent_s.items()}


def _run_s(made: Made) -> float | None:
    """Mean slot time of a training run; None where the table does not say."""
    cost_s = made.data.cost_s[made.data.ok]
    return float(cost_s.mean()) if len(cost_s) and cost_s.sum() > 0 else None


def _tables(made: Made, found: _Found | None) -> list[Table]:
    parameters: list[list[Cell]] = [[name, *_parameter(p)] for name, p in made.simulation.space.parameters.items()]
    spent: list[list[Cell]] = [[kind, charge, s] for (kind, charge), s in sorted(made.spent_s.items())]
    tables = [
        Table(
            name="parameters", title="Parameters", columns=["parameter", "values", "unit"], rows=parameters,
            caption=" ".join(["The surrogate answers inside these bounds.", *made.notes]),
        ),
        Table(
            name="surrogate", title="The surrogate", columns=["what", "value"], rows=[[k, v] for k, v in made.surrogate.card.items()],
            caption=" ".join([f"Version {made.surrogate.version}, the hash of its content.", *made.files]),
        ),
        Table(
            name="cost", title="What was spent", columns=["kind", "charged to", "slot-seconds"], rows=spent,
            caption="Runs, fits and checks are charged to what was learned; timing the answers is measurement.",
        ),
    ]  # fmt: skip
    if found is not None and made.checked is not None:
        tables.insert(1, _outputs(made, found))
    if made.course is not None and made.course.looks:
        tables.insert(0, course_table(made.course))
    if not made.data.ok.all():
        tables.append(_failures(made))
    return tables


def _outputs(made: Made, found: _Found) -> Table:
    size = {o.name: float(np.sqrt(np.mean(made.data.y[o.name][made.data.ok] ** 2))) for o in made.simulation.outputs}
    q, c = found.quality, found.coverage
    rows: list[list[Cell]] = [
        [
            o.name,
            " x ".join(map(str, o.shape)) or "number",
            o.unit,
            size[o.name],
            _relative(o.scale),
            q.by_output[o.name],
            c.by_output[o.name],
        ]
        for o in made.simulation.outputs
    ]
    return Table(
        name="outputs", title="Outputs", rows=rows,
        columns=["output", "shape", "unit", "RMS over the runs", "relative to", "q", "coverage"],
        caption="q is the error relative to what stands before it (a number: the declared scale; of a table, each output's "
        "standard deviation over the runs); coverage is of the 90 % interval, element by "
        "element. A negative q lies below the runs' own noise.",
    )  # fmt: skip


def _relative(scale: str | float) -> str:
    return {"mean": "each run's mean", "rms": "each run's RMS"}.get(scale, "") if isinstance(scale, str) else f"{scale:.4g}"


def _failures(made: Made) -> Table:
    counts = Counter((r.outcome, r.reason.splitlines()[0] if r.reason else "") for r in made.records if r.outcome != "ok")
    return Table(
        name="failures",
        title="Runs without outputs",
        columns=["outcome", "reason", "runs"],
        rows=[[outcome, reason, n] for (outcome, reason), n in counts.most_common(20)],
        caption=f"{int((~made.data.ok).sum())} of {len(made.data)} runs, at {_where(made.data)}. They are no part of the fit. "
        f"Of runs elsewhere in the space, {_failing(made.data):.0%} are expected to end so (a classifier of the outcomes).",
    )


def _failing(data: Dataset) -> float:
    """Mean of the learned probability of failure over the space."""
    points = data.space.decode(np.random.default_rng(0).random((512, len(data.space))))
    return float(fit_failure(data.space, data.x, ~data.ok, seed=0).probability(points).mean())


def _where(data: Dataset) -> str:
    """In which part of the space runs failed."""
    ranges = []
    for (name, p), column in zip(data.space.parameters.items(), data.x[~data.ok].T, strict=True):
        if isinstance(p, Choice):
            ranges.append(f"{name} {' or '.join(p.options[int(v)] for v in np.unique(column))}")
        else:
            ranges.append(f"{name} {column.min():.4g} to {column.max():.4g}" + ("" if p.unit == "1" else f" {p.unit}"))
    return ", ".join(ranges)


def _parameter(p: Parameter) -> tuple[str, str]:
    if isinstance(p, Choice):
        return ", ".join(p.options), p.unit
    words = f"{p.low:g} to {p.high:g}" + (", whole" if isinstance(p, Integer) else ", logarithmic" if p.log else "")
    return words, p.unit
