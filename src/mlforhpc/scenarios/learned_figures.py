"""The figures of a learned surrogate, as typed data; the report draws them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mlforhpc.core.result import Figure, Panel, Series
from mlforhpc.core.simulation import Output
from mlforhpc.core.space import Choice, FloatArray, Parameter, Real
from mlforhpc.metrics.quality import signed_root
from mlforhpc.scenarios.checked import LEVELS, Checked

MOST_PANELS = 6
MOST_POINTS = 400
DECADES = 50.0
"""Numbers that span more than this factor, all positive, are drawn on logarithmic axes."""
_RUNS = {
    "held-out": "Each point is a run that the surrogate has not seen",
    "left-out": "Each point is a run against a surrogate fitted without it",
}


def figures(checked: Checked, *, tolerance: float | None) -> list[Figure]:
    """Every figure that there is data for."""
    found = [_parity(checked), _coverage(checked), _profiles(checked), _errors(checked, tolerance)]
    return [figure for figure in found if figure.panels]


def _parity(checked: Checked) -> Figure:
    """Predicted against simulated numbers; of arrays, their means."""
    panels = []
    some = _some(len(checked.runs))
    outputs = [o for o in checked.runs.outputs if o.shape == ()] or list(checked.runs.outputs)
    for o in outputs[:MOST_PANELS]:
        p = checked.at_stated
        r, mean, low, high = (_means(a[o.name][some]) for a in (checked.runs.y, p.mean, p.lower, p.upper))
        series = Series(label=o.name, x=r, y=[*mean], lower=[*low], upper=[*high], style="points", role="learned")
        title = o.name.replace("_", " ") + ("" if o.shape == () else ", mean over the array")
        unit = "" if o.unit == "1" else f" ({o.unit})"
        log = min(*r, *mean) > 0 and max(r) > DECADES * min(r)
        x_label, y_label = f"simulated{unit}", f"surrogate{unit}"
        panels.append(Panel(title=title, x_label=x_label, y_label=y_label, x_log=log, y_log=log, series=[series], diagonal=True))
    caption = f"{_RUNS[checked.how]}; bars are the 90 % interval for a run; the line is equality."
    return Figure(name="parity", title="Surrogate against simulation", caption=caption, panels=panels)


def _profiles(checked: Checked) -> Figure:
    """Predicted and simulated arrays of the median, the 90th-percentile and the worst run."""
    arrays = [o for o in checked.runs.outputs if len(o.shape) == 1][:2]
    order = np.argsort(checked.terms.by_system)
    chosen = {"median": order[len(order) // 2], "90th percentile": order[int(0.9 * (len(order) - 1))], "worst": order[-1]}
    panels = [
        Panel(
            title=f"{what} run, {o.name}: {_describe(checked, int(i))}",
            x_label="element",
            y_label=o.name if o.unit == "1" else f"{o.name} ({o.unit})",
            series=_profile(checked, o, int(i)),
        )
        for o in arrays
        for what, i in chosen.items()
    ]
    caption = "Lines with bands: the surrogate and its 90 % interval for a run, element by element. Points: the run"
    caption += " with 1.96 of its standard errors." if checked.runs.y_se else "."
    return Figure(name="profiles", title="Arrays", caption=caption, panels=panels)


def _profile(checked: Checked, o: Output, i: int) -> list[Series]:
    p, y = checked.at_stated, checked.runs.y[o.name][i]
    at = [float(k) for k in range(o.shape[0])]
    half = 1.96 * np.nan_to_num(checked.runs.y_se[o.name][i]) if o.name in checked.runs.y_se else np.zeros_like(y)
    mean, lower, upper = (part[o.name][i].tolist() for part in (p.mean, p.lower, p.upper))
    low, high = (y - half).tolist(), (y + half).tolist()
    return [
        Series(label="surrogate", x=at, y=mean, lower=lower, upper=upper, role="learned"),
        Series(label="simulated", x=at, y=y.tolist(), lower=low, upper=high, style="points", role="conventional"),
    ]


def _coverage(checked: Checked) -> Figure:
    """Stated against found coverage."""
    found = []
    for level in LEVELS:
        p = checked.predicted[level]
        hits = [
            float(np.mean((p.lower[o.name] <= checked.runs.y[o.name]) & (checked.runs.y[o.name] <= p.upper[o.name])))
            for o in checked.runs.outputs
            if not o.derived
        ]
        found.append(float(np.mean(hits)))
    line = Series(label="element by element", x=list(LEVELS), y=[*found], style="points")
    caption = "Share of these runs' outputs that lie inside the interval which promises so much. Points above the line: wider than needed."
    panel = Panel(x_label="stated coverage", y_label="found coverage", series=[line], diagonal=True)
    return Figure(name="coverage", title="Do the intervals hold?", caption=caption, panels=[panel])


def _errors(checked: Checked, tolerance: float | None) -> Figure:
    """Relative error of each run against each parameter."""
    some = _some(len(checked.runs))
    errors = [signed_root(term) for term in checked.terms.by_system[some]]
    levels = {} if tolerance is None else {f"tolerance {tolerance:g}": tolerance}
    panels = []
    for j, (name, p) in list(enumerate(checked.runs.space.parameters.items()))[:MOST_PANELS]:
        series = Series(label=name, x=[float(v) for v in checked.runs.x[some, j]], y=[*errors], style="points", role="learned")
        panels.append(
            Panel(
                x_label=_label(name, p),
                y_label="relative error",
                x_log=isinstance(p, Real) and p.log,
                series=[series],
                levels=levels,
                categories=list(p.options) if isinstance(p, Choice) else None,
            )
        )
    caption = f"{_RUNS[checked.how]}. Where errors are large in one part of the space, more runs there help most."
    return Figure(name="errors", title="Where the error is", caption=caption, panels=panels)


def _some(n: int) -> NDArray[np.intp]:
    """At most MOST_POINTS rows, evenly chosen."""
    return np.unique(np.linspace(0, n - 1, min(n, MOST_POINTS)).astype(int))


def _means(a: FloatArray) -> list[float]:
    return [float(v) for v in a.reshape(len(a), -1).mean(axis=1)]


def _label(name: str, p: Parameter) -> str:
    return name if p.unit == "1" else f"{name} ({p.unit})"


def _describe(checked: Checked, i: int) -> str:
    point = checked.runs.space.point(checked.runs.x[i])
    return ", ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in point.items())
