"""Families of task graphs as data: who needs whom, and how much longer than the others a task is.

Numbers grow along every edge. As in Task Bench (Slaughter et al., SC20, doi 10.1109/SC41405.2020.00066): one long dependence,
bulk-synchronous stages, a wavefront, and something irregular.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlforhpc.metrics.graph import critical_path_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A graph without its functions.

    Attributes:
        family: its name.
        parents: task -> parents, in the order of its arguments.
        weights: task -> length relative to the nominal one.
    """

    family: str
    parents: tuple[tuple[int, ...], ...]
    weights: tuple[float, ...]

    @property
    def edges(self) -> int:
        """Dependences."""
        return sum(len(above) for above in self.parents)

    @property
    def depth(self) -> int:
        """Tasks on the longest path."""
        return round(critical_path_s(self.parents, (1.0,) * len(self.parents)))


def chain(tasks: int) -> Shape:
    """One after another: what a round trip costs."""
    return _even("chain", [(task - 1,) if task else () for task in range(tasks)])


def fan(width: int, stages: int) -> Shape:
    """One task, `width` that need it, one that needs all of these; and again, `stages` times: bulk-synchronous."""
    parents: list[tuple[int, ...]] = [()]
    for _ in range(stages):
        source = len(parents) - 1
        parents += [(source,)] * width
        parents.append(tuple(range(source + 1, source + 1 + width)))
    return _even("fan-out/fan-in", parents)


def diamond(side: int) -> Shape:
    """A wavefront over a square: each task needs its upper and its left neighbour, so that 1, 2, ..., side, ..., 2, 1 run at once."""
    above = [[*([(i - 1) * side + j] if i else []), *([i * side + j - 1] if j else [])] for i in range(side) for j in range(side)]
    return _even("diamond", [tuple(one) for one in above])


def layered(layers: int, width: int, *, seed: int) -> Shape:
    """Layers of `width` tasks of uneven length (0.5 to 1.5), each of which needs one to three of the layer before."""
    random = np.random.default_rng(seed)
    parents: list[tuple[int, ...]] = [()] * width
    for layer in range(1, layers):
        for _ in range(width):
            chosen = random.choice(width, size=min(width, int(random.integers(1, 4))), replace=False)
            parents.append(tuple(int(task) + (layer - 1) * width for task in chosen))
    return Shape(family="random layered", parents=tuple(parents), weights=tuple(random.uniform(0.5, 1.5, len(parents)).tolist()))


def independent(tasks: int) -> Shape:
    """Tasks that need nobody."""
    return _even("independent", [()] * tasks)


def _even(family: str, parents: list[tuple[int, ...]]) -> Shape:
    return Shape(family=family, parents=tuple(parents), weights=(1.0,) * len(parents))
