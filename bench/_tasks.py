"""Tasks that slots import."""

from __future__ import annotations

import time


def sleep() -> None:
    time.sleep(0.01)


def spin() -> None:
    end = time.perf_counter() + 0.01
    while time.perf_counter() < end:
        pass
