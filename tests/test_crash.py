"""Killing a worker, the driver or the simulation's process in mid-campaign loses nothing (20 moments: bench/kill_and_resume.py)."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("kill_and_resume", Path(__file__).parents[1] / "bench" / "kill_and_resume.py")
kill_and_resume = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(kill_and_resume)


@pytest.mark.parametrize(("what", "after_s"), [("driver", 0.3), ("worker", 0.15), ("simulation", 0.2)])
def test_a_kill_in_mid_campaign_loses_nothing(tmp_path, what, after_s):
    """The campaign completes on resumption; nothing acknowledged is lost or run twice; no process is left behind."""
    found = kill_and_resume.strike(tmp_path, what, after_s)
    assert found["wrong"] == [] and found["hit"] == 1
