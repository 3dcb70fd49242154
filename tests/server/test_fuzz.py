"""Bad input that nobody thought of: `bench/fuzz_server.py`, for seconds here and half a minute each in the system's tests."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).parents[2] / "bench" / "fuzz_server.py"


def fuzzed(folder: Path, seconds: float, *words: str) -> dict:
    """What it found."""
    output = folder / "summary.json"
    command = [sys.executable, FUZZ, "--minutes", str(seconds / 60), "--output", output, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(output.read_text())


def test_changed_binary_requests_meet_no_server_error(tmp_path):
    """Three seconds of them; most are refused, those that stayed right are answered."""
    found = fuzzed(tmp_path, 3, "--only", "binary")["binary"]
    assert found["infer"]["200"] > 10 and found["infer"]["400"] > 20 and found["sent"] == found["requests"]


@pytest.mark.system
def test_half_a_minute_of_bad_input_meets_no_server_error(tmp_path):
    """From the published description (schemathesis) and in binary requests; both are also answered with 200."""
    found = fuzzed(tmp_path, 30)
    assert {name: each["server_errors"] for name, each in found.items()} == {"openapi": 0, "binary": 0}
    assert all(each["tracebacks"] == 0 for each in found.values())
