"""The process that serves one surrogate by one backend under LoadGen: `python -m mlforhpc.scenarios.inference_child FOLDER`.

Check the precision, time the calls for a second, then SingleStream, Offline by batch size, Server at falling rates until LoadGen says
VALID. The folder holds the job and the surrogate; outcome and LoadGen's logs are added.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from mlforhpc.core.learner import Surrogate
from mlforhpc.core.seeds import derive
from mlforhpc.core.space import FloatArray
from mlforhpc.learners._loading import load
from mlforhpc.metrics.loadgen import read_responses, read_summary, relative_error
from mlforhpc.scenarios.inference_backends import BACKENDS, Answers, ends, scales
from mlforhpc.scenarios.inference_job import JOB, OUTCOME, RESPONSES, SUMMARY, SURROGATE, Job, Outcome, Ran, read, write
from mlforhpc.scenarios.inference_loadgen import drive

GENEROUS = 1.2
"""Offline is expected to be so many times as fast as calibrated: LoadGen makes its one query from it, and too short a run is INVALID."""
TRIES = 3
WARM_UPS = 20


def main(folder: Path) -> None:
    """Do the job in `folder`."""
    job, surrogate = read(folder / JOB, Job), load(folder / SURROGATE)
    backend = BACKENDS[job.backend]
    answers = partial(ends, surrogate, of="mean") if job.interval == "mean" else backend.open(folder)
    write(folder / OUTCOME, serve([answers], surrogate, job, folder=folder, version=backend.version))


def serve(connections: Sequence[Answers], surrogate: Surrogate, job: Job, *, folder: Path, version: str) -> Outcome:
    """Check, calibrate and drive."""
    unit = np.random.default_rng(derive(job.seed, "points")).random((job.load.points, len(surrogate.space)))
    points = surrogate.space.decode(unit)
    wanted = ends(surrogate, points, job.interval)
    bench = Bench(connections=connections, points=points, wanted=wanted, scale=scales(surrogate, wanted), job=job, folder=folder)
    error = bench.error()
    if not error <= job.limit:
        return Outcome(version=version, error=error)
    rates = {batch: bench.rate(batch) for batch in sorted({1, *job.load.batches})}
    runs = [bench.run("SingleStream", 1, rates[1])]
    offline = {batch: bench.offline(batch, rates[batch]) for batch in job.load.batches}
    runs += [ran for tries in offline.values() for ran in tries]
    for batch in sorted({job.load.batches[0], job.load.batches[-1]}):
        for share in job.load.shares:
            runs.append(bench.run("Server", batch, share * offline[batch][-1].rate_per_s))
            if runs[-1].valid:
                break
    return Outcome(version=version, error=error, calibrated_per_s={str(batch): rate for batch, rate in rates.items()}, runs=tuple(runs))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """One backend with its sample library.

    Attributes:
        connections: that answer.
        points: (n, d).
        wanted: the reference's answers (n, 3 m).
        scale: of each column (3 m,).
        job: what to do.
        folder: where LoadGen's logs go.
    """

    connections: Sequence[Answers]
    points: FloatArray
    wanted: FloatArray
    scale: FloatArray
    job: Job
    folder: Path

    def error(self) -> float:
        """Largest error over the library, asked in the largest batch, and over some points asked one by one."""
        step, answer = max(self.job.load.batches), self.connections[0]
        batches = np.concatenate([answer(self.points[i : i + step]) for i in range(0, len(self.points), step)])
        singles = np.concatenate([answer(self.points[i : i + 1]) for i in range(self.job.load.kept)])
        parts = ((self.wanted, batches), (self.wanted[: len(singles)], singles))
        return max(relative_error(wanted, found, self.scale) for wanted, found in parts)

    def rate(self, batch: int) -> float:
        """Answers a second of all connections together, each called in a loop for the calibration's time."""

        def called(answer: Answers) -> float:
            for _ in range(WARM_UPS):
                answer(self.points[:batch])
            began, calls = time.perf_counter(), 0
            while (took_s := time.perf_counter() - began) < self.job.load.calibration_s or not calls:
                answer(self.points[:batch])
                calls += 1
            return calls * batch / took_s

        with ThreadPoolExecutor(len(self.connections)) as pool:
            return sum(pool.map(called, self.connections))

    def offline(self, batch: int, rate_per_s: float) -> list[Ran]:
        """Runs of Offline, the last of which stands: where it was faster than expected, LoadGen wants it again with what it reached."""
        tries = [self.run("Offline", batch, GENEROUS * rate_per_s)]
        while not tries[-1].valid and len(tries) < TRIES:
            tries.append(self.run("Offline", batch, GENEROUS * tries[-1].rate_per_s))
        return tries

    def run(self, scenario: str, batch: int, offered_per_s: float) -> Ran:
        """One LoadGen run."""
        name = f"{scenario.lower()}-{batch}-{offered_per_s:.6g}"
        logs = self.folder / name
        connections = self.connections[:1] if scenario == "SingleStream" else self.connections
        drive(connections, self.points, logs, scenario=scenario, batch=batch, offered_per_s=offered_per_s, load=self.job.load)
        said = read_summary((logs / SUMMARY).read_text(encoding="utf-8"))
        index, found = read_responses((logs / RESPONSES).read_text(encoding="utf-8"))
        return Ran(
            scenario=scenario,
            batch=batch,
            offered_per_s=offered_per_s,
            valid=said.valid,
            complaints=said.complaints,
            rate_per_s=said.rate_per_s,
            latency_s={f"{percentile:g}": seconds for percentile, seconds in said.latency_s.items()},
            error=relative_error(self.wanted[index], found, self.scale) if index else float("inf"),
            checked=len(index),
            logs=name,
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
