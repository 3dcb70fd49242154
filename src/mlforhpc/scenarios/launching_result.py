"""What was launched as a benchmark's result: verdict, headline, tables, a plot of efficiency against task length, rows as CSV."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mlforhpc.core.result import Cell, Figure, Interval, Panel, Result, Series, Table, Verdict
from mlforhpc.core.trace import read
from mlforhpc.metrics import launching as metrics
from mlforhpc.scenarios.launching import BARE, Fits, Launched, Sweep

LEVELS = (0.5, 0.9)
BUSY = 1.25  # of `_Found.spread`
REFERENCES = (
    "Fox, Jha, Learning Everywhere: A Taxonomy for the Integration of Machine Learning and Simulations, eScience 2019, "
    "doi 10.1109/eScience.2019.00057",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What follows from the sweeps.

    Attributes:
        bare_s: task length -> mean time of its fits in plain loops, median round.
        score: task length -> mean of the serial scores of the fits that every engine does.
        efficiency, lost_s, inside: way, task length -> one figure a round.
        curves: way -> efficiency against length.
        spread: longest over shortest time of the same plain loops among the rounds, of the median task length; 1 on a quiet machine.
        compared, unequal: scores held against the serial ones, and the share of them that differ.
    """

    bare_s: Mapping[int, float]
    score: Mapping[int, float]
    efficiency: Mapping[tuple[str, int], list[float]]
    lost_s: Mapping[tuple[str, int], list[float]]
    inside: Mapping[tuple[str, int], list[float]]
    curves: Mapping[str, metrics.Curve]
    spread: float
    compared: int
    unequal: float


def result(
    launched: Launched, *, target: float, installation: bool, folder: Path, references: Sequence[str], versions: Mapping[str, str]
) -> Result:
    """The result of a benchmark; `artifacts/rounds.csv` of the run folder gets one row a round, task length and way.

    Args:
        launched: what was measured.
        target: largest share of scores that may differ from the serial ones.
        installation: size tiny: an installation check, no rank.
        folder: of the run.
        references: of the families, the simulations and whatever else ran.
        versions: of the software that fitted.
    """
    found = _found(launched, metrics.task_s(read(folder / "events.jsonl")))
    _write_rounds(launched, folder / "artifacts" / "rounds.csv")
    return Result(
        verdict=judged(found.unequal, found.compared, target=target, failures=_gates(launched, found), installation=installation),
        headline=_headline(launched, found),
        quality={"unequal_share": found.unequal, **{f"score[{ms} ms]": score for ms, score in found.score.items()}},
        performance=_performance(launched, found),
        figures=[_figure(launched, found)],
        tables=[_table(launched, found), _passing_table(found), _set_up(launched, found, versions)],
        references=list(dict.fromkeys([*references, *REFERENCES])),
    )


def judged(unequal: float, compared: int, *, target: float, failures: Sequence[str], installation: bool) -> Verdict:
    """VALID if no more than the target's share of scores differ from the serial ones and no gate failed."""
    reason = f"all {compared:,} scores equal the serial ones" + (", installation check, no rank" if installation else "")
    if unequal > target:
        failures = [
            f"{unequal * compared:.0f} of {compared:,} scores differ from the serial ones (share {unequal:.3g}, target {target:g})",
            *failures,
        ]
    if failures:
        return Verdict(status="INVALID", reason=failures[0], target=target, ranked=False)
    return Verdict(status="VALID", reason=reason, target=target, ranked=not installation)


def _gates(launched: Launched, found: _Found) -> list[str]:
    """Sentences of what makes the figures meaningless though the scores may be equal."""
    failures = [f"tasks failed: {launched.failures[0]}"] if launched.failures else []
    if launched.threads > 1:
        failures.append(f"the libraries of a slot would use {launched.threads} threads, wanted 1")
    for one in launched.fits:
        if not found.score[one.length_ms] >= one.least_score:
            failures.append(f"{_name(one)} learned nothing: mean score {found.score[one.length_ms]:.3f}, at least {one.least_score:g}")
    return failures


