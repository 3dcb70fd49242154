"""R from Python: a persistent R process in each slot that fits on request, or one `Rscript` a fit; `_fits.R` is the R side.

R Core Team, R: A Language and Environment for Statistical Computing; Liaw & Wiener, Classification and Regression by randomForest, R
News 2(3), 2002.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import threading
import weakref
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, cast

import numpy as np

from mlforhpc.core.engine import Ref
from mlforhpc.core.errors import MissingExtra, MLforHPCError
from mlforhpc.core.space import FloatArray
from mlforhpc.scenarios.launching_tasks import arrived

FAMILIES = {"linear": 1, "logistic": 2, "forest": 3}
COMMAND = ("Rscript", "--vanilla", str(Path(__file__).with_name("_fits.R")))
INSTALL = "apt-get install r-base-core r-cran-randomforest"
_WARM_UPS = 4  # R compiles a function when it is called for the third time
_PATIENCE_S = 10.0


def versions() -> dict[str, str]:
    """Versions of R and randomForest.

    Raises:
        MissingExtra: one of them is not installed; with the command that installs both.
    """
    ask = "cat(as.character(getRversion()), as.character(packageVersion('randomForest')), sep = '\\n')"
    if shutil.which("Rscript") is None:
        raise MissingExtra(_missing("'Rscript', which is not on the PATH"))
    told = subprocess.run(["Rscript", "--vanilla", "-e", ask], capture_output=True, text=True)
    if told.returncode:
        raise MissingExtra(_missing("R's package 'randomForest', which is not installed"))
    return dict(zip(("R", "randomForest"), told.stdout.split(), strict=True))


def _missing(what: str) -> str:
    return f"The benchmark 'local-ml-r' needs {what}. Install it with: {INSTALL}"


class Process:
    """One R process that answers requests."""

    def __init__(self) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed by _end; a pipe that nobody reads would hold R up
        self._process = subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors)
        self._input, self._output = cast(IO[bytes], self._process.stdin), cast(IO[bytes], self._process.stdout)
        self.close = weakref.finalize(self, _end, self._process, self._input, self._output, self._errors)

    @property
    def alive(self) -> bool:
        return self.close.alive and self._process.poll() is None

    def ask(self, family: str, table: FloatArray, size: int, seeds: Sequence[int]) -> list[tuple[float, float]]:
        """(score, seconds) of a fit a seed; the seconds are R's own.

        Raises:
            MLforHPCError: R ended; with what it said.
        """
        try:
            self._input.write(request(family, table, size, seeds))
            self._input.flush()
            return [_answer(self._output.readline()) for _ in seeds]
        except (OSError, ValueError):
            raise MLforHPCError(f"R ended while it fitted: {self._last_words()}") from None

    def _last_words(self) -> str:
        self._process.wait(_PATIENCE_S)
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace").strip() or f"exit status {self._process.returncode}, without a word"


def request(family: str, table: FloatArray, size: int, seeds: Sequence[int]) -> bytes:
    """What R reads, see `_fits.R`."""
    head = np.array([FAMILIES[family], size, *table.shape, len(seeds), *seeds], dtype=np.int32)
    return head.tobytes() + np.ascontiguousarray(table, dtype=np.float64).tobytes()


def _answer(line: bytes) -> tuple[float, float]:
    score, seconds = line.decode().split()
    return float.fromhex(score), float.fromhex(seconds)


def _end(process: subprocess.Popen[bytes], *pipes: IO[bytes]) -> None:
    """R ends when its standard input does."""
    with suppress(OSError):  # it died before it had read everything
        pipes[0].close()
    try:
        process.wait(_PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pipe in pipes[1:]:
        pipe.close()


_SLOT = threading.local()  # what outlives a task is a slot's own R process; engines may have several slots in one process, a thread each


def end() -> None:
    """End this slot's R process, if it has one."""
    process: Process | None = getattr(_SLOT, "process", None)
    if process is not None:
        process.close()
        del _SLOT.process


def _persistent(family: str, table: FloatArray | Ref, size: int, seed: int) -> float:
    process: Process | None = getattr(_SLOT, "process", None)
    if process is None or not process.alive:
        process = _SLOT.process = Process()
    return process.ask(family, arrived(table), size, [seed])[0][0]


def script(family: str, table: FloatArray | Ref, size: int, seed: int) -> float:
    """The fit in an R process of its own, which starts for it and ends after it."""
    told = subprocess.run(COMMAND, input=request(family, arrived(table), size, [seed]), capture_output=True)
    if told.returncode:
        raise MLforHPCError(f"Rscript ended with {told.returncode}: {told.stderr.decode(errors='replace').strip()}")
    return _answer(told.stdout)[0]


def loop(family: str, table: FloatArray, size: int, seeds: Sequence[int]) -> list[tuple[float, float]]:
    """The fits one after another in one R process, which is warm: (score, seconds) of each."""
    process = Process()
    try:
        process.ask(family, table, 1, list(seeds[:1]) * _WARM_UPS)
        return process.ask(family, table, size, seeds)
    finally:
        process.close()


# One function a family, so that the broker knows how long each takes.
def linear(table: FloatArray | Ref, size: int, seed: int) -> float:
    """glm, gaussian, in the slot's R process; `size` is not used."""
    return _persistent("linear", table, size, seed)


def logistic(table: FloatArray | Ref, size: int, seed: int) -> float:
    """glm, binomial, of "above the median", in the slot's R process; `size` is not used."""
    return _persistent("logistic", table, size, seed)


def forest(table: FloatArray | Ref, size: int, seed: int) -> float:
    """randomForest of `size` trees, in the slot's R process."""
    return _persistent("forest", table, size, seed)
