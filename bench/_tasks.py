"""Tasks that slots import."""

from __future__ import annotations

import time

from mlforhpc.core.engine import Ref
from mlforhpc.core.shared import read


def sleep() -> None:
    time.sleep(0.01)


def spin(seconds: float = 0.01) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def work(units: int) -> tuple[float, float]:
    """A fixed amount of work; wall and CPU time that it took, s."""
    wall, cpu = time.perf_counter(), time.thread_time()
    total = 0
    for i in range(units):
        total += i
    return time.perf_counter() - wall, time.thread_time() - cpu


def total(ref: Ref) -> float:
    """The sum of a shared array: every page of it is read."""
    return float(read(ref).sum())
