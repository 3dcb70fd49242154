"""What an answer over HTTP costs: of a one-output surrogate and of the flagship's profiles, beside constants of the same size.

    ours: this server    constant: same stack and guard, a raw route    fastapi: FastAPI + pydantic    call: bytes to bytes, no HTTP
One server process each, loopback, keep-alive, JSON, wrk; rounds alternate. Limits: CPU(ours) <= CPU(constant) + 3 CPU(call) at 16
connections; p50(ours) <= 2.5 p50(constant) at one; throughput(ours) >= throughput(fastapi). CPU is the server process's own.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import json
import os
import platform
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from mlforhpc.server.configuration import Configuration, configuration
from mlforhpc.server.infer import Reply, answer
from mlforhpc.server.process import opened
from mlforhpc.server.service import Service

HERE = Path(__file__).parent
CONSTANTS = HERE / "_constant_servers.py"
CONFIGURATION = f"""
[terms]
tolerance = 0.5
audit = 1e-9
[simulations.borehole]
[simulations.profiles]
function = "{HERE}/_profiles.py:PROFILES"
"""
SUBJECTS = {"one output": "borehole", "profiles": "profiles"}
CONNECTIONS = 16
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Server:
    """A process that answers a POST at an address."""

    pid: int
    url: str


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk and the kernel said of one run."""

    per_s: float
    p50_us: float
    cpu_us: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--output", type=Path, default=HERE / "results" / "server_cost.csv")
    a = parser.parse_args()
    missing = [f"apt-get install {program}" for program in ("wrk", "curl") if shutil.which(program) is None]
    missing += [] if importlib.util.find_spec("fastapi") else ["pip install fastapi"]
    if missing:
        parser.error(f"what it compares with or measures by is missing; install it with: {'; '.join(missing)}")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as leaving:
        home = Path(folder)
        (home / "service.toml").write_text(CONFIGURATION)
        bodies = learned(home)
        shutil.copytree(home / "kept", home / "copy")
        here = leaving.enter_context(opened(configured(home, "copy")))
        ours = leaving.enter_context(served(home))
        rows = []
        for subject, model in SUBJECTS.items():
            rows += compared(subject, model, bodies[model], here, ours, home, a.rounds, a.seconds)
    a.output.parent.mkdir(exist_ok=True)
    with a.output.open("w", newline="") as opened_file:
        writer = csv.DictWriter(opened_file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    print(f"\n{len(rows)} rows in {a.output}")


def compared(
    subject: str, model: str, body: bytes, here: Service, ours: str, home: Path, rounds: int, seconds: float
) -> list[dict[str, object]]:
    """Rounds of one subject; prints the three limits with their spread."""
    constant = answered(here, model, body)
    request, reply = home / f"{model}.request", home / f"{model}.reply"
    request.write_bytes(body)
    reply.write_bytes(constant)
    script = home / f"{model}.lua"
    script.write_text(f'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\nwrk.body = [==[{body.decode()}]==]\n')
    rows: list[dict[str, object]] = []
    with ExitStack() as leaving:
        servers = {"ours": Server(int(ours.split()[0]), f"{ours.split()[1]}/v2/models/{model}/infer")}
        for kind in ("constant", "fastapi"):
            servers[kind] = leaving.enter_context(constant_server(kind, reply))
        for kind, server in servers.items():
            loaded(server, script, CONNECTIONS, 0.5)
            assert abs(checked(server.url, body) / len(constant) - 1) < 0.02, kind
        print(f"\n{subject}: {len(body)} bytes in, {len(constant)} out")
        for each in range(rounds):
            order = list(servers) if each % 2 else list(servers)[::-1]
            called = cpu_of_call(here, model, body)
            row: dict[str, object] = {"subject": subject, "round": each, "bytes_out": len(constant), "call_us": called}
            for kind in order:
                many, alone = loaded(servers[kind], script, CONNECTIONS, seconds), loaded(servers[kind], script, 1, seconds / 2)
                row |= {f"{kind}_cpu_us": many.cpu_us, f"{kind}_per_s": many.per_s, f"{kind}_p50_us": alone.p50_us}
            rows.append(row)
    told(rows)
    packages = "; ".join(
        f"{name} {version(name)}" for name in ("mlforhpc", "starlette", "uvicorn", "httptools", "uvloop", "orjson", "msgspec", "fastapi")
    )
    return [
        {**{k: f"{v:.6g}" if isinstance(v, float) else v for k, v in sorted(row.items(), key=_first)}, "packages": packages} for row in rows
    ]


def _first(item: tuple[str, object]) -> bool:
    return item[0] not in ("subject", "round", "bytes_out")


def told(rows: list[dict[str, object]]) -> None:
    """Medians, and the three limits with the lowest and highest of their rounds."""

    def column(name: str) -> list[float]:
        return [float(row[name]) for row in rows]  # type: ignore[arg-type]

    print(f"{'':>10}  {'CPU us':>8}  {'answers/s':>9}  {'p50 us':>8}")
    for kind in ("ours", "constant", "fastapi"):
        cpu, rate, p50 = (statistics.median(column(f"{kind}_{what}")) for what in ("cpu_us", "per_s", "p50_us"))
        print(f"{kind:>10}  {cpu:>8.1f}  {rate:>9.0f}  {p50:>8.1f}")
    print(f"{'call':>10}  {statistics.median(column('call_us')):>8.1f}")
    allowed = [c + 3 * k for c, k in zip(column("constant_cpu_us"), column("call_us"), strict=True)]
    for name, ours, theirs, limit in (
        ("CPU at 16 connections / (constant's + 3 calls)", column("ours_cpu_us"), allowed, 1.0),
        ("p50 at one connection / constant's", column("ours_p50_us"), column("constant_p50_us"), 2.5),
        ("FastAPI's throughput / ours", column("fastapi_per_s"), column("ours_per_s"), 1.0),
    ):
        ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
        median = statistics.median(ratios)
        said = "holds" if median <= limit else "BROKEN"
        print(f"{name}: {median:.2f} [{min(ratios):.2f}, {max(ratios):.2f}], limit {limit:g}: {said}")


def configured(home: Path, folder: str) -> Configuration:
    return configuration(home / "service.toml", said={"folder": home / folder, "port": 0, "slots": 1}, environment={})


def learned(home: Path) -> dict[str, bytes]:
    """Have the models learn until the surrogate answers; a request of one row that it answers, for each."""
    bodies = {}
    with opened(configured(home, "kept")) as service:
        for model in SUBJECTS.values():
            online = service.onlines[model]
            space, rng = online.simulation.space, np.random.default_rng(0)
            end = time.monotonic() + 240
            while online.status().open_threshold == 0 or online.status().learning != "idle":
                assert time.monotonic() < end, online.status()
                online.ask(space.point(space.decode(rng.random(len(space)))[0]))
            sure = next(x for x in space.decode(rng.random((500, len(space)))) if online.look(x[None]).sure[0])
            inputs = [
                {"name": name, "shape": [1, 1], "datatype": want.datatype, "data": [space.point(sure)[name]]}
                for name, want in service.models[model].inputs.items()
            ]
            bodies[model] = json.dumps({"inputs": inputs}).encode()
            print(f"{model}: surrogate {online.status().surrogate_version} from {online.status().runs} runs")
    return bodies


def answered(service: Service, model: str, body: bytes) -> bytes:
    reply = answer(service, model, None, body)
    assert isinstance(reply, Reply) and b'["surrogate"]' in reply.body, "the surrogate is to answer"
    return reply.body


def cpu_of_call(service: Service, model: str, body: bytes, calls: int = 2_000) -> float:
    """CPU of one call without HTTP, us."""
    began = time.thread_time_ns()
    for _ in range(calls):
        reply = answer(service, model, None, body)
        assert isinstance(reply, Reply) and reply.uncounted is not None
        service.onlines[model].serve(reply.uncounted)
    return (time.thread_time_ns() - began) / calls / 1e3


@contextmanager
def served(home: Path) -> Iterator[str]:
    """Our server on the folder that has learned: its process and its address."""
    words = ["--config", str(home / "service.toml"), "--folder", str(home / "kept"), "--port", "0", "--slots", "1", "--json"]
    with subprocess.Popen([sys.executable, "-m", "mlforhpc", "serve", *words], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"{process.pid} {json.loads(process.stdout.readline())['address']}"
        finally:
            process.terminate()


@contextmanager
def constant_server(kind: str, reply: Path) -> Iterator[Server]:
    """A server that answers the same bytes to every request."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, str(CONSTANTS), kind, str(reply), str(port)])
    try:
        end = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                assert time.monotonic() < end and process.poll() is None
                time.sleep(0.05)
        yield Server(process.pid, f"http://127.0.0.1:{port}/v2/models/constant/infer")
    finally:
        process.terminate()
        process.wait()


def checked(url: str, body: bytes) -> int:
    """The length of an answer."""
    said = subprocess.run(
        ["curl", "-sS", "--fail", "-H", "Content-Type: application/json", "--data-binary", "@-", url],
        input=body,
        capture_output=True,
        check=True,
    )
    return len(said.stdout)


def loaded(server: Server, script: Path, connections: int, seconds: float) -> Load:
    """One run of wrk."""
    before = cpu_s(server.pid)
    words = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--latency", "-s", str(script), server.url]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    used = cpu_s(server.pid) - before
    assert "Non-2xx" not in said and "Socket errors" not in said, said
    requests = int(re.search(r"(\d+) requests in", said)[1])  # type: ignore[index]
    rate = float(re.search(r"Requests/sec:\s*([\d.]+)", said)[1])  # type: ignore[index]
    number, unit = re.search(r"50%\s+([\d.]+)(us|ms|s)", said).groups()  # type: ignore[union-attr]
    return Load(rate, float(number) * {"us": 1, "ms": 1e3, "s": 1e6}[unit], used / requests * 1e6)


def cpu_s(pid: int) -> float:
    """User and system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


if __name__ == "__main__":
    print(platform.processor() or platform.machine(), f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    main()
