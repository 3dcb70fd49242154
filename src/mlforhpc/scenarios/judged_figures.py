"""The figures of a judgement, as typed data; the report draws them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mlforhpc.core.result import Figure, Panel, Series
from mlforhpc.core.simulation import Output
from mlforhpc.core.space import FloatArray
from mlforhpc.metrics.quality import signed_root
from mlforhpc.scenarios.judgement import Judgement


def figures(j: Judgement, *, target: float, position: str) -> list[Figure]:
    """Every figure that this judgement has data for."""
    found = [_profiles(j, position), _parity(j), _errors(j, target), _coverage(j), _learning_curve(j, target), _speedup_and_gain(j)]
    if j.ladder is not None:
        found.append(_ladder(j))
    return [figure for figure in found if figure is not None and figure.panels]


def _profiles(j: Judgement, position: str) -> Figure | None:
    """Predicted against simulated arrays of the median, the 90th-percentile and the worst system."""
    arrays = [o for o in j.learned.simulation.outputs if len(o.shape) == 1 and not o.derived]
    if not arrays:
        return None
    order = np.argsort(j.terms.by_system)
    chosen = {"median": order[len(order) // 2], "90th percentile": order[int(0.9 * (len(order) - 1))], "worst": order[-1]}
    panels = [
        Panel(
            title=f"{what} system, {o.name}: {_describe(j, int(i))}",
            x_label=position,
            y_label=o.name if o.unit == "1" else f"{o.name} ({o.unit})",
            series=_profile(j, o, int(i)),
        )
        for what, i in chosen.items()
        for o in arrays
    ]
    caption = (
        "Lines with bands: the surrogate and its 90 % interval for an independent run. Points: a reference run with 1.96 standard errors."
    )
    return Figure(name="profiles", title="Predicted and simulated", caption=caption, panels=panels)


def _profile(j: Judgement, output: Output, i: int) -> list[Series]:
    m, p, name = j.measured, j.predicted, output.name
    at = ((np.arange(output.shape[0]) + 0.5) / output.shape[0]).tolist()
    run = m.r1.y[name][i]
    half = 1.96 * m.r1.y_se[name][i] if name in m.r1.y_se else np.zeros_like(run)
    mean, lower, upper = (part[name][i].tolist() for part in (p.mean, p.lower, p.upper))
    low, high = (run - half).tolist(), (run + half).tolist()
    return [
        Series(label="surrogate", x=at, y=mean, lower=lower, upper=upper, role="learned"),
        Series(label="simulated", x=at, y=run.tolist(), lower=low, upper=high, style="points", role="conventional"),
    ]


def _describe(j: Judgement, i: int) -> str:
    point = j.learned.simulation.space.point(j.measured.held.x[i])
    return ", ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in point.items())


def _parity(j: Judgement) -> Figure:
    """Predicted against simulated numbers; for arrays without derived numbers, their means."""
    numbers = [o for o in j.learned.simulation.outputs if o.shape == ()] or list(j.learned.simulation.outputs)
    panels = []
    for o in numbers[:6]:
        r, p, low, high = (_means(a[o.name]) for a in (j.measured.r1.y, j.predicted.mean, j.predicted.lower, j.predicted.upper))
        unit = "" if o.unit == "1" else f" ({o.unit})"
        series = Series(label=o.name, x=r, y=list(p), lower=list(low), upper=list(high), style="points", role="learned")
        panels.append(
            Panel(title=o.name.replace("_", " "), x_label=f"simulated{unit}", y_label=f"surrogate{unit}", series=[series], diagonal=True)
        )
    caption = "Each point is a held-out system; bars are the surrogate's 90 % interval for an independent run; the line is equality."
    return Figure(name="parity", title="Parity on held-out systems", caption=caption, panels=panels)


def _means(a: FloatArray) -> list[float]:
    return [float(v) for v in a.reshape(len(a), -1).mean(axis=1)]


def _errors(j: Judgement, target: float) -> Figure:
    panels = []
    terms = j.terms.by_system
    order = np.argsort(-terms)
    place = {int(i): float(k + 1) for k, i in enumerate(order)}
    series = [
        Series(label=name, x=[place[int(i)] for i in members], y=[signed_root(terms[i]) for i in members], style="points")
        for name in j.strata.names
        if len(members := np.flatnonzero(j.strata.within(name)))
    ]
    panels.append(
        Panel(
            title="Each held-out system",
            x_label="rank",
            y_label="relative error",
            series=series,
            levels={f"target {target:g}": target},
        )
    )
    strata = list(j.quality.by_stratum)
    bars = Series(
        label="q", x=[float(k) for k in range(len(strata))], y=[j.quality.by_stratum[s] for s in strata], style="bars", role="learned"
    )
    panels.append(Panel(title="By stratum", y_label="q", series=[bars], categories=strata, levels={f"target {target:g}": target}))
    caption = "Noise-corrected relative error; a negative one lies below the noise of the references and is shown as it is."
    return Figure(name="errors", title="Where the error is", caption=caption, panels=panels)


def _coverage(j: Judgement) -> Figure:
    """Stated against found coverage."""
    stated = [0.5, 0.6, 0.7, 0.8, 0.9, 0.95]
    panels = []
    m = j.measured
    names = [o.name for o in j.learned.simulation.outputs if not o.derived]
    found = []
    for level in stated:
        p = j.learned.surrogate.predict(m.held.x, coverage=level, se=m.r1.y_se)
        hits = [((p.lower[n] <= m.r1.y[n]) & (m.r1.y[n] <= p.upper[n])).reshape(len(m.r1), -1).mean(axis=1) for n in names]
        found.append(float(j.strata.weights @ np.mean(hits, axis=0)))
    line = Series(label="pointwise, independent runs", x=stated, y=list(found), style="points")
    panels.append(Panel(x_label="stated coverage", y_label="found coverage", series=[line], diagonal=True))
    caption = "Calibrated on refitted folds of the training runs and checked here on runs that no fold has seen."
    return Figure(name="coverage", title="Do the intervals hold?", caption=caption, panels=panels)


def _learning_curve(j: Judgement, target: float) -> Figure:
    x = [float(n) for n, _ in j.curve]
    line = Series(
        label="q, 95 % interval over systems", x=x, y=[q.q.value for _, q in j.curve],
        lower=[q.q.lower for _, q in j.curve], upper=[q.q.upper for _, q in j.curve], style="points",
    )  # fmt: skip
    panel = Panel(x_label="training runs", y_label="q", x_log=True, y_log=True, series=[line], levels={f"target {target:g}": target})
    return Figure(
        name="learning-curve",
        title="Learning curve",
        caption="Fitted to the first runs of the design, all on the same held-out systems.",
        panels=[panel],
    )


def _speedup_and_gain(j: Judgement) -> Figure:
    grid = [float(n) for n in np.geomspace(1, 1e8, 60)]
    limits = {"S(0)": j.speedup.at_zero, "S(infinity)": j.speedup.at_infinity}
    s = Panel(
        title="Effective speedup S(N)", x_label="answers N", y_label="S", x_log=True, y_log=True,
        series=[replace(j.speedup.curve(grid), role="learned")],
        levels={f"{name} {v:.2g}": v for name, v in limits.items() if v},
    )  # fmt: skip
    panels = [s]
    if j.gain is not None:
        star = j.gain.n_star
        panels.append(
            Panel(
                title="Gain at equal quality", x_label="answers N", y_label="gain", x_log=True, y_log=True,
                series=[replace(j.gain.curve, role="learned")],
                marks={f"N* {star.value:.3g}": star.value} if star.value else {},
                spans={"95 % interval of N*": (star.lower, star.upper)} if star.lower and star.upper else {},
                levels={"break-even": 1.0},
            )
        )  # fmt: skip
    caption = (
        "S(N) compares with runs as long as the training runs and says nothing of quality; gain(N) compares with the cheapest simulation "
        "that has the surrogate's own error. The gap between them is the news."
    )
    return Figure(name="speedup-and-gain", title="Does learning pay?", caption=caption, panels=panels)


def _ladder(j: Judgement) -> Figure:
    assert j.ladder is not None and j.gain is not None
    cost, error = [float(c) for c in j.ladder.cost_s], [signed_root(q2) for q2 in j.ladder.q2]
    series = [Series(label="simulation, by length of run", x=cost, y=list(error), style="points", role="conventional")]
    grid = np.geomspace(min(cost), max(cost) * 1.5, 40)
    law = [_error_at(j, float(c)) for c in grid]
    series.append(Series(label="its law", x=grid.tolist(), y=law, style="dashed", role="conventional"))
    if j.raw_ladder is not None:
        raw = [signed_root(q2) for q2 in j.raw_ladder.q2]
        series.append(Series(label="the same runs, raw", x=cost, y=[*raw], style="points", role="reference"))
    c, q = j.gain.conventional_s, j.quality.q.value
    if c.value is not None and q is not None:
        series.append(
            Series(
                label="surrogate's error", x=[c.value], y=[q], lower=[j.quality.q.lower], upper=[j.quality.q.upper],
                style="points", role="learned",
            )
        )  # fmt: skip
    panel = Panel(x_label="slot-seconds a run", y_label="relative error", x_log=True, y_log=True, series=series)
    caption = (
        "The conventional method: the same simulation, run shorter or longer. The surrogate stands at the cost of the run that it replaces."
    )
    return Figure(name="ladder", title="Fidelity ladder", caption=caption, panels=[panel])


def _error_at(j: Judgement, cost_s: float) -> float | None:
    """The error that the ladder gives at a cost, by bisection in log q; None outside its reach."""
    assert j.ladder is not None
    low, high = -12.0, 6.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if j.ladder.cost(float(np.exp(2 * middle))).cost_s > cost_s else (low, middle)
    return float(np.exp(high)) if -11.0 < high < 5.0 else None
