"""Bad input for a server that is a process: schemathesis over its OpenAPI document, and mutated binary requests, for some minutes each.

    asked for: no 5xx, no answer later than `HANG_S`, every error a JSON sentence, inference answered 200 as well as 4xx, memory as before
Requests, statuses and latencies come from the server's own log. Streams of events are left out, because they do not end.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from mlforhpc.core.simulation import Output
from mlforhpc.core.space import Choice, Integer, Real, Space
from mlforhpc.simulations._function import simulation

HERE = Path(__file__)
HANG_S = 10.0
MODEL = "mixed"
PATH = f"/v2/models/{MODEL}/infer"


def mixed(x: float, n: int, kind: str) -> dict[str, float]:
    """Quick, of every kind of parameter."""
    return {"y": x * n + (kind == "odd")}


MIXED = simulation(
    mixed,
    space=Space(x=Real(0.0, 1.0), n=Integer(-5, 5), kind=Choice(("even", "odd"))),
    outputs=[Output(name="y")],
    name=MODEL,
    version="1",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="for each of the two")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=("openapi", "binary"))
    parser.add_argument("--output", type=Path, help="a summary as JSON")
    a = parser.parse_args()
    found = {}
    for name, fuzz in (("openapi", openapi), ("binary", binary)):
        if a.only in (None, name):
            with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as (pid, address):
                before = memory_bytes(pid)
                told = fuzz(address, a.minutes * 60, a.seed, Path(folder))
                time.sleep(1)  # the log is written a few times a second
                found[name] = {**told, **logged(Path(folder)), "memory_bytes": [before, memory_bytes(pid)]}
            print(json.dumps({name: found[name]}, indent=1))
    if a.output:
        a.output.write_text(json.dumps(found, indent=1) + "\n")
    sys.exit(0 if all(is_good(each) for each in found.values()) else 1)


def is_good(told: dict) -> bool:
    """What is asked for."""
    statuses = told["infer"]
    return told["server_errors"] == 0 and told["slowest_s"] < HANG_S and not told["wrong"] and "200" in statuses and "400" in statuses


@contextmanager
def served(folder: Path) -> Iterator[tuple[int, str]]:
    """A server; its pid and address."""
    words = [f"{HERE}:MIXED", "borehole", "--slots", "2", "--port", "0", "--json"]
    server = subprocess.Popen([sys.executable, "-m", "mlforhpc", "serve", *words], cwd=folder, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        yield server.pid, json.loads(server.stdout.readline())["address"]
        assert server.poll() is None, "the server ended"
    finally:
        server.terminate()
        server.wait(20)


def memory_bytes(pid: int) -> int:
    """Resident."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def logged(folder: Path) -> dict:
    """Requests of the server's log: how many, by status and for inference, and the slowest that no simulation can explain."""
    statuses, infer, slowest_s, unforeseen = Counter(), Counter(), 0.0, []
    for file in sorted((folder / "mlforhpc-service").glob("log*.jsonl")):
        for line in file.read_bytes().splitlines():
            entry = json.loads(line)
            if entry["level"] != "request":
                unforeseen += [entry["sentence"]] if "traceback" in entry else []
                continue
            statuses[str(entry["status"])] += 1
            if entry["path"].endswith("/infer"):
                infer[str(entry["status"])] += 1
            slowest_s = max(slowest_s, entry["ms"] / 1e3)
    return {
        "requests": statuses.total(),
        "statuses": dict(sorted(statuses.items())),
        "infer": dict(sorted(infer.items())),
        "server_errors": sum(count for status, count in statuses.items() if status >= "500"),
        "slowest_s": slowest_s,
        "tracebacks": len(unforeseen),
    }


def openapi(address: str, seconds: float, seed: int, folder: Path) -> dict:
    """schemathesis as a process of its own, over everything that ends; `wrong` is what it says against the document."""
    program = shutil.which("st", path=str(Path(sys.executable).parent)) or "st"
    report = folder / "report.json"
    words = [
        program, "run", f"{address}/openapi.json", "--continue-on-failure", "--max-time", str(max(1, round(seconds))), "--seed", str(seed),
        "--no-color", "--request-timeout", str(HANG_S), "--exclude-path", "/v1/events", "--exclude-path", "/v1/jobs/{id}/events",
        "--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
        "--suppress-health-check", "all", "--report", "json", "--report-json-path", str(report),
    ]  # fmt: skip
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=2 * seconds + 300)
    (folder / "schemathesis.txt").write_text(done.stdout + done.stderr)
    return {"seconds": seconds, "wrong": [] if done.returncode == 0 else [done.stdout[-4_000:] + done.stderr[-2_000:]]}


