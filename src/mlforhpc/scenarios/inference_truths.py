"""Known truths about serving: a prediction by hand, a backend that is too coarse, LoadGen's log, and a bound that cannot be met."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mlforhpc.core.check import Check
from mlforhpc.core.simulation import Output
from mlforhpc.core.space import FloatArray, Real, Space
from mlforhpc.learners._calibration import LEVELS, Calibration
from mlforhpc.learners._network_model import Model
from mlforhpc.learners._network_surrogate import NetworkSurrogate
from mlforhpc.metrics.loadgen import read_summary, relative_error
from mlforhpc.scenarios.inference_backends import BACKENDS, LIMITS, ends, lacking, scales
from mlforhpc.scenarios.inference_job import GRAPH, SURROGATE, Job, Load
from mlforhpc.scenarios.inference_task import serve

STORED = """
SUT name : PySUT
Scenario : Server
Mode     : PerformanceOnly
Completed samples per second    : 4943.87
Result is : INVALID
  Performance constraints satisfied : NO
  Min duration satisfied : Yes
  Min queries satisfied : Yes
  Early stopping satisfied: NO
Recommendations:
 * Reduce target QPS to improve latency.
Early Stopping Result:
 * Run unsuccessful.

Additional Stats
Scheduled samples per second : 4944.38
50.00 percentile latency (ns)   : 92635
90.00 percentile latency (ns)   : 98818
99.00 percentile latency (ns)   : 151355
"""
"""From a summary log of LoadGen 6.0.17."""
_FACTOR, _SCALE, _CENTRE, _LOADING, _REST, _RESIDUAL, _COUNT = 1.5, 10.0, 1.0, 2.0, 0.25, 0.5, 2.0
_WEIGHTS = (1.0, -2.0)


def by_hand() -> NetworkSurrogate:
    """Two networks of one unit each, of one parameter in [0, 2]: f_m = silu(w_m v), v = sqrt(3) (x - 1)."""
    same = Calibration(pointwise=np.full((1, LEVELS), _FACTOR), joint=np.full((1, 20), _FACTOR))
    model = Model(
        columns=np.zeros((1, 3)),
        layers=(np.reshape(_WEIGHTS, (2, 1, 1)), np.zeros((2, 1, 1)), np.ones((2, 1, 1)), np.zeros((2, 1, 1))),
        centre=np.array([_CENTRE]),
        rest=np.array([_REST]),
        loadings=np.array([[_LOADING]]),
        residual=np.array([_RESIDUAL]),
        count=np.array(_COUNT),
        noise=np.zeros((0, 1)),
        stated=np.zeros(1),
        fidelity=np.array(1.0),
        runs=np.zeros((1, 1)),
        farthest=np.array(10.0),
        scale=np.array([_SCALE]),
    )
    space, outputs = Space(x=Real(0.0, 2.0)), (Output(name="y"),)
    return NetworkSurrogate(space=space, outputs=outputs, card={"learner": "network"}, model=model, stated=same, foreseen=same)


def hand_computed(x: float) -> FloatArray:
    """Its mean, lower and upper end at x, written out (1, 3)."""
    v = math.sqrt(3.0) * (x - 1.0)
    a, b = (w * v / (1.0 + math.exp(-w * v)) for w in _WEIGHTS)
    middle = (a + b) / 2.0
    spread = ((a - middle) ** 2 + (b - middle) ** 2 + _RESIDUAL) / (2.0 - 1.0 + _COUNT)
    mean = _SCALE * (_CENTRE + _LOADING * middle)
    half = _FACTOR * _SCALE * math.sqrt(_LOADING**2 * spread + _REST)
    return np.array([[mean, mean - half, mean + half]])


def bfloat16(values: FloatArray) -> FloatArray:
    """Rounded to the eight significant bits of bfloat16, as a backend in that precision would do at least."""
    mantissa, exponent = np.frexp(values)
    return np.asarray(np.ldexp(np.round(mantissa * 256.0) / 256.0, exponent))


def checks() -> Iterator[Check]:
    """All of them; a backend that is not installed has none."""
    surrogate, x = by_hand(), np.array([[0.25], [1.0], [1.75]])
    wanted = np.concatenate([hand_computed(float(row[0])) for row in x])
    scale = scales(surrogate, wanted)
    with tempfile.TemporaryDirectory(prefix="mlforhpc-infer-") as place:
        folder = Path(place)
        files = _saved(surrogate, folder)
        for name, backend in BACKENDS.items():
            if lacking(name):
                continue
            error = relative_error(wanted, backend.open(folder)(x), scale)
            sentence = f"{name} is off from a prediction by hand by {error:.1e} (limit {backend.limit:g}, {backend.arithmetic})"
            yield Check(name=name, passed=error <= backend.limit, found=error, limit=backend.limit, sentence=sentence)
    yield _coarse(surrogate, scale)
    yield _log()
    yield from _bounds(files)


def _saved(surrogate: NetworkSurrogate, folder: Path) -> dict[str, bytes]:
    """The surrogate's files in a folder, its graph only where it can be exported."""
    surrogate.save(folder / SURROGATE)
    if not lacking("onnxruntime"):
        from mlforhpc.learners._onnx import export_onnx

        export_onnx(surrogate, folder / GRAPH)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _coarse(surrogate: NetworkSurrogate, scale: FloatArray) -> Check:
    """Answers in bfloat16 miss the precision that is stated for float32."""
    wanted = ends(surrogate, np.linspace(0.0, 2.0, 201)[:, None])
    error, limit = relative_error(wanted, bfloat16(wanted), scale), LIMITS["float32"]
    sentence = f"answers rounded to bfloat16 are off by {error:.1e}, and are found at the limit of float32 (above {limit:g})"
    return Check(name="bfloat16 is found", passed=error > limit, found=error, limit=limit, sentence=sentence)


def _log() -> Check:
    """A summary of LoadGen as it wrote it."""
    said = read_summary(STORED)
    wanted = ("Server", False, ("Performance constraints satisfied", "Early stopping satisfied"), 4943.87, 151355e-9)
    found = (said.scenario, said.valid, said.complaints, said.rate_per_s, said.latency_s.get(99.0, 0.0))
    wrong = sum(a != b for a, b in zip(wanted, found, strict=True))
    sentence = f"{wrong} of 5 fields of a stored summary are read wrongly (limit 0)"
    return Check(name="LoadGen's log", passed=wrong == 0, found=float(wrong), limit=0.0, sentence=sentence)


def _bounds(files: dict[str, bytes]) -> Iterator[Check]:
    """LoadGen calls Server INVALID where no answer can come in time, and VALID where every one does."""
    for name, bound_s, wanted in (("a bound that cannot be met", 1e-9, False), ("a bound that is met", 1.0, True)):
        load = Load(duration_s=0.1, calibration_s=0.05, queries={"Server": 460}, batches=(1,), shares=(0.3,), bound_s=bound_s, points=64)
        job = Job(backend="numpy", load=load, limit=LIMITS["float64"], seed=0)
        ran = next(one for one in serve(job, files).outcome.runs if one.scenario == "Server")
        verdict = "VALID" if ran.valid else "INVALID"
        sentence = f"LoadGen calls Server with a bound of {bound_s:g} s {verdict} (wanted {'VALID' if wanted else 'INVALID'})"
        yield Check(name=name, passed=ran.valid == wanted, found=float(ran.valid), limit=float(wanted), sentence=sentence)
