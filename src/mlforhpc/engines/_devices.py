"""GPUs of this host, and how they are dealt out: each slot has devices of its own for life, as CUDA looks once a process.

With G devices and S slots a slot has G // S of them; with fewer devices than slots, the first G slots have one each.
"""

from __future__ import annotations

import os
from pathlib import Path

DEVICES = "CUDA_VISIBLE_DEVICES"


def found() -> list[str]:
    """Names of the devices that this process may use."""
    said = os.environ.get(DEVICES)
    if said is not None:
        return [name for name in said.split(",") if name]
    return [str(i) for i, _ in enumerate(Path("/proc/driver/nvidia/gpus").glob("*"))]


def dealt(devices: list[str], slots: int) -> list[list[str]]:
    """The devices of each slot."""
    each = max(1, len(devices) // slots) if devices else 0
    return [devices[i * each : (i + 1) * each] for i in range(slots)]
