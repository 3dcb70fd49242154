"""What a simulation's task runs on the slot, and the record that its result becomes."""

from __future__ import annotations

import itertools
import os
import platform
import shutil
from collections.abc import Mapping
from pathlib import Path

import psutil

from mlforhpc.broker.system import describe
from mlforhpc.core.record import Outcome, Record
from mlforhpc.core.simulation import Outputs, Simulation, checked
from mlforhpc.core.space import Value

_FREE: dict[tuple[str, int], list[Path]] = {}  # folders that were left empty, by root and process
_NUMBERS = itertools.count()


def run(
    simulation: Simulation, x: Mapping[str, Value], settings: Mapping[str, Value], fidelity: float, seed: int, root: str
) -> tuple[Outputs, str]:
    """One run in an empty folder of its own below `root`: its checked outputs, and the host that made them."""
    folder, home = _take(root), Path.cwd()
    try:
        outputs = simulation.simulate(x, settings=settings, fidelity=fidelity, seed=seed, workdir=folder)
        return checked(simulation, outputs), describe()
    finally:
        os.chdir(home)
        _give_back(root, folder)


def sweep(root: Path) -> None:
    """Remove the folders of processes of this host that are no more."""
    for folder in root.glob(f"{platform.node()}-*"):
        if not psutil.pid_exists(int(folder.name.split("-")[-2])):
            shutil.rmtree(folder, ignore_errors=True)


def _take(root: str) -> Path:
    free = _FREE.setdefault((root, os.getpid()), [])
    if free:
        return free.pop()
    folder = Path(root) / f"{platform.node()}-{os.getpid()}-{next(_NUMBERS)}"
    folder.mkdir(parents=True)
    return folder


def _give_back(root: str, folder: Path) -> None:
    """Remove it, or keep it for the next run if it is empty: on a busy disk, removing takes milliseconds."""
    try:
        with os.scandir(folder) as entries:
            empty = next(entries, None) is None
    except OSError:
        return
    if empty:
        _FREE[root, os.getpid()].append(folder)
    else:
        shutil.rmtree(folder, ignore_errors=True)


def record_of(
    asked: Record, outcome: Outcome, answer: tuple[Outputs, str] | str, *, limit_s: float | None, cost_s: float, system: str
) -> Record:
    """The record of a run.

    Args:
        asked: key, parameters and so on; everything else of it is ignored.
        answer: (outputs, system) if `ok`, else the remote traceback or the empty string.
    """
    outputs = answer[0] if not isinstance(answer, str) else Outputs(values={})
    return Record(
        key=asked.key,
        simulation=asked.simulation,
        version=asked.version,
        parameters=asked.parameters,
        settings=asked.settings,
        fidelity=asked.fidelity,
        seed=asked.seed,
        outcome=outcome,
        outputs=outputs.values,
        standard_errors=outputs.standard_errors,
        checks=outputs.checks,
        reason=_reason(outcome, answer, limit_s),
        limit_s=limit_s if outcome == "timed_out" else None,
        cost_s=cost_s,
        system=system if isinstance(answer, str) else answer[1],
    )


def _reason(outcome: Outcome, answer: object, limit_s: float | None) -> str:
    if outcome == "timed_out":
        return f"It met its limit of {limit_s:g} s."
    if outcome == "ok" or not isinstance(answer, str):
        return ""
    last = next((line for line in reversed(answer.splitlines()) if line.strip()), "")
    return f"{last}\n{answer}" if last != answer else answer
