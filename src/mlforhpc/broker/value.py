"""The value of an `ok` result, unpickled; one that came in a file takes the file with it."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from mlforhpc.core.task import TaskResult


def value_of(result: TaskResult) -> Any:
    """Unpickle; whatever the value's own class raises while that happens is raised."""
    if isinstance(result.value, bytes):
        return pickle.loads(result.value)
    path = Path(result.value)
    try:
        with path.open("rb") as file:
            return pickle.load(file)
    finally:
        path.unlink(missing_ok=True)
