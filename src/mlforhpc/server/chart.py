"""The one figure of the status page: effective speedup and gain against answers, both axes logarithmic, as a small inline SVG.

Colours are classes, which the page's style sheet knows; there is no style attribute, which the page's content policy would refuse.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

from mlforhpc.report import numbers

WIDTH, HEIGHT = 520, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 12, 34
_SPAN_DECADES = 0.6

Growth = Sequence[tuple[int, float | None, float | None]]


@dataclass(frozen=True, slots=True)
class _Axis:
    """From the logarithm of a value to a coordinate."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Powers of ten inside, every n-th so that there are at most six; 1, 2, 5 where that gives fewer than two."""
        decades = range(math.ceil(self.low - 1e-9), math.floor(self.high + 1e-9) + 1)
        step = max(1, math.ceil(len(decades) / 6))
        found = [10.0**d for d in decades if d % step == 0]
        if len(found) >= 2:
            return found
        fine = [m * 10.0**d for d in range(math.floor(self.low), math.ceil(self.high) + 1) for m in (1, 2, 5)]
        return [t for t in fine if self.low - 1e-9 <= math.log10(t) <= self.high + 1e-9]


def growth_svg(growth: Growth, *, title: str) -> Markup:
    """The figure; a sentence in its place while there are fewer than two points."""
    series = {"speedup": _points([(n, s) for n, s, _ in growth]), "gain": _points([(n, g) for n, _, g in growth])}
    points = [point for line in series.values() for point in line]
    if max(map(len, series.values())) < 2:
        return Markup('<p class="muted">Grows as answers are given; two points are needed for a line.</p>')
    x = _axis([n for n, _ in points], _LEFT, WIDTH - _RIGHT)
    y = _axis([*(v for _, v in points), 1.0], HEIGHT - _BOTTOM, _TOP)
    drawn = [_grid(x, y), _line(y)]
    for name, line in series.items():
        if line:
            path = "L".join(f"{x(n):.1f} {y(v):.1f}" for n, v in line)
            drawn.append(
                f'<path class="{name}" d="M{path}"/><circle class="{name}" cx="{x(line[-1][0]):.1f}" cy="{y(line[-1][1]):.1f}" r="3.5"/>'
            )
    label = escape(title)
    return Markup(
        f'<svg class="growth" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}"><title>{label}</title>{"".join(drawn)}</svg>'
    )


def _points(line: Sequence[tuple[int, float | None]]) -> list[tuple[int, float]]:
    """What can stand on logarithmic axes."""
    return [(n, value) for n, value in line if n > 0 and value is not None and math.isfinite(value) and value > 0]


def _axis(values: Sequence[float], start: float, end: float) -> _Axis:
    low, high = math.log10(min(values)), math.log10(max(values))
    missing = max(0.0, _SPAN_DECADES - (high - low)) / 2
    margin = 0.04 * (high - low + 2 * missing)
    return _Axis(low - missing - margin, high + missing + margin, start, end)


def _grid(x: _Axis, y: _Axis) -> str:
    parts = []
    for value in y.ticks():
        parts.append(f'<path class="grid" d="M{_LEFT} {y(value):.1f}H{WIDTH - _RIGHT}"/>')
        parts.append(f'<text x="{_LEFT - 7}" y="{y(value) + 4:.1f}" text-anchor="end">{numbers.tick(value)}</text>')
    for value in x.ticks():
        parts.append(f'<path class="grid" d="M{x(value):.1f} {_TOP}V{HEIGHT - _BOTTOM}"/>')
        parts.append(f'<text x="{x(value):.1f}" y="{HEIGHT - _BOTTOM + 16}" text-anchor="middle">{numbers.tick(value)}</text>')
    parts.append(f'<text x="{(_LEFT + WIDTH - _RIGHT) / 2}" y="{HEIGHT - 2}" text-anchor="middle">answers</text>')
    return "".join(parts)


def _line(y: _Axis) -> str:
    """Where speedup and gain are 1: no better than the simulation alone."""
    return f'<path class="one" d="M{_LEFT} {y(1.0):.1f}H{WIDTH - _RIGHT}"/>'
