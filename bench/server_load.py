"""The server under load: memory over time at 80 % of its peak, more simulations than it can run, more requests than it can answer.

    memory:  80 % of the peak, open loop, resident size every `--sample` seconds and its slope
    slots:   3 times what the slots can simulate beside a steady load that the surrogate answers; p99 of that load with / without, in turns
    flood:   3 times the peak in pipelined requests on more connections than may be open; a probe's p99 in the seconds after
Server, load and probe are processes of their own on one machine; a simulation sleeps. Peak: wrk, 16 connections, when the surrogate has all
the runs that a fit takes, because its answers cost more then. Audits are rare here: each kept run takes about 1 kB, which is no leak.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import uvloop

from mlforhpc.core.simulation import Output
from mlforhpc.core.space import Real, Space
from mlforhpc.scenarios.online_learning import MOST_ROWS
from mlforhpc.simulations._function import simulation

HERE = Path(__file__)
RUN_S = 0.05
PARTS = ("memory", "slots", "flood")
PATH = "/v2/models/wave/infer"
LENGTH = re.compile(rb"content-length: (\d+)")


def wave(x: float, y: float) -> float:
    """Smooth."""
    time.sleep(RUN_S)
    return 2.0 + x * y


WAVE = simulation(wave, space=Space(x=Real(0.0, 1.0), y=Real(0.0, 1.0)), outputs=[Output(name="z")], name="wave", version="1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--minutes", type=float, default=10.0, help="of the memory part")
    parser.add_argument("--sample", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each round of the others")
    parser.add_argument("--output", type=Path, default=HERE.parent / "results" / "server_load.csv")
    parser.add_argument("--load", help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.load:
        print(json.dumps(uvloop.run(Load(**json.loads(a.load)).run())))
        return
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as server:
        learned(server)
        peak = peak_of(server, Path(folder))
        rows += told([{"part": "peak", "what": "answers a second, wrk, 16 connections", "value": peak}])
        if "memory" in a.parts:
            rows += told(memory(server, peak, a.minutes * 60, a.sample))
        if "slots" in a.parts:
            rows += told(slots(server, peak, a.rounds, a.seconds))
        if "flood" in a.parts:
            rows += told(flood(server, peak, a.rounds, a.seconds))
    with a.output.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["part", "what", "value", "low", "high", "load_average"])
        writer.writeheader()
        writer.writerows({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)


def told(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    """The rows with the machine's load average at their end; printed."""
    for each in rows:
        each["load_average"] = f"{os.getloadavg()[0]:.1f}"
        print(each, flush=True)
    return rows


