"""What the page shows of a run, computed before any HTML is written: cards, figures, phases, timeline, environment."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from mlforhpc.core.manifest import Manifest
from mlforhpc.core.result import Cell, Figure, Result, Series, Table
from mlforhpc.report import data, draw, numbers, palette
from mlforhpc.report.cards import Card, cards
from mlforhpc.report.plot import NARROW, WIDE, panel_svg
from mlforhpc.report.run_folder import RunFolder
from mlforhpc.report.spans import Phase, activity
from mlforhpc.report.timeline import Timeline, timeline

_DOI = re.compile(r"(?:https?://(?:dx\.)?doi\.org/)?\b(10\.\d{4,9}/[^\s,;\"<>]+[^\s,;.\"<>)])")
_ROLES = {"learned": "series-1", "conventional": "series-2", "reference": "muted"}


@dataclass(frozen=True, slots=True)
class Legend:
    """One entry of a figure's legend: how it is drawn, in which colour."""

    label: str
    colour: str
    style: str
    glyph: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureView:
    """A figure, drawn."""

    id: str
    title: str
    caption: str
    panels: list[tuple[str, Markup]]
    legend: list[Legend]
    csv: str
    rows: list[list[Cell]]
    points: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """All that the templates need of one run."""

    id: str
    name: str
    folder: str
    manifest: Manifest
    result: Result
    cards: list[Card]
    figure_rows: list[list[FigureView]]
    phases: list[Phase]
    timeline: Timeline | None
    tables: list[Table]
    numeric: dict[str, list[bool]]
    quality: list[tuple[str, float | None]]
    performance: list[tuple[str, float | None]]
    environment: list[tuple[str, str]]
    packages: list[tuple[str, str]]
    references: list[tuple[str, str, str]]
    makespan_s: float | None
    details: bool = True

    def reduced(self, *, longest: int, details: bool) -> RunView:
        """This view without downloads of more than `longest` rows, and without figures and timeline unless `details`."""
        if not details:
            return replace(self, figure_rows=[], timeline=None, details=False)
        rows = [[figure if figure.points <= longest else replace(figure, csv="") for figure in row] for row in self.figure_rows]
        return replace(self, figure_rows=rows)


def view(run: RunFolder, index: int) -> RunView:
    """The view of a run; `index`, from 0, makes its ids unique in the page."""
    prefix, result = f"r{index + 1}", run.result
    done = activity(run.events())
    figures = [_figure(figure, f"{prefix}f{i + 1}") for i, figure in enumerate(result.figures)]
    return RunView(
        id=prefix,
        name=run.name,
        folder=run.path.resolve().name,
        manifest=run.manifest,
        result=result,
        cards=cards(result),
        figure_rows=_paired(figures),
        phases=list(done.phases),
        timeline=timeline(done.spans, prefix=f"{prefix}t"),
        tables=result.tables,
        numeric={table.name: [_numeric(table, column) for column in range(len(table.columns))] for table in result.tables},
        quality=list(result.quality.items()),
        performance=list(result.performance.items()),
        environment=_environment(run),
        packages=sorted(run.manifest.packages.items(), key=lambda item: item[0].lower()),
        references=[_reference(text) for text in result.references],
        makespan_s=done.makespan_s,
    )


def _figure(figure: Figure, prefix: str) -> FigureView:
    inks = _inks(figure)
    rows = data.rows(figure)
    hidden = sum(draw.hidden(panel) for panel in figure.panels)
    lost = f" {hidden} values are not positive and cannot stand on a logarithmic axis." if hidden else ""
    width = NARROW if len(figure.panels) > 2 else WIDE
    drawn = [
        (panel.title, Markup(panel_svg(panel, inks, prefix=f"{prefix}p{i + 1}", title=panel.title or figure.title, width=width)))
        for i, panel in enumerate(figure.panels)
    ]
    first: dict[str, Series] = {}
    for panel in figure.panels:
        for one in panel.series:
            first.setdefault(one.label, one)
    legend = [Legend(label, inks[label].colour, _style(one), draw.MARKERS[inks[label].marker]) for label, one in first.items()]
    if len(figure.panels) > 1 and all(len(panel.series) <= 1 for panel in figure.panels):
        legend = []
    return FigureView(
        id=prefix,
        title=figure.title,
        caption=figure.caption + lost,
        panels=drawn,
        legend=legend,
        csv=data.csv_link(rows),
        rows=rows if len(rows) <= data.SHORT else [],
        points=len(rows),
    )


def _inks(figure: Figure) -> dict[str, draw.Ink]:
    """Series label -> colour and marker: roles have theirs, the others take the colours that are left, in order.

    Where no panel has more than one series there is nothing to tell apart: all look alike, and need no legend.
    """
    if all(len(panel.series) <= 1 for panel in figure.panels):
        return {one.label: draw.Ink(_ROLES[one.role or "learned"], "o") for panel in figure.panels for one in panel.series}
    roles = {one.label: one.role for panel in figure.panels for one in panel.series}
    taken = {_ROLES[role] for role in roles.values() if role}
    free = itertools.cycle([f"series-{i}" for i in range(1, palette.SERIES + 1) if f"series-{i}" not in taken])
    markers = itertools.cycle(draw.MARKERS)
    points = {one.label for panel in figure.panels for one in panel.series if one.style == "points"}
    return {
        label: draw.Ink(_ROLES[role] if role else next(free), next(markers) if label in points else "o") for label, role in roles.items()
    }


def _style(one: Series) -> str:
    banded = one.lower is not None and one.style in ("line", "dashed", "step")
    return f"{one.style} band" if banded else one.style


def _paired(figures: Sequence[FigureView]) -> list[list[FigureView]]:
    """Figures of one panel stand two in a row, those of more alone."""
    rows: list[list[FigureView]] = []
    for figure in figures:
        if len(figure.panels) == 1 and rows and len(rows[-1]) == 1 and len(rows[-1][0].panels) == 1:
            rows[-1].append(figure)
        else:
            rows.append([figure])
    return rows


def _numeric(table: Table, column: int) -> bool:
    cells = [row[column] for row in table.rows if column < len(row)]
    return all(not isinstance(cell, str) for cell in cells)


def _environment(run: RunFolder) -> list[tuple[str, str]]:
    m = run.manifest
    rows = [
        ("run", m.run_id),
        ("benchmark", f"{m.benchmark} {m.benchmark_version} ({m.benchmark_class})"),
        ("size, seed, repeat", f"{m.size}, {m.seed}, {m.repeat}"),
        ("engine", f"{m.engine}, {m.slots} slots"),
        ("host", m.host),
        ("processor", f"{m.cpu}, {m.cores} cores" if m.cores else m.cpu),
        ("accelerators", ", ".join(m.accelerators)),
        ("memory", numbers.size(m.memory_bytes) if m.memory_bytes else ""),
        ("operating system", m.os),
        ("Python", m.python),
        ("begun", m.created),
        ("ended", run.document.ended),
        ("command", m.command),
        *((f"configuration: {key}", str(value)) for key, value in m.configuration.items()),
    ]
    return [(name, value) for name, value in rows if value]


def _reference(text: str) -> tuple[str, str, str]:
    """Text before the doi, the doi, text after it."""
    found = _DOI.search(text)
    if found is None:
        return text, "", ""
    return text[: found.start()], found[1], text[found.end() :]
