"""The command line in this process, and users' files for it."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from mlforhpc.cli import main

WAVE = """
import mlforhpc as ml

def wave(a, b):
    return a * b + a

def pair(a, b):
    if a > 0.75:
        raise FloatingPointError("the solver diverged")
    return a + b, [a * i + b for i in range(4)]

space = ml.Space(a=ml.Real(0, 1, unit="m"), b=ml.Real(1, 2))
made = ml.simulation(wave, space=space, outputs=[ml.Output(name="y", unit="N", scale=1.0)], references=["Somebody, Waves, 2020"])
"""


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        """What it printed, as data."""
        return json.loads(self.out)

    @property
    def said(self) -> str:
        """Everything it printed, on one line."""
        return " ".join((self.out + self.err).split())


@pytest.fixture
def call(capsys, monkeypatch):
    """call("list", "--json"): the command in this process, with its exit code; what it imports is forgotten at the end."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)

    def command(*words: object) -> Done:
        capsys.readouterr()
        try:
            main([str(word) for word in words])
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        return Done(code, out, err)

    yield command
    for name in set(sys.modules) - before:
        if name.startswith("own_cli_"):
            del sys.modules[name]


@pytest.fixture
def wave(tmp_path) -> Path:
    """A file with two plain functions and a simulation."""
    (tmp_path / "cli_wave.py").write_text(WAVE)
    return tmp_path / "cli_wave.py"
