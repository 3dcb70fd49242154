"""The process that loads a server: `python -m mlforhpc.scenarios.answering_load FOLDER` (arrivals.json -> met.json).

Open loop: Poisson arrivals, each on a connection that is free or waiting for one; a latency counts from the arrival that was meant, so that
a server that falls behind cannot hide it (coordinated omission). Closed loop (rate 0): a request on each connection, the next when it is
answered: the peak. Waits by select(2), whose time-outs are exact to some 0.1 ms, where asyncio's are not.
"""

from __future__ import annotations

import json
import re
import select
import socket
import sys
import time
from collections import Counter, defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from mlforhpc.core.names import load
from mlforhpc.core.seeds import derive
from mlforhpc.core.simulation import Simulation
from mlforhpc.core.space import FloatArray, Integer, Space
from mlforhpc.scenarios.gated import Answer
from mlforhpc.scenarios.request_streams import Case, relative_error, requests
from mlforhpc.scenarios.serving import tensor

ARRIVALS, MET = "arrivals.json", "met.json"
PATIENCE_S = 20.0
"""After the last arrival; what is not answered then counts as unanswered."""
CHECKED_EVERY = 10
"""Of the answers, one in so many is compared with the truth."""
SIMULATED = "simulation"
_SOURCE = re.compile(rb'"name":"source"[^}]*?"data":\["(\w+)"\]')
_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """What arrives.

    Attributes:
        host, port, simulation: who is asked for what; the simulation has a `truth`.
        rate_per_s: of Poisson arrivals; 0: as quick as `connections` are answered.
        duration_s: of arriving.
        connections: that stay open.
        simulated: share of requests that ask for the simulation whatever the surrogate says.
        corner: where all requests go from the middle on; empty: nowhere.
        tolerance: by which an answer that is checked is broken or not.
        seed: of times and points.
    """

    host: str
    port: int
    simulation: str
    rate_per_s: float
    duration_s: float
    connections: int
    simulated: float
    corner: Mapping[str, tuple[float, float]]
    tolerance: float
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Met:
    """What arrivals met.

    Attributes:
        arrived, answered: how many; answered: with 200.
        rate_per_s: answers (200) a second, from the first arrival to the last answer.
        latency_s: source -> p50, p95, p99 and the largest.
        answers: source -> how many.
        refused, without_time: 429, and those of them without Retry-After.
        wrong: other statuses, connections lost, and requests without an answer.
        late_s: 99th percentile of how late a request was sent though a connection was free: the generator's own.
        checked, broken: answers of the surrogate that were compared with the truth, and those off by more than the tolerance.
    """

    arrived: int
    answered: int
    rate_per_s: float
    latency_s: Mapping[str, tuple[float, float, float, float]]
    answers: Mapping[str, int]
    refused: int
    without_time: int
    wrong: int
    late_s: float
    checked: int
    broken: int


@dataclass(slots=True, eq=False)
class Line:
    """A connection: the number of the request under way on it, and what has come of its answer."""

    socket: socket.socket
    request: int = -1
    got: bytearray = field(default_factory=bytearray)

    def fileno(self) -> int:
        """For select."""
        return self.socket.fileno()


def main(folder: Path) -> None:
    """Load the server as `folder` says."""
    arrivals = msgspec.json.decode((folder / ARRIVALS).read_bytes(), type=Arrivals)
    (folder / MET).write_bytes(msgspec.json.encode(Generator(arrivals).run()))


