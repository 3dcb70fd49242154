"""The task that puts a server under load: `mlforhpc serve` as a process, what it learns, its peak, arrivals at shares of it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import numpy as np

from mlforhpc.core.names import load
from mlforhpc.core.seeds import derive
from mlforhpc.core.space import Space
from mlforhpc.scenarios import answering_load
from mlforhpc.scenarios.answering_load import ARRIVALS, MET, SIMULATED, Arrivals, Met, body
from mlforhpc.scenarios.serving import Connection, server

TOGETHER = 60
"""Rows of a request while it learns: more than the 39 that open a gate, fewer than may wait in the server's queue."""
LEARNED_S = 180.0
"""Within which the surrogate has to answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadJob:
    """What is served, and how it is loaded.

    Attributes:
        simulation, tolerance, fidelity: what is served; see `Terms`.
        learn: runs that the surrogate is learned from at first.
        shares: of the peak, at which requests arrive while nothing is learned.
        beside_learning: of the peak, at which they arrive while a fit is under way.
        duration_s: of each load; the corner is where all its requests go from the middle on.
        calibrations, calibration_s: how often and how long the peak is measured; the median counts.
        connections: of a load; an eighth of them in the closed loop of the peak.
        simulated, corner: see `Arrivals`.
        audit: probability of an audit; runs that load brings lead to fits, which should not begin amid the loads that are compared.
        slots: of the server.
        seed: of points and times.
    """

    simulation: str
    tolerance: float
    fidelity: float
    learn: int
    shares: tuple[float, ...]
    beside_learning: tuple[float, ...]
    duration_s: float
    calibrations: int
    calibration_s: float
    connections: int
    simulated: float
    corner: Mapping[str, tuple[float, float]]
    audit: float
    slots: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AtLoad:
    """One load.

    Attributes:
        share, offered_per_s: of the peak, and what that is.
        beside_learning: a fit was begun with it.
        met: what it met.
        audits, broken_audits, fits: meanwhile.
    """

    share: float
    beside_learning: bool
    offered_per_s: float
    met: Met
    audits: int
    broken_audits: int
    fits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What the server showed.

    Attributes:
        peak_per_s: answers a second in a closed loop.
        learned_s: from the first request until it answered by the surrogate.
        runs: that the surrogate was fitted to, before any load.
        loads: in the order of time.
    """

    peak_per_s: float
    learned_s: float
    runs: int
    loads: tuple[AtLoad, ...]


def put_under_load(job: LoadJob) -> Loaded:
    """Serve, learn, calibrate, load.

    Raises:
        RuntimeError: the server did not start, or did not learn; or the process that loads it failed.
    """
    with tempfile.TemporaryDirectory(prefix="mlforhpc-answers-") as place:
        folder = Path(place)
        terms = f"tolerance = {job.tolerance!r}\nfidelity = {job.fidelity!r}\naudit = {job.audit!r}\nseed = {job.seed % 2**31}\n"
        (folder / "service.toml").write_text(f"[terms]\n{terms}[simulations.{job.simulation}]\n")
        what = ["--config", str(folder / "service.toml"), "--slots", str(job.slots)]
        with server(what, folder / "service") as address, closing(Connection(address)) as connection:
            return _Bench(job, folder, address, connection).measured()


class _Bench:
    """A server that runs, and what is asked of it."""

    def __init__(self, job: LoadJob, folder: Path, address: tuple[str, int], connection: Connection) -> None:
        self._job, self._folder, self._address, self._connection = job, folder, address, connection
        self._space: Space = load("simulations", job.simulation).create().space

    def measured(self) -> Loaded:
        learned_s = self._learn()
        runs = self._status()["runs"]
        peaks = [self._met(f"peak {i}", 0.0, self._job.calibration_s).rate_per_s for i in range(self._job.calibrations)]
        peak = median(peaks)
        loads = [self._at(share, peak) for share in self._job.shares]
        loads += [self._at(share, peak, beside_learning=True) for share in self._job.beside_learning]
        return Loaded(peak_per_s=peak, learned_s=learned_s, runs=runs, loads=tuple(loads))

    def _learn(self) -> float:
        """Simulations first; then requests, until the surrogate has shown enough to answer and what is left to learn is learned."""
        began, rng = time.monotonic(), np.random.default_rng(derive(self._job.seed, "learn"))
        for left in range(self._job.learn, 0, -TOGETHER):
            self._ask(rng, min(left, TOGETHER), SIMULATED)
        self._idle(began)
        while not self._status()["open_threshold"]:
            self._ask(rng, TOGETHER, "auto")
            self._idle(began)
        return time.monotonic() - began

    def _ask(self, rng: np.random.Generator, rows: int, source: str) -> None:
        x = self._space.decode(rng.random((rows, len(self._space))))
        self._connection.post(f"/v2/models/{self._job.simulation}/infer", body(self._space, x, source))

    def _idle(self, began: float) -> None:
        """Wait until nothing is learned."""
        time.sleep(0.05)
        while (status := self._status())["learning"] != "idle":
            if time.monotonic() > began + LEARNED_S:
                raise RuntimeError(f"The server has not learned within {LEARNED_S:g} s: {status['last_learned']}")
            time.sleep(0.05)

    def _at(self, share: float, peak: float, *, beside_learning: bool = False) -> AtLoad:
        self._idle(time.monotonic())
        before, rate = self._status(), share * peak
        if beside_learning:
            self._connection.post(f"/v1/models/{self._job.simulation}/learn", b"{}")
        met = self._met(f"{share:g} {beside_learning}", rate, self._job.duration_s)
        after = self._status()
        return AtLoad(
            share=share, beside_learning=beside_learning, offered_per_s=rate, met=met, audits=after["audits"] - before["audits"],
            broken_audits=after["broken"] - before["broken"], fits=after["fits"] - before["fits"],
        )  # fmt: skip

    def _met(self, which: str, rate_per_s: float, duration_s: float) -> Met:
        """Load it from a process of its own."""
        job, (host, port) = self._job, self._address
        arrivals = Arrivals(
            host=host, port=port, simulation=job.simulation, rate_per_s=rate_per_s, duration_s=duration_s,
            connections=job.connections if rate_per_s else max(1, job.connections // 8), simulated=job.simulated,
            corner=job.corner if rate_per_s else {}, tolerance=job.tolerance, seed=derive(job.seed, "load", which),
        )  # fmt: skip
        (self._folder / ARRIVALS).write_bytes(msgspec.json.encode(arrivals))
        command = [sys.executable, "-m", answering_load.__name__, str(self._folder)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode:
            raise RuntimeError(f"The process that loads the server ended with {ended.returncode}: {ended.stderr[-2000:]}")
        return msgspec.json.decode((self._folder / MET).read_bytes(), type=Met)

    def _status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._connection.get("/v1/status"))[self._job.simulation]
        return found