def binary(address: str, seconds: float, seed: int, folder: Path) -> dict:
    """Valid binary requests with something changed, one after another on one connection while it lasts."""
    rng, end, wrong, count = random.Random(seed), time.monotonic() + seconds, [], 0
    host, _, port = address.partition("://")[2].partition(":")
    line: socket.socket | None = None
    while time.monotonic() < end and len(wrong) < 20:
        request = mutated(rng)
        count += 1
        try:
            line = line or socket.create_connection((host, int(port)), timeout=HANG_S)
            line.sendall(request)
            answer = HTTPResponse(line)
            answer.begin()
            content = answer.read()
        except (OSError, HTTPException) as error:
            wrong.append({"request": request[:2_000].hex(), "error": repr(error)})
            line = None
            continue
        if answer.status >= 500 or (answer.status != 200 and list(json.loads(content)) != ["error"]):
            wrong.append({"request": request[:2_000].hex(), "status": answer.status, "answer": content[:500].decode("latin-1")})
        if answer.will_close:
            line.close()
            line = None
    return {"seconds": seconds, "sent": count, "wrong": wrong}


def mutated(rng: random.Random) -> bytes:
    """A request of a few rows, right in every byte, then zero to three changes in the JSON, the tensors, or the lengths."""
    n = rng.choice((1, 1, 2, 7))
    tensors = {
        "x": struct.pack(f"<{n}d", *(rng.random() for _ in range(n))),
        "n": struct.pack(f"<{n}q", *(rng.randint(-5, 5) for _ in range(n))),
        "kind": b"".join(struct.pack("<I", len(text)) + text for text in (rng.choice((b"even", b"odd")) for _ in range(n))),
    }
    types = {"x": "FP64", "n": "INT64", "kind": "BYTES"}
    inputs = [
        {"name": k, "shape": rng.choice(([n], [n, 1])), "datatype": types[k], "parameters": {"binary_data_size": len(v)}}
        for k, v in tensors.items()
    ]
    document: dict = {"inputs": inputs, "parameters": {"binary_data_output": rng.random() < 0.5}}
    raw = b"".join(tensors.values())
    changes = rng.choice((0, 1, 1, 1, 2, 3))
    for _ in range(changes):
        change = rng.randrange(4)
        if change == 0:
            document = _other_document(rng, document)
        elif change == 1:
            raw = _other_bytes(rng, raw)
    head = json.dumps(document).encode()
    if changes and rng.random() < 0.3:
        head = _other_bytes(rng, head)
    length = (
        len(head) if not changes or rng.random() < 0.7 else rng.choice((0, len(head) - 1, len(head) + 1, len(head) + len(raw), 1 << 40))
    )
    body = head + raw
    return (
        b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\nInference-Header-Content-Length: %d\r\n\r\n"
        % (PATH.encode(), len(body), length)
    ) + body


_ODD = (
    0,
    -1,
    1,
    7,
    8,
    9,
    1 << 31,
    1 << 62,
    1 << 63,
    -(1 << 63),
    1 << 64,
    10**30,
    0.5,
    1e308,
    True,
    None,
    "",
    "x",
    "\0",
    "é" * 50,
    [],
    [[]],
    {},
)


def _other_document(rng: random.Random, document: dict) -> dict:
    """One value somewhere in it replaced, removed, or repeated."""
    document = json.loads(json.dumps(document))
    places = []

    def walk(node: object) -> None:
        for key in list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
            places.append((node, key))
            walk(node[key])  # type: ignore[index]

    walk(document)
    if not places:  # all was removed before
        return {"inputs": rng.choice(_ODD)}
    node, key = rng.choice(places)
    how = rng.randrange(3)
    if how == 0:
        node[key] = rng.choice(_ODD)
    elif how == 1:
        del node[key]
    elif isinstance(node, list):
        node.insert(key, json.loads(json.dumps(node[key])))
    else:
        node[rng.choice(("data", "name", "shape", "other", "binary_data_size", "tolerance", "source"))] = rng.choice(_ODD)
    return document


def _other_bytes(rng: random.Random, raw: bytes) -> bytes:
    """A bit, a byte, a stretch changed, cut out, doubled, or set to a pattern that means something to numbers and lengths."""
    if not raw:
        return rng.randbytes(rng.randrange(20))
    at, length = rng.randrange(len(raw)), rng.choice((1, 1, 4, 8))
    before, part, after = raw[:at], raw[at : at + length], raw[at + length :]
    patterns = (
        b"\xff" * length,
        bytes(length),
        b"\0\0\0\0\0\0\xf0\x7f"[-length:],
        b"\0\0\0\0\0\0\xf8\x7f"[-length:],
        rng.randbytes(length),
    )
    part = rng.choice((b"", part + part, bytes([part[0] ^ 1 << rng.randrange(8)]) + part[1:], *patterns))
    return before + part + after


if __name__ == "__main__":
    main()
