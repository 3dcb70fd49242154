"""The slot timeline as an SVG that stretches with the page: a row a slot, one path a kind, whatever the number of tasks.

Tasks of some width are drawn one by one, with a gap between neighbours; narrower ones are merged into cells of
a grid, each in the colour of what took most of it. Above ROWS slots a row a slot cannot be read: then the number of
busy slots is drawn over time, stacked by kind.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from mlforhpc.report import numbers
from mlforhpc.report.palette import KIND_COLOUR
from mlforhpc.report.spans import Layer, Span

ROWS = 48
_UNITS = 2000
_CELLS = 16000
_ROW = 20
_WIDE, _GAP = 8, 2
_HEIGHT = 240


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """What the page needs to draw it.

    Attributes:
        svg: the drawing, without text.
        rows: names of the rows, top to bottom; empty where busy slots are drawn.
        height_px: of the drawing.
        ticks: (percent of the width, label) along the time axis.
        top: label of the upper end of the y axis where busy slots are drawn.
        layers: (kind, measurement) that occur, in drawing order.
        words: the drawing in words.
    """

    svg: Markup
    rows: tuple[str, ...]
    height_px: int
    ticks: tuple[tuple[float, str], ...]
    top: str
    layers: tuple[Layer, ...]
    words: str


def timeline(spans: Sequence[Span], *, prefix: str) -> Timeline | None:
    """The timeline of a run; None where nothing ran."""
    if not spans:
        return None
    slots = sorted({span.slot for span in spans}, key=_natural)
    end = max(max(span.end_s for span in spans), 1e-9)
    layers = sorted({(span.kind, span.measurement) for span in spans}, key=lambda layer: (_order(layer[0]), layer[1]))
    rows = len(slots) <= ROWS
    paths, height = _rows(spans, slots, end) if rows else _areas(spans, layers, end)
    words = f"{len(spans):,} tasks on {len(slots)} slots over {numbers.seconds(end)}: " + ", ".join(
        f"{sum(1 for s in spans if (s.kind, s.measurement) == layer):,} {name(layer)}" for layer in layers
    )
    body = "".join(f'<path d="{d}" class="{_css(layer)}"/>' for layer, d in paths)
    svg = (
        f'<svg viewBox="0 0 {_UNITS} {height}" preserveAspectRatio="none" role="img" aria-labelledby="{prefix}-t {prefix}-d">'
        f'<title id="{prefix}-t">Slot timeline</title><desc id="{prefix}-d">{escape(words)}</desc>{body}</svg>'
    )
    return Timeline(
        svg=Markup(svg),
        rows=tuple(slots) if rows else (),
        height_px=height if not rows else max(len(slots) * (26 if len(slots) <= 8 else 14), 40),
        ticks=_ticks(end),
        top="" if rows else f"{len(slots)} slots",
        layers=tuple(layers),
        words=words,
    )


def name(layer: Layer) -> str:
    """ "simulate", "simulate (measurement)"."""
    return f"{layer[0]} (measurement)" if layer[1] else layer[0]


def colour(kind: str) -> str:
    """CSS variable of a kind's colour."""
    return f"var(--{KIND_COLOUR.get(kind, 'muted')})"