def _found(launched: Launched, task_s: Mapping[str, float]) -> _Found:
    bare = {(s.round, s.length_ms): s for s in launched.sweeps if s.way == BARE}
    serial = {ms: _serial(bare[0, ms]) for ms in (one.length_ms for one in launched.fits)}
    efficiency: dict[tuple[str, int], list[float]] = {}
    lost_s: dict[tuple[str, int], list[float]] = {}
    inside: dict[tuple[str, int], list[float]] = {}
    differing = compared = 0
    for sweep in launched.sweeps:
        n = len(sweep.scores)
        if not (sweep.way == BARE and sweep.round == 0):
            compared += n
            differing += round(n * metrics.unequal_share(serial[sweep.length_ms][:n], sweep.scores))
        if sweep.way != BARE:
            times, key = bare[sweep.round, sweep.length_ms].bare_s[:n], (sweep.way, sweep.length_ms)
            efficiency.setdefault(key, []).append(metrics.efficiency(times, slots=launched.slots, makespan_s=sweep.makespan_s))
            lost_s.setdefault(key, []).append(metrics.lost_s(times, slots=launched.slots, makespan_s=sweep.makespan_s))
            inside.setdefault(key, []).append(task_s.get(sweep.label, 0.0) / (launched.slots * sweep.makespan_s))
    loops = {ms: [float(np.mean(s.bare_s)) for (_, length_ms), s in bare.items() if length_ms == ms] for ms in serial}
    bare_s = {ms: float(np.median(times)) for ms, times in loops.items()}
    curves = {
        way: metrics.curve([bare_s[ms] for ms in serial], np.array([efficiency[way, ms] for ms in serial]).T)
        for way in dict.fromkeys(way for way, _ in efficiency)
    }
    return _Found(
        bare_s=bare_s,
        score={ms: float(np.mean(scores[: launched.effort.fits[ms]])) for ms, scores in serial.items()},
        spread=float(np.median([max(times) / min(times) for times in loops.values()])),
        efficiency=efficiency, lost_s=lost_s, inside=inside, curves=curves, compared=compared, unequal=differing / compared,
    )  # fmt: skip


def _serial(sweep: Sweep) -> list[float]:
    return [float("nan") if score is None else score for score in sweep.scores]


def _headline(launched: Launched, found: _Found) -> dict[str, Interval]:
    way, first = next(iter(found.curves.items()))
    busy = f"a busy machine: the same plain loops took {found.spread:.1f} times as long in one round as in another"
    note = busy if found.spread > BUSY else ""
    trips = metrics.over_rounds([float(np.quantile(one, 0.5)) for one in launched.trips_s])
    return {
        "launches per s": replace(
            metrics.over_rounds(launched.launches_per_s), better="higher",
            meaning="Tasks a second that do nothing, all submitted at once.",
        ),
        "round trip p50 (s)": replace(
            trips, better="lower", meaning="From the submission of a task that does nothing to its result, one at a time, median.",
        ),
        "efficiency at 100 ms": replace(
            _noted(metrics.at(first, 0.1), note), better="higher", reference=1.0,
            meaning=f"Time of fits of 100 ms in plain loops / time of the slots that it takes to launch them ({way}).",
        ),
        "length at 90 % (s)": replace(
            _noted(metrics.passing(first, 0.9), note), better="lower",
            meaning=f"Fits at least as long as this keep the slots fitting 90 % of the time ({way}).",
        ),
    }  # fmt: skip


def _noted(figure: Interval, note: str) -> Interval:
    return replace(figure, note="; ".join(filter(None, (figure.note, note))))


def _performance(launched: Launched, found: _Found) -> dict[str, float | None]:
    trips = np.concatenate(launched.trips_s)
    figures: dict[str, float | None] = {
        "cold_start_first_s": launched.cold_first_s,
        "cold_start_all_slots_s": launched.cold_all_s,
        "round_trip_p50_s": float(np.quantile(trips, 0.5)),
        "round_trip_p99_s": float(np.quantile(trips, 0.99)),
        "launches_per_s": metrics.over_rounds(launched.launches_per_s).value,
        "scores_compared": float(found.compared),
        "bare_spread": found.spread,
    }
    figures |= {f"bare_s[{ms} ms]": seconds for ms, seconds in found.bare_s.items()}
    figures |= {f"efficiency[{way}, {ms} ms]": metrics.over_rounds(one).value for (way, ms), one in found.efficiency.items()}
    figures |= {f"inside[{way}, {ms} ms]": metrics.over_rounds(one).value for (way, ms), one in found.inside.items()}
    for way, one in found.curves.items():
        figures |= {f"length_s[{way}, {level:.0%}]": metrics.passing(one, level).value for level in LEVELS}
    return figures


