"""The cores of a host whose slots are filled by a system that knows only tasks of one core (dask, parsl, MPI).

A task of one core runs beside others; a wider one has its host to itself: it waits until those that run there are
over, and no other begins meanwhile. Two locked files (flock) a host and campaign:

    narrow: pass the gate, hold `run` shared          wide: close the gate, hold `run` alone
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path


@contextmanager
def cores_of_host(campaign: str, width: int) -> Iterator[None]:
    """Hold what a task of this width needs.

    Args:
        campaign: names it, the same in all its workers.
        width: cores of the task.
    """
    stem = f"{tempfile.gettempdir()}/mlforhpc-cores-{os.getuid()}-{campaign[:16]}"
    with ExitStack() as held:
        gate, run = (held.enter_context(Path(f"{stem}-{name}").open("a")) for name in ("gate", "run"))
        if width > 1:
            fcntl.flock(gate, fcntl.LOCK_EX)
            fcntl.flock(run, fcntl.LOCK_EX)
        else:
            fcntl.flock(gate, fcntl.LOCK_SH)
            fcntl.flock(run, fcntl.LOCK_SH)
            fcntl.flock(gate, fcntl.LOCK_UN)
        yield
