"""Draws a `Panel` as SVG: lines with bands, points with error bars, bars, steps; marks, levels, spans, diagonal.

Titles, captions and legends are HTML, so that they wrap on a phone and follow the page's font and theme.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from mlforhpc.core.result import Panel, Series
from mlforhpc.report import draw, numbers
from mlforhpc.report.palette import sentinel
from mlforhpc.report.svg import inline

WIDE, NARROW, HEIGHT = 400.0, 360.0, 265.0
_PX = 1 / 72
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "mlforhpc",
    "text.parse_math": False,
    "axes.unicode_minus": True,
    "axes.formatter.use_mathtext": False,
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "axes.labelsize": 11,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": sentinel("muted"),
    "axes.labelcolor": sentinel("ink"),
    "xtick.color": sentinel("muted"),
    "ytick.color": sentinel("muted"),
    "text.color": sentinel("ink"),
    "axes.grid": True,
    "grid.color": sentinel("grid"),
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "lines.solid_capstyle": "round",
    "path.simplify": True,
}


def panel_svg(panel: Panel, inks: dict[str, draw.Ink], *, prefix: str, title: str, width: float = WIDE) -> str:
    """The panel as an HTML fragment.

    Args:
        panel: what to draw.
        inks: series label -> how it looks.
        prefix: unique in the page.
        title: accessible name.
        width: in CSS pixels at scale one.
    """
    panel = _clean(panel)
    with _styled():
        canvas = Canvas(figsize=(width * _PX, HEIGHT * _PX), dpi=72)
        FigureCanvasSVG(canvas)
        canvas.patch.set_visible(False)
        axes = canvas.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.patch.set_visible(False)
        _fill(axes, panel, inks)
        _place(canvas, axes, top=22 if panel.marks else 8)
        draw.label_marks(axes, panel)
        buffer = io.StringIO()
        canvas.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return inline(buffer.getvalue(), prefix=prefix, title=title, description=describe(panel))


def describe(panel: Panel) -> str:
    """The panel in words, for those who cannot see it."""
    parts = [f"{panel.y_label or 'value'} against {panel.x_label or 'position'}"]
    parts += [f"{series.label}: {len(series.x)} {_noun(series)}" for series in panel.series]
    parts += [f"vertical mark at {numbers.number(x)}: {name}" for name, x in panel.marks.items()]
    parts += [f"horizontal level at {numbers.number(y)}: {name}" for name, y in panel.levels.items()]
    return "; ".join(parts) + "."


@contextmanager
def _styled() -> Iterator[None]:
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font", category=UserWarning)  # the page's font has it
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def _clean(panel: Panel) -> Panel:
    """The panel without control characters, which no SVG may hold."""

    def text(value: str) -> str:
        return "".join(character if character.isprintable() else " " for character in value)

    return replace(
        panel,
        x_label=text(panel.x_label),
        y_label=text(panel.y_label),
        marks={text(name): x for name, x in panel.marks.items()},
        levels={text(name): y for name, y in panel.levels.items()},
        categories=None if panel.categories is None else [text(name) for name in panel.categories],
    )


def _fill(axes: Axes, panel: Panel, inks: dict[str, draw.Ink]) -> None:
    if panel.x_log:
        axes.set_xscale("log")
    if panel.y_log:
        axes.set_yscale("log")
    draw.spans(axes, panel)
    draw.series(axes, panel, inks)
    draw.guides(axes, panel)
    axes.set_xlabel(panel.x_label)
    axes.set_ylabel(panel.y_label)
    axes.margins(x=0.03, y=0.06)
    _limits(axes, panel)
    _ticks(axes, panel)
    axes.tick_params(length=3, pad=3)
    axes.tick_params(which="minor", length=0)


def _limits(axes: Axes, panel: Panel) -> None:
    axes.autoscale_view()
    if panel.diagonal:
        ends = (*axes.get_xlim(), *axes.get_ylim())
        axes.set_xlim(min(ends), max(ends))
        axes.set_ylim(min(ends), max(ends))
        draw.diagonal(axes, min(ends), max(ends))
    bars = any(series.style == "bars" for series in panel.series)
    if bars and not panel.y_log and axes.get_ylim()[0] > 0:
        axes.set_ylim(bottom=0)


def _ticks(axes: Axes, panel: Panel) -> None:
    for axis, log in ((axes.xaxis, panel.x_log), (axes.yaxis, panel.y_log)):
        low, high = axis.get_view_interval()
        decades = math.log10(high / low) if log and 0 < low < high else 0.0
        if decades < 0.7:  # so short that a logarithmic axis has round numbers in even steps
            axis.set_major_locator(MaxNLocator(nbins=5 if log else 6, steps=[1, 2, 2.5, 5, 10]))
            if log:
                axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.6g}"))
        else:
            steps = (1.0, 2.0, 5.0) if decades < 1.7 else (1.0, 3.0) if decades < 2.6 else (1.0,)
            axis.set_major_locator(LogLocator(subs=steps, numticks=12 if decades < 2.6 else 7))
            axis.set_major_formatter(FuncFormatter(lambda value, _: numbers.tick(value)))
        if log:
            axis.set_minor_locator(NullLocator())
            axis.set_minor_formatter(NullFormatter())
    if panel.categories is not None:
        draw.categories(axes, panel.categories)


def _place(canvas: Canvas, axes: Axes, *, top: float) -> None:
    """Give the axes all the room that its labels and `top` leave."""
    width, height = canvas.get_size_inches() * 72
    tight = axes.get_tightbbox()
    if tight is None:
        return
    left, bottom = max(0.0, -tight.x0) + 2, max(0.0, -tight.y0) + 2
    axes.set_position((left / width, bottom / height, (width - left - 12) / width, (height - bottom - top) / height))


def _noun(series: Series) -> str:
    return "bars" if series.style == "bars" else "points"
