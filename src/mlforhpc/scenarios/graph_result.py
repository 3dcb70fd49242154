"""The result of measured task graphs: verdict, headline, tables and figures.

The headline takes the families together: of each round the mean over families (of ratios the geometric one), then the median of the rounds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import fmean, geometric_mean

from mlforhpc.core.result import Cell, Figure, Interval, Panel, Result, Series, Table, Verdict
from mlforhpc.metrics.graph import GraphFigures, granularity_s, median_interval
from mlforhpc.scenarios.graph_rounds import Measured
from mlforhpc.scenarios.task_graphs import Shape

SHORT_S, LONG_S = 0.001, 0.01
"""Task lengths that the headline quotes."""

REFERENCES = [
    "Graham, Bounds for certain multiprocessing anomalies, Bell System Technical Journal 45, 1966, doi 10.1002/j.1538-7305.1966.tb01709.x",
    "Graham, Bounds on multiprocessing timing anomalies, SIAM Journal on Applied Mathematics 17, 1969, doi 10.1137/0117039",
    "Slaughter et al., Task Bench: a parameterized benchmark for evaluating parallel runtime performance, SC20, 2020, "
    "doi 10.1109/SC41405.2020.00066",
]

_Of = Callable[[GraphFigures], float]


def result(measured: Measured, *, target: float) -> Result:
    """The result; `target` is how many values may differ from the serial ones."""
    rounds = len(measured.figures[0])
    return Result(
        verdict=_verdict(measured, target),
        headline=_headline(measured),
        quality={
            "values that differ": float(sum(measured.wrong.values())),
            "values compared": float(measured.values),
            "graphs": float(len(measured.cases) * rounds),
        },
        performance=_performance(measured),
        figures=[_figure(measured)],
        tables=[_table(measured), _shapes([case.shape for case in measured.cases if case.length_s == measured.cases[0].length_s])],
        references=REFERENCES,
    )


def _verdict(measured: Measured, target: float) -> Verdict:
    wrong = sum(measured.wrong.values())
    if wrong <= target:
        reason = f"All {measured.values:,} values of {len(measured.cases)} graphs equal those of a serial evaluation, to the last bit."
        return Verdict(status="VALID", reason=reason, target=target, ranked=False)
    where = ", ".join(measured.wrong)
    reason = f"{wrong:,} of {measured.values:,} values differ from those of a serial evaluation, in: {where}."
    return Verdict(status="INVALID", reason=reason, target=target, ranked=False)


def _headline(measured: Measured) -> dict[str, Interval]:
    busy = f"Length of the same task with all slots busy / alone: what {measured.slots} slots take from each other, whatever the engine."
    half, note = _half(measured)
    return {
        f"overhead per {1000 * SHORT_S:g} ms task, ms": _together(
            measured, SHORT_S, lambda f: 1000 * f.overhead_per_task_s, fmean,
            "Time that every task would have to be longer for an engine without overhead to be as slow; mean over families.",
        ),
        f"makespan / bound at {1000 * LONG_S:g} ms": _together(
            measured, LONG_S, lambda f: f.over_bound, geometric_mean,
            "Makespan over the shortest that the measured task lengths allow on these slots; geometric mean over families.",
        ),
        "half-efficient task length, ms": Interval(
            value=half, better="lower", note=note,
            meaning="From this task length on, at least half of the ideal speed; geometric mean over families.",
        ),
        "slower with all slots busy": Interval(value=measured.busy_s / measured.alone_s, better="lower", reference=1.0, meaning=busy),
    }  # fmt: skip


def _together(measured: Measured, length_s: float, of: _Of, mean: Callable[[Sequence[float]], float], meaning: str) -> Interval:
    """A figure at one length: mean over families in each round, median and range over the rounds."""
    runs = [one for case, one in zip(measured.cases, measured.figures, strict=True) if case.length_s == length_s]
    ratio = mean is geometric_mean
    return _interval([mean([of(f) for f in families]) for families in zip(*runs, strict=True)], meaning, reference=1.0 if ratio else None)


def _interval(values: Sequence[float], meaning: str, reference: float | None = None) -> Interval:
    middle, low, high, coverage = median_interval(values)
    note = f"median and range of {len(values)} rounds in one run"
    return Interval(value=middle, lower=low, upper=high, coverage=coverage, note=note, meaning=meaning, reference=reference, better="lower")


def _half(measured: Measured) -> tuple[float | None, str]:
    """The task length of half efficiency in ms, with the efficiency's geometric mean over families; None with why."""
    lengths_s = sorted({case.length_s for case in measured.cases})
    efficiencies = [
        1 / geometric_mean(
            _median(one, lambda f: f.over_bound)
            for case, one in zip(measured.cases, measured.figures, strict=True) if case.length_s == length_s
        )
        for length_s in lengths_s
    ]  # fmt: skip
    found = granularity_s(lengths_s, efficiencies, 0.5)
    if found is not None:
        return 1000 * found, "between measured lengths by interpolation; METG(50 %) of Task Bench with the bound in place of the peak"
    side = f"below {1000 * lengths_s[0]:g} ms" if efficiencies[0] >= 0.5 else f"above {1000 * lengths_s[-1]:g} ms"
    return None, f"{side}: not between the lengths that were measured"


