"""A judgement as a benchmark's result: headline, quality, performance, and the figure data that the report draws."""

from __future__ import annotations

from collections.abc import Sequence

from mlforhpc.core.result import Cell, Interval, Result, Table, Verdict
from mlforhpc.metrics import verdict
from mlforhpc.metrics.ladder import Ladder
from mlforhpc.metrics.quality import signed_root
from mlforhpc.scenarios.judged_figures import figures
from mlforhpc.scenarios.judgement import Judgement
from mlforhpc.scenarios.sensitivity_figure import REFERENCES as SENSITIVITY_REFERENCES
from mlforhpc.scenarios.sensitivity_figure import judged_sensitivity, sensitivity_figure, sensitivity_table


def result(
    j: Judgement, *, target: float, installation: bool, gates: Sequence[str] = (), position: str = "position", seed: int = 0
) -> Result:
    """The result of a benchmark.

    Args:
        j: the judgement.
        target: of q at this size.
        installation: size tiny: an installation check, no rank.
        gates: sentences of gates that failed, besides those found here.
        position: axis label of one-dimensional output arrays.
        seed: of the sensitivity indices' rows.
    """
    failures = [*gates, *_gates(j, None if installation else target)]
    judged = verdict.judge_installation if installation else verdict.judge
    found = judged(j.quality, target=target, failures=failures)
    sensitivity = judged_sensitivity(j, seed=seed)
    drawn = [*figures(j, target=target, position=position), sensitivity_figure(sensitivity)]
    return Result(
        verdict=found,
        headline=_headline(j, found),
        quality=_quality(j),
        performance=_performance(j),
        figures=[figure for figure in drawn if figure is not None],
        tables=[*_tables(j, target), sensitivity_table(sensitivity)],
        references=list(dict.fromkeys([*j.learned.simulation.references, *REFERENCES, *SENSITIVITY_REFERENCES])),
    )


REFERENCES = (
    "Fox, Jha, Learning Everywhere: A Taxonomy for the Integration of Machine Learning and Simulations, eScience 2019, "
    "doi 10.1109/eScience.2019.00057",
    "Gneiting, Raftery, Strictly Proper Scoring Rules, Prediction, and Estimation, 2007, doi 10.1198/016214506000001437",
)


def _gates(j: Judgement, target: float | None) -> list[str]:
    """Gates that have caught real mistakes: stated errors, and predictors that must miss the target (None: too few systems to tell)."""
    if target is None:
        return []
    failures = [sentence] if (sentence := verdict.replica_failure(j.replica_ratio)) else []
    for name, q in j.controls.items():
        if verdict.standing(q, target) == "VALID":
            failures.append(f"the control '{name}' meets the target {target:g}, so that the target says nothing")
    return failures


def _headline(j: Judgement, found: Verdict) -> dict[str, Interval]:
    q = j.quality
    one_sided = f"one-sided 95 % upper limit {q.upper:.3g}" if q.upper is not None else "one-sided upper limit open"
    headline = {"q": Interval(value=q.q.value, lower=q.q.lower, upper=q.q.upper, note=f"{one_sided}; {q.q.note}")}
    if j.gain is not None:
        headline |= {f"gain at N={j.gain.n:,.0f}": j.gain.gain, "break-even N*": j.gain.n_star, "gain at N=infinity": j.gain.at_infinity}
    headline |= {"S(0)": Interval(value=j.speedup.at_zero), "S(infinity)": Interval(value=j.speedup.at_infinity, note="batched lookups")}
    headline["coverage of the 90 % interval"] = j.coverage.pointwise
    return headline


def _quality(j: Judgement) -> dict[str, float | None]:
    q, c = j.quality, j.coverage
    found: dict[str, float | None] = {
        "q": q.q.value, "q2": q.q2, "q_lower": q.lower, "q_upper": q.upper,
        "median": q.median, "p90": q.p90, "worst": q.worst, "top_share": q.top_share,
        "replica_ratio": j.replica_ratio, "dropped_systems": float(j.measured.dropped),
        "coverage": c.pointwise.value, "coverage_joint": j.joint.whole.value, "coverage_whole_by_pointwise": c.whole.value,
        "interval_score": c.score, "interval_score_constant": c.constant_score,
    }  # fmt: skip
    found |= {f"q[{name}]": v for name, v in {**q.by_output, **q.by_stratum}.items()}
    found |= {f"coverage[{name}]": v for name, v in {**c.by_output, **c.by_stratum}.items()}
    found |= {f"success_rate[{name}]": v for name, v in j.success_rate.items()}
    found |= {f"q_control[{name}]": v.q.value for name, v in j.controls.items()}
    return found | {f"q_at[{n}]": v.q.value for n, v in j.curve}


