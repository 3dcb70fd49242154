"""The guides' examples run as they stand."""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

GUIDES = Path(__file__).parents[1] / "docs" / "guides"


@pytest.mark.parametrize("name", ["add-a-simulation", "add-a-learner", "add-a-strategy", "ask-online"])
def test_a_guide_runs(name, tmp_path, monkeypatch):
    """All Python blocks of a guide, one after another, as one script."""
    text = (GUIDES / f"{name}.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.S)
    assert blocks
    monkeypatch.chdir(tmp_path)
    Path("guide.py").write_text("\n".join(blocks))
    runpy.run_path("guide.py", run_name="__main__")


def test_the_page_on_task_graphs_runs(tmp_path):
    """Its example prints what its comment says."""
    (code,) = re.findall(r"```python\n(.*?)```", (GUIDES.parent / "data-workflow.md").read_text(encoding="utf-8"), re.S)
    (tmp_path / "example.py").write_text(code)
    done = subprocess.run([sys.executable, "example.py"], capture_output=True, text=True, cwd=tmp_path, timeout=100)
    assert (done.returncode, done.stdout.strip()) == (0, "-10"), done.stderr


@pytest.mark.system
def test_the_guide_s_benchmark_runs_from_a_package_of_its_own(tmp_path):
    """Found through its entry point: listed, verified, VALID at small with a gain."""
    (code,) = re.findall(r"```python\n(.*?)```", (GUIDES / "add-a-benchmark.md").read_text(encoding="utf-8"), re.S)
    (tmp_path / "counts_benchmark.py").write_text(code)
    metadata = tmp_path / "counts-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: counts\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[mlforhpc.benchmarks]\nsurrogate-counts = counts_benchmark\n")

    def call(*words: str):
        command = [sys.executable, "-m", "mlforhpc", *words, "--json"]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(tmp_path)}, timeout=200)
        assert done.returncode == 0, done.stderr or done.stdout
        return json.loads(done.stdout)

    assert "surrogate-counts" in [row["name"] for row in call("list")]
    assert all(check["passed"] for check in call("verify", "surrogate-counts"))
    (row,) = call("run", "surrogate-counts", "--into", str(tmp_path / "runs"))["runs"]
    assert row["verdict"]["status"] == "VALID" and row["headline"]["gain at N=1,000"]["value"] > 0


def test_a_guide_is_a_page():
    """At most a hundred lines each, longer scripts apart."""
    for guide in GUIDES.glob("*.md"):
        text = re.sub(r"```.*?```", "", guide.read_text(encoding="utf-8"), flags=re.S)
        assert len(text.splitlines()) <= 100, guide.name