class Server:
    """A server process: where it is, and what the kernel says of it."""

    def __init__(self, process: subprocess.Popen[str], address: str) -> None:
        self.pid, self.address = process.pid, address
        self.host, _, port = address.partition("://")[2].partition(":")
        self.port = int(port)

    def resident_bytes(self) -> int:
        """Memory of the server's own process."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def connections(self) -> int:
        """Open sockets."""
        found = 0
        for each in Path(f"/proc/{self.pid}/fd").iterdir():
            with suppress(OSError):
                found += str(each.readlink()).startswith("socket:")
        return found


@contextmanager
def served(folder: Path) -> Iterator[Server]:
    """With two slots."""
    (folder / "service.toml").write_text(f'[terms]\ntolerance = 0.2\naudit = 1e-4\n[simulations.wave]\nfunction = "{HERE}:WAVE"\n')
    words = ["--config", "service.toml", "--slots", "2", "--port", "0", "--json"]
    process = subprocess.Popen([sys.executable, "-m", "mlforhpc", "serve", *words], cwd=folder, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield Server(process, json.loads(process.stdout.readline())["address"])
        assert process.poll() is None, "the server ended"
    finally:
        process.terminate()
        process.wait(20)


def body(x: float, y: float, source: str = "auto") -> bytes:
    """A request of one point."""
    inputs = [{"name": k, "shape": [1], "datatype": "FP64", "data": [v]} for k, v in (("x", x), ("y", y))]
    content = json.dumps({"inputs": inputs, "parameters": {"source": source}}).encode()
    return b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (PATH.encode(), len(content), content)


def learned(server: Server) -> None:
    """Ask until it was fitted to as many runs as a fit takes, and the surrogate answers."""
    end = time.monotonic() + 300
    while (status := status_of(server))["runs"] < MOST_ROWS or status["learning"] != "idle" or not status["open_threshold"]:
        assert time.monotonic() < end, status
        loaded(server, rate=30.0, seconds=2.0, connections=60, seed=status["fits"] + sum(status["answers"].values()), source="simulation")
        loaded(server, rate=30.0, seconds=0.5, connections=30, seed=status["fits"])
        if sum(status["answers"].values()) > 1.4 * MOST_ROWS:
            with urllib.request.urlopen(urllib.request.Request(f"{server.address}/v1/models/wave/learn", method="POST")):
                time.sleep(5)


def status_of(server: Server) -> dict:
    """What it says of itself."""
    with urllib.request.urlopen(f"{server.address}/v1/status") as answer:
        return json.loads(answer.read())["wave"]


def simulated(server: Server) -> int:
    """Answers that a simulation gave."""
    return int(status_of(server)["answers"]["simulation"])


def cpu_s(pid: int) -> float:
    """User and system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_of(server: Server, folder: Path) -> float:
    """Surrogate answers a second in a closed loop."""
    request = body(0.5, 0.5)
    script = folder / "peak.lua"
    script.write_text(f'wrk.method = "POST"\nwrk.body = [==[{request.partition(bytes(chr(13) + chr(10), "ascii") * 2)[2].decode()}]==]\n')
    rates = []
    for _ in range(3):
        words = ["wrk", "-t1", "-c16", "-d3s", "-s", str(script), server.address + PATH]
        said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        assert "Non-2xx" not in said, said
        rates.append(float(re.search(r"Requests/sec:\s*([\d.]+)", said)[1]))  # type: ignore[index]
    return statistics.median(rates)


def loaded(server: Server, **how: object) -> dict:
    """What a load in a process of its own met."""
    return _finished(_begun(server, **how))


def _begun(server: Server, **how: object) -> subprocess.Popen[str]:
    words = [sys.executable, str(HERE), "--load", json.dumps({"host": server.host, "port": server.port, **how})]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def _finished(process: subprocess.Popen[str]) -> dict:
    said, _ = process.communicate()
    assert process.returncode == 0
    return json.loads(said)


