"""Ways to answer for a saved surrogate: its own NumPy `predict` (the reference), ONNX Runtime, OpenVINO and PyTorch, on one thread.

Each answers x (n, d) with means, lower and upper ends of the 90 % interval for a run: (n, 3 m), m columns of all outputs.
Precision, stated before anything is timed, as the largest error relative to an output's RMS: float64 1e-6 (a half-width is the root of a
difference, so near a run without noise it is known to the root of 2e-16 only), float32 1e-4. OpenVINO
computes in float32 on CPUs, and in bfloat16 where the CPU has it unless it is asked not to.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from mlforhpc.core.learner import Surrogate
from mlforhpc.core.names import missing
from mlforhpc.core.space import FloatArray
from mlforhpc.learners._loading import load
from mlforhpc.scenarios.inference_job import GRAPH, SURROGATE

Answers: TypeAlias = Callable[[FloatArray], FloatArray]
"""x (n, d) -> (n, 3 m)."""
LIMITS = {"float64": 1e-6, "float32": 1e-4}


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """A way to answer.

    Attributes:
        arithmetic: "float64" or "float32".
        distribution, packages: whose version is shown, and what has to be importable.
        open: folder with the saved surrogate and its graph -> the function that answers.
    """

    arithmetic: str
    distribution: str
    packages: tuple[str, ...]
    open: Callable[[Path], Answers]

    @property
    def limit(self) -> float:
        """The stated precision."""
        return LIMITS[self.arithmetic]

    @property
    def version(self) -> str:
        return importlib.metadata.version(self.distribution)


def lacking(name: str) -> str:
    """Why a backend cannot be used here, and how to install what is missing; empty if it can."""
    for package in BACKENDS[name].packages:
        if importlib.util.find_spec(package) is None:
            return str(missing(f"The backend '{name}'", package))
    return ""


def ends(surrogate: Surrogate, x: FloatArray, of: Literal["run", "mean"] = "run") -> FloatArray:
    """The reference: what `predict` says at x (n, d), as (n, 3 m)."""
    p = surrogate.predict(x, of=of)
    parts = (p.mean, p.lower, p.upper)
    return np.concatenate([part[o.name].reshape(len(x), -1) for part in parts for o in surrogate.outputs], axis=1)


def scales(surrogate: Surrogate, wanted: FloatArray) -> FloatArray:
    """What errors are relative to: of each column (3 m,) the RMS of its output's means in `wanted` (n, 3 m)."""
    sizes = [int(np.prod(o.shape)) for o in surrogate.outputs]
    blocks = np.split(wanted[:, : sum(sizes)], np.cumsum(sizes)[:-1], axis=1)
    return np.tile(np.repeat([float(np.sqrt(np.mean(block**2))) for block in blocks], sizes), 3)


def _numpy(folder: Path) -> Answers:
    return partial(ends, load(folder / SURROGATE))


def graph_outputs(surrogate: Surrogate) -> list[str]:
    """Names of the graph's outputs, in the order of the answers' columns."""
    return [o.name + ending for ending in ("", ".lower", ".upper") for o in surrogate.outputs]


def _columns(parts: list[Any]) -> FloatArray:
    n = len(parts[0])
    return np.concatenate([part.reshape(n, -1) for part in parts], axis=1, dtype=np.float64)


def _onnxruntime(folder: Path) -> Answers:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(folder / GRAPH, options, providers=["CPUExecutionProvider"])
    names = graph_outputs(load(folder / SURROGATE))

    def answer(x: FloatArray) -> FloatArray:
        return _columns(session.run(names, {"x": x}))

    return answer


def openvino_at(folder: Path, precision: str) -> Answers:
    """OpenVINO at an inference precision ("f32", "bf16"): a graph for one sample, and one for any number."""
    import openvino

    surrogate, core = load(folder / SURROGATE), openvino.Core()
    settings = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}

    def compiled(rows: int) -> Answers:
        graph = core.read_model(folder / GRAPH)
        graph.reshape({"x": [rows, len(surrogate.space)]})
        ready = core.compile_model(graph, "CPU", settings)
        outputs, request = [ready.output(name) for name in graph_outputs(surrogate)], ready.create_infer_request()

        def answer(x: FloatArray) -> FloatArray:
            request.infer({0: x}, share_inputs=True)
            return _columns([request.get_tensor(output).data for output in outputs])

        return answer

    one, several = compiled(1), compiled(-1)
    return lambda x: one(x) if len(x) == 1 else several(x)


def _torch(folder: Path) -> Answers:
    import torch

    from mlforhpc.scenarios.inference_torch import module_of

    torch.set_num_threads(1)
    made = module_of(folder / GRAPH, graph_outputs(load(folder / SURROGATE)))

    def answer(x: FloatArray) -> FloatArray:
        with torch.inference_mode():
            return _columns([part.numpy() for part in made(torch.from_numpy(x))])

    return answer


BACKENDS: Mapping[str, Backend] = {
    "numpy": Backend(arithmetic="float64", distribution="numpy", packages=("numpy",), open=_numpy),
    "onnxruntime": Backend(arithmetic="float64", distribution="onnxruntime", packages=("onnx", "onnxruntime"), open=_onnxruntime),
    "openvino": Backend(
        arithmetic="float32", distribution="openvino", packages=("onnx", "openvino"), open=partial(openvino_at, precision="f32")
    ),
    "torch": Backend(arithmetic="float64", distribution="torch", packages=("onnx", "torch"), open=_torch),
}
