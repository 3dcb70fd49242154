"""The strokes of a panel on matplotlib axes. Error bars of a series are one path, so that thousands stay small.

On a logarithmic axis values that are not positive cannot be drawn; `hidden` counts them for the caption.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from matplotlib.axes import Axes

from mlforhpc.core.result import Panel, Series
from mlforhpc.report.palette import sentinel

DENSE = 300
MOST = 4000
MARKERS = {"o": "●", "s": "■", "^": "▲", "D": "◆", "v": "▼", "P": "✚"}
_BAR_WIDTH = 0.8


@dataclass(frozen=True, slots=True)
class Ink:
    """How a series looks in every panel of its figure: name of its colour in the palette, matplotlib's marker."""

    colour: str
    marker: str


def hidden(panel: Panel) -> int:
    """How many values a logarithmic axis cannot show."""
    count = 0
    for one in panel.series:
        for x, y in zip(one.x, one.y, strict=True):
            count += y is not None and ((panel.y_log and y <= 0) or (panel.x_log and x <= 0))
    return count


def series(axes: Axes, panel: Panel, inks: dict[str, Ink]) -> None:
    """Every series of the panel, bars first, points last."""
    bars = [one for one in panel.series if one.style == "bars"]
    floor = [0.0] * max((len(one.x) for one in bars), default=0)
    for index, one in enumerate(bars):
        _bars(axes, one, sentinel(inks[one.label].colour), (index, 1 if panel.stacked else len(bars)), floor if panel.stacked else None)
    others = sorted((one for one in panel.series if one.style != "bars"), key=lambda one: one.style == "points")
    for one in others:
        _curve(axes, _thinned(one), panel, inks[one.label])


def spans(axes: Axes, panel: Panel) -> None:
    """Shaded ranges of x."""
    for low, high in panel.spans.values():
        axes.axvspan(low, high, color=sentinel("accent"), alpha=0.13, linewidth=0)


def guides(axes: Axes, panel: Panel) -> None:
    """Vertical marks and horizontal levels; a level's name stands at its right end."""
    for x in panel.marks.values():
        axes.axvline(x, color=sentinel("ink"), linewidth=1, linestyle=(0, (2, 2)))
    for name, y in panel.levels.items():
        axes.axhline(y, color=sentinel("ink"), linewidth=1, linestyle=(0, (5, 3)))
        axes.annotate(name, (1, y), xycoords=("axes fraction", "data"), xytext=(-2, 3), textcoords="offset points", ha="right", fontsize=10)


def label_marks(axes: Axes, panel: Panel) -> None:
    """Names of the marks above the axes; near neighbours are turned away from each other."""
    low, high = axes.get_xlim()
    ordered = sorted(panel.marks.items(), key=lambda item: item[1])
    places = [_fraction(x, low, high, panel.x_log) for _, x in ordered]
    for index, ((name, x), place) in enumerate(zip(ordered, places, strict=True)):
        right = index + 1 < len(places) and places[index + 1] - place < 0.3
        left = index > 0 and place - places[index - 1] < 0.3
        side = "right" if right or place > 0.8 else "left" if left or place < 0.2 else "center"
        axes.annotate(name, (x, 1), xycoords=("data", "axes fraction"), xytext=(0, 5), textcoords="offset points", ha=side, fontsize=10)


def diagonal(axes: Axes, low: float, high: float) -> None:
    """The line of equality."""
    axes.plot([low, high], [low, high], color=sentinel("muted"), linewidth=1, zorder=1, scalex=False, scaley=False)


def categories(axes: Axes, names: list[str]) -> None:
    """Names instead of numbers on the x axis, slanted where they would touch."""
    slanted = sum(len(name) for name in names) > 40 or max((len(name) for name in names), default=0) > 60 // max(len(names), 1)
    axes.set_xticks(range(len(names)), names, rotation=30 if slanted else 0, ha="right" if slanted else "center")
    axes.grid(visible=False, axis="x")
    room = max(0.0, (3 - len(names)) / 2)  # a lone bar is not a wall
    axes.set_xlim(-0.6 - room, len(names) - 0.4 + room)


