"""What a study of scaling shows: tables, a figure of efficiency against slots, and the same on a few lines of a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table as Grid
from rich.text import Text

from mlforhpc.core.result import Cell, Figure, Interval, Panel, Result, Series, Table, Verdict
from mlforhpc.metrics.scaling import Line, amdahl
from mlforhpc.report import numbers

STRONG = (
    "The same work on more slots. Makespan: from the first task asked for to the last one known, mean over repeats. Efficiency = pace x "
    "utilization / utilization on the fewest slots. Pace below 1: each task ran more slowly than there. Serial: the share of the work that "
    "Amdahl's law needs for this speedup."
)
KINDS = "Strong efficiency of the time in which at least one task of a kind ran: what each phase makes of more slots."
WEAK = (
    "The work grows with the slots: for each slot, all simulations that the benchmark trains on, the first slot's with its own seeds and "
    "the others' with seeds of their own; all asked for at once, learning left out. Speedup is the scaled one; serial: the share of the "
    "time that Gustafson's law needs for it."
)
REFERENCES = [
    "Amdahl, Validity of the single processor approach to achieving large scale computing capabilities, AFIPS 1967, "
    "doi 10.1145/1465482.1465560",
    "Gustafson, Reevaluating Amdahl's law, Commun. ACM 31:532, 1988, doi 10.1145/42411.42415",
    "Karp, Flatt, Measuring parallel processor performance, Commun. ACM 33:539, 1990, doi 10.1145/78607.78614",
]


def result(strong: Sequence[Line], weak: Sequence[Line], *, faults: Sequence[str], notes: Sequence[str], installation: bool) -> Result:
    """The study as a result.

    Args:
        strong, weak: lines by slots; weak is empty where the benchmark simulates nothing that can be run again.
        faults: what makes it INVALID.
        notes: sentences that belong to every figure.
        installation: its runs are installation checks.
    """
    every = [*notes, *([] if weak else ["No weak scaling: this benchmark trains on no simulation that can be run again by its name."])]
    ways = {name: lines for name, lines in (("strong", strong), ("weak", weak)) if lines}
    tables = [_table(name, lines, caption) for (name, lines), caption in zip(ways.items(), (STRONG, WEAK), strict=False)]
    return Result(
        verdict=_verdict(strong, faults, every, installation),
        headline={
            f"{name} efficiency({line.slots} slots)": _told(name, line, notes) for name, lines in ways.items() for line in lines[-1:]
        },
        quality={},
        performance={f"{name}_{line.slots}_slots_tasks_s": line.tasks_s for name, lines in ways.items() for line in lines},
        figures=[_figure(ways)],
        tables=[tables[0], _kinds(strong), *tables[1:]],
        references=REFERENCES,
    )


def summary(found: Result, folder: Path) -> RenderableType:
    """Verdict, tables, and where the report is."""
    valid = found.verdict.status == "VALID"
    parts: list[RenderableType] = [
        Text.assemble(
            (f"{'✓' if valid else '✗'} {found.verdict.status}", "bold green" if valid else "bold red"), f"  {found.verdict.reason}"
        )
    ]
    for table in found.tables:
        grid = Grid(title=f"\n{table.title}", title_justify="left", box=None, padding=(0, 1, 0, 0), header_style="dim")
        for column in table.columns:
            grid.add_column(column, justify="left" if column in ("kind", "interval") else "right", no_wrap=True)
        for row in table.rows:
            grid.add_row(*map(numbers.cell, row))
        parts += [grid, Text(table.caption, style="dim")]
    return Group(*parts, Text(f"report: {folder / 'report.html'}", style="bold"))


def _verdict(strong: Sequence[Line], faults: Sequence[str], notes: Sequence[str], installation: bool) -> Verdict:
    if faults:
        more = f" And {len(faults) - 1} more." if len(faults) > 1 else ""
        return Verdict(status="INVALID", reason=faults[0] + more, target=None, ranked=False)
    slots = ", ".join(str(line.slots) for line in strong)
    reason = " ".join(
        [f"Every quality figure has the same digits on {slots} slots.", *(["Runs of size tiny are short."] if installation else []), *notes]
    )
    return Verdict(status="VALID", reason=reason, target=None, ranked=not installation)


def _told(name: str, line: Line, notes: Sequence[str]) -> Interval:
    found = line.efficiency
    meaning = f"{'The same work' if name == 'strong' else 'Work in proportion'} on {line.growth:g} times the slots: 1 is perfect."
    return Interval(
        value=found.value, lower=found.lower, upper=found.upper, note="; ".join(filter(None, [found.note, *notes])), meaning=meaning,
        reference=1.0, better="higher",
    )  # fmt: skip


def _table(name: str, lines: Sequence[Line], caption: str) -> Table:
    return Table(
        name=name,
        title=f"{name.capitalize()} scaling",
        caption=f"{caption} {_repeats(lines)}",
        columns=["slots", "makespan, s", "speedup", "efficiency", "interval", "pace", "utilization", "serial"],
        rows=[
            [line.slots, line.tasks_s, line.speedup.value, *_estimate(line.efficiency), line.pace, line.utilization, line.serial]
            for line in lines
        ],
    )


def _kinds(lines: Sequence[Line]) -> Table:
    rows: list[list[Cell]] = [
        [kind, line.slots, *_estimate(line.kinds[kind])] for kind in lines[0].kinds for line in lines[1:] if kind in line.kinds
    ]
    columns = ["kind", "slots", "efficiency", "interval"]
    return Table(name="kinds", title="Strong scaling by kind of task", caption=f"{KINDS} {_repeats(lines)}", columns=columns, rows=rows)


def _estimate(interval: Interval) -> list[Cell]:
    return [interval.value, numbers.span(interval)]


def _repeats(lines: Sequence[Line]) -> str:
    note = lines[-1].efficiency.note
    return f"Intervals: {numbers.percent(lines[-1].efficiency.coverage)}, {note}." if "paired" in note else f"{note.capitalize()}."


def _figure(ways: dict[str, Sequence[Line]]) -> Figure:
    panels = []
    for name, lines in ways.items():
        x = [float(line.slots) for line in lines]
        efficiencies = [line.efficiency for line in lines]
        series = [
            Series(
                label="all tasks", x=x, y=[e.value for e in efficiencies], style="points", role="learned",
                lower=[e.lower for e in efficiencies], upper=[e.upper for e in efficiencies],
            )
        ]  # fmt: skip
        if name == "strong":
            series += [_of_kind(kind, lines) for kind in lines[0].kinds]
            serial = lines[-1].serial
            if serial is not None and 0 < serial <= 1:
                y: list[float | None] = [amdahl(serial, line.growth) / line.growth for line in lines]
                series.append(
                    Series(label=f"Amdahl's law, serial share {numbers.number(serial)}", x=x, y=y, style="dashed", role="reference")
                )
        panels.append(
            Panel(title=f"{name.capitalize()}", x_label="slots", y_label="efficiency", x_log=True, series=series, levels={"ideal": 1.0})
        )
    return Figure(
        name="efficiency",
        title="Efficiency against slots",
        caption="1 is ideal. Bars are 95 % intervals over repeats paired by seed, which one repeat has not.",
        panels=panels,
    )


def _of_kind(kind: str, lines: Sequence[Line]) -> Series:
    there = [line for line in lines if kind in line.kinds]
    return Series(label=kind, x=[float(line.slots) for line in there], y=[line.kinds[kind].value for line in there], style="points")
