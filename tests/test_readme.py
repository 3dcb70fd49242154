"""The README's examples run as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.S)


@pytest.mark.parametrize("example", EXAMPLES, ids=["function", "executable"])
def test_an_example_of_the_readme_runs_as_a_script_without_main_guard(example, tmp_path):
    """Copied into a file and run: a calibrated surrogate with an error below 2 %."""
    (tmp_path / "example.py").write_text(example)
    done = subprocess.run([sys.executable, "example.py"], capture_output=True, text=True, cwd=tmp_path, timeout=200)
    assert done.returncode == 0, done.stderr
    error = float(re.search(r"error=([0-9.e+-]+)", done.stdout)[1])
    assert error < 0.02


def test_the_readme_is_short_and_starts_with_the_two_commands():
    """Under 120 lines; `make run` and `make test` in the first code block."""
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 120
    first = text.split("```")[1]
    assert first.index("make run") < first.index("make test")


def test_the_examples_are_ten_lines():
    """Ten lines of code each, blank lines and the definition of the user's own function not counted."""
    own = {"function": 2, "executable": 0}
    for (_, extra), example in zip(own.items(), EXAMPLES, strict=True):
        lines = [line for line in example.splitlines() if line.strip()]
        assert len(lines) - extra <= 10
