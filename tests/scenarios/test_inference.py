"""Serving surrogates: backends against a prediction by hand, wrong ones, a process under LoadGen, what is INVALID and what is left out."""

from __future__ import annotations

import ast
import importlib
import math
import subprocess
import sys
from dataclasses import replace
from functools import partial
from queue import SimpleQueue

import numpy as np
import pytest

from mlforhpc.core.names import MissingExtra
from mlforhpc.metrics.loadgen import relative_error
from mlforhpc.scenarios import inference_backends
from mlforhpc.scenarios.inference_backends import BACKENDS, LIMITS, ends, lacking, openvino_at, scales
from mlforhpc.scenarios.inference_job import GRAPH, SURROGATE, Load, Outcome, Ran

try:
    inference = importlib.import_module("mlforhpc.scenarios.inference")
    child = importlib.import_module("mlforhpc.scenarios.inference_child")
    truths = importlib.import_module("mlforhpc.scenarios.inference_truths")
    judged = importlib.import_module("mlforhpc.scenarios.inference_result").judged
except MissingExtra as error:
    pytest.skip(str(error), allow_module_level=True)
network = importlib.import_module("mlforhpc.learners.network")

LOAD = Load(duration_s=0.05, calibration_s=0.02, queries={}, batches=(1, 4), shares=(0.5,), bound_s=0.1, points=32, kept=8)


@pytest.fixture
def folder(tmp_path):
    """With the network by hand, saved and exported."""
    pytest.importorskip("onnx", reason="pip install 'mlforhpc[onnx]'")
    from mlforhpc.learners._onnx import export_onnx

    truths.by_hand().save(tmp_path / SURROGATE)
    export_onnx(truths.by_hand(), tmp_path / GRAPH)
    return tmp_path


@pytest.mark.parametrize("name", BACKENDS)
def test_a_backend_answers_as_by_hand_alone_and_in_batches(name, folder):
    """Mean and ends of the interval, within its stated precision, for one row and for five."""
    if lacking(name):
        pytest.skip(lacking(name))
    x = np.array([[0.0], [0.3], [1.0], [1.6], [2.0]])
    wanted = np.concatenate([truths.hand_computed(float(row[0])) for row in x])
    answer, scale = BACKENDS[name].open(folder), scales(truths.by_hand(), wanted)
    assert relative_error(wanted, answer(x), scale) <= BACKENDS[name].limit
    assert relative_error(wanted[3:4], answer(x[3:4]), scale) <= BACKENDS[name].limit


def test_openvino_in_bfloat16_misses_the_precision_of_float32(folder):
    """Which is what it computes in by default, where the processor can."""
    if lacking("openvino"):
        pytest.skip(lacking("openvino"))
    if "bf16" not in importlib.import_module("openvino").Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES").__repr__().lower():
        pytest.skip("this processor has no bfloat16")
    x = np.linspace(0.0, 2.0, 64)[:, None]
    wanted = ends(truths.by_hand(), x)
    error = relative_error(wanted, openvino_at(folder, "bf16")(x), scales(truths.by_hand(), wanted))
    assert error > LIMITS["float32"]


def test_a_package_that_is_not_there_is_a_sentence_with_the_way_out(monkeypatch):
    """The backend is skipped; NumPy never is."""
    monkeypatch.setattr(inference_backends.importlib.util, "find_spec", lambda name: None if name == "openvino" else object())
    assert "'openvino'" in lacking("openvino") and "pip install" in lacking("openvino")
    assert lacking("numpy") == lacking("torch") == ""


def job(load: Load = LOAD, limit: float = 1e-9):
    """For the process that serves."""
    return importlib.import_module("mlforhpc.scenarios.inference_job").Job(backend="numpy", load=load, limit=limit, seed=3)


