"""The guides' examples run as they stand."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

GUIDES = Path(__file__).parents[1] / "docs" / "guides"


@pytest.mark.parametrize("name", ["add-a-simulation", "add-a-learner", "add-a-strategy"])
def test_a_guide_runs(name, tmp_path, monkeypatch):
    """All Python blocks of a guide, one after another, as one script."""
    text = (GUIDES / f"{name}.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.S)
    assert blocks
    monkeypatch.chdir(tmp_path)
    Path("guide.py").write_text("\n".join(blocks))
    runpy.run_path("guide.py", run_name="__main__")


def test_a_guide_is_a_page():
    """At most a hundred lines each."""
    for guide in GUIDES.glob("*.md"):
        assert len(guide.read_text(encoding="utf-8").splitlines()) <= 100
