"""How the simulating went when a tolerance was asked for: looks at the error, the forecast, and why it stopped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isinf

from mlforhpc.core.result import Table
from mlforhpc.scenarios.learning_curve import Forecast, Look


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How the simulating went.

    Attributes:
        looks: estimates of the error on the way; empty where no tolerance was given.
        forecast: the first prediction of how many runs the tolerance would need; None where none was made.
        stopped: why it ended, in a sentence.
    """

    looks: Sequence[Look]
    forecast: Forecast | None
    stopped: str


def course_table(course: Course) -> Table:
    """The looks as a table, with what was foreseen and how good that was."""
    return Table(
        name="course",
        title="On the way to the tolerance",
        columns=["runs", "error q", "upper limit"],
        rows=[[look.runs, look.error, look.upper] for look in course.looks],
        caption=" ".join([*_foreseen(course), f"It ended because: {course.stopped.rstrip('.')}."]),
    )


def _foreseen(course: Course) -> list[str]:
    """What the forecast said, and whether it was right."""
    f = course.forecast
    if f is None:
        return []
    if isinf(f.runs):
        said = f"After {f.at} runs the tolerance was out of sight"
    else:
        upper = "open" if isinf(f.upper) else f"{f.upper:.0f}"
        said = f"After {f.at} runs, {f.runs:.0f} were foreseen to be needed (80 % interval {f.lower:.0f} to {upper})"
    last = course.looks[-1]
    above = [look.runs for look in course.looks if look.error > f.tolerance]
    reached = next((look.runs for look in course.looks if not above or look.runs > above[-1]), None)
    if reached is None:
        return [f"{said}; it was not reached with {last.runs}."]
    within = "inside" if f.lower <= reached <= f.upper else "outside"
    return [f"{said}; the error's estimate stayed below it from {reached} on, {within} that interval. Its upper limit comes later."]
