"""Scratch folders: a driver's own, gone when it closes them.

A locked file in each says that its driver lives. What a driver killed with -9 left behind is removed by the next one
that uses the same place.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

LOCK = "driver.lock"


class Scratch:
    """A new folder below `base`, its name beginning with `prefix`.

    Attributes:
        path: absolute.
    """

    def __init__(self, base: Path | None = None, *, prefix: str) -> None:
        """Make it; `base` None is the system's temporary folder."""
        base = Path(tempfile.gettempdir()) if base is None else base
        base.mkdir(parents=True, exist_ok=True)
        _remove_orphans(base, prefix)
        self.path = Path(tempfile.mkdtemp(prefix=prefix, dir=base)).absolute()
        self._lock = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def remove(self) -> None:
        """Remove it with all that is in it; twice is fine."""
        if self._lock >= 0:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._lock)
            self._lock = -1


def _remove_orphans(base: Path, prefix: str) -> None:
    for folder in base.glob(f"{prefix}*"):
        try:
            lock = os.open(folder / LOCK, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue  # being made or removed this moment, or somebody else's
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue  # its driver lives
        finally:
            os.close(lock)
