"""What the conformance checks of engines run as tasks."""

from __future__ import annotations

import ctypes
import hashlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mlforhpc.core.engine import Ref
from mlforhpc.core.shared import read


class Unreadable(Exception):
    """An exception that pickles, and raises when it is unpickled."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first)


def later(i: int, seconds: float) -> int:
    time.sleep(seconds)
    return i * i


def divide(a: float, b: float) -> float:
    return a / b


def raise_unreadable() -> None:
    raise Unreadable("one", "two")


def generator() -> Iterator[int]:
    yield 1


def exit() -> None:
    raise SystemExit(3)


def sum_of(ref: Ref) -> float:
    return float(read(ref).sum())


def mark_and_sleep(path: str, seconds: float) -> None:
    Path(path).touch()
    time.sleep(seconds)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_once(path: str) -> str:
    if Path(path).exists():
        return "survived"
    Path(path).touch()
    die()
    return "unreachable"


def crash() -> None:
    """Read where nothing is."""
    ctypes.string_at(0)


def crash_once(path: str) -> str:
    """Crash at the first call."""
    if Path(path).exists():
        return "survived"
    Path(path).touch()
    crash()
    return "unreachable"


def numbers(seed: int) -> str:
    """A digest of what NumPy draws, multiplies and solves."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(120, 120))
    return hashlib.sha256(np.linalg.solve(a @ a.T + np.eye(120), rng.normal(size=120)).tobytes()).hexdigest()
