"""Truths about task graphs, for `verify`: a graph worked by hand, every path of small graphs, every order of very small ones.

By hand, two slots: task 0 (1 s) before 1 (2 s), 2 (4 s) and 3 (3 s); 4 (1 s) after 1 and 2; 5 (2 s) after 3 and 4.
    paths 0-1-4-5: 6, 0-2-4-5: 8, 0-3-5: 6   ->  CP = 8;   W = 13, W / 2 = 6.5  ->  B = 8;   Graham 6.5 + 8 / 2 = 10.5
    list schedule: 0 until 1; 1 and 2 until 3 and 5; 3 until 6; 4 until 6; 5 until 8  ->  L = 8
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence

from mlforhpc.core.check import Check
from mlforhpc.metrics import graph

HAND: tuple[tuple[int, ...], ...] = ((), (0,), (0,), (0,), (1, 2), (3, 4))
HAND_S = (1.0, 2.0, 4.0, 3.0, 1.0, 2.0)


def checks() -> Iterator[Check]:
    """Each takes well under ten seconds."""
    yield _by_hand()
    yield _every_path()
    yield from _every_order()


def random_graph(random_: random.Random, tasks: int) -> tuple[list[list[int]], list[float]]:
    """Parents and whole lengths from 1 to 9 of a random graph; every pair is an edge with probability 0.3."""
    parents = [[p for p in range(task) if random_.random() < 0.3] for task in range(tasks)]
    return parents, [float(random_.randint(1, 9)) for _ in range(tasks)]


def every_path_s(parents: graph.Parents, lengths_s: Sequence[float]) -> float:
    """The longest path by walking all of them, each from its first task on."""

    def walk(task: int, so_far_s: float) -> float:
        below = [child for child, above in enumerate(parents) if task in above]
        return max((walk(child, so_far_s + lengths_s[child]) for child in below), default=so_far_s)

    return max(walk(task, lengths_s[task]) for task, above in enumerate(parents) if not above)


def optimum_s(parents: graph.Parents, lengths_s: Sequence[float], slots: int) -> float:
    """The shortest makespan there is, from every order of the tasks.

    Each task of an order starts on the slot that is free first, once its parents have ended. Taking the tasks of an optimal
    schedule in the order of their starts, none starts later than there: so one of the orders gives the optimum.
    """
    best = float("inf")
    for order in itertools.permutations(range(len(parents))):
        free, ends = [0.0] * slots, dict[int, float]()
        for task in order:
            if any(parent not in ends for parent in parents[task]):
                break
            slot = free.index(min(free))
            ends[task] = free[slot] = max([free[slot], *(ends[parent] for parent in parents[task])]) + lengths_s[task]
        else:
            best = min(best, max(ends.values()))
    return best


def _by_hand() -> Check:
    found = (
        graph.critical_path_s(HAND, HAND_S),
        graph.lower_bound_s(HAND, HAND_S, 2),
        graph.graham_bound_s(HAND, HAND_S, 2),
        graph.list_schedule_s(HAND, HAND_S, 2),
    )
    worst = max(abs(a - b) for a, b in zip(found, (8.0, 8.0, 10.5, 8.0), strict=True))
    sentence = f"critical path, bound, Graham's bound and list schedule of six tasks are off by {worst:g} s from 8, 8, 10.5, 8 by hand"
    return Check(name="graph by hand", passed=worst == 0, found=worst, limit=0.0, sentence=sentence)


def _every_path() -> Check:
    random_ = random.Random(6)
    graphs = [random_graph(random_, random_.randint(1, 12)) for _ in range(200)]
    worst = max(abs(graph.critical_path_s(*one) - every_path_s(*one)) for one in graphs)
    sentence = f"critical paths of 200 random graphs are off by {worst:g} s from the longest of all their paths (limit 0)"
    return Check(name="critical path", passed=worst == 0, found=worst, limit=0.0, sentence=sentence)


def _every_order() -> Iterator[Check]:
    random_ = random.Random(7)
    below, above = float("inf"), 0.0  # optimum / lower bound, list schedule / Graham's bound
    for _ in range(40):
        parents, lengths_s = random_graph(random_, random_.randint(2, 6))
        slots = random_.randint(1, 3)
        best_s = optimum_s(parents, lengths_s, slots)
        list_s = graph.list_schedule_s(parents, lengths_s, slots)
        below = min(below, best_s / graph.lower_bound_s(parents, lengths_s, slots))
        most_s = min(graph.graham_bound_s(parents, lengths_s, slots), (2 - 1 / slots) * best_s)
        above = max(above, list_s / most_s, best_s / list_s)
    sentence = f"the shortest of all schedules of 40 small graphs is at least {below:.6g} times the lower bound (limit 1)"
    yield Check(name="lower bound", passed=below >= 1 - 1e-12, found=below, limit=1.0, sentence=sentence)
    sentence = f"list schedules lie between the shortest and both of Graham's bounds: largest ratio {above:.6g} (limit 1)"
    yield Check(name="list schedule", passed=above <= 1 + 1e-12, found=above, limit=1.0, sentence=sentence)
