"""What the report shows of served surrogates: latencies, throughput against batch size, latency against rate; runs, precision, skipped."""

from __future__ import annotations

from mlforhpc.core.result import Cell, Figure, Panel, Series, Table
from mlforhpc.scenarios.inference import Inference, Served

_US = 1e6
PERCENTILES = ("50", "90", "99")


def figures(found: Inference) -> list[Figure]:
    """Small multiples, a panel a surrogate."""
    cases = list(dict.fromkeys(s.case.name for s in found.served if s.standing))
    rows = {name: [s for s in found.served if s.case.name == name and s.standing] for name in cases}
    if not rows:
        return []
    return [
        Figure(
            name="latency", title="One answer at a time",
            caption="SingleStream: percentiles of the time from a query to its answer, one thread, as LoadGen measured them.",
            panels=[_latencies(name, served) for name, served in rows.items()],
        ),
        Figure(
            name="batching", title="Answers a second against batch size",
            caption="Offline: all samples are there from the start; the most that one call of the backend answers is the batch.",
            panels=[_throughputs(name, served) for name, served in rows.items()],
        ),
        Figure(
            name="server", title="Latency under Poisson arrivals",
            caption="Server: 99th percentile of the time from the scheduled arrival, at every rate that was tried; LoadGen calls a run "
            f"VALID below {1e3 * found.load.bound_s:g} ms. With batches, what is waiting is answered together.",
            panels=[_arrivals(name, served, found.load.bound_s) for name, served in rows.items()],
        ),
    ]  # fmt: skip


def _latencies(name: str, served: list[Served]) -> Panel:
    runs = [(s.backend, ran) for s in served for ran in [s.run("SingleStream", 1)] if ran]
    x = [float(i) for i in range(len(runs))]
    series = [
        Series(label=f"p{p}", x=x, y=[_US * ran.latency_s[p] if p in ran.latency_s else None for _, ran in runs], style="bars")
        for p in PERCENTILES
    ]
    return Panel(title=name, y_label="latency (us)", y_log=True, series=series, categories=[backend for backend, _ in runs])


def _throughputs(name: str, served: list[Served]) -> Panel:
    series = []
    for s in served:
        runs = [ran for ran in s.standing if ran.scenario == "Offline"]
        series.append(Series(label=s.backend, x=[float(ran.batch) for ran in runs], y=[ran.rate_per_s for ran in runs]))
    return Panel(title=name, x_label="batch size", y_label="answers a second", x_log=True, y_log=True, series=series)


def _arrivals(name: str, served: list[Served], bound_s: float) -> Panel:
    series = []
    for s in served:
        for batch in dict.fromkeys(ran.batch for ran in s.runs if ran.scenario == "Server"):
            runs = sorted((ran for ran in s.runs if (ran.scenario, ran.batch) == ("Server", batch)), key=lambda ran: ran.offered_per_s)
            y: list[float | None] = [1e3 * ran.latency_s["99"] if "99" in ran.latency_s else None for ran in runs]
            series.append(Series(label=f"{s.backend}, batch {batch}", x=[ran.offered_per_s for ran in runs], y=y, style="points"))
    return Panel(
        title=name, x_label="offered queries a second", y_label="p99 latency (ms)", x_log=True, y_log=True, series=series,
        levels={f"bound {1e3 * bound_s:g} ms": 1e3 * bound_s},
    )  # fmt: skip


def tables(found: Inference) -> list[Table]:
    """Every run; the precision of every backend; what was skipped."""
    made = [_runs(found), _precision(found)]
    if found.skipped:
        rows: list[list[Cell]] = [[reason] for reason in found.skipped]
        made.append(Table(name="skipped", title="Skipped", caption="", columns=["why, and the way out"], rows=rows))
    return made


def _runs(found: Inference) -> Table:
    rows: list[list[Cell]] = []
    for s in found.served:
        for ran in s.runs:
            latencies = [_US * ran.latency_s[p] if p in ran.latency_s and ran.scenario != "Offline" else None for p in PERCENTILES]
            verdict = "VALID" if ran.valid else f"INVALID: {', '.join(ran.complaints)}"
            rows.append([s.case.name, s.backend, ran.scenario, ran.batch, ran.offered_per_s, ran.rate_per_s, *latencies, verdict])
    caption = (
        f"Every run of LoadGen, at least {found.load.duration_s:g} s, the verdict its own; the last one of a scenario and batch stands. "
        "Offered: what Server was sent, what the others were expected to reach. Server's rates fall from a share of Offline's until "
        "LoadGen says VALID; Offline is done again where it was faster than expected. No MLPerf submission: its rules, models and review "
        "are others."
    )
    columns = [
        "surrogate",
        "backend",
        "scenario",
        "batch",
        "offered/s",
        "answers/s",
        "p50, us",
        "p90, us",
        "p99, us",
        "LoadGen",
    ]
    return Table(name="runs", title="LoadGen's runs", caption=caption, columns=columns, rows=rows)


def _precision(found: Inference) -> Table:
    rows: list[list[Cell]] = []
    for s in found.served:
        if s.outcome is None:
            rows.append([s.case.name, s.backend, "", s.arithmetic, s.limit, None, None, 0, s.failure])
            continue
        returned = max((ran.error for ran in s.runs), default=None)
        kept = "left out: too coarse for this surrogate" if s.left_out else "kept" if s.worst <= s.limit else "missed"
        checked = sum(ran.checked for ran in s.runs)
        rows.append([s.case.name, s.backend, s.outcome.version, s.arithmetic, s.limit, s.outcome.error, returned, checked, kept])
    caption = (
        "Largest error of means and interval ends against NumPy's float64, relative to the RMS of the output: over the sample library "
        "before anything was timed, and over the responses that LoadGen kept of its queries."
    )
    columns = ["surrogate", "backend", "version", "arithmetic", "stated", "before", "in LoadGen's responses", "responses", "precision"]
    return Table(name="precision", title="Precision", caption=caption, columns=columns, rows=rows)