def _curve(axes: Axes, one: Series, panel: Panel, ink: Ink) -> None:
    colour = sentinel(ink.colour)
    x = [value if not panel.x_log or value > 0 else math.nan for value in one.x]
    y = _drawable(one.y, panel.y_log)
    points = one.style == "points"
    if one.lower is not None and one.upper is not None:
        lower, upper = _ends(one.lower, y, panel.y_log), _ends(one.upper, y, panel.y_log)
        if points:
            _error_bars(axes, x, lower, upper, colour)
        else:
            axes.fill_between(x, lower, upper, color=colour, alpha=0.2, linewidth=0, step="mid" if one.style == "step" else None)
    if not points:
        line = (0, (4, 2)) if one.style == "dashed" else "-"
        axes.plot(x, y, color=colour, linewidth=1.8, linestyle=line, drawstyle="steps-mid" if one.style == "step" else "default")
    elif len(x) > DENSE:
        axes.plot(x, y, "o", color=colour, markersize=3, markeredgewidth=0, gid="dots-3.5")
    else:
        axes.plot(x, y, ink.marker, color=colour, markersize=7 if len(x) <= 6 else 4 if len(x) <= 60 else 3, markeredgewidth=0)


def _error_bars(axes: Axes, x: list[float], lower: list[float], upper: list[float], colour: str) -> None:
    at = [value for v in x for value in (v, v, math.nan)]
    ends = [value for pair in zip(lower, upper, strict=True) for value in (*pair, math.nan)]
    axes.plot(at, ends, color=colour, linewidth=1.1, solid_capstyle="butt", alpha=0.75)


def _bars(axes: Axes, one: Series, colour: str, place: tuple[int, int], floor: list[float] | None) -> None:
    """Bars of one series: beside the others', or on `floor`, which rises by them."""
    index, beside = place
    step = min((b - a for a, b in zip(sorted(one.x), sorted(one.x)[1:], strict=False) if b > a), default=1.0)
    width = _BAR_WIDTH * step / beside
    shift = (index - (beside - 1) / 2) * width if floor is None else 0.0
    y = [0.0 if value is None else value for value in one.y]
    at = [value + shift for value in one.x]
    drawn = width * (0.94 if beside > 1 else 1.0)
    axes.bar(at, y, drawn, bottom=None if floor is None else floor[: len(y)], color=colour, edgecolor=sentinel("surface"), linewidth=0.8)
    if floor is not None:
        floor[: len(y)] = [below + value for below, value in zip(floor, y, strict=False)]
    elif one.lower is not None and one.upper is not None:
        lower, upper = ([math.nan if v is None else v for v in side] for side in (one.lower, one.upper))
        _error_bars(axes, at, lower, upper, sentinel("ink"))


def _thinned(one: Series) -> Series:
    """At most MOST points, evenly chosen: more cannot be told apart at this size."""
    if len(one.x) <= MOST:
        return one
    keep = [round(i * (len(one.x) - 1) / (MOST - 1)) for i in range(MOST)]
    ends = [None if side is None else [side[i] for i in keep] for side in (one.lower, one.upper)]
    return Series(label=one.label, x=[one.x[i] for i in keep], y=[one.y[i] for i in keep], lower=ends[0], upper=ends[1], style=one.style)


def _drawable(values: list[float | None], log: bool) -> list[float]:
    return [math.nan if v is None or (log and v <= 0) else v for v in values]


def _ends(values: list[float | None], y: list[float], log: bool) -> list[float]:
    """Ends of intervals; on a log axis a lower end that is not positive is drawn a factor of three below the point."""
    ends = [value if v is None else v for v, value in zip(values, y, strict=True)]
    return [value / 3 if log and end <= 0 else end for end, value in zip(ends, y, strict=True)]


def _fraction(x: float, low: float, high: float, log: bool) -> float:
    if log and min(x, low, high) > 0:
        x, low, high = math.log(x), math.log(low), math.log(high)
    return (x - low) / (high - low) if high > low else 0.5