class Load:
    """Poisson arrivals at `rate`, each on a free connection, or waiting for one; latency counts from the arrival.

    source "simulation": points that nobody asked for before. flood: all connections are written to without waiting for answers.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        rate: float,
        seconds: float,
        connections: int,
        seed: int = 0,
        source: str = "auto",
        flood: bool = False,
    ) -> None:
        self.host, self.port, self.rate, self.seconds, self.wanted, self.flood = host, port, rate, seconds, connections, flood
        self.rng, self.source = random.Random(f"{seed} {source}"), source
        self.lines: list[Line] = []
        self.free: deque[Line] = deque()
        self.late: deque[float] = deque()
        self.statuses: Counter[str] = Counter()
        self.latencies: list[float] = []
        self.without_time = self.sent = self.unsent = 0

    def request(self) -> bytes:
        """The next."""
        return body(self.rng.random(), self.rng.random(), self.source)

    async def run(self) -> dict:
        """Connect, send, wait for what is under way, and say what came."""
        loop = asyncio.get_running_loop()
        for _ in range(self.wanted):
            with suppress(OSError):
                await loop.create_connection(lambda: Line(self), self.host, self.port)
        began = time.perf_counter()
        await (self._flood(began) if self.flood else self._arrive(began))
        took = time.perf_counter() - began
        end = time.perf_counter() + (0.0 if self.flood else 30.0)
        while (self.late or any(line.began for line in self.lines)) and time.perf_counter() < end:
            await asyncio.sleep(0.01)
        for line in self.lines:
            line.transport.abort()
        ranks = {f"p{p}_s": float(np.percentile(self.latencies, p)) if self.latencies else None for p in (50, 95, 99)}
        return {
            **ranks, "sent": self.sent, "unsent": self.unsent, "rate": self.sent / took, "statuses": self.statuses,
            "without_time": self.without_time, "open": sum(line.open for line in self.lines),
        }  # fmt: skip

    async def _arrive(self, began: float) -> None:
        due = began
        while True:
            now = time.perf_counter()
            while due <= now:
                self.late.append(due)
                due += self.rng.expovariate(self.rate)
                if self.free:
                    self.free.popleft().send()
            if due > began + self.seconds:
                return
            await asyncio.sleep(min(0.002, max(0.0, due - time.perf_counter())))

    async def _flood(self, began: float) -> None:
        chunk = b"".join(self.request() for _ in range(10))
        while (now := time.perf_counter()) < began + self.seconds:
            wanted = int((now - began) * self.rate) - self.sent - self.unsent
            for _ in range(wanted // 10):
                line = self.rng.choice(self.lines)
                if line.open and line.transport.get_write_buffer_size() < 100_000:
                    line.transport.write(chunk)
                    self.sent += 10
                else:
                    self.unsent += 10
            await asyncio.sleep(0.002)


class Line(asyncio.Protocol):
    """A connection of a load."""

    def __init__(self, load: Load) -> None:
        self.load, self.began, self.buffer, self.open = load, 0.0, b"", True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.load.lines.append(self)
        self.load.free.append(self)

    def send(self) -> None:
        """The request that waits longest."""
        self.began = self.load.late.popleft()
        self.load.sent += 1
        self.transport.write(self.load.request())

    def data_received(self, data: bytes) -> None:
        load = self.load
        if load.flood:
            for status in (b"200", b"429", b"503"):
                load.statuses[status.decode()] += data.count(b"HTTP/1.1 " + status)
            return
        self.buffer += data
        head, _, rest = self.buffer.partition(b"\r\n\r\n")
        if not rest or len(rest) < int(LENGTH.search(head)[1]):  # type: ignore[index]
            return
        self.buffer, status = b"", head[9:12].decode()
        load.statuses[status] += 1
        load.without_time += status == "429" and b"\r\nretry-after: " not in head
        if status == "200":
            load.latencies.append(time.perf_counter() - self.began)
        self.began = 0.0
        if load.late:
            self.send()
        else:
            load.free.append(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.open, self.began = False, 0.0
        with suppress(ValueError):
            self.load.free.remove(self)


def row(part: str, what: str, values: list[float]) -> dict[str, object]:
    """A median with its lowest and highest."""
    return {"part": part, "what": what, "value": statistics.median(values), "low": min(values), "high": max(values)}


def memory(server: Server, peak: float, seconds: float, sample_s: float) -> list[dict[str, object]]:
    """Resident size at 80 % of the peak; the slope leaves out the first fifth, in which caches and heaps fill."""
    runs, cpu = simulated(server), cpu_s(server.pid)
    load = _begun(server, rate=0.8 * peak, seconds=seconds, connections=64)
    samples: list[tuple[float, float]] = []
    began = time.monotonic()
    while load.poll() is None:
        samples.append((time.monotonic() - began, server.resident_bytes() / 1e6))
        time.sleep(sample_s)
    told = _finished(load)
    later = [(t, m) for t, m in samples if seconds / 5 < t < seconds]
    slope = float(np.polyfit(*zip(*later, strict=True), 1)[0]) * 60 if len(later) > 2 else float("nan")
    return [
        row("memory", "resident MB after the first fifth", [m for _, m in later]),
        {"part": "memory", "what": f"slope, MB a minute, over {seconds:.0f} s", "value": slope},
        {"part": "memory", "what": "answers a second that were reached", "value": told["rate"]},
        {"part": "memory", "what": "server's CPU, in cores", "value": (cpu_s(server.pid) - cpu) / seconds},
        {"part": "memory", "what": "simulations for callers meanwhile", "value": simulated(server) - runs},
        {"part": "memory", "what": "share that was not 200", "value": 1 - told["statuses"].get("200", 0) / told["sent"]},
        {"part": "memory", "what": "p99 ms", "value": told["p99_s"] * 1e3},
    ]


def slots(server: Server, peak: float, rounds: int, seconds: float) -> list[dict[str, object]]:
    """A steady load at a tenth of the peak, alone and beside three times the slots' capacity, in turns."""
    capacity = 2 / RUN_S
    alone, beside, ratios, statuses, without_time = [], [], [], Counter(), 0
    for each in range(rounds):
        alone.append(loaded(server, rate=0.1 * peak, seconds=seconds, connections=32, seed=each)["p99_s"])
        other = _begun(server, rate=3 * capacity, seconds=seconds + 2, connections=256, seed=each, source="simulation")
        time.sleep(1)
        beside.append(loaded(server, rate=0.1 * peak, seconds=seconds, connections=32, seed=100 + each)["p99_s"])
        told = _finished(other)
        statuses.update(told["statuses"])
        without_time += told["without_time"]
        ratios.append(beside[-1] / alone[-1])
    return [
        row("slots", "p99 ms of surrogate answers, alone", [v * 1e3 for v in alone]),
        row("slots", "p99 ms of surrogate answers, beside the overload", [v * 1e3 for v in beside]),
        row("slots", "their ratio", ratios),
        {"part": "slots", "what": f"simulations asked for, of which the slots can run {capacity:g}/s", "value": statuses.total()},
        *({"part": "slots", "what": f"answered {status}", "value": count} for status, count in sorted(statuses.items())),
        {"part": "slots", "what": "429 without Retry-After", "value": without_time},
    ]