def _rows(spans: Iterable[Span], slots: Sequence[str], end: float) -> tuple[list[tuple[Layer, str]], int]:
    """Paths of (layer, d); y grows by _ROW a slot."""
    row = {slot: index for index, slot in enumerate(slots)}
    cell = max(1, _UNITS * len(slots) // _CELLS)
    wide: dict[Layer, list[str]] = defaultdict(list)
    cells: dict[tuple[int, int], dict[Layer, float]] = defaultdict(lambda: defaultdict(float))
    for span in spans:
        start, stop = span.start_s / end * _UNITS, span.end_s / end * _UNITS
        if stop - start > max(_WIDE, 2 * cell):
            wide[span.kind, span.measurement].append(_box(round(start), round(stop) - _GAP, row[span.slot], span.measurement))
            continue
        for index in range(int(start) // cell, int(stop) // cell + 1):
            inside = min(stop, (index + 1) * cell) - max(start, index * cell)
            cells[row[span.slot], index][span.kind, span.measurement] += max(inside, 1e-6)
    narrow = _merged(cells, cell)
    return [(layer, "".join(d)) for boxes in (narrow, wide) for layer, d in boxes.items()], _ROW * len(slots)


def _merged(cells: dict[tuple[int, int], dict[Layer, float]], cell: int) -> dict[Layer, list[str]]:
    """Neighbouring cells of the same layer become one box."""
    boxes: dict[Layer, list[str]] = defaultdict(list)
    open_: tuple[Layer, int, int, int] | None = None
    for (row, index), shares in sorted(cells.items()):
        layer = max(sorted(shares), key=lambda one: shares[one])
        if open_ is not None and open_[:2] == (layer, row) and open_[3] == index:
            open_ = (layer, row, open_[2], index + 1)
            continue
        if open_ is not None:
            boxes[open_[0]].append(_box(open_[2] * cell, open_[3] * cell, open_[1], open_[0][1]))
        open_ = (layer, row, index, index + 1)
    if open_ is not None:
        boxes[open_[0]].append(_box(open_[2] * cell, open_[3] * cell, open_[1], open_[0][1]))
    return boxes


def _areas(spans: Iterable[Span], layers: Sequence[Layer], end: float) -> tuple[list[tuple[Layer, str]], int]:
    """Busy slots over time, stacked: mean number of slots in each of 500 columns."""
    columns, width = 500, _UNITS // 500
    busy = {layer: [0.0] * columns for layer in layers}
    slots = set()
    for span in spans:
        slots.add(span.slot)
        start, stop = span.start_s / end * columns, span.end_s / end * columns
        counts = busy[span.kind, span.measurement]
        for index in range(int(start), min(int(stop), columns - 1) + 1):
            counts[index] += max(0.0, min(stop, index + 1) - max(start, index))
    scale = _HEIGHT / len(slots)
    floor = [0.0] * columns
    paths: list[tuple[Layer, str]] = []
    for layer in layers:
        top = [below + count for below, count in zip(floor, busy[layer], strict=True)]
        upper = "".join(f"L{i * width} {_HEIGHT - t * scale:.1f}h{width}" for i, t in enumerate(top))
        lower = "".join(f"L{(i + 1) * width} {_HEIGHT - f * scale:.1f}h-{width}" for i, f in reversed(list(enumerate(floor))))
        paths.append((layer, f"M0 {_HEIGHT}{upper}{lower}z"))
        floor = top
    return paths, _HEIGHT


def _box(start: int, stop: int, row: int, measurement: bool) -> str:
    """Measurement is drawn thinner as well as paler."""
    edge, width = (5 if measurement else 1), max(stop - start, 1)
    return f"M{start} {row * _ROW + edge}h{width}v{_ROW - 2 * edge}h-{width}z"


def _css(layer: Layer) -> str:
    kind = layer[0] if layer[0] in KIND_COLOUR else "other"
    return f"k-{kind}" + (" measurement" if layer[1] else "")


def _ticks(end: float) -> tuple[tuple[float, str], ...]:
    """Round times, about five of them."""
    units = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1, 10, 60, 600, 3600, 36000, 86400, 864000, 8640000)
    steps = [unit * factor for unit in units for factor in (1, 2, 5)]
    step = next((s for s in steps if end / s <= 6), steps[-1])
    return tuple((round(100 * i * step / end, 3), _time(i * step, step) if i else "0") for i in range(int(end / step + 1e-9) + 1))


def _time(at_s: float, step_s: float) -> str:
    """A tick's label; all of an axis in one unit."""
    for unit_s, name in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if step_s >= unit_s:
            return f"{at_s / unit_s:g} {name}"
    return numbers.seconds(at_s)


def _natural(slot: str) -> tuple[tuple[int, int, str], ...]:
    """Order "host:2" before "host:10"."""
    return tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in slot.replace(":", " : ").split())


def _order(kind: str) -> int:
    known = list(KIND_COLOUR)
    return known.index(kind) if kind in known else len(known)
