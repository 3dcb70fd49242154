"""What the report shows of answers with a promise: broken share and its limit, latency against load, growth; streams, loads, costs."""

from __future__ import annotations

from mlforhpc.core.result import Cell, Figure, Panel, Series, Table
from mlforhpc.scenarios.answering import Answering, Growth, Stream
from mlforhpc.scenarios.answering_server import Loaded

_MS = 1e3


def figures(found: Answering, target: float) -> list[Figure]:
    """Small multiples: a panel a case, a source, a figure of merit."""
    made = []
    cases = list(dict.fromkeys(s.job.case for s in found.streams))
    if cases:
        caption = (
            "Share of the surrogate's answers so far that are off by more than the tolerance, by the truth, and the online 95 % limit, "
            "which knows the audits only. Proxima's control law promises no rate and stands beside it. The first seed of each."
        )
        panels = [_promise(case, [s for s in found.streams if s.job.case == case], target) for case in cases]
        made.append(Figure(name="promise", title="Is the promise kept?", caption=caption, panels=panels))
    if found.loaded and found.loaded.loads:
        caption = (
            "Poisson arrivals; a latency counts from the arrival that was meant. From the middle on all requests are from one corner of "
            "the space. Nothing is learned meanwhile, but for what audits and simulations of the load itself bring."
        )
        made.append(Figure(name="latency", title="Latency against load", caption=caption, panels=_latencies(found.loaded)))
    if found.growth:
        caption = (
            f"Requests to {found.growth.simulation}, all over its space, from an empty store. Effective speedup says nothing of quality; "
            "gain is the cost of runs that are as accurate as the answers over what was spent. Every run, audit and fit is paid for."
        )
        made.append(Figure(name="growth", title="It gets faster with use", caption=caption, panels=[_grown(found.growth)]))
    return made


def _promise(case: str, streams: list[Stream], target: float) -> Panel:
    series = []
    for law, role in (("evidence", "learned"), ("proxima", "conventional")):
        first = next((s for s in streams if s.job.law == law), None)
        if first is not None:
            x = [float(n) for n, _, _ in first.curve]
            series.append(Series(label=f"broken, {law}", x=x, y=[share for _, share, _ in first.curve], role=role))  # type: ignore[arg-type]
            if law == "evidence":
                series.append(Series(label="online limit", x=x, y=[limit for _, _, limit in first.curve], style="dashed", role="reference"))
    return Panel(title=case, x_label="requests", y_label="broken share", series=series, levels={f"promised {target:g}": target})


def _latencies(loaded: Loaded) -> list[Panel]:
    quiet = [at for at in loaded.loads if not at.beside_learning]
    panels = []
    for source in dict.fromkeys(source for at in quiet for source in at.met.latency_s):
        rows = [(at.offered_per_s, at.met.latency_s[source]) for at in quiet if source in at.met.latency_s]
        series = [
            Series(label=f"p{p}", x=[rate for rate, _ in rows], y=[_MS * ranks[i] for _, ranks in rows]) for i, p in enumerate((50, 95, 99))
        ]
        panels.append(Panel(title=source, x_label="offered requests a second", y_label="latency (ms)", y_log=True, series=series))
    return panels


def _grown(growth: Growth) -> Panel:
    x = [float(n) for n, _, _ in growth.grown]
    series = [
        Series(label="effective speedup", x=x, y=[speedup for _, speedup, _ in growth.grown], role="learned"),
        Series(label="gain", x=x, y=[gain for _, _, gain in growth.grown]),
    ]
    return Panel(x_label="requests", y_label="ratio", x_log=True, y_log=True, series=series, levels={"pays off": 1.0})


def tables(found: Answering) -> list[Table]:
    """Every stream, every load, what it cost; what was left out."""
    made = [_streams(found), _costs(found)]
    if found.loaded:
        made.append(_loads(found.loaded))
    if found.skipped:
        rows: list[list[Cell]] = [[reason] for reason in found.skipped]
        made.append(Table(name="skipped", title="Left out", caption="", columns=["why, and the way out"], rows=rows))
    return made


def _streams(found: Answering) -> Table:
    rows: list[list[Cell]] = [
        [s.job.law, s.job.case, s.job.seed, s.job.requests, s.answered, s.answered_late, s.broken_share, s.limit,
         "yes" if s.limit_held else "no", s.error]
        for s in found.streams
    ]  # fmt: skip
    caption = "From an empty store, all answers checked against the exact truth. Error: root mean square over the surrogate's answers."
    columns = ["law", "case", "seed", "requests", "by the surrogate", "of the last quarter", "broken share", "online limit", "limit held",
               "error / tolerance"]  # fmt: skip
    return Table(name="streams", title="Streams", caption=caption, columns=columns, rows=rows)


def _costs(found: Answering) -> Table:
    spent = [(s.job.name, s.job.requests, s.spent) for s in found.streams]
    if found.growth:
        spent.append((f"growth, {found.growth.simulation}", found.growth.requests, found.growth.spent))
    rows: list[list[Cell]] = [
        [name, n, one.simulations, one.simulation_s, one.audit_runs, one.audit_s, one.fits, one.fit_s] for name, n, one in spent
    ]
    columns = ["what", "requests", "simulations", "slot-s", "of them audits", "their slot-s", "fits", "slot-s of fits"]
    caption = "What answers cost, in slot-seconds; a simulation of the twin takes a millisecond, so its streams' cost is that of fits."
    return Table(name="costs", title="Cost of simulations, audits and retraining", caption=caption, columns=columns, rows=rows)


def _loads(loaded: Loaded) -> Table:
    rows: list[list[Cell]] = []
    for at in loaded.loads:
        for source, (p50, p95, p99, _) in at.met.latency_s.items():
            met = at.met
            rows.append(
                [at.share, "yes" if at.beside_learning else "no", at.offered_per_s, met.rate_per_s, source, met.answers[source],
                 _MS * p50, _MS * p95, _MS * p99, met.refused / max(1, met.arrived), met.checked, met.broken, at.audits, at.fits,
                 _MS * met.late_s]
            )  # fmt: skip
    caption = (
        f"Peak: {loaded.peak_per_s:.0f} answers a second in a closed loop, after {loaded.learned_s:.0f} s of learning from {loaded.runs} "
        "runs. Checked: surrogate answers compared with the truth. Generator late: 99th percentile "
        "of how late it sent what it could have sent."
    )
    columns = ["share of the peak", "while it learns", "offered/s", "answers/s", "source", "answers", "p50, ms", "p95, ms", "p99, ms",
               "share of 429", "checked", "broken", "audits", "fits", "generator late, ms"]  # fmt: skip
    return Table(name="loads", title="The server under load", caption=caption, columns=columns, rows=rows)