def _performance(measured: Measured) -> dict[str, float | None]:
    found: dict[str, float | None] = {
        "kernel_s": measured.kernel_s,
        "task_alone_s": measured.alone_s,
        "task_all_slots_busy_s": measured.busy_s,
    }
    for case, one in zip(measured.cases, measured.figures, strict=True):
        found |= {
            f"{case.label}: makespan_s": _median(one, lambda f: f.makespan_s),
            f"{case.label}: over_bound": _median(one, lambda f: f.over_bound),
            f"{case.label}: over_critical_path": _median(one, lambda f: f.over_critical_path),
            f"{case.label}: overhead_per_task_s": _median(one, lambda f: f.overhead_per_task_s),
            f"{case.label}: utilization": _median(one, lambda f: f.utilization),
        }
    return found


def _median(figures: Sequence[GraphFigures], of: _Of) -> float:
    return median_interval([of(f) for f in figures])[0]


def _table(measured: Measured) -> Table:
    rows: list[list[Cell]] = []
    for case, one in zip(measured.cases, measured.figures, strict=True):
        over, low, high, _ = median_interval([f.over_bound for f in one])
        middle = {name: _median(one, lambda f, name=name: getattr(f, name)) for name in _COLUMNS}  # type: ignore[misc]
        rows.append([
            case.shape.family, 1000 * case.length_s, 1000 * middle["work_s"] / one[0].tasks, middle["makespan_s"], over, low, high,
            middle["list_s"] / middle["bound_s"], middle["over_critical_path"], 1000 * middle["overhead_per_task_s"], middle["utilization"],
        ])  # fmt: skip
    return Table(
        name="graphs",
        title=f"Task graphs on {measured.slots} slots",
        caption=(
            f"Medians of {len(measured.figures[0])} rounds; lowest and highest are over the rounds. The bound is the longer of critical "
            "path and work / slots, of the lengths that the workers measured in that round: a slow machine makes both longer, only "
            "overhead and waiting make their ratio larger. The ideal is first come first served without overhead. "
            f"The same task took {measured.busy_s / measured.alone_s:.3g} times as long with all slots busy as alone."
        ),
        columns=[
            "graph", "asked length, ms", "measured length, ms", "makespan, s", "makespan / bound", "lowest", "highest",
            "ideal / bound", "makespan / critical path", "overhead per task, ms", "utilization",
        ],
        rows=rows,
    )  # fmt: skip


_COLUMNS = ("work_s", "makespan_s", "list_s", "bound_s", "over_critical_path", "overhead_per_task_s", "utilization")


def _shapes(shapes: Sequence[Shape]) -> Table:
    rows: list[list[Cell]] = [[shape.family, len(shape.parents), shape.edges, shape.depth] for shape in shapes]
    return Table(
        name="shapes",
        title="The graphs",
        caption="Tasks on the longest path: no number of slots helps beyond tasks / depth.",
        columns=["graph", "tasks", "dependences", "depth"],
        rows=rows,
    )


def _figure(measured: Measured) -> Figure:
    over = Panel(
        title="Makespan over its lower bound", x_label="task length (ms)", y_label="makespan / bound", x_log=True, y_log=True,
        levels={"no overhead": 1.0}, series=_series(measured, lambda f: f.over_bound),
    )  # fmt: skip
    overhead = Panel(
        title="Overhead per task", x_label="task length (ms)", y_label="overhead per task (ms)", x_log=True, y_log=True,
        series=_series(measured, lambda f: 1000 * f.overhead_per_task_s),
    )  # fmt: skip
    caption = (
        "Task length: mean as measured on the workers. Overhead that does not depend on the length is a level line on the right; where "
        "tasks are long it drowns in their own scatter. Bars: range over the rounds; lines connect medians."
    )
    return Figure(name="granularity", title="What short tasks cost", caption=caption, panels=[over, overhead])


def _series(measured: Measured, of: _Of) -> list[Series]:
    """One line a family, with its points and their ranges."""
    found = []
    for family in dict.fromkeys(case.shape.family for case in measured.cases):
        runs = [one for case, one in zip(measured.cases, measured.figures, strict=True) if case.shape.family == family]
        x = [1000 * _median(one, lambda f: f.work_s / f.tasks) for one in runs]
        ranges = [median_interval([of(f) for f in one]) for one in runs]
        y, low, high = ([_positive(r[i]) for r in ranges] for i in range(3))
        found.append(Series(label=family, x=x, y=y, lower=low, upper=high, style="points"))
        found.append(Series(label=family, x=x, y=y))
    return found


def _positive(value: float) -> float | None:
    return value if value > 0 and math.isfinite(value) else None
