"""The host in a few words, as records carry it: timing figures of two systems are never mixed."""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path


@cache
def describe() -> str:
    """ "host, CPU model, 8 cores"."""
    return f"{platform.node()}, {_cpu()}, {os.cpu_count()} cores"


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
