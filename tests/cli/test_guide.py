"""The guide's commands give the output that it shows, numbers apart."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "own-simulation.md"
NUMBER = re.compile(r"[−-]?\d[\d,.]*(?:e[-+]?\d+)?(?: × 10[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)?")


def masked(text: str) -> list[str]:
    """Lines with every hash and number the same and one blank where there were several; empty ones and rulers left out."""
    lines = (NUMBER.sub("N", re.sub(r"\b(?=[a-f]*\d)[0-9a-f]{12}\b", "N", line)) for line in text.splitlines() if line.strip(" ─"))
    return [" ".join(line.split()) for line in lines]


def shown_in(wanted: list[str], found: list[str]) -> bool:
    """Whether the lines are those that were found; "..." stands for any number of lines."""
    if not wanted:
        return not found
    if wanted[0] == "...":
        return any(shown_in(wanted[1:], found[i:]) for i in range(len(found) + 1))
    return bool(found) and wanted[0] == found[0] and shown_in(wanted[1:], found[1:])


@pytest.mark.system
def test_the_guide_s_commands_give_what_it_shows(tmp_path):
    """All its files, then all its commands, one after another, in one folder."""
    text = GUIDE.read_text(encoding="utf-8")
    for _, name, content in re.findall(r"```(\w*)\n# (\S+\.\w+)\n(.*?)```", text, re.S):
        (tmp_path / name).write_text(content)
    (tmp_path / "mlforhpc").write_text(f'#!/bin/sh\nexec {sys.executable} -m mlforhpc "$@"\n')
    (tmp_path / "mlforhpc").chmod(0o755)
    environment = {**os.environ, "COLUMNS": "140", "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    commands = [part for block in re.findall(r"```console\n(.*?)```", text, re.S) for part in block.split("$ ")[1:]]
    assert len(commands) == 6
    for part in commands:
        command, _, shown = part.partition("\n")
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=200)
        assert done.returncode == 0, done.stderr
        assert shown_in(masked(shown), masked(done.stdout)), f"{command}\n{done.stdout}"
