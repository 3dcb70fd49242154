"""Surrogates served under MLPerf LoadGen: learned on the broker, exported, answered for by each backend in a process of its own.

A task of kind `infer` is one surrogate with one backend: it puts the files in a folder of its own, starts the process that serves and
is driven (`inference_child`), and brings back what it found and LoadGen's logs; so it runs on any engine, on any host.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from mlforhpc.core.broker import Broker
from mlforhpc.core.errors import TaskError
from mlforhpc.core.learner import Learner, Surrogate
from mlforhpc.core.names import load, missing
from mlforhpc.core.seeds import derive
from mlforhpc.core.task import Resources
from mlforhpc.scenarios import inference_child
from mlforhpc.scenarios.inference_backends import BACKENDS, lacking
from mlforhpc.scenarios.inference_job import GRAPH, JOB, OUTCOME, SURROGATE, Job, Load, Outcome, Ran, read, write
from mlforhpc.scenarios.surrogate import surrogate

HTTP = "HTTP"
"""Stands among the backends for the server, which answers by NumPy."""
LOGS = ("*/mlperf_log_summary.txt", "*/mlperf_log_detail.txt")
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A surrogate to serve.

    Attributes:
        name: in figures and tables.
        simulation, learner: what is learned, by what.
        runs: that it is fitted to.
        needs_float64: a backend that computes in less is checked, and left out where it misses its precision; else that is INVALID.
    """

    name: str
    simulation: str
    learner: Learner
    runs: int
    needs_float64: bool = False

    @property
    def stem(self) -> str:
        """Of its files."""
        return f"{self.simulation}-{self.learner.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """One surrogate with one backend.

    Attributes:
        case, backend: which; `arithmetic` and `limit` are the backend's.
        outcome: what was found; None if it failed.
        failure: why it did.
    """

    case: Case
    backend: str
    arithmetic: str
    limit: float
    outcome: Outcome | None
    failure: str = ""

    @property
    def runs(self) -> Sequence[Ran]:
        """In the order of time."""
        return self.outcome.runs if self.outcome else ()

    @property
    def standing(self) -> list[Ran]:
        """Of each scenario and batch the run that stands: the last one."""
        return list({(ran.scenario, ran.batch): ran for ran in self.runs}.values())

    def run(self, scenario: str, batch: int) -> Ran | None:
        """The one that stands, if there is one."""
        return next((ran for ran in self.standing if (ran.scenario, ran.batch) == (scenario, batch)), None)

    @property
    def precise(self) -> bool:
        """Whether it keeps its stated precision, before anything was timed and in what LoadGen's queries returned."""
        return self.outcome is not None and max([self.outcome.error, *(ran.error for ran in self.outcome.runs)]) <= self.limit

    @property
    def left_out(self) -> bool:
        """Whether its arithmetic is too coarse for a surrogate that is known to need more."""
        return self.case.needs_float64 and self.arithmetic != "float64" and self.outcome is not None and self.outcome.error > self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Inference:
    """What was served, and sentences about what was not."""

    load: Load
    served: Sequence[Served]
    skipped: Sequence[str]


def infer(broker: Broker, cases: Sequence[Case], drive: Load, *, folder: Path, seed: int, alone: bool) -> Inference:
    """Learn each surrogate, and serve it by every backend that is installed.

    Args:
        broker: learns and serves.
        cases: what.
        drive: how LoadGen drives.
        folder: of the run; surrogates, graphs and LoadGen's logs go to its `artifacts`.
        seed: of design, fits and points.
        alone: whether nothing else runs on the engine meanwhile; the figures mean little without.
    """
    skipped = [reason for name in BACKENDS if (reason := lacking(name))]
    usable = [name for name in BACKENDS if not lacking(name)]
    asked: list[tuple[Case, str, Future[Reply]]] = []
    for case in cases:
        if case.learner.name == "network" and importlib.util.find_spec("torch") is None:
            skipped.append(str(missing(f"The surrogate '{case.name}'", "torch")))
            continue
        files = _files(_learned(broker, case, seed), case, folder / "artifacts", graph=len(usable) > 1)
        for name in usable:
            job = Job(backend=name, load=drive, limit=BACKENDS[name].limit, seed=derive(seed, "points", case.name))
            resources = Resources(exclusive=alone)
            asked.append((case, name, broker.submit("infer", serve, job, files, resources=resources, label=f"{case.name}, {name}")))
    served = [_served(case, name, future, folder / "artifacts" / "loadgen" / f"{case.stem}-{name}") for case, name, future in asked]
    return Inference(load=drive, served=served, skipped=skipped)


def _learned(broker: Broker, case: Case, seed: int) -> Surrogate:
    simulation = load("simulations", case.simulation).create()
    return surrogate(broker, simulation, budget=case.runs, learner=case.learner, seed=derive(seed, case.name)).surrogate


def _files(learned: Surrogate, case: Case, folder: Path, *, graph: bool) -> dict[str, bytes]:
    """Save and export: what a process that serves needs."""
    path = folder / f"{case.stem}.safetensors"
    learned.save(path)
    files = {SURROGATE: path.read_bytes()}
    if graph:
        from mlforhpc.learners._onnx import export_onnx

        export_onnx(learned, path.with_suffix(".onnx"))
        files[GRAPH] = path.with_suffix(".onnx").read_bytes()
    return files


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a task brings back: the outcome, and LoadGen's logs by their path below the process's folder."""

    outcome: Outcome
    logs: Mapping[str, bytes]


def serve(job: Job, files: Mapping[str, bytes]) -> Reply:
    """The task: one process that serves and is driven."""
    with tempfile.TemporaryDirectory(prefix="mlforhpc-infer-") as place:
        folder = Path(place)
        for name, content in files.items():
            (folder / name).write_bytes(content)
        write(folder / JOB, job)
        one_thread = dict.fromkeys(_THREADS, "1")
        command = [sys.executable, "-m", inference_child.__name__, str(folder)]
        ended = subprocess.run(command, env={**os.environ, **one_thread}, capture_output=True, text=True, check=False)
        if ended.returncode:
            raise RuntimeError(f"The process that serves by '{job.backend}' ended with {ended.returncode}: {ended.stderr[-2000:]}")
        logs = {str(path.relative_to(folder)): path.read_bytes() for pattern in LOGS for path in sorted(folder.glob(pattern))}
        return Reply(outcome=read(folder / OUTCOME, Outcome), logs=logs)


def _served(case: Case, name: str, future: Future[Reply], folder: Path) -> Served:
    backend = BACKENDS[name]
    try:
        reply = future.result()
    except TaskError as error:
        last = str(error).strip().splitlines()[-1]
        return Served(case=case, backend=name, arithmetic=backend.arithmetic, limit=backend.limit, outcome=None, failure=last)
    for path, content in reply.logs.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return Served(case=case, backend=name, arithmetic=backend.arithmetic, limit=backend.limit, outcome=reply.outcome)
