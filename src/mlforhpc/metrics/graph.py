"""How well a task graph was run, from measured lengths. Task i took l_i on its worker and has parents below i; m slots.

    work W = sum l_i      critical path CP = longest sum of l_i along a path      lower bound B = max(CP, W / m): no schedule is shorter
    list schedule L: greedy, first come first served, without any overhead;   L <= W / m + (1 - 1 / m) CP <= (2 - 1 / m) optimum
Sources: Graham, Bounds for certain multiprocessing anomalies, Bell Syst. Tech. J. 45, 1966, doi 10.1002/j.1538-7305.1966.tb01709.x; and
Bounds on multiprocessing timing anomalies, SIAM J. Appl. Math. 17, 1969, doi 10.1137/0117039.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from mlforhpc.metrics.timeline import Row

Parents: TypeAlias = Sequence[Sequence[int]]
"""Task -> its parents, each of a lower number; the order is that of the arguments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphFigures:
    """One run of one graph.

    Attributes:
        tasks: n.
        makespan_s: first task asked for to last result known to the driver.
        work_s, critical_path_s, bound_s, list_s: W, CP, B and L of the file's docstring, of the lengths measured in this very run.
        over_bound: makespan / B, [1, inf): 1 is perfect.
        over_critical_path: makespan / CP, [1, inf).
        over_list: makespan / L: what is left of over_bound when the graph's shape is taken out.
        overhead_per_task_s: (W / n) (makespan / L - 1): by how much longer every task would have to be, in proportion, for an engine
            without overhead to be as slow. In a chain (makespan - W) / n, the round trip; in n independent tasks of one length
            m (makespan - W / m) / n, the time a slot loses a task.
        utilization: W / (m makespan), in (0, 1].
    """

    tasks: int
    makespan_s: float
    work_s: float
    critical_path_s: float
    bound_s: float
    list_s: float
    over_bound: float
    over_critical_path: float
    over_list: float
    overhead_per_task_s: float
    utilization: float


def graph_figures(parents: Parents, lengths_s: Sequence[float], *, makespan_s: float, slots: int) -> GraphFigures:
    """All figures of one run."""
    work_s, n = math.fsum(lengths_s), len(parents)
    path_s, bound_s = critical_path_s(parents, lengths_s), lower_bound_s(parents, lengths_s, slots)
    list_s = list_schedule_s(parents, lengths_s, slots)
    return GraphFigures(
        tasks=n,
        makespan_s=makespan_s,
        work_s=work_s,
        critical_path_s=path_s,
        bound_s=bound_s,
        list_s=list_s,
        over_bound=makespan_s / bound_s,
        over_critical_path=makespan_s / path_s,
        over_list=makespan_s / list_s,
        overhead_per_task_s=work_s / n * (makespan_s / list_s - 1),
        utilization=work_s / (slots * makespan_s),
    )


def figures_of_rows(parents: Parents, rows: Sequence[Row], *, slots: int) -> GraphFigures:
    """The figures from the timeline's rows, one a task in the graph's order (the attempt that counted)."""
    makespan_s = max(row.resolved_s for row in rows) - min(row.submitted_s for row in rows)
    return graph_figures(parents, [row.end_s - row.start_s for row in rows], makespan_s=makespan_s, slots=slots)


def critical_path_s(parents: Parents, lengths_s: Sequence[float]) -> float:
    """CP, s: e_i = l_i + max of e over the parents; CP = max e_i."""
    ends: list[float] = []
    for above, length_s in zip(parents, lengths_s, strict=True):
        ends.append(length_s + max((ends[p] for p in above), default=0.0))
    return max(ends)


def lower_bound_s(parents: Parents, lengths_s: Sequence[float], slots: int) -> float:
    """B = max(CP, W / m), s."""
    return max(critical_path_s(parents, lengths_s), math.fsum(lengths_s) / slots)


def graham_bound_s(parents: Parents, lengths_s: Sequence[float], slots: int) -> float:
    """W / m + (1 - 1 / m) CP, s: no list schedule is longer, as whenever a slot is idle, every path that is left gets shorter."""
    return math.fsum(lengths_s) / slots + (1 - 1 / slots) * critical_path_s(parents, lengths_s)


def list_schedule_s(parents: Parents, lengths_s: Sequence[float], slots: int) -> float:
    """L, s: makespan where each task starts as soon as a slot is free, in the order in which tasks became ready."""
    missing = [len(above) for above in parents]
    children: list[list[int]] = [[] for _ in parents]
    for task, above in enumerate(parents):
        for parent in above:
            children[parent].append(task)
    ready = deque(task for task, count in enumerate(missing) if count == 0)
    running: list[tuple[float, int]] = []
    now_s = 0.0
    while ready or running:
        while ready and len(running) < slots:
            task = ready.popleft()
            heapq.heappush(running, (now_s + lengths_s[task], task))
        now_s, task = heapq.heappop(running)
        for child in children[task]:
            missing[child] -= 1
            if missing[child] == 0:
                ready.append(child)
    return now_s


def granularity_s(lengths_s: Sequence[float], efficiencies: Sequence[float], level: float) -> float | None:
    """Shortest task length, s, from which on the efficiency is at least `level`; between measured lengths by straight lines in log length.

    None where that is not between the lengths measured: they are all above the level, or the longest is below it. After the minimum
    effective task granularity of Task Bench (Slaughter et al., SC20, doi 10.1109/SC41405.2020.00066), with B / makespan as efficiency.
    """
    points = sorted(zip(lengths_s, efficiencies, strict=True), reverse=True)
    for (longer_s, high), (shorter_s, low) in itertools.pairwise(points):
        if high < level:
            return None
        if low < level:
            return float(shorter_s * (longer_s / shorter_s) ** ((level - low) / (high - low)))
    return None


def median_interval(values: Sequence[float]) -> tuple[float, float, float, float]:
    """Median, smallest, largest, and how often such a range holds the true median: 1 - 2^(1 - n), whatever the distribution.

    (All n independent values lie on one side of the median with probability 2 x 2^-n.)
    """
    ordered = sorted(values)
    n = len(ordered)
    middle = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2
    return middle, ordered[0], ordered[-1], 1 - 2.0 ** (1 - n)
