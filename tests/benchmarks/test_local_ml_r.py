"""The benchmark `local-ml-r`, with R, and the sentence where there is none."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys

import psutil
import pytest

from mlforhpc import Campaign
from mlforhpc.core import names
from mlforhpc.core.errors import MissingExtra, MLforHPCError
from mlforhpc.run import Request, run
from mlforhpc.scenarios.launching_tasks import simulated
from mlforhpc.suite import requests

MODULE = "mlforhpc.benchmarks.local.local_ml_r"
r = importlib.import_module("mlforhpc.benchmarks.local._r")


@pytest.fixture
def without_r(monkeypatch, tmp_path):
    """No Rscript on the PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delitem(sys.modules, MODULE, raising=False)


def test_without_r_there_is_a_sentence(without_r):
    """What is missing and the command that installs it; the suite skips it with the same words."""
    sentence = "'local-ml-r' needs 'Rscript'.*apt-get install r-base-core r-cran-randomforest"
    with pytest.raises(MissingExtra, match=sentence):
        names.load("benchmarks", "local-ml-r")
    _, skipped = requests(["local"], size="tiny", seed=0, repeats=1, engine="serial", slots=None)
    assert any("local-ml-r" in line and "apt-get install" in line for line in skipped)


def test_without_random_forest_there_is_a_sentence(monkeypatch, tmp_path):
    """An R that lacks the package."""
    script = tmp_path / "Rscript"
    script.write_text("#!/bin/sh\nexit 1\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(MissingExtra, match=r"package 'randomForest', which is not installed\. Install it with: apt-get"):
        r.versions()


@pytest.mark.system
@pytest.mark.parametrize("engine", ["serial", "processes"])
def test_it_is_valid_and_leaves_no_process(tmp_path, engine):
    """Scores of R that stays and of Rscript equal the loop's; afterwards no R runs."""
    _, result = run(Request(benchmark="local-ml-r", size="tiny", engine=engine, slots=None if engine == "serial" else 2), root=tmp_path)
    assert result.verdict.status == "VALID", result.verdict.reason
    assert result.quality["unequal_share"] == 0.0
    assert {"efficiency[Rscript a fit, 10 ms]", "efficiency[R that stays, by reference, 10 ms]"} <= set(result.performance)
    assert not [child for child in psutil.Process().children(recursive=True) if child.name() == "R"]


@pytest.mark.system
def test_verify_passes():
    """glm against least squares, the ways of asking R against each other."""
    checks = list(names.load("benchmarks", "local-ml-r").verify())
    assert [c.sentence for c in checks if not c.passed] == []


@pytest.mark.system
def test_an_r_that_stays_gives_the_same_bits_as_one_a_fit():
    """For every family, and again when it is asked a second time; the table's columns stay columns."""
    table = simulated("otl_circuit", 60, 2)
    for name, fit in (("linear", r.linear), ("logistic", r.logistic), ("forest", r.forest)):
        assert fit(table, 7, 4) == fit(table, 7, 4) == r.script(name, table, 7, 4)
    assert r.forest(table, 7, 4) != r.forest(table, 7, 5)
    r.end()


@pytest.mark.system
def test_an_r_that_died_is_replaced_and_one_that_fails_says_why():
    """Killed between two fits: the next one starts another; a request that R cannot fit ends it with R's own words."""
    table = simulated("otl_circuit", 60, 2)
    score = r.linear(table, 1, 4)
    (child,) = [child for child in psutil.Process().children(recursive=True) if child.name() == "R"]
    os.kill(child.pid, signal.SIGKILL)
    child.wait(10)
    assert r.linear(table, 1, 4) == score
    with pytest.raises(MLforHPCError, match=r"R ended while it fitted: .*ntree"):
        r.forest(table, -1, 4)
    assert r.linear(table, 1, 4) == score
    r.end()
    with pytest.raises(MLforHPCError, match=r"Rscript ended with 1: .*ntree"):
        r.script("forest", table, -1, 4)


@pytest.mark.system
def test_r_ends_with_its_slot(tmp_path):
    """A slot that is killed takes its R with it."""
    with Campaign(tmp_path, engine="processes", slots=1) as campaign:
        campaign.broker.submit("learn", r.linear, simulated("otl_circuit", 60, 2), 1, 4).result()
        (child,) = [child for child in psutil.Process().children(recursive=True) if child.name() == "R"]
    child.wait(10)
    assert not child.is_running()


@pytest.mark.system
def test_the_script_is_found_by_r_alone():
    """It reads nothing but its input, and ends when that does."""
    assert subprocess.run(r.COMMAND, input=b"", capture_output=True, check=True).stdout == b""