class Generator:
    """See the file's docstring."""

    def __init__(self, arrivals: Arrivals) -> None:
        self._arrivals = arrivals
        self._simulation: Any = load("simulations", arrivals.simulation).create()
        rng = np.random.default_rng(derive(arrivals.seed, "arrivals"))
        self._due = _times(arrivals, rng).tolist()
        case: Case = "shifted" if arrivals.corner else "uniform"
        seed = derive(arrivals.seed, "points")
        self._x = requests(self._simulation.space, case, len(self._due), corner=arrivals.corner, seed=seed)  # (n, d)
        forced = rng.random(len(self._due)) < arrivals.simulated
        self._requests = [
            message(arrivals.simulation, body(self._simulation.space, row[None], SIMULATED if one else "auto"))
            for row, one in zip(self._x, forced, strict=True)
        ]
        self._lines = [self._line() for _ in range(arrivals.connections)]
        self._free = deque(self._lines)
        self._waiting: deque[int] = deque()
        self._latencies: defaultdict[str, list[float]] = defaultdict(list)
        self._late: list[float] = []
        self._statuses: Counter[int] = Counter()
        self._without_time = self._lost = 0
        self._kept: list[tuple[int, bytes]] = []

    def run(self) -> Met:
        """Until all that arrived is answered, or patience is over."""
        began, n, arrived = time.perf_counter(), len(self._due), 0
        until = began + self._arrivals.duration_s
        ended = began
        while True:
            now = time.perf_counter()
            arrived = self._arrive(began, now, arrived, until)
            busy = [line for line in self._lines if line.request >= 0]
            more = arrived < n and (self._arrivals.rate_per_s or now < until)
            if (not busy and not more) or now > until + PATIENCE_S or not self._lines:
                break
            wait = max(0.0, began + self._due[arrived] - now) if more and self._arrivals.rate_per_s else 1.0
            for line in select.select(busy, [], [], min(wait, 1.0))[0]:
                if self._read(line, began):
                    ended = time.perf_counter()
        for line in self._lines:
            line.socket.close()
        return self._met(arrived, ended - began)

    def _arrive(self, began: float, now: float, arrived: int, until: float) -> int:
        """Take in what is due, and send what there is a connection for."""
        if self._arrivals.rate_per_s:
            while arrived < len(self._due) and began + self._due[arrived] <= now:
                self._waiting.append(arrived)
                arrived += 1
        elif now < until:
            for _ in range(min(len(self._free) - len(self._waiting), len(self._due) - arrived)):
                self._due[arrived] = now - began
                self._waiting.append(arrived)
                arrived += 1
        while self._waiting and self._free:
            line, line_request = self._free.popleft(), self._waiting.popleft()
            line.request = line_request
            line.socket.sendall(self._requests[line_request])
            if not self._waiting:
                self._late.append(time.perf_counter() - began - self._due[line_request])
        return arrived

    def _read(self, line: Line, began: float) -> bool:
        """Take what came; True if an answer is whole."""
        part = line.socket.recv(1 << 18)
        if not part:
            self._lost += 1
            self._lines.remove(line)
            return False
        line.got += part
        end = line.got.find(b"\r\n\r\n")
        length = _LENGTH.search(line.got, 0, end) if end >= 0 else None
        if length is None or len(line.got) < end + 4 + int(length[1]):
            return False
        took, status = time.perf_counter() - began - self._due[line.request], int(line.got[9:12])
        self._statuses[status] += 1
        self._without_time += status == 429 and b"\r\nretry-after: " not in line.got[:end].lower() + b"\r\n"
        if status == 200:
            source = _SOURCE.search(line.got, end)
            self._latencies[source[1].decode() if source else "unknown"].append(took)
            if self._statuses[200] % CHECKED_EVERY == 0:
                self._kept.append((line.request, bytes(line.got[end + 4 :])))
        line.request = -1
        line.got.clear()
        self._free.append(line)
        return True

    def _met(self, arrived: int, took_s: float) -> Met:
        answered, refused = self._statuses[200], self._statuses[429]
        checked, broken = self._checked()
        return Met(
            arrived=arrived, answered=answered, rate_per_s=answered / took_s if took_s > 0 else 0.0,
            latency_s={source: _ranks(values) for source, values in sorted(self._latencies.items())},
            answers={source: len(values) for source, values in sorted(self._latencies.items())},
            refused=refused, without_time=self._without_time, wrong=arrived - answered - refused,
            late_s=float(np.percentile(self._late, 99)) if self._late else 0.0, checked=checked, broken=broken,
        )  # fmt: skip

    def _checked(self) -> tuple[int, int]:
        """Of the answers that were kept: how many are the surrogate's, and how many of these are broken."""
        found = [(request, *answer_of(self._simulation, content)) for request, content in self._kept]
        mine = [(request, answer) for request, answer, source in found if source == "surrogate"]
        if not mine:
            return 0, 0
        true = self._simulation.truth(self._x[[request for request, _ in mine]])
        errors = [relative_error(self._simulation, answer, {name: a[i] for name, a in true.items()}) for i, (_, answer) in enumerate(mine)]
        return len(mine), sum(error > self._arrivals.tolerance for error in errors)

    def _line(self) -> Line:
        made = socket.create_connection((self._arrivals.host, self._arrivals.port))
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return Line(made)


def body(space: Space, x: FloatArray, source: str = "auto") -> bytes:
    """A request for points x (n, d) in physical units; parameters are numbers."""
    inputs = []
    for name, column in zip(space.names, x.T, strict=True):
        whole = isinstance(space.parameters[name], Integer)
        data = column.astype(int).tolist() if whole else column.tolist()
        inputs.append(tensor(name, len(x), "INT64" if whole else "FP64") | {"data": data})
    return json.dumps({"inputs": inputs, "parameters": {"source": source}}).encode()


def message(simulation: str, content: bytes) -> bytes:
    """The request on the wire."""
    head = f"POST /v2/models/{simulation}/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


def answer_of(simulation: Simulation, content: bytes) -> tuple[Answer, str]:
    """The answer for one point, and its source."""
    parts = {part["name"]: part["data"] for part in json.loads(content)["outputs"]}
    values = {o.name: np.reshape(parts[o.name], o.shape) for o in simulation.outputs}
    source = str(parts["source"][0])
    rho, version = parts["rho"][0], parts["version"][0]
    return Answer(values=values, lower={}, upper={}, source="surrogate", rho=rho or 0.0, surrogate_version=version), source


def _times(arrivals: Arrivals, rng: np.random.Generator) -> FloatArray:
    """When requests arrive (n,); in a closed loop, as many as there can be, at times yet to be known."""
    if not arrivals.rate_per_s:
        return np.zeros(int(20_000 * arrivals.duration_s))
    gaps = rng.exponential(1.0 / arrivals.rate_per_s, int(1.5 * arrivals.rate_per_s * arrivals.duration_s) + 20)
    times = np.cumsum(gaps)
    return np.asarray(times[times < arrivals.duration_s])


def _ranks(values: list[float]) -> tuple[float, float, float, float]:
    p50, p95, p99 = np.percentile(values, [50, 95, 99]).tolist()
    return p50, p95, p99, max(values)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
