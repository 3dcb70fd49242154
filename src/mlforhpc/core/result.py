"""What a benchmark returns: a verdict, quality, performance figures, and typed figure data that the report draws.

Plain dataclasses: `result.json` is their JSON, and its published schema is derived from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Cell: TypeAlias = str | float | int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A figure with its interval.

    Attributes:
        value: the point estimate (None: not defined, see `note`).
        lower, upper: its interval's ends; None where open.
        coverage: of the interval, in (0, 1).
        note: what it is conditional on, "lower bound", ...
        meaning: one line in plain words for a reader who does not know the figure.
        reference: the number it is judged against (the target, 1 for a gain, the nominal coverage), if any.
        better: which way is better, so that two runs can be compared in words.
    """

    value: float | None
    lower: float | None = None
    upper: float | None = None
    coverage: float = 0.95
    note: str = ""
    meaning: str = ""
    reference: float | None = None
    better: Literal["lower", "higher"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """VALID or INVALID, and why in one sentence; `ranked` is False for installation checks and INVALID runs.

    `target` is None where none was given (somebody's own simulation without a tolerance): VALID then says that there is a check,
    and the reason what it found.
    """

    status: Literal["VALID", "INVALID"]
    reason: str
    target: float | None
    ranked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One line, band, set of points or of bars; `lower`/`upper` draw a band (line) or error bars (points).

    `role` keeps one colour for one thing through all figures of a report: what was learned, what the conventional
    method (or the simulation) gave, or a reference (drawn in grey). Series without a role take the other colours.
    """

    label: str
    x: list[float]
    y: list[float | None]
    lower: list[float | None] | None = None
    upper: list[float | None] | None = None
    style: Literal["line", "points", "bars", "step", "dashed"] = "line"
    role: Literal["learned", "conventional", "reference"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One pair of axes.

    `marks` are labelled vertical lines (x), `levels` labelled horizontal ones (y), `spans` shaded ranges of x (an
    interval around a mark); bars are drawn side by side, or on top of each other where `stacked`.
    """

    title: str = ""
    x_label: str = ""
    y_label: str = ""
    x_log: bool = False
    y_log: bool = False
    series: list[Series] = field(default_factory=list)
    marks: dict[str, float] = field(default_factory=dict)
    levels: dict[str, float] = field(default_factory=dict)
    spans: dict[str, tuple[float, float]] = field(default_factory=dict)
    stacked: bool = False
    diagonal: bool = False
    categories: list[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Small multiples with one caption."""

    name: str
    title: str
    caption: str
    panels: list[Panel]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table; numbers are formatted by the report."""

    name: str
    title: str
    caption: str
    columns: list[str]
    rows: list[list[Cell]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One benchmark, once, on one system.

    Attributes:
        verdict: and its reason.
        headline: the few figures of the summary line, name -> interval (units in the names).
        quality: every quality figure, name -> number; same seed, same digits, on every engine.
        performance: every timing figure, name -> number (units in the names).
        figures, tables: what the report shows.
        references: "authors, title, year, doi" of what ran.
    """

    verdict: Verdict
    headline: Mapping[str, Interval]
    quality: Mapping[str, float | None]
    performance: Mapping[str, float | None]
    figures: list[Figure]
    tables: list[Table]
    references: list[str]
