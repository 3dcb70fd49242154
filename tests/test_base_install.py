"""What `pip install mlforhpc` alone gives: in an environment of its own, without any extra."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from mlforhpc import suite
from mlforhpc.core import names

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.system
BASE = {"surrogate-borehole", "data-workflow", "service-answers"}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Runs `mlforhpc` of an environment that has the base install and nothing else."""
    folder = tmp_path_factory.mktemp("alone")
    venv.create(folder / "venv", with_pip=True)
    bare = {**os.environ, "PATH": str(folder / "venv" / "bin")}  # without R
    python = folder / "venv" / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--constraint", ROOT / "requirements.lock", ROOT]
    subprocess.run(install, check=True, cwd=folder)

    def run(*words):
        command = [python, "-m", "mlforhpc", *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=bare, timeout=280)

    return run


@pytest.mark.parametrize("engine", ["serial", "processes"])
@pytest.mark.parametrize("benchmark", sorted(BASE))
def test_what_needs_no_extra_runs(alone, benchmark, engine):
    """VALID at tiny, on both engines that are always there."""
    ran = alone("run", benchmark, "--size", "tiny", "--engine", engine, "--json")
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["runs"][0]["verdict"]["status"] == "VALID"


def test_every_other_benchmark_names_what_it_needs(alone):
    """Asked for by name: one sentence with the command that installs it, exit code 2."""
    for row in suite.listing():
        if row.name not in BASE:
            ran = alone("run", row.name, "--size", "tiny")
            assert ran.returncode == 2
            assert re.search(r"Install it with: (pip install 'mlforhpc\[\w+\]'|apt-get install .+)", ran.stderr), ran.stderr


def test_every_other_engine_names_its_extra(alone):
    """`mlforhpc system` says of each engine whether it is usable, and what is missing."""
    rows = json.loads(alone("system", "--json").stdout)
    for name in names.find("engines"):
        said = rows[f"engine {name}"]
        wanted = "usable" if name in ("serial", "processes") else f"pip install 'mlforhpc[{name}]'"
        assert wanted in said, said


def test_every_extra_can_be_resolved_by_pip():
    """Each by itself, with the versions of the lock file; `make test` has installed all of them together."""
    for extra in ("md", "parquet", "torch", "onnx", "openvino", "loadgen", "sklearn", "dask", "ray", "parsl", "mpi"):
        words = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--disable-pip-version-check"]
        ran = subprocess.run([*words, "--constraint", ROOT / "requirements.lock", f"{ROOT}[{extra}]"], capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
