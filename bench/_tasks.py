"""Tasks that slots import."""

from __future__ import annotations

import time


def sleep() -> None:
    time.sleep(0.01)


def spin(seconds: float = 0.01) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def work(units: int) -> float:
    """A fixed amount of work; the time that it took."""
    began = time.perf_counter()
    total = 0
    for i in range(units):
        total += i
    return time.perf_counter() - began
