"""Two runs of one benchmark, figure by figure: the ratio B / A with its interval, and what it means for B.

Refused where the numbers do not mean the same: another benchmark, version or size. Timing figures of two systems are
compared, since that is what `compare` is for, and the systems are named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from mlforhpc.core.errors import UsageError
from mlforhpc.core.result import Interval
from mlforhpc.metrics import compare
from mlforhpc.report import cards, numbers
from mlforhpc.report.run_folder import RunFolder, read


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One headline figure of both runs; `finding` is about B."""

    figure: str
    a: Interval
    b: Interval
    ratio: Interval
    finding: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Two runs, and what is different about them."""

    benchmark: str
    version: str
    size: str
    a: str
    b: str
    verdict_a: str
    verdict_b: str
    differences: Sequence[str]
    lines: Sequence[Line]


def compare_runs(a: Path, b: Path) -> Compared:
    """Ratios B / A of the figures that both runs have.

    Raises:
        UsageError: no run folders, or runs that cannot be compared.
    """
    first, second = read(Path(a)), read(Path(b))
    for what, one, other in (
        ("benchmark", first.manifest.benchmark, second.manifest.benchmark),
        ("benchmark version", first.manifest.benchmark_version, second.manifest.benchmark_version),
        ("size", first.manifest.size, second.manifest.size),
    ):
        if one != other:
            raise UsageError(f"These runs cannot be compared: the {what} is {one} in '{a}' and {other} in '{b}'. Run both with the same.")
    both = [name for name in first.result.headline if name in second.result.headline]
    return Compared(
        benchmark=first.manifest.benchmark,
        version=first.manifest.benchmark_version,
        size=first.manifest.size,
        a=first.manifest.run_id,
        b=second.manifest.run_id,
        verdict_a=first.result.verdict.status,
        verdict_b=second.result.verdict.status,
        differences=_differences(first, second),
        lines=[_line(name, first.result.headline[name], second.result.headline[name]) for name in both],
    )


def table(found: Compared) -> RenderableType:
    """The comparison as a table, with a line for what differs between the runs."""
    shown = Table(
        title=f"{escape(found.benchmark)} {escape(found.version)}, size {escape(found.size)}",
        title_justify="left",
        box=None,
        pad_edge=False,
        header_style="dim",
    )
    for column in ("figure", "A", "B", "B / A"):
        shown.add_column(column)
    shown.add_column("B is")
    for line in found.lines:
        style = {"better": "green", "worse": "red"}.get(line.finding, "")
        values = (line.figure, *(f"{numbers.number(i.value)}\n{numbers.span(i)}".strip() for i in (line.a, line.b, line.ratio)))
        shown.add_row(*(Text(text) for text in values), Text(line.finding, style=style))
    notes = [f"A: {found.a} ({found.verdict_a})", f"B: {found.b} ({found.verdict_b})", *(f"differs: {d}" for d in found.differences)]
    if "INVALID" in (found.verdict_a, found.verdict_b):
        notes.append("An INVALID run has no rank: its ratios say nothing about which is better.")
    return Group(shown, *(Text(note) for note in notes))


def _line(name: str, a: Interval, b: Interval) -> Line:
    way = cards.better(name, a)
    if a.coverage == b.coverage and _enclosed(a) and _enclosed(b):
        sided = [replace(one, better="lower" if way == "lower" else "higher") for one in (b, a)]
        found = compare.compare(*sided)
        finding = found.finding if way else {"better": "higher", "worse": "lower"}.get(found.finding, found.finding)
        return Line(figure=name, a=a, b=b, ratio=found.ratio, finding=finding)
    both = a.value and b.value and a.value > 0 and b.value > 0
    ratio = Interval(value=b.value / a.value if both and a.value and b.value else None, note="no interval")
    return Line(figure=name, a=a, b=b, ratio=ratio, finding="no interval to judge by" if both else "not comparable")


def _enclosed(interval: Interval) -> bool:
    return interval.value is not None and (interval.lower is not None or interval.upper is not None)


def _differences(a: RunFolder, b: RunFolder) -> list[str]:
    one, other = a.manifest, b.manifest
    pairs: list[tuple[str, object, object]] = [
        (field, getattr(one, field), getattr(other, field))
        for field in ("seed", "engine", "slots", "host", "cpu", "cores", "accelerators", "os", "python")
    ]
    pairs += [(key, one.configuration.get(key), other.configuration.get(key)) for key in sorted({*one.configuration, *other.configuration})]
    pairs += [(key, one.packages.get(key, "absent"), other.packages.get(key, "absent")) for key in sorted({*one.packages, *other.packages})]
    return [f"{name}: {x} in A, {y} in B" for name, x, y in pairs if x != y]
