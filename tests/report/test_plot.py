"""Panels of every kind are drawn, the odd ones too."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest

from mlforhpc.core.result import Figure, Panel, Series
from mlforhpc.report import data, draw
from mlforhpc.report.plot import describe, panel_svg

STYLES: list[Any] = ["line", "points", "bars", "step", "dashed"]
INK = {"a": draw.Ink("series-1", "o"), "b": draw.Ink("series-2", "s")}


def drawn(panel: Panel) -> str:
    """The panel's SVG."""
    return panel_svg(panel, INK, prefix="p", title="A panel")


@pytest.mark.parametrize(("style", "logs"), list(product(STYLES, [(False, False), (True, True)])))
def test_every_style_is_drawn_on_every_axis(style: Any, logs: tuple[bool, bool]) -> None:
    """Gaps, open ends and values that no log axis can show are survived."""
    one = Series(label="a", x=[0.0, 1.0, 2.0, 3.0], y=[1.0, None, -1.0, 4.0], style=style)
    two = Series(label="b", x=[1.0, 2.0, 3.0], y=[2.0, 3.0, 4.0], lower=[-1.0, None, 3.0], upper=[2.5, 3.5, None], style=style)
    panel = Panel(x_label="x", y_label="y", x_log=logs[0], y_log=logs[1], series=[one, two], spans={"s": (1.0, 2.0)})
    svg = drawn(panel)
    assert "var(--series-1)" in svg and "var(--series-2)" in svg and "nan" not in svg


@pytest.mark.parametrize(
    "panel",
    [
        Panel(),
        Panel(x_log=True, y_log=True),
        Panel(series=[Series(label="a", x=[], y=[])]),
        Panel(y_log=True, series=[Series(label="a", x=[1.0], y=[-1.0])]),
        Panel(series=[Series(label="a", x=[1.0], y=[None])]),
        Panel(diagonal=True, series=[Series(label="a", x=[5.0], y=[5.0], style="points")]),
        Panel(categories=[], series=[]),
        Panel(y_log=True, series=[Series(label="a", x=[1.0, 2.0], y=[1e-100, 1e100])]),
        Panel(x_label="利得 $N^*$", series=[Series(label="a", x=[1.0], y=[1.0])]),
    ],
)
def test_odd_panels_are_drawn(panel: Panel) -> None:
    """Nothing to draw, one point, only what cannot be drawn, letters that matplotlib's font has not."""
    assert drawn(panel).startswith("<svg viewBox=")


def test_text_is_text_in_the_page_s_font() -> None:
    """Labels can be selected, found and read aloud; formulas are not parsed."""
    svg = drawn(Panel(x_label="cost $ per run", series=[Series(label="a", x=[1.0, 2.0], y=[1.0, 2.0])]))
    assert "cost $ per run</text>" in svg
    assert "font-size: 11px" in svg and "DejaVu" not in svg


@pytest.mark.parametrize(("low", "high"), [(0.199, 0.204), (6.0, 13.0), (0.03, 0.2), (1.0, 1e8)])
def test_ticks_of_a_logarithmic_axis_are_few_and_different(low: float, high: float) -> None:
    """However short or long the axis, it has at least two labels and none twice."""
    svg = drawn(Panel(x_log=True, series=[Series(label="a", x=[low, high], y=[1.0, 1.0])]))
    labels = [text for x, text in re.findall(r'text-anchor: middle[^>]*x="([\d.]+)"[^>]*>([^<]+)</text>', svg)]
    assert 2 <= len(labels) == len(set(labels)) <= 9


def test_a_dense_series_is_one_path() -> None:
    """Thousands of points are one path of dots, and no more than can be seen."""
    n = 20_000
    svg = drawn(Panel(series=[Series(label="a", x=[float(i) for i in range(n)], y=[float(i % 97) for i in range(n)], style="points")]))
    assert svg.count("h0") == draw.MOST
    assert svg.count("<use") < 40 and len(svg) < 100_000


def test_bars_stand_side_by_side_or_stacked() -> None:
    """Side by side both begin at zero; stacked the second begins where the first ends."""
    bars = [Series(label=label, x=[0.0, 1.0], y=[2.0, 3.0], style="bars") for label in "ab"]

    def tops(stacked: bool) -> list[float]:
        svg = drawn(Panel(series=bars, stacked=stacked, categories=["c", "d"]))
        paths = re.findall(r'<path d="M ([\d.]+) ([\d.]+) L [\d.]+ [\d.]+ L [\d.]+ ([\d.]+)[^"]*"[^>]*style="fill: var\(--series', svg)
        return [float(bottom) for _, bottom, _ in paths]

    beside, stacked = tops(False), tops(True)
    assert len(set(beside)) == 1
    assert len(set(stacked)) == 3


def test_the_description_says_what_the_figure_shows() -> None:
    """Axes, series, marks and levels in words."""
    panel = Panel(x_label="N", y_label="gain", marks={"N*": 90.0}, levels={"break-even": 1.0}, series=[Series(label="a", x=[1.0], y=[2.0])])
    assert describe(panel) == "gain against N; a: 1 points; vertical mark at 90: N*; horizontal level at 1: break-even."


def test_the_data_behind_a_figure_can_be_downloaded() -> None:
    """One row a point, categories by name; a text that a spreadsheet would take for a formula is quoted."""
    series = Series(label="=1+1", x=[0.0], y=[0.123456789], lower=[None], upper=[1.0], style="bars")
    figure = Figure(name="f", title="F", caption="", panels=[Panel(title="P", categories=["c1"], series=[series])])
    rows = data.rows(figure)
    assert rows == [["P", "=1+1", "c1", 0.123456789, None, 1.0]]
    assert data.csv_link(rows).endswith("P,%27%3D1+1,c1,0.123457,,1%0A")


def test_equal_panels_give_equal_bytes(parts: dict[str, Callable[..., Any]]) -> None:
    """Drawing twice gives the same."""
    panel = Panel(series=[Series(label="a", x=[1.0, 2.0], y=[1.0, 2.0], style="points")])
    assert drawn(panel) == drawn(panel)
