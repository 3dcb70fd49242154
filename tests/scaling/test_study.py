"""A study of scaling from the command line to its report, and what makes one INVALID."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mlforhpc import scaling
from mlforhpc.core.errors import UsageError
from mlforhpc.metrics.scaling import Work
from mlforhpc.run import Request
from mlforhpc.scaling.parts import Part, faults, notes

BOREHOLE = Request(benchmark="surrogate-borehole", size="tiny")
PART = Part(
    slots=1, seed=0, work=Work(tasks=1, tasks_s=1.0, slot_s=1.0, kinds_s={}), folder="", cores=2, faults=[], quality={"q": 0.1, "r": None}
)  # fmt: skip


def call(*words: str) -> subprocess.CompletedProcess:
    """The command as a process of its own."""
    return subprocess.run([sys.executable, "-m", "mlforhpc", "run", *words], capture_output=True, text=True, timeout=240)


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> dict:
    """The borehole benchmark at tiny on one slot and on two, as JSON."""
    into = tmp_path_factory.mktemp("runs")
    done = call("surrogate-borehole", "--size", "tiny", "--scale", "slots=2,1", "--into", str(into), "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_study_measures_strong_and_weak_efficiency(study):
    """A line for each number of slots, the first of them 1; one repeat has no interval and says so."""
    for name in ("strong", "weak"):
        one, two = study[name]
        assert (one["slots"], one["efficiency"], two["slots"]) == (1, 1.0, 2)
        assert 0 < two["efficiency"] < 3
    assert {row["kind"] for row in study["kinds"]} >= {"simulate", "learn"}
    assert study["verdict"]["status"] == "VALID" and "same digits on 1, 2 slots" in study["verdict"]["reason"]
    assert "one repeat, no interval" in study["headline"]["strong efficiency(2 slots)"]["note"]


def test_a_study_s_report_shows_both_against_the_ideal(study):
    """One page with the tables, the figure and the references."""
    page = Path(study["report"]).read_text()
    for words in ("Strong scaling", "Weak scaling", "Efficiency against slots", "ideal", "10.1145/42411.42415"):
        assert words in page


def test_weak_work_grows_with_the_slots(study):
    """40 training runs of the benchmark on one slot, 80 on two."""
    tasks = [json.loads((Path(study["folder"]) / "parts" / f"weak-slots{n}-seed0.json").read_text())["work"]["tasks"] for n in (1, 2)]
    assert tasks == [40, 80]


def test_a_stopped_study_measures_only_what_is_missing(study):
    """Without one weak part, that one is measured again, and no run of the benchmark."""
    folder = Path(study["folder"])
    (folder / "parts" / "weak-slots2-seed0.json").unlink()
    (folder / "result.json").unlink()
    runs, weak = ({p.name for p in (folder / name).iterdir()} for name in ("strong", "weak"))
    done = call("--resume", str(folder), "--json")
    assert done.returncode == 0, done.stderr
    again = json.loads(done.stdout)
    assert again["strong"] == study["strong"] and again["weak"][0] == study["weak"][0]
    assert {p.name for p in (folder / "strong").iterdir()} == runs and len(list((folder / "weak").iterdir())) == len(weak) + 1


@pytest.mark.parametrize("scale", ["ranks=2", "slots=0", "slots=", "slots=1,x", "slots=1.5,2", "slots=-1,2", "1,2", "slots=2", "slots=2,2"])
def test_a_scale_that_is_none_is_refused(scale):
    """What is wanted, and what was found."""
    with pytest.raises(UsageError, match=f"--scale .*slots=1,2.*; found '{scale}'"):
        scaling.plan([BOREHOLE], scale)


def test_several_benchmarks_or_slots_said_twice_are_refused():
    """One benchmark, and its slots from --scale alone."""
    with pytest.raises(UsageError, match="measures one benchmark, found 2"):
        scaling.plan([BOREHOLE, replace(BOREHOLE, benchmark="other")], "slots=1,2")
    with pytest.raises(UsageError, match="leave out --slots"):
        scaling.plan([BOREHOLE], "slots=1,2", slots=2)


def test_slots_are_sorted_and_counted_once():
    """In whatever order they are given."""
    assert scaling.plan([BOREHOLE], "slots=4, 1,2,4").slots == (1, 2, 4)


def test_an_engine_that_cannot_have_the_slots_leaves_no_folder(tmp_path):
    """Engine `serial` has one slot: known before anything is measured."""
    done = call("surrogate-borehole", "--size", "tiny", "--scale", "slots=1,2", "--engine", "serial", "--into", str(tmp_path))
    assert done.returncode == 2 and "'serial' has one slot" in done.stderr and not list(tmp_path.iterdir())


def test_plan_says_what_a_study_will_cost(tmp_path):
    """Two seeds on 1 and 2 slots: four runs, and at most six for weak scaling; nothing runs."""
    done = call(
        "surrogate-borehole", "--size", "tiny", "--repeats", "2", "--scale", "slots=1,2", "--plan", "--json", "--into", str(tmp_path)
    )
    assert [row[2] for row in json.loads(done.stdout)] == [4, 6] and not list(tmp_path.iterdir())


def test_numbers_that_depend_on_the_slots_are_a_fault():
    """A quality figure with another last digit is named, with both values; seeds are not compared with each other."""
    other = replace(PART, slots=2, quality={"q": 0.1 + 1e-16, "r": None})
    assert faults([PART, replace(other, quality={"q": 0.1, "r": None}), replace(PART, seed=1, quality={"q": 0.2, "r": None})]) == []
    other = replace(PART, slots=2, quality={"q": 0.10000000000000002, "r": None})
    assert faults([PART, other]) == ["The numbers depend on the slots: q of seed 0 is 0.1 on 1 and 0.10000000000000002 on 2 slots."]


def test_an_invalid_run_makes_the_study_invalid():
    """Its sentence is the study's."""
    assert faults([replace(PART, faults=["The run is INVALID."])]) == ["The run is INVALID."]


def test_more_slots_than_cores_are_said():
    """Only of slots on this machine: a remote engine's parts have no cores."""
    assert notes([PART, replace(PART, slots=2)]) == [] == notes([replace(PART, slots=9, cores=0)])
    assert "2 cores: 4 slots share them" in notes([PART, replace(PART, slots=4)])[0]
