"""The process that asks the server under LoadGen: `python -m mlforhpc.scenarios.inference_http FOLDER`.

A server of its own (`mlforhpc serve`, on loopback) learns a surrogate from the runs that it is asked for; then every query asks that
surrogate (source "surrogate": no gate, no simulation), in the binary form of the Open Inference Protocol v2, over connections that
stay open. What the server learned is brought back: it is the reference, and is called in process to compare.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path

import numpy as np

from mlforhpc.core.learner import Surrogate
from mlforhpc.core.names import load as load_name
from mlforhpc.core.seeds import derive
from mlforhpc.core.space import FloatArray, Space
from mlforhpc.learners._loading import load
from mlforhpc.scenarios.inference_backends import BACKENDS, graph_outputs
from mlforhpc.scenarios.inference_child import serve
from mlforhpc.scenarios.inference_job import JOB, OUTCOME, SURROGATE, Job, read, write
from mlforhpc.scenarios.serving import Connection, server, tensor

CONNECTIONS = 4
TOGETHER = 48
"""Rows of a request for simulations: fewer than may wait in the server's queue."""
SETTLED_S, LEARNED_S = 3.0, 120.0
"""The surrogate has to stay so long, and to come within so long."""


def main(folder: Path) -> None:
    """Do the job in `folder`."""
    job = read(folder / JOB, Job)
    space: Space = load_name("simulations", job.simulation).create().space
    with server([job.simulation, "--slots", "1"], folder / "service") as address:
        first = Connection(address)
        version = learned(first, job, space)
        shutil.copy(folder / "service" / "online" / job.simulation / "surrogates" / f"{version}.safetensors", folder / SURROGATE)
        surrogate = load(folder / SURROGATE)
        asking = [Asking(Connection(address), job.simulation, version, surrogate) for _ in range(CONNECTIONS)]
        write(folder / OUTCOME, serve(asking, surrogate, job, folder=folder, version=BACKENDS["numpy"].version))


def learned(connection: Connection, job: Job, space: Space) -> str:
    """The version of the surrogate that the server has learned from the runs it was asked for."""
    unit = np.random.default_rng(derive(job.seed, "learn")).random((job.learn, len(space)))
    for i in range(0, job.learn, TOGETHER):
        columns = space.decode(unit[i : i + TOGETHER]).T
        inputs = [tensor(name, len(c)) | {"data": c.tolist()} for name, c in zip(space.names, columns, strict=True)]
        request = {"inputs": inputs, "parameters": {"source": "simulation"}}
        connection.post(f"/v2/models/{job.simulation}/infer", json.dumps(request).encode())
    versions: list[str] = []
    since = until = time.monotonic()
    until += LEARNED_S
    while not versions or time.monotonic() - since < SETTLED_S:
        now = json.loads(connection.get(f"/v2/models/{job.simulation}"))["versions"]
        if now != versions:
            versions, since = now, time.monotonic()
        if time.monotonic() > until:
            raise RuntimeError(f"The server has learned nothing from {job.learn} runs within {LEARNED_S:g} s.")
        time.sleep(0.1)
    return versions[0]


class Asking:
    """Answers x (n, d) by a request; columns as those of a backend."""

    def __init__(self, connection: Connection, simulation: str, version: str, surrogate: Surrogate) -> None:
        self._connection = connection
        self._path = f"/v2/models/{simulation}/versions/{version}/infer"
        self._names = surrogate.space.names
        self._wanted = [{"name": name, "parameters": {"binary_data": True}} for name in graph_outputs(surrogate)]
        self._sizes = [int(np.prod(o.shape)) for o in surrogate.outputs] * 3
        self._headers: dict[int, bytes] = {}

    def __call__(self, x: FloatArray) -> FloatArray:
        n = len(x)
        header = self._headers.get(n) or self._headers.setdefault(n, self._header(n))
        body, length = self._connection.post(self._path, header + x.T.tobytes(), header_length=len(header))
        found = np.frombuffer(body, dtype="<f8", offset=length)
        parts = np.split(found, n * np.cumsum(self._sizes)[:-1])
        return np.concatenate([part.reshape(n, -1) for part in parts], axis=1)

    def _header(self, n: int) -> bytes:
        inputs = [tensor(name, n) | {"parameters": {"binary_data_size": 8 * n}} for name in self._names]
        return json.dumps({"inputs": inputs, "outputs": self._wanted, "parameters": {"source": "surrogate"}}).encode()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
