"""Durable records a second: groups of 1, 10 and 100 records, one and several processes on one store.

    python bench/store_commits.py --folder /path/on/the/disk --processes 1 2 4

Each process puts a group and waits until it is on disk, for some seconds. The rate of bare `fdatasync` calls on the same disk
stands above the table: group 1 of one process cannot be faster than that.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from mlforhpc.core.record import Record
from mlforhpc.store import FolderStore


def make_record(name: str) -> Record:
    """A record of 1.1 kB: 64 numbers and what was asked."""
    return Record(
        key=hashlib.sha256(name.encode()).hexdigest(),
        simulation="electrolyte",
        version="1",
        parameters={"h": 3.5, "z": 1, "c": 0.25, "d": 0.6},
        settings={},
        fidelity=1.0,
        seed=0,
        outcome="ok",
        outputs={"density": np.arange(64.0)},
        cost_s=1.0,
    )


def write(folder: str, group: int, seconds: float) -> int:
    """Put groups until the time is over; the number of acknowledged records."""
    count, end = 0, time.perf_counter() + seconds
    with FolderStore.open(folder) as store:
        while time.perf_counter() < end:
            futures = [store.put(make_record(f"{os.getpid()} {count + i}")) for i in range(group)]
            for future in futures:
                future.result()
            count += group
    return count


def measure(folder: Path, processes: int, group: int, seconds: float) -> list[int]:
    """Acknowledged records of each process."""
    command = [sys.executable, __file__, "--folder", str(folder / "store"), "--group", str(group), "--seconds", str(seconds)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
    counts = [int(process.communicate()[0]) for process in running]
    shutil.rmtree(folder / "store")
    return counts


def sync_rate(folder: Path, seconds: float) -> float:
    """Appends of 1 kB, each synced, a second."""
    count, start = 0, time.perf_counter()
    with (folder / "probe").open("wb", buffering=0) as file:
        while time.perf_counter() - start < seconds:
            file.write(bytes(1024))
            os.fdatasync(file.fileno())
            count += 1
    return count / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="on the disk to measure")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--group", type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.group:
        print(write(str(chosen.folder), chosen.group, chosen.seconds))
        return
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        print(f"bare fdatasync: {sync_rate(Path(folder), chosen.seconds):,.0f}/s")
        print("processes  group  records/s  slowest/fastest process")
        for processes in chosen.processes:
            for group in (1, 10, 100):
                counts = measure(Path(folder), processes, group, chosen.seconds)
                print(f"{processes:9d}  {group:5d}  {sum(counts) / chosen.seconds:9,.0f}  {min(counts) / max(counts):.2f}")


if __name__ == "__main__":
    main()
