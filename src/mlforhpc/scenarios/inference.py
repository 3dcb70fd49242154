"""Surrogates served under MLPerf LoadGen: learned on the broker, exported, answered for by each backend in a process of its own.

A task of kind `infer` is one surrogate with one backend (`inference_task`). The server learns its own surrogate, from the runs that it
is asked for; that one is then called in process, too, so that HTTP stands beside the same call without.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from mlforhpc.core.broker import Broker
from mlforhpc.core.errors import TaskError
from mlforhpc.core.learner import Learner
from mlforhpc.core.names import load, missing
from mlforhpc.core.seeds import derive
from mlforhpc.core.task import Resources
from mlforhpc.scenarios.inference_backends import BACKENDS, LIMITS, lacking
from mlforhpc.scenarios.inference_job import GRAPH, HTTP, SURROGATE, Job, Load, Outcome, Ran
from mlforhpc.scenarios.inference_task import Reply, serve
from mlforhpc.scenarios.surrogate import surrogate


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A surrogate to serve.

    Attributes:
        name: in figures and tables.
        simulation, learner: what is learned, by what; None: by the server, which has its own.
        runs: that it is fitted to.
        needs_float64: a backend that computes in less is checked, and left out where it misses its precision; else that is INVALID.
    """

    name: str
    simulation: str
    learner: Learner | None
    runs: int
    needs_float64: bool = False

    @property
    def stem(self) -> str:
        """Of its files."""
        return f"{self.simulation}-{self.learner.name if self.learner else 'server'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """One surrogate with one backend.

    Attributes:
        case, backend: which; `arithmetic` and `limit`, the stated precision, are the backend's.
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
    def worst(self) -> float:
        """Largest error, before anything was timed and in what LoadGen's queries returned; inf if it failed."""
        return max([self.outcome.error, *(ran.error for ran in self.runs)]) if self.outcome else float("inf")

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
    """Learn each surrogate, and serve it by every backend that is installed, or through the server.

    Args:
        broker: learns and serves.
        cases: what.
        drive: how LoadGen drives.
        folder: of the run; surrogates, graphs and LoadGen's logs go to its `artifacts`.
        seed: of design, fits and points.
        alone: whether nothing else runs on the engine meanwhile; the figures mean little without.
    """
    usable = [name for name in BACKENDS if not lacking(name)]
    skipped = [lacking(name) for name in BACKENDS if name not in usable]
    bench = _Bench(broker, drive, folder / "artifacts", seed, alone)
    asked: list[_Asked] = []
    for case in cases:
        if case.learner is None:
            asked += bench.through(case)
        elif case.learner.name == "network" and importlib.util.find_spec("torch") is None:
            skipped.append(str(missing(f"The surrogate '{case.name}'", "torch")))
        else:
            files = bench.learned(case, graph=usable != ["numpy"])
            asked += [bench.ask(case, name, BACKENDS[name].arithmetic, files) for name in usable]
    return Inference(load=drive, served=[bench.answer(one) for one in asked], skipped=skipped)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A task under way."""

    case: Case
    backend: str
    arithmetic: str
    future: Future[Reply]


class _Bench:
    """Learns, submits and collects."""

    def __init__(self, broker: Broker, drive: Load, artifacts: Path, seed: int, alone: bool) -> None:
        self._broker, self._drive, self._artifacts, self._seed = broker, drive, artifacts, seed
        self._resources = Resources(exclusive=alone)

    def learned(self, case: Case, *, graph: bool) -> dict[str, bytes]:
        """Learn, save and export: the files that a process needs to serve it."""
        simulation, learner = load("simulations", case.simulation).create(), case.learner or ""
        found = surrogate(self._broker, simulation, budget=case.runs, learner=learner, seed=derive(self._seed, case.name)).surrogate
        path = self._artifacts / f"{case.stem}.safetensors"
        found.save(path)
        files = {SURROGATE: path.read_bytes()}
        if graph:
            from mlforhpc.learners._onnx import export_onnx

            export_onnx(found, path.with_suffix(".onnx"))
            files[GRAPH] = path.with_suffix(".onnx").read_bytes()
        return files

    def ask(self, case: Case, backend: str, arithmetic: str, files: Mapping[str, bytes]) -> _Asked:
        """Submit one surrogate with one backend."""
        job = Job(
            backend=backend, load=self._drive, limit=LIMITS[arithmetic], seed=derive(self._seed, "points", case.name),
            interval="run" if case.learner else "mean", simulation=case.simulation, learn=case.runs,
        )  # fmt: skip
        label = f"{case.name}, {backend}"
        future = self._broker.submit("infer", serve, job, files, resources=self._resources, label=label)
        return _Asked(case, backend, arithmetic, future)

    def through(self, case: Case) -> list[_Asked]:
        """The server, and, called in process, the surrogate that it learned."""
        asked = self.ask(case, HTTP, "float64", {})
        try:
            surrogate_file = asked.future.result().files[SURROGATE]
        except TaskError:
            return [asked]
        return [asked, self.ask(case, "numpy", "float64", {SURROGATE: surrogate_file})]

    def answer(self, asked: _Asked) -> Served:
        """What a task found; its files are kept."""
        folder, failure, outcome = self._artifacts / "loadgen" / f"{asked.case.stem}-{asked.backend}", "", None
        try:
            reply = asked.future.result()
        except TaskError as error:
            failure = str(error).strip().splitlines()[-1]
        else:
            outcome = reply.outcome
            for path, content in reply.files.items():
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_bytes(content)
        limit = LIMITS[asked.arithmetic]
        return Served(
            case=asked.case, backend=asked.backend, arithmetic=asked.arithmetic, limit=limit, outcome=outcome, failure=failure
        )  # fmt: skip