def test_nothing_is_timed_where_the_precision_is_missed(tmp_path):
    """Answers in bfloat16, held against float32's limit."""
    surrogate = truths.by_hand()
    outcome = child.serve(
        [lambda x: truths.bfloat16(ends(surrogate, x))], surrogate, job(limit=1e-4), folder=tmp_path, version="1"
    )  # fmt: skip
    assert outcome.error > 1e-4 and outcome.runs == () and not list(tmp_path.iterdir())


def test_a_process_brings_back_what_loadgen_said(folder):
    """One thread, every scenario and batch size, responses checked in LoadGen's own log, and its logs."""
    reply = importlib.import_module("mlforhpc.scenarios.inference_task").serve(job(), {SURROGATE: (folder / SURROGATE).read_bytes()})
    runs = reply.outcome.runs
    assert {(ran.scenario, ran.batch) for ran in runs} == {
        ("SingleStream", 1),
        ("Offline", 1),
        ("Offline", 4),
        ("Server", 1),
        ("Server", 4),
    }
    assert all(ran.error <= 1e-9 for ran in runs) and sum(ran.checked for ran in runs) > 0
    for ran in runs:
        text = reply.files[f"{ran.logs}/mlperf_log_summary.txt"].decode()
        assert ("Result is : VALID" in text) == ran.valid and f"Scenario : {ran.scenario}" in text


def test_a_process_that_fails_says_why():
    """The end of its traceback."""
    with pytest.raises(RuntimeError, match=r"no such file"):
        importlib.import_module("mlforhpc.scenarios.inference_task").serve(job(), {})


CASE = inference.Case(name="y", simulation="borehole", learner=network.create(), runs=2, needs_float64=True)
RAN = Ran(
    scenario="Server", batch=1, offered_per_s=9.0, valid=True, complaints=(), rate_per_s=9.0, latency_s={"50": 1.0}, error=0.0, checked=1,
    logs="a",
)  # fmt: skip


def served(*runs: Ran, error: float = 0.0, arithmetic: str = "float64", case=CASE):
    """One backend that found this."""
    return inference.Served(
        case=case, backend="b", arithmetic=arithmetic, limit=LIMITS[arithmetic], outcome=Outcome(version="1", error=error, runs=runs)
    )  # fmt: skip


def verdict(*all_served, installation: bool = False):
    """Of a run in which these were served."""
    return judged(inference.Inference(load=LOAD, served=all_served, skipped=[]), target=0.0, installation=installation)


def test_the_last_of_servers_rates_stands_and_loadgens_word_decides():
    """A higher rate that was refused does no harm; a last one that was refused is INVALID, unless it is an installation check."""
    refused = replace(RAN, valid=False, complaints=("Performance constraints satisfied",))
    assert verdict(served(refused, replace(RAN, offered_per_s=5.0))).status == "VALID"
    found = verdict(served(RAN, refused))
    assert found.status == "INVALID" and "Performance constraints satisfied" in found.reason and not found.ranked
    assert verdict(served(refused), installation=True).status == "VALID" and not verdict(served(RAN), installation=True).ranked


def test_a_backend_that_misses_its_precision_is_invalid_before_and_in_loadgens_responses():
    """And one whose arithmetic is known to be too coarse is left out; it must not hide another surrogate's."""
    assert "off by 1e-05" in verdict(served(RAN, error=1e-5)).reason
    assert verdict(served(replace(RAN, error=math.inf))).status == "INVALID"
    coarse = served(error=0.02, arithmetic="float32")
    assert verdict(served(RAN), coarse).status == "VALID" and coarse.left_out
    exact = replace(CASE, needs_float64=False)
    assert verdict(served(RAN), served(error=0.02, arithmetic="float32", case=exact)).status == "INVALID"


def test_a_backend_that_failed_and_nothing_at_all_are_invalid():
    """With the reason."""
    failed = inference.Served(case=CASE, backend="b", arithmetic="float64", limit=1e-9, outcome=None, failure="it fell")
    assert "it fell" in verdict(served(RAN), failed).reason
    assert verdict().reason == "nothing was served"


