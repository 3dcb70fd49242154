"""The keeper of another system's processes: starts the gateway, and ends everything below it when the driver is gone.

What dask, ray, parsl and MPI start puts itself into groups and sessions of its own, and much of it outlives whoever
started it. The keeper adopts every orphan (PR_SET_CHILD_SUBREAPER), so that the tree below it is complete; it waits
for the driver's lifeline to close, or for the gateway to end, and kills the tree. Standard library only: it is there
for the whole campaign.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_POLL_S = 0.1
_PATIENCE_S = 5.0


def main() -> None:
    """Entry point: arguments are the lifeline's file descriptor and the gateway's command."""
    lifeline, command = int(sys.argv[1]), sys.argv[2:]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.set_inheritable(lifeline, False)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    gateway = subprocess.Popen(command).pid
    while gateway not in _reaped() and not select.select([lifeline], [], [], _POLL_S)[0]:
        pass
    _end_all()


def descendants(pid: int) -> list[int]:
    """Children, their children and so on; none where /proc does not tell."""
    found: list[int] = []
    for threads in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, threads.read_text().split()):
                found += [child, *descendants(child)]
    return found


def _reaped() -> list[int]:
    """Children that have ended, orphans included."""
    found: list[int] = []
    with contextlib.suppress(ChildProcessError):
        while (pid := os.waitpid(-1, os.WNOHANG)[0]) > 0:
            found.append(pid)
    return found


def _end_all() -> None:
    """Kill the tree below this process until it is empty: what is killed may have started something a moment ago."""
    end = time.monotonic() + _PATIENCE_S
    while (left := descendants(os.getpid())) and time.monotonic() < end:
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        _reaped()
        time.sleep(0.005)


if __name__ == "__main__":
    main()
