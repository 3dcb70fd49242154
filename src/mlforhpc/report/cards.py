"""Headline figures as cards and strips: value, interval, what it is judged against, and one line in plain words.

A result may bring its own words (`Interval.meaning`, `.reference`, `.better`); for the figures of DESIGN.md this file
knows them, whatever number stands in the brackets ("gain(1000)", "S(0)").
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from mlforhpc.core.result import Interval, Result
from mlforhpc.report import numbers

_KNOWN: tuple[tuple[str, str, str], ...] = (
    (
        r"q(?![a-z])|error",
        "lower",
        "Error of the learned answers on systems never seen before, relative to the outputs' size; 0 is perfect.",
    ),
    (r"gain.*(inf|∞)", "higher", "The gain in the limit of many answers, when training costs nothing any more."),
    (r"gain(?![a-z])", "higher", "How many times cheaper than the cheapest conventional runs of the same error, training included."),
    (r"N\*|N_star|break.?even", "lower", "From this many answers on, learning is cheaper than simulating at the same error."),
    (r"S[(_]0", "higher", "Effective speedup with no lookups: the parallel speedup of the training runs, less learning."),
    (r"S[(_](inf|∞)", "higher", "Effective speedup in the limit of many lookups; it says nothing of quality."),
    (r"S(?![a-z])", "higher", "Effective speedup over simulating one after another; it says nothing of quality."),
    (r"coverage", "", "Share of independent runs that fall inside the surrogate's interval."),
)


OVERVIEW: dict[str, str] = {"error q": r"q(?![a-z])|error", "gain": r"gain", "N*": r"N\*|N_star|break.?even", "S(∞)": r"S[(_](inf|∞)"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """An interval on a line of length 100: where value, ends and reference stand; None: not on the line."""

    value: float | None
    lower: float
    upper: float
    reference: float | None
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One headline figure, ready to be shown."""

    name: str
    value: str
    ends: str
    coverage: str
    span: str
    note: str
    meaning: str
    reference: str
    strip: Strip | None


def cards(result: Result) -> list[Card]:
    """One card a headline figure, in the result's order."""
    return [card(name, interval, result) for name, interval in result.headline.items()]


def overview(results: Sequence[Result]) -> list[list[Card | None]]:
    """For each result the columns of OVERVIEW, None where it has no such figure; the strips of a column share one scale."""
    names = [[next((n for n in one.headline if re.match(p, n, re.I)), None) for p in OVERVIEW.values()] for one in results]
    rows: list[list[Card | None]] = [[] for _ in results]
    for column in range(len(OVERVIEW)):
        found = [(one, row[column]) for one, row in zip(results, names, strict=True)]
        domain = [v for one, name in found if name for v in _given(one.headline[name], reference_of(name, one.headline[name], one))]
        for cells, (one, name) in zip(rows, found, strict=True):
            cells.append(None if name is None else card(name, one.headline[name], one, domain=domain))
    return rows


def card(name: str, interval: Interval, result: Result, *, domain: Sequence[float] = ()) -> Card:
    """The card of one figure; its strip spans `domain` too."""
    reference = reference_of(name, interval, result)
    open_end = "no interval" if interval.lower is None and interval.upper is None else f"{numbers.percent(interval.coverage)} interval"
    ends = numbers.span(interval)
    return Card(
        name=name,
        value=numbers.number(interval.value),
        ends=ends,
        coverage=numbers.percent(interval.coverage) if ends else "",
        span=f"{ends} ({open_end})" if ends else open_end,
        note=interval.note,
        meaning=interval.meaning or _known(name, 2),
        reference="" if reference is None else f"{_reference_word(name)} {numbers.given(reference)}",
        strip=strip(interval, reference, domain),
    )


def reference_of(name: str, interval: Interval, result: Result) -> float | None:
    """What a figure is judged against: its own reference, the target for q, 1 for a gain."""
    if interval.reference is not None:
        return interval.reference
    if re.match(r"q(?![a-z])", name):
        return result.verdict.target
    return 1.0 if re.match(r"gain(?![a-z])", name, re.I) else None


def better(name: str, interval: Interval) -> str:
    """ "lower", "higher" or nothing."""
    return interval.better or _known(name, 1)


def strip(interval: Interval, reference: float | None, domain: Sequence[float] = ()) -> Strip | None:
    """The interval on a line; logarithmic where all is positive and it spans more than a factor of four."""
    given = [*_given(interval, reference), *domain]
    if (interval.lower is None and interval.upper is None) or len(given) < 2:
        return None
    log = min(given) > 0 and max(given) / min(given) > 4

    def scale(v: float) -> float:
        return math.log(v) if log else v

    low, high = scale(min(given)), scale(max(given))
    room = 0.12 * (high - low) or 1.0

    def place(v: float) -> float:
        return round(100 * (scale(v) - low + room) / (high - low + 2 * room), 2)

    ends = (0.0 if interval.lower is None else place(interval.lower), 100.0 if interval.upper is None else place(interval.upper))
    words = f"{numbers.estimate(interval)}" + (f", against {numbers.given(reference)}" if reference is not None else "")
    return Strip(
        value=None if interval.value is None else place(interval.value),
        lower=ends[0],
        upper=ends[1],
        reference=None if reference is None else place(reference),
        words=words,
    )


def _given(interval: Interval, reference: float | None) -> list[float]:
    return [v for v in (interval.value, interval.lower, interval.upper, reference) if v is not None and math.isfinite(v)]


def _known(name: str, column: int) -> str:
    return next((row[column] for row in _KNOWN if re.match(row[0], name, re.I)), "")


def _reference_word(name: str) -> str:
    if re.match(r"q(?![a-z])|error", name):
        return "target"
    return "nominal" if re.match(r"coverage", name, re.I) else "against"
