"""A simulation by what a person types: a function or a simulation in a file, a TOML file, a built-in name."""

from __future__ import annotations

import sys

import pytest

import mlforhpc as ml
from mlforhpc.core.errors import UsageError
from mlforhpc.core.simulation import Output
from mlforhpc.core.space import Real
from mlforhpc.simulations._source import simulation_of

OWN = """
import mlforhpc as ml
from source_helper import factor

def area(width, height):
    return factor * width * height

plate = ml.simulation(area, space=ml.Space(width=ml.Real(1, 2), height=ml.Real(1, 2)), outputs="y", version="7")
LIMIT = 3
"""
LOCKED = "import threading\nlock = threading.Lock()\ndef area(width):\n    with lock:\n        return width\n"
SPACE = {"width": Real(1, 2), "height": Real(0, 1)}
ONE = [Output(name="a", unit="m2")]


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A file with a function and a simulation, importing a file beside it; what it does to this process is undone."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    (tmp_path / "source_helper.py").write_text("factor = 2.0\n")
    (tmp_path / "source_own.py").write_text(OWN)
    yield tmp_path / "source_own.py"
    for name in set(sys.modules) - before:
        if name.startswith(("source_", "own_")):
            del sys.modules[name]


def call(sim, tmp_path, **x):
    """One run."""
    return float(sim.simulate(x, settings={}, fidelity=1.0, seed=0, workdir=tmp_path).values[sim.outputs[0].name])


def test_a_plain_function_takes_parameters_and_outputs(own, tmp_path):
    """Name and version are the function's own; files beside the file can be imported."""
    sim = simulation_of(f"{own}:area", parameters=SPACE, outputs=ONE)
    assert (sim.name, sim.outputs[0].unit, len(sim.version)) == ("area", "m2", 12)
    assert call(sim, tmp_path, width=1.5, height=1.0) == 3.0


def test_a_simulation_of_the_file_is_taken_as_it_is(own):
    """By its name, or without one where the file has only one."""
    assert simulation_of(f"{own}:plate").version == "7"
    assert simulation_of(str(own)).version == "7"


def test_a_file_with_the_name_of_a_loaded_module_disturbs_it_not(own, tmp_path):
    """`queue.py` of the user's leaves the library's `queue` where it is, even if it cannot travel by value."""
    import queue

    (tmp_path / "queue.py").write_text(LOCKED)
    sim = simulation_of(f"{tmp_path / 'queue.py'}:area", parameters={"width": Real(0, 1)}, outputs=ONE)
    assert call(sim, tmp_path, width=0.5) == 0.5 and sys.modules["queue"] is queue


@pytest.mark.parametrize(
    ("text", "value"),
    [("def area(width): return 2 * width\nprint('run')\n", True), (LOCKED, False)],
    ids=["by value", "by reference"],
)
def test_what_a_file_defines_travels(own, tmp_path, text, value, capfd):
    """By value where it can be, so that no slot runs the file again; a lock cannot, so that slots import it."""
    (own.parent / "source_travels.py").write_text(text)
    sim = simulation_of(f"{own.parent / 'source_travels.py'}:area", parameters={"width": Real(0, 1)}, outputs=ONE)
    assert sim.function.__module__ == ("own_source_travels" if value else "source_travels")
    with ml.Campaign(tmp_path / "c", slots=1) as campaign:
        found = campaign.broker.simulate(sim, {"width": 0.5}, seed=0).result()
    assert float(found.outputs["a"]) == (1.0 if value else 0.5)
    printed = capfd.readouterr()
    assert printed.err.count("run") == int(value) and "run" not in printed.out


def test_a_built_in_name(tmp_path):
    """As in the suite."""
    assert simulation_of("branin").name == "branin"


@pytest.mark.parametrize(
    ("text", "more", "sentence"),
    [
        ("{own}:aera", {}, r"has no 'aera'; it has .*Did you mean 'area'\?"),
        (
            "{own}:area",
            {},
            r"plain function, whose parameters and outputs were not said.*--parameter width=LOW:HIGH --parameter height=LOW:HIGH",
        ),
        ("{own}:area", {"parameters": SPACE}, r"whose outputs were not said"),
        ("{own}:area", {"parameters": {"width": Real(0, 1)}, "outputs": ONE}, r"needs an argument 'height'"),
        ("{own}:LIMIT", {}, r"must be a function or a simulation, found int"),
        ("{own}:plate", {"parameters": SPACE}, r"says its own parameters and outputs; leave out"),
        ("{folder}/none.py:f", {}, r"There is no file"),
        ("{folder}/two.py", {}, r"has 2 simulations: a, b; say which.*two\.py:a or .*two\.py:b"),
        ("{folder}/plain.py", {}, r"has no simulations; say which, or which function: .*plain\.py:f"),
        ("{folder}/broken.py:f", {}, r"broken\.py', line 3, cannot be imported: ZeroDivisionError"),
        ("{folder}/syntax.py:f", {}, r"syntax\.py', line 1, cannot be imported: SyntaxError"),
        ("{folder}/lacks.py:f", {}, r"lacks\.py', line 1, cannot be imported: ModuleNotFoundError: No module named 'no_such_package'"),
        ("{folder}/misuse.py:f", {}, r"misuse\.py' cannot be imported: Real needs finite bounds"),
        ("branni", {}, r"FILE\.py:name, FILE\.toml or a built-in name, found 'branni'\. Did you mean 'branin'\?"),
        ("branin", {"outputs": ONE}, r"leave out"),
    ],
)
def test_what_cannot_be_had_is_a_sentence(own, tmp_path, text, more, sentence):
    """Wanted, found, way out; nothing half-imported stays."""
    (tmp_path / "two.py").write_text(OWN.replace("plate =", "a = b =").replace("a = b = ml.sim", "a = ml.sim") + "b = a\n")
    (tmp_path / "plain.py").write_text("def f(x): return x\n")
    (tmp_path / "broken.py").write_text("x = 1\n\ny = 1 / 0\n")
    (tmp_path / "syntax.py").write_text("def f(:\n")
    (tmp_path / "lacks.py").write_text("import no_such_package\n")
    (tmp_path / "misuse.py").write_text("import mlforhpc as ml\nml.Real(2, 1)\n")
    with pytest.raises(UsageError, match=sentence):
        simulation_of(text.format(own=own, folder=tmp_path), **more)
    assert not {"broken", "syntax", "lacks", "misuse"} & set(sys.modules)