def _figure(launched: Launched, found: _Found) -> Figure:
    series, marks = [], {}
    for way, one in found.curves.items():
        ends = [None if side is None else side.tolist() for side in (one.lower, one.upper)]
        x = (1e3 * one.lengths_s).tolist()
        series.append(Series(label=way, x=x, y=one.value.tolist(), lower=ends[0], upper=ends[1]))
    first = next(iter(found.curves))
    for level in LEVELS:
        length_s = metrics.passing(found.curves[first], level).value
        if length_s is not None:
            marks[f"{level:.0%} at {1e3 * length_s:.2g} ms"] = 1e3 * length_s
    panel = Panel(
        x_label="time of the fit in a plain loop (ms)", y_label="efficiency", x_log=True, series=series, marks=marks,
        levels={f"{level:g}": level for level in (*LEVELS, 1.0)},
    )  # fmt: skip
    return Figure(
        name="efficiency",
        title="Efficiency against task length",
        caption=f"Time of the fits in plain loops / (slots x makespan on the engine), {launched.slots} slots; median of "
        f"{launched.effort.rounds} rounds, band: its 95 % interval, pointwise. Marks: where '{first}' passes. Each length is a family of "
        "its own.",
        panels=[panel],
    )


def _table(launched: Launched, found: _Found) -> Table:
    rows: list[list[Cell]] = []
    for one in launched.fits:
        for way in found.curves:
            key = (way, one.length_ms)
            share, inside, lost_s = (metrics.over_rounds(figure[key]) for figure in (found.efficiency, found.inside, found.lost_s))
            figures = (share.value, share.lower, share.upper, inside.value, 1e3 * (lost_s.value or 0.0))
            rows.append([_name(one), way, 1e3 * found.bare_s[one.length_ms], *figures])
    caption = (
        "Bare: mean time of the fit in plain loops, one a slot, side by side. Efficiency with its 95 % interval. Inside: share of the "
        "slots' time inside tasks, from the trace; the rest is launching, and an efficiency below it a fit that is slower in its task than "
        "in the loop. Lost: slot time a fit beyond the bare one; below zero where noise is larger. All of the median round."
    )
    columns = ["fits", "way", "bare, ms", "efficiency", "from", "to", "inside", "lost, ms"]
    return Table(name="efficiency", title="Efficiency against task length", columns=columns, rows=rows, caption=caption)


def _passing_table(found: _Found) -> Table:
    rows: list[list[Cell]] = []
    for way, one in found.curves.items():
        for level in LEVELS:
            i = metrics.passing(one, level)
            rows.append([way, f"{level:.0%}", *(None if v is None else 1e3 * v for v in (i.value, i.lower, i.upper)), i.note])
    caption = "The length from which on efficiency stays at or above the level, in the logarithm between measured lengths."
    columns = ["way", "efficiency", "length, ms", "from", "to", "note"]
    return Table(name="passing", title="Task length at which efficiency passes", columns=columns, rows=rows, caption=caption)


def _set_up(launched: Launched, found: _Found, versions: Mapping[str, str]) -> Table:
    trips = np.concatenate(launched.trips_s)
    rows: list[list[Cell]] = [
        ["slots", launched.slots],
        ["rounds", launched.effort.rounds],
        ["fits timed", sum(len(sweep.scores) for sweep in launched.sweeps)],
        ["plain loops, slowest over fastest round", found.spread],
        ["cold start, first result, s", launched.cold_first_s],
        ["cold start, a result from as many tasks as slots, s", launched.cold_all_s],
        ["round trip of a no-op, p50, ms", 1e3 * float(np.quantile(trips, 0.5))],
        ["round trip of a no-op, p99, ms", 1e3 * float(np.quantile(trips, 0.99))],
        ["no-ops a second", metrics.over_rounds(launched.launches_per_s).value],
    ]
    rows += [[name, version] for name, version in versions.items()]
    caption = "Cold start: from the first submission of a function that the slots have not seen, imports included; the engine was up."
    return Table(name="launching", title="Launching", columns=["what", "value"], rows=rows, caption=caption)


def _write_rounds(launched: Launched, path: Path) -> None:
    bare = {(s.round, s.length_ms): s for s in launched.sweeps if s.way == BARE}
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["round", "length_ms", "way", "slots", "fits", "bare_s", "makespan_s"])
        for s in launched.sweeps:
            bare_s = sum(bare[s.round, s.length_ms].bare_s[: len(s.scores)])
            rows.writerow([s.round, s.length_ms, s.way, launched.slots, len(s.scores), bare_s, s.makespan_s])


def _name(one: Fits) -> str:
    return f"{one.length_ms} ms: {one.family} on {one.simulation}"