def flood(server: Server, peak: float, rounds: int, seconds: float) -> list[dict[str, object]]:
    """Three times the peak on 1,500 connections; a probe of 50 requests a second before, during, and each second after."""

    def probe(span_s: float, seed: int) -> dict:
        return loaded(server, rate=50.0, seconds=span_s, connections=4, seed=seed)

    before, back, memory_mb, sockets, offered, served_, statuses = [], [], [], [], [], [], Counter()
    for each in range(rounds):
        before.append(probe(3.0, each)["p99_s"])
        start = server.resident_bytes() / 1e6
        other = _begun(server, rate=3 * peak, seconds=seconds, connections=1_500, seed=each, flood=True)
        most_mb = most_sockets = 0.0
        while other.poll() is None:
            most_mb, most_sockets = max(most_mb, server.resident_bytes() / 1e6), max(most_sockets, server.connections())
            time.sleep(0.25)
        over = time.monotonic()
        told = _finished(other)
        limit = 2 * before[-1] + 0.002
        while (now := probe(1.0, 1_000 + each)["p99_s"]) is None or now > limit:
            assert time.monotonic() < over + 60, "p99 did not come back"
        back.append(time.monotonic() - over)
        memory_mb.append(most_mb - start)
        sockets.append(most_sockets)
        offered.append((told["sent"] + told["unsent"]) / seconds / peak)
        served_.append(told["statuses"].get("200", 0) / seconds)
        statuses.update(told["statuses"])
    return [
        row("flood", "p99 ms of the probe before", [v * 1e3 for v in before]),
        row("flood", "offered, over the peak", offered),
        row("flood", "answered 200 a second", served_),
        row("flood", "most open sockets", sockets),
        row("flood", "MB more than before at most", memory_mb),
        row("flood", "s until a second's p99 was at most twice that before + 2 ms, that second included", back),
        *({"part": "flood", "what": f"answered {status}", "value": count} for status, count in sorted(statuses.items())),
    ]


if __name__ == "__main__":
    main()
