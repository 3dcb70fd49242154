"""Sharing on one host: arrays as memory-mapped .npy files in the engine's scratch folder, large results beside them."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlforhpc.core.engine import Ref
from mlforhpc.core.errors import MLforHPCError, UsageError
from mlforhpc.core.scratch import Scratch

_MEMORY = Path("/dev/shm")
_LEAST_FREE_BYTES = 1 << 30


class SharedFiles:
    """The scratch folder of one engine.

    Args:
        folder: where to make it; None = in memory (/dev/shm) if there is room, else the system's temporary folder.
    """

    def __init__(self, folder: Path | None) -> None:
        self._scratch = Scratch(folder or _memory(), prefix="mlforhpc-scratch-")
        self.path = self._scratch.path
        self._campaign = secrets.token_hex(4)
        self._count = 0

    def share(self, array: NDArray[Any]) -> Ref:
        """Write an array as .npy for tasks to map."""
        array = np.asarray(array)
        if array.dtype.hasobject:
            raise UsageError(f"An array to share must hold numbers, found dtype {array.dtype}; convert it first.")
        self._count += 1
        path = self.path / f"shared-{self._campaign}-{self._count}.npy"
        try:
            np.save(path, array, allow_pickle=False)
        except OSError as error:
            path.unlink(missing_ok=True)
            why = error.strerror or error
            raise MLforHPCError(f"An array of {array.nbytes} bytes cannot be shared in '{self.path}': {why}.") from error
        return Ref(path, array.shape, array.dtype.str)

    def release(self, ref: Ref) -> None:
        """Remove a shared array; tasks that have mapped it keep their view."""
        if ref.location.parent == self.path:
            ref.location.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove everything; twice is fine."""
        self._scratch.remove()


def _memory() -> Path | None:
    there = _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free >= _LEAST_FREE_BYTES
    return _MEMORY if there else None
