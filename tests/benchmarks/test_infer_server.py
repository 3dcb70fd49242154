"""The benchmark `infer-server`: its server is asked over HTTP, and its truths find what is wrong."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path

import pytest

from mlforhpc import Campaign
from mlforhpc.core import names
from mlforhpc.run import Request, run
from mlforhpc.scenarios.inference_job import HTTP, Load

try:
    infer_server = names.load("benchmarks", "infer-server")
except names.MissingExtra as error:
    pytest.skip(str(error), allow_module_level=True)
truths = importlib.import_module("mlforhpc.scenarios.inference_truths")
infer = importlib.import_module("mlforhpc.scenarios.inference").infer


@pytest.mark.system
def test_every_backend_answers_both_surrogates_on_serial_and_processes(tmp_path):
    """The same errors to the last digit; OpenVINO is left out for the Gaussian process, and times the network."""
    common = {"benchmark": "infer-server", "size": "tiny", "seed": 3}
    found = [run(Request(**common, **on), root=tmp_path) for on in ({"engine": "serial"}, {"slots": 2})]
    errors = [{k: v for k, v in result.quality.items() if k.startswith("error")} for _, result in found]
    assert errors[0] == errors[1] and len(errors[0]) == 8
    folder, result = found[1]
    precision = next(table for table in result.tables if table.name == "precision")
    told = {(row[0], row[1]): row[-1] for row in precision.rows}
    assert told["borehole, gaussian process", "openvino"].startswith("left out") and told["environmental, network", "openvino"] == "kept"
    assert list(Path(folder).glob("artifacts/loadgen/*/*/mlperf_log_summary.txt")) and list(Path(folder).glob("artifacts/*.onnx"))


@pytest.mark.system
def test_the_server_learns_and_answers_under_loadgen(tmp_path):
    """Over HTTP and called in process, the same surrogate with the same numbers, in every scenario."""
    load = Load(duration_s=0.3, calibration_s=0.1, queries={}, batches=(1, 16), shares=(0.3,), bound_s=0.1)
    case = replace(infer_server.cases(infer_server.SIZES["small"])[-1], runs=32)
    with Campaign(tmp_path, slots=1) as campaign:
        (tmp_path / "artifacts").mkdir()
        found = infer(campaign.broker, [case], load, folder=tmp_path, seed=1, alone=True)
    assert [s.backend for s in found.served] == [HTTP, "numpy"], found.served
    through, called = found.served
    assert max(through.worst, called.worst) <= through.limit < 1e-5 and len(through.standing) == len(called.standing) == 5
    single = [s.run("SingleStream", 1).latency_s["50"] for s in (through, called)]
    assert single[0] > single[1]


def test_a_wrong_graph_and_a_forgetful_log_reader_are_found(monkeypatch):
    """An interval one per cent too wide, and a verdict that is always VALID."""
    good = truths.read_summary
    monkeypatch.setattr(truths, "_FACTOR", 1.515)
    monkeypatch.setattr(truths, "by_hand", lambda made=truths.by_hand: replace_factor(made, monkeypatch))
    monkeypatch.setattr(truths, "read_summary", lambda text: replace(good(text), valid=True))
    monkeypatch.setattr(truths, "_bounds", lambda files: iter(()))
    failing = {check.name for check in truths.checks() if not check.passed}
    assert {"numpy", "LoadGen's log"} <= failing


def replace_factor(made, monkeypatch):
    """The surrogate by hand with its own factor, while what is written out has another."""
    with monkeypatch.context() as as_it_was:
        as_it_was.setattr(truths, "_FACTOR", 1.5)
        return made()
