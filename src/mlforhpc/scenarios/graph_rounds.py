"""Task graphs of measured compute on the broker's engine, in rounds: every graph at every task length, its values held against the truth.

Calibrated and warmed up first, on the referee's account, with the length of a task alone and with all slots busy; then the
serial truth of every graph; then the rounds. Lengths and makespans are those of the trace.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlforhpc.core import trace
from mlforhpc.core.broker import Broker
from mlforhpc.metrics.graph import GraphFigures, figures_of_rows
from mlforhpc.metrics.timeline import Row, timeline
from mlforhpc.scenarios.measured_compute import calibrate, compute, evaluate
from mlforhpc.scenarios.task_graphs import Shape, chain, independent
from mlforhpc.scenarios.workflow import Node, run_graph

_ALONE = 12
_ALONE_S = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One graph at one nominal task length, and how often each of its tasks repeats the kernel."""

    shape: Shape
    length_s: float
    repeats: tuple[int, ...]

    @property
    def label(self) -> str:
        """Of its tasks in the trace: "chain 10 ms"."""
        return f"{self.shape.family} {1000 * self.length_s:g} ms"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What the rounds gave.

    Attributes:
        slots: of the engine.
        cases: in the order of lengths.
        figures: of each case, one a round.
        wrong: labels of the cases with a value that is not the serial one, and how many values in all rounds.
        values: how many were compared.
        kernel_s: one repeat of the kernel, alone.
        alone_s, busy_s: median length of the same task, alone and with all slots busy.
    """

    slots: int
    cases: tuple[Case, ...]
    figures: tuple[tuple[GraphFigures, ...], ...]
    wrong: dict[str, int]
    values: int
    kernel_s: float
    alone_s: float
    busy_s: float


def measure(broker: Broker, referee: Broker, shapes: Sequence[Shape], *, lengths_s: Sequence[float], rounds: int, folder: Path) -> Measured:
    """Run all graphs at all lengths, the shortest first; within a length the graphs take turns, round by round."""
    kernel_s = referee.submit("prepare", calibrate, label="calibrate").result()
    _occupied(referee, kernel_s)
    cases = [_case(shape, length_s, kernel_s) for length_s in sorted(lengths_s) for shape in shapes]
    asked = [referee.submit("prepare", evaluate, case.shape.parents, case.repeats, label=f"serial {case.label}") for case in cases]
    truth = {case.label: future.result() for case, future in zip(cases, asked, strict=True)}
    wrong: dict[str, int] = {}
    for length_s in sorted(lengths_s):
        for round_ in range(rounds):
            for case in (one for one in cases if one.length_s == length_s):
                values = _values(broker, case, round_)
                broker.decide("graph", case=case.label, round=round_, tasks=len(values))
                different = sum(a != b for a, b in zip(values, truth[case.label], strict=True))
                if different:
                    wrong[case.label] = wrong.get(case.label, 0) + different
    rows = _by_label(timeline(trace.read(folder / "events.jsonl")).rows)
    return Measured(
        slots=broker.slots,
        cases=tuple(cases),
        figures=tuple(tuple(_figures(case, round_, rows, broker.slots) for round_ in range(rounds)) for case in cases),
        wrong=wrong,
        values=rounds * sum(len(case.repeats) for case in cases),
        kernel_s=kernel_s,
        alone_s=_median_s(row for label, row in rows.items() if label.startswith("alone ")),
        busy_s=_median_s(row for label, row in rows.items() if label.startswith("busy ")),
    )


def _case(shape: Shape, length_s: float, kernel_s: float) -> Case:
    repeats = tuple(max(1, round(weight * length_s / kernel_s)) for weight in shape.weights)
    return Case(shape=shape, length_s=length_s, repeats=repeats)


def _occupied(referee: Broker, kernel_s: float) -> None:
    """The same task on all slots at once and alone; the first time on all slots is not looked at: it starts what has to be started."""
    for prefix, shape in (
        ("warm-up ", independent(4 * referee.slots)),
        ("busy ", independent(_ALONE * referee.slots)),
        ("alone ", chain(_ALONE)),
    ):
        run_graph(referee, _graph(_case(shape, _ALONE_S, kernel_s)), prefix=prefix).complete()


def _graph(case: Case) -> dict[str, Node]:
    return {
        str(task): Node(compute, (task, case.repeats[task]), parents=tuple(map(str, above)))
        for task, above in enumerate(case.shape.parents)
    }


def _values(broker: Broker, case: Case, round_: int) -> list[float]:
    values = run_graph(broker, _graph(case), prefix=_prefix(case, round_)).complete()
    return [values[str(task)] for task in range(len(case.repeats))]


def _prefix(case: Case, round_: int) -> str:
    return f"{case.label}, round {round_}, task "


def _by_label(rows: Iterable[Row]) -> dict[str, Row]:
    """The attempt that counted of each task; of a resumed run the last session's, which ran all graphs anew."""
    return {row.label: row for row in rows if row.last}


def _figures(case: Case, round_: int, rows: dict[str, Row], slots: int) -> GraphFigures:
    prefix = _prefix(case, round_)
    return figures_of_rows(case.shape.parents, [rows[f"{prefix}{task}"] for task in range(len(case.repeats))], slots=slots)


def _median_s(rows: Iterable[Row]) -> float:
    lengths_s = sorted(row.end_s - row.start_s for row in rows)
    return lengths_s[len(lengths_s) // 2]