def _performance(j: Judgement) -> dict[str, float | None]:
    s = j.speedup
    found: dict[str, float | None] = {
        "T_seq_s": s.t_seq_s, "T_train_s": s.t_train_s, "T_learn_s": s.t_learn_s,
        "T_lookup_single_s": j.lookups.single_s, "T_lookup_batched_s": j.lookups.batched_s,
        "S_0": s.at_zero, "S_infinity": s.at_infinity,
    }  # fmt: skip
    if j.gain is not None and j.ladder is not None:
        found |= {
            "gain": j.gain.gain.value, "N_star": j.gain.n_star.value, "gain_infinity": j.gain.at_infinity.value,
            "C_conv_s": j.gain.conventional_s.value, "C_conv_steps": j.gain.conventional.steps, "ladder_slope": j.ladder.slope,
        }  # fmt: skip
    if j.raw_ladder is not None:
        found["C_conv_raw_s"] = j.raw_ladder.cost(j.quality.q2).cost_s
    return found | {f"slot_s[{name}]": v for name, v in j.spent_s.items()}


def _tables(j: Judgement, target: float) -> list[Table]:
    strata: list[list[Cell]] = [
        [name, int(j.strata.within(name).sum()), float(j.strata.weights[j.strata.within(name)].sum()), q, j.coverage.by_stratum[name]]
        for name, q in j.quality.by_stratum.items()
    ]
    controls: list[list[Cell]] = [["this surrogate", j.quality.q.value, j.quality.lower, j.quality.upper]]
    controls += [[name, q.q.value, q.lower, q.upper] for name, q in j.controls.items()]
    spent: list[list[Cell]] = [[*name.split(", "), s] for name, s in sorted(j.spent_s.items())]
    tables = [
        Table(
            name="strata", title="By stratum", columns=["stratum", "systems", "share of the space", "q", "coverage"], rows=strata,
            caption="Held-out systems are stratified, hard corners oversampled and weighted back by their share of the space.",
        ),
        Table(
            name="controls", title="Predictors that must miss the target", columns=["predictor", "q", "lower", "upper"], rows=controls,
            caption=f"One-sided 95 % limits; the target is {target:g}. If a control met it, the target would say nothing.",
        ),
        Table(
            name="cost", title="What was spent", columns=["kind", "charged to", "slot-seconds"], rows=spent,
            caption="Whatever could change an answer is charged to the learned method; references, ladder and controls are the referee's "
            "measurement and charged to neither side.",
        ),
        Table(
            name="surrogate", title="The surrogate", columns=["what", "value"], rows=[[k, v] for k, v in j.learned.surrogate.card.items()],
            caption=f"Version {j.learned.surrogate.version}, the hash of its content.",
        ),
    ]  # fmt: skip
    if j.ladder is not None:
        tables.append(_ladder(j.ladder, j.raw_ladder))
    return tables


def _ladder(ladder: Ladder, raw: Ladder | None) -> Table:
    rows: list[list[Cell]] = [
        [r.name, r.steps, int(r.covered.sum()), signed_root(q2), float(cost)]
        for r, q2, cost in zip(ladder.rungs, ladder.q2, ladder.cost_s, strict=True)
    ]
    columns = ["rung", "steps", "systems", "error", "slot-s a run"]
    caption = f"The conventional method. Slope of log error against log steps {ladder.slope:.3f}; model: {ladder.model}."
    if raw is not None:
        columns.insert(4, "error of raw runs")
        for row, q2 in zip(rows, raw.q2, strict=True):
            row.insert(4, signed_root(q2))
        caption += " Errors are of runs after post-processing (the benchmark's baseline says which); raw runs stand beside them."
    return Table(name="ladder", title="Fidelity ladder", columns=columns, rows=rows, caption=caption)
