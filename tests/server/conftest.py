"""A server in a thread of the test process, on a free port, that serves borehole and an own simulation; borehole has learned."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
import pytest
import uvloop

from mlforhpc.server import process
from mlforhpc.server.configuration import configuration
from mlforhpc.server.service import Service

OWN = str(Path(__file__).parent / "own.py")


@dataclass
class Asking:
    """Asks the server at an address."""

    address: str

    @property
    def place(self) -> str:
        """host:port."""
        return self.address.partition("://")[2]

    def call(self, method: str, path: str, body=None, headers=None) -> tuple[int, dict[str, str], bytes]:
        """Status, headers in lower case, body."""
        connection = http.client.HTTPConnection(self.place, timeout=30)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def ask(self, method: str, path: str, content=None, headers=None) -> tuple[int, object]:
        """Status, and the JSON."""
        body = content if isinstance(content, bytes) or content is None else json.dumps(content).encode()
        status, told, said = self.call(method, path, body, headers)
        assert told["content-type"] == "application/json", said
        return status, orjson.loads(said)

    def line(self) -> socket.socket:
        """A connection as it is."""
        host, _, port = self.place.partition(":")
        return socket.create_connection((host, int(port)), timeout=30)


@dataclass
class Running(Asking):
    """A server in a thread of this process."""

    service: Service

    def points(self, model: str, n: int, seed: int = 0) -> tuple[dict[str, list], np.ndarray]:
        """Points inside the space: name -> n values, and as rows (n, d)."""
        space = self.service.onlines[model].simulation.space
        rows = space.decode(np.random.default_rng(seed).random((n, len(space))))
        named = [space.point(row) for row in rows]
        return {name: [point[name] for point in named] for name in space.names}, rows

    def tensors(self, model: str, named: dict[str, list]) -> list[dict]:
        """JSON inputs."""
        wants = self.service.models[model].inputs
        return [
            {"name": k, "shape": [len(v), 1], "datatype": wants[k].datatype if k in wants else "FP64", "data": list(v)}
            for k, v in named.items()
        ]

    def infer(self, model: str, named: dict[str, list], *, at: str = "", **request) -> tuple[int, object]:
        """Ask in JSON."""
        content = {"inputs": self.tensors(model, named), **request}
        return self.ask("POST", f"/v2/models/{model}{at}/infer", content)


def data(answer: object, name: str) -> list:
    """The data of an output."""
    assert isinstance(answer, dict), answer
    (found,) = [each for each in answer["outputs"] if each["name"] == name]
    return found["data"]


@pytest.fixture(name="data", scope="session")
def _data():
    return data


@contextmanager
def serving(wanted):
    """Serve a configuration in a thread."""
    with process.listening(wanted.host, wanted.port) as listener, process.opened(wanted) as service:
        server = process.server_of(service, wanted)
        ready = threading.Event()

        def live() -> None:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(process.run(server, listener, ready.set))

        thread = threading.Thread(target=live)
        place = process.address(wanted, listener)
        thread.start()
        try:
            assert ready.wait(30)
            yield Running(place, service)
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(name="serve", scope="session")
def _serve():
    return serving


def learn(online, runs: int = 40, most: int = 800) -> None:
    """Have it answer, learn from that, and answer until the gate has opened for the surrogate."""
    space, rng = online.simulation.space, np.random.default_rng(1)
    for asked in range(most):
        online.ask(space.point(space.decode(rng.random(len(space)))[0]))
        if asked == runs:
            online.learn()
            _until_idle(online)
        if asked > runs and online.status().open_threshold > 0:
            break
    _until_idle(online)
    assert online.status().open_threshold > 0, online.status()


def _until_idle(online) -> None:
    end = time.monotonic() + 60
    while online.surrogate is None or online.status().learning != "idle":
        assert time.monotonic() < end, online.status()
        time.sleep(0.02)


@pytest.fixture(scope="session")
def running(tmp_path_factory):
    """The server that most tests ask; they leave it as it was, but for its counts."""
    folder = tmp_path_factory.mktemp("service") / "kept"
    wanted = configuration(simulations=["borehole", f"{OWN}:PLATE"], said={"port": 0, "slots": 2, "folder": folder}, environment={})
    with serving(wanted) as found:
        learn(found.service.onlines["borehole"])
        yield found


@pytest.fixture(scope="session")
def service(running):
    """Its service, without HTTP."""
    return running.service


def _started(words, folder, environment=None) -> subprocess.Popen:
    line = [sys.executable, "-m", "mlforhpc", "serve", *map(str, words)]
    env = {**{k: v for k, v in os.environ.items() if k != "MLFORHPC_TOKEN"}, **(environment or {})}
    return subprocess.Popen(line, cwd=folder, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.fixture
def command(tmp_path):
    """Starts `mlforhpc serve` in a folder of its own; ends what is left."""
    begun: list[subprocess.Popen] = []

    def start(*words, environment=None):
        begun.append(_started(words, tmp_path, environment))
        return begun[-1]

    yield start
    for each in begun:
        if each.poll() is None:
            each.kill()
        each.communicate()


@dataclass
class Live(Asking):
    """A server that is a process of its own, in `folder`."""

    process: subprocess.Popen
    folder: Path

    @property
    def pid(self) -> int:
        """Of the server."""
        return self.process.pid

    def children(self) -> dict[int, str]:
        """Pid -> state of the processes that it started."""
        found = {}
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found[int(child)] = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0]
        return found

    def status(self, model: str) -> dict:
        """Of a simulation."""
        status, told = self.ask("GET", "/v1/status")
        assert status == 200 and isinstance(told, dict)
        return told[model]

    def records(self, model: str) -> dict[str, dict]:
        """All that the store keeps: key -> record."""
        found, at = {}, f"/v1/records?simulation={model}&limit=1000"
        while at:
            status, page = self.ask("GET", at)
            assert status == 200 and isinstance(page, dict) and page["damaged"] == []
            found |= {each["key"]: each for each in page["records"]}
            at = page["next"]
        return found

    def until(self, there, *, most_s: float = 30.0) -> None:
        """Wait until something is so."""
        end = time.monotonic() + most_s
        while not there():
            assert time.monotonic() < end, "it did not become so"
            time.sleep(0.02)

    def kill(self) -> None:
        """End it as a crash would."""
        self.process.kill()
        self.process.wait()

    def end(self) -> int:
        """End it as an operator would; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)


@contextmanager
def living(folder: Path, *words, environment=None):
    """A server process on a free port."""
    begun = _started([*words, "--port", 0, "--json"], folder, environment)
    try:
        line = begun.stdout.readline()
        assert line, begun.stderr.read()
        yield Live(json.loads(line)["address"], begun, folder / "mlforhpc-service")
    finally:
        if begun.poll() is None:
            begun.kill()
        begun.communicate()


@pytest.fixture(name="live", scope="session")
def _live():
    return living
