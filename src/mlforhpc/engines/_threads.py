"""Threads of a task (BLAS, OpenMP, torch) = its cores, on every engine, so that the digits agree and slots do not fight."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def environment(cores: int) -> dict[str, str]:
    """The variables that libraries read when they are loaded, in this process or a subprocess of it."""
    return {name: str(cores) for name in VARIABLES}


class Threads:
    """Sets the threads of this process; knows the libraries, which it looks up anew when modules were imported."""

    def __init__(self) -> None:
        self._started_with = {os.environ.get(name) for name in VARIABLES}
        self._modules = 0
        self._libraries: Any = None

    def set(self, cores: int) -> None:
        """For good: of libraries loaded already, loaded later, and of subprocesses."""
        os.environ.update(environment(cores))
        self._limited(cores)
        _set_torch(cores)

    @contextmanager
    def limited(self, cores: int) -> Iterator[None]:
        """For a while; nothing to do where the process was started with so many and nobody has said otherwise."""
        if {os.environ.get(name) for name in VARIABLES} == self._started_with == {str(cores)}:
            yield
            return
        before = {name: os.environ.get(name) for name in VARIABLES}
        torch_before = _torch_threads()
        os.environ.update(environment(cores))
        _set_torch(cores)
        limiter = self._limited(cores)
        try:
            yield
        finally:
            limiter.restore_original_limits()
            if torch_before is not None:
                _set_torch(torch_before)
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value

    def _limited(self, cores: int) -> Any:
        import threadpoolctl  # slow to import, and a slot needs it only for tasks of several cores

        if len(sys.modules) != self._modules:
            self._modules, self._libraries = len(sys.modules), threadpoolctl.ThreadpoolController()
        return self._libraries.limit(limits=cores)


def _torch_threads() -> int | None:
    torch = sys.modules.get("torch")
    return None if torch is None else int(torch.get_num_threads())


def _set_torch(cores: int) -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.get_num_threads() != cores:
        torch.set_num_threads(cores)
