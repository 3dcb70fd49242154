"""A Python function as a simulation: what it gets, what it may return, when its version changes."""

from __future__ import annotations

import importlib.util

import cloudpickle
import numpy as np
import pytest

from mlforhpc.core.errors import InvalidOutput, UsageError
from mlforhpc.core.simulation import Output, Outputs
from mlforhpc.core.space import Choice, Integer, Real, Space
from mlforhpc.simulations._function import simulation
from mlforhpc.testing.simulations import CHECKS

SPACE = Space(a=Real(0.0, 2.0), k=Integer(1, 3))
ONE = [Output(name="y")]
TWO = [Output(name="y"), Output(name="p", shape=(2,))]


def product(a, k):
    """A function of the parameters alone."""
    return a * k


def everything(a, k, *, settings, fidelity, seed, workdir):
    """A function that asks for all there is."""
    (workdir / "note").write_text("here")
    return {"y": a * settings["step"] + seed, "p": [fidelity, k]}


def run(sim, tmp_path, a=1.5, k=2):
    """One run at fidelity 0.5 with seed 4."""
    return sim.simulate({"a": a, "k": k}, settings=dict(sim.default_settings), fidelity=0.5, seed=4, workdir=tmp_path)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_it_keeps_the_contract(check):
    """Conformance."""
    check(simulation(product, space=SPACE, outputs=ONE))


def test_a_function_gets_only_what_it_names(tmp_path):
    """Parameters as keywords, nothing else for a plain function; its name is the simulation's."""
    sim = simulation(product, space=SPACE, outputs=ONE)
    assert sim.name == "product" and float(run(sim, tmp_path).values["y"]) == 3.0


def test_a_function_gets_all_that_it_names(tmp_path):
    """Settings, fidelity, seed and folder, because its signature names them."""
    steps = Space(step=Real(0.1, 10.0))
    sim = simulation(everything, space=SPACE, outputs=TWO, settings=steps, default_settings={"step": 2.0})
    found = run(sim, tmp_path)
    assert float(found.values["y"]) == 7.0 and found.values["p"].tolist() == [0.5, 2.0]
    assert (tmp_path / "note").read_text() == "here"


@pytest.mark.parametrize(
    "returned",
    [
        (3, [1, 2]),
        {"p": np.array([1, 2]), "y": 3.0},
        Outputs(values={"y": np.array(3.0), "p": np.array([1.0, 2.0])}, standard_errors={"y": np.array(0.1)}),
    ],
    ids=["tuple", "mapping", "outputs"],
)
def test_several_outputs_come_as_tuple_mapping_or_outputs(tmp_path, returned):
    """The same values, whatever they came in, as float64 arrays of the declared shapes."""
    found = run(simulation(lambda a, k: returned, space=SPACE, outputs=TWO), tmp_path)
    assert float(found.values["y"]) == 3.0 and found.values["p"].tolist() == [1.0, 2.0]
    assert found.values["p"].dtype == np.float64


@pytest.mark.parametrize("returned", [(1.0, 2.0), [1.0, 2.0], np.array([1.0, 2.0])], ids=["tuple", "list", "array"])
def test_one_array_may_be_any_sequence(tmp_path, returned):
    """For one output the value is the output, a tuple of numbers too."""
    found = run(simulation(lambda a, k: returned, space=SPACE, outputs=[Output(name="p", shape=(2,))]), tmp_path)
    assert found.values["p"].tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("returned", "sentence"),
    [((1.0,), "tuple of 2 values"), (5.0, "found float"), ({"y": 1.0}, "must return output 'p'"), ((np.nan, [1, 2]), "finite")],
)
def test_a_wrong_return_is_named(tmp_path, returned, sentence):
    """Too few values, no tuple, a missing name and a NaN are an InvalidOutput that says so."""
    with pytest.raises(InvalidOutput, match=sentence):
        run(simulation(lambda a, k: returned, space=SPACE, outputs=TWO), tmp_path)


def test_the_version_follows_the_source(tmp_path):
    """Editing the function's file or a listed file changes the version; an author's string wins over both."""

    def version_of(source, data):
        script, table = tmp_path / "model.py", tmp_path / "table.txt"
        script.write_text(source)
        table.write_text(data)
        spec = importlib.util.spec_from_file_location("model", script)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return simulation(module.f, space=SPACE, outputs=ONE, files=[table]).version

    first = version_of("def f(a, k): return a", "1")
    assert version_of("def f(a, k): return a", "1") == first
    assert version_of("def f(a, k): return a + 0", "1") != first != version_of("def f(a, k): return a", "2")
    assert simulation(product, space=SPACE, outputs=ONE, version="7").version == "7"


def test_a_function_without_source_needs_a_version(tmp_path):
    """What was made by exec has no source to hash: the error says what to do."""
    names = {}
    exec("def f(a, k): return a", names)
    with pytest.raises(UsageError, match="version='1'"):
        simulation(names["f"], space=SPACE, outputs=ONE)
    assert float(run(simulation(names["f"], space=SPACE, outputs=ONE, version="1"), tmp_path).values["y"]) == 1.5


def test_choices_arrive_as_text(tmp_path):
    """A Choice parameter is a string for the function."""
    sim = simulation(lambda c: float(len(c)), space=Space(c=Choice(("x", "long"))), outputs=ONE)
    found = sim.simulate(sim.space.point([1.0]), settings={}, fidelity=1.0, seed=0, workdir=tmp_path)
    assert float(found.values["y"]) == 4.0


def test_closures_travel(tmp_path):
    """A lambda around a local value goes to a worker and back."""
    factor = 5.0
    sim = cloudpickle.loads(cloudpickle.dumps(simulation(lambda a, k: factor * a, space=SPACE, outputs=ONE)))
    assert float(run(sim, tmp_path).values["y"]) == 7.5


@pytest.mark.parametrize(
    ("function", "space", "more", "sentence"),
    [
        (product, Space(a=Real(0, 1), q=Real(0, 1)), {}, "parameter 'q', which the function does not take"),
        (lambda a, k, extra: a, SPACE, {}, "needs an argument 'extra'"),
        (lambda seed: seed, Space(seed=Real(0, 1)), {}, "cannot be named 'seed'"),
        (product, SPACE, {"settings": Space(s=Real(0, 1))}, "default_settings"),
    ],
)
def test_a_misfit_is_refused_at_once(function, space, more, sentence):
    """Space and signature are compared before anything runs."""
    with pytest.raises(UsageError, match=sentence):
        simulation(function, space=space, outputs=ONE, **more)


def test_one_name_is_one_output():
    """A name of several letters is not taken for as many outputs."""
    made = simulation(lambda a: 2.0 * a, space=Space(a=Real(0, 1)), outputs="deflection", name="beam", version="1")
    assert [o.name for o in made.outputs] == ["deflection"]