def test_the_reference_is_of_what_the_server_answers():
    """Intervals for the noise-free mean or for a run differ where runs are noisy; columns are means, lower ends, upper ends."""
    surrogate = truths.by_hand()
    x = np.array([[0.5]])
    found = partial(ends, surrogate)(x)
    assert found.shape == (1, 3) and found[0, 1] < found[0, 0] < found[0, 2]
    assert ends(surrogate, x, "mean").shape == (1, 3)


def test_several_connections_take_what_is_waiting():
    """Up to a batch; the end is left for the other threads."""
    loadgen = importlib.import_module("mlforhpc.scenarios.inference_loadgen")
    waiting = SimpleQueue()
    for part in ([2], [3], [4], None):
        waiting.put(part)
    assert loadgen._with_waiting([1], waiting, 3) == [1, 2, 3]
    assert loadgen._with_waiting([5], waiting, 3) == [5, 4]
    assert waiting.get_nowait() is None


AGAIN = """
import sys
from functools import partial
from pathlib import Path
import numpy as np
from mlforhpc.scenarios import inference_child as child, inference_truths as truths
from mlforhpc.scenarios.inference_backends import ends
from mlforhpc.scenarios.inference_job import Job, Load
load = Load(duration_s=0.3, calibration_s=0.1, queries={}, batches=(64,), shares=(0.5,), bound_s=1.0, points=64)
surrogate, points = truths.by_hand(), np.linspace(0.0, 2.0, 64)[:, None]
bench = child.Bench(connections=[partial(ends, surrogate)], points=points, wanted=ends(surrogate, points), scale=np.ones(3),
                    job=Job(backend="numpy", load=load, limit=1e-9, seed=0), folder=Path(sys.argv[1]))
print([(ran.valid, ran.complaints, ran.offered_per_s) for ran in bench.offline(64, 2000.0)])
"""


def test_offline_is_done_again_where_it_was_faster_than_expected(tmp_path):
    """Expected at a hundredth of its rate, LoadGen's one query is too short; the next try expects what was reached."""
    ended = subprocess.run([sys.executable, "-c", AGAIN, str(tmp_path)], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    first, second, *_ = ast.literal_eval(ended.stdout)
    assert first == (False, ("Min duration satisfied",), 2400.0) and second[2] > 10_000.0


def test_an_outcome_survives_its_file_even_with_an_infinite_error(tmp_path):
    """Where no response was kept, or one was not finite."""
    job_file = importlib.import_module("mlforhpc.scenarios.inference_job")
    outcome = Outcome(version="1", error=0.5, calibrated_per_s={"1": 2.0}, runs=(replace(RAN, error=math.inf),))
    job_file.write(tmp_path / "o.json", outcome)
    assert job_file.read(tmp_path / "o.json", Outcome) == outcome


def test_the_headline_is_of_what_loadgen_calls_valid():
    """The most answers a second of a VALID run, over the same backend one by one; HTTP over the call of the same surrogate."""
    latency = {"50": 2e-5, "90": 3e-5, "99": 4e-5}
    single = replace(RAN, scenario="SingleStream", latency_s=latency)
    offline = [replace(RAN, scenario="Offline", batch=b, rate_per_s=r, valid=b < 9) for b, r in ((1, 10.0), (4, 30.0), (9, 99.0))]
    called = replace(served(single, *offline), backend="numpy")
    through = replace(served(replace(single, latency_s={p: 5 * s for p, s in latency.items()})), backend="HTTP")
    found = inference.Inference(load=replace(LOAD, batches=(1, 4, 9)), served=[called, through], skipped=[])
    result = importlib.import_module("mlforhpc.scenarios.inference_result").result
    headline = {k: v.value for k, v in result(found, target=0.0, installation=False, references=["a"]).headline.items()}
    assert headline["answers a second"] == 30.0 and headline["gain of batching"] == 3.0
    assert headline["HTTP over in-process"] == pytest.approx(5.0) and headline["p99 of one answer, us"] == pytest.approx(40.0)
    assert headline["invalid runs"] == pytest.approx(1 / 5)
