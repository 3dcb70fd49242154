"""docs/by-hand.md, executed on the run that the README shows, and that run read years later."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from mlforhpc.core import trace
from mlforhpc.metrics.system import system_figures
from mlforhpc.report import read, write_report

ROOT = Path(__file__).parents[1]
RUN = ROOT / "tests" / "data" / "surrogate-nanoconfinement-small-seed0"


def test_the_hand_calculation_arrives_at_the_reported_figures(tmp_path):
    """NumPy alone: q, C_conv, gain and N* to six digits; the page asserts it, and its script imports nothing of ours."""
    code = "\n".join(re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "by-hand.md").read_text(encoding="utf-8"), re.S))
    assert "mlforhpc" not in code
    script = tmp_path / "by_hand.py"
    script.write_text(code)
    done = subprocess.run([sys.executable, str(script), str(RUN)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert len(re.findall("by hand", done.stdout)) == 4


def test_a_recorded_trace_gives_its_figures_again():
    """Makespan and tasks of the trace as the run itself reported them."""
    found, reported = system_figures(trace.read(RUN / "events.jsonl")), read(RUN).result.performance
    assert found.makespan_s == pytest.approx(reported["makespan_s"]) and found.total.tasks == reported["tasks"]
    assert found.slot_s["simulate", "learned"] == pytest.approx(reported["slot_s[simulate, learned]"])


def test_a_recorded_run_is_drawn_without_engine_or_simulator(tmp_path):
    """The report of a run folder copied from another machine: one file below 2 MB, with the verdict."""
    page = write_report([RUN], tmp_path / "report.html")
    assert page.stat().st_size < 2_000_000 and "VALID" in page.read_text(encoding="utf-8")
