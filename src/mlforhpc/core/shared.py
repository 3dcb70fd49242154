"""Shared arrays, as a task reads them: `with broker.share(array) as ref` in the driver, `read(ref)` in the task."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlforhpc.core.engine import Ref


def read(ref: Ref) -> NDArray[Any]:
    """The array behind a reference, read-only and memory-mapped: pages are loaded as they are touched."""
    array: NDArray[Any] = np.load(ref.location, mmap_mode="r", allow_pickle=False)
    return array
