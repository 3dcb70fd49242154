"""What a process that serves a surrogate under LoadGen is told, and what it says: plain data, written as JSON in its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

SURROGATE, GRAPH, JOB, OUTCOME = "surrogate.safetensors", "surrogate.onnx", "job.json", "outcome.json"
HTTP = "HTTP"
"""Stands among the backends for the server, which answers by NumPy."""
SUMMARY, RESPONSES = "mlperf_log_summary.txt", "mlperf_log_accuracy.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How LoadGen drives.

    Attributes:
        duration_s: shortest run.
        calibration_s: timed before, to expect the right rates.
        queries: scenario -> least number of queries; LoadGen's early stopping needs 64 for SingleStream's 90th percentile and about
            460 for Server's 99th.
        batches: most samples that one call of the backend answers: Offline takes each, Server the first and the last.
        shares: of the rate that Offline reached, offered to Server one after another until LoadGen says VALID.
        bound_s: latency that 99 % of Server's queries may take.
        points: in LoadGen's sample library.
        kept: responses that LoadGen keeps of each run, to be checked.
    """

    duration_s: float
    calibration_s: float
    queries: Mapping[str, int]
    batches: tuple[int, ...]
    shares: tuple[float, ...]
    bound_s: float
    points: int = 1024
    kept: int = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What one process does.

    Attributes:
        backend: a name of `inference_backends.BACKENDS`, or `HTTP`.
        load: how it is driven.
        limit: the stated precision: largest error against the NumPy reference, relative to the outputs' RMS.
        seed: of the points.
        interval: "run" or "mean": what the answers' intervals are of; graphs are exported for a run, the server answers for the mean.
        simulation, learn: over HTTP: what is served, and the runs from which the server learns it.
    """

    backend: str
    load: Load
    limit: float
    seed: int
    interval: Literal["run", "mean"] = "run"
    simulation: str = ""
    learn: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """One LoadGen run.

    Attributes:
        scenario, batch: which.
        offered_per_s: the rate that LoadGen was told to expect or to offer.
        valid, complaints: LoadGen's verdict, and what it says was not satisfied.
        rate_per_s, latency_s: of its summary; percentile, as text, -> s.
        error, checked: of how many responses that LoadGen kept the largest error against the reference.
        logs: LoadGen's, below the process's folder.
    """

    scenario: str
    batch: int
    offered_per_s: float
    valid: bool
    complaints: tuple[str, ...]
    rate_per_s: float
    latency_s: Mapping[str, float]
    error: float
    checked: int
    logs: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one process found.

    Attributes:
        version: of the backend's package.
        error: largest error against the reference before anything was timed; nothing is timed if it is above the job's limit.
        calibrated_per_s: batch -> answers a second; keys are text.
        runs: in the order of time.
    """

    version: str
    error: float
    calibrated_per_s: Mapping[str, float] = field(default_factory=dict)
    runs: tuple[Ran, ...] = ()


D = TypeVar("D", Job, Outcome)


def write(path: Path, what: Job | Outcome) -> None:
    """As JSON, in which an error may be Infinity."""
    path.write_text(json.dumps(msgspec.to_builtins(what)), encoding="utf-8")


def read(path: Path, kind: type[D]) -> D:
    """The inverse of `write`."""
    return msgspec.convert(json.loads(path.read_text(encoding="utf-8")), type=kind)
