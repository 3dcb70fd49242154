"""A network surrogate as ONNX: the same numbers as `predict`, in a file that says what it is."""

from __future__ import annotations

import importlib
import json
import sys

import numpy as np
import pytest

from mlforhpc.core.errors import MissingExtra, UsageError
from mlforhpc.core.learner import Dataset
from mlforhpc.core.simulation import Output
from mlforhpc.core.space import Choice, Integer, Real, Space
from mlforhpc.learners import network
from mlforhpc.learners._noise import fit_noise, predict_noise
from mlforhpc.learners._saved import output_from_json, space_from_json

pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")
from mlforhpc.learners import _onnx  # noqa: E402 (needs onnx)

SPACE = Space(
    a=Real(0.1, 10.0, log=True, unit="nm"), b=Real(-1.0, 1.0), s=Real(1e-3, 1.0, log=True), k=Integer(1, 3), c=Choice(("x", "y", "z"))
)
OUTPUTS = (Output(name="n", unit="mol/L"), Output(name="p", shape=(2, 3), unit="nm", scale="mean"))


def fitted(space=SPACE, outputs=OUTPUTS, stated=("p",), n=50):
    """A small surrogate of positive outputs."""
    rng = np.random.default_rng(0)
    x = space.decode(rng.random((n, len(space))))
    level = 3.0 + space.encode(x) @ np.arange(1.0, 1.0 + len(space))  # (n,)
    y = {
        o.name: level.reshape(-1, *[1] * len(o.shape)) * np.linspace(1.0, 2.0, 6)[: int(np.prod(o.shape))].reshape(o.shape) for o in outputs
    }
    data = Dataset(
        space=space, outputs=outputs, x=x, y=y, y_se={name: 0.01 * y[name] for name in stated}, outcome=("ok",) * n,
        fidelity=np.full(n, 0.25), cost_s=np.ones(n),
    )  # fmt: skip
    return network.create(hidden=(12, 8), members=3, folds=2, updates=40).fit(data, seed=0)


@pytest.fixture(scope="module")
def surrogate():
    """Every kind of parameter; the array states standard errors, the number does not."""
    return fitted()


def run(path, x):
    """What ONNX Runtime makes of x, output name -> array."""
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, {"x": x}), strict=True))


def assert_same(found, p):
    """All outputs of a graph against a prediction, relative 1e-10."""
    for name in p.mean:
        for ending, wanted in (("", p.mean), (".lower", p.lower), (".upper", p.upper)):
            assert found[name + ending].dtype == np.float64
            np.testing.assert_allclose(found[name + ending], wanted[name], rtol=1e-10, atol=0.0)
    assert found["inside"].dtype == np.bool_ and np.array_equal(found["inside"], p.inside)


@pytest.mark.parametrize("n", [1, 1000])
def test_the_graph_gives_the_numbers_of_predict(surrogate, tmp_path, n):
    """Numbers, arrays, intervals and `inside`, through logarithms, an integer and a choice, for any number of points."""
    _onnx.export_onnx(surrogate, tmp_path / "s.onnx")
    x = SPACE.decode(np.random.default_rng(1).random((n, len(SPACE))))
    assert_same(run(tmp_path / "s.onnx", x), surrogate.predict(x))


def test_the_edges_of_the_space_are_inside_the_graph_as_well(surrogate, tmp_path):
    """Both ends of every parameter give what `predict` gives."""
    _onnx.export_onnx(surrogate, tmp_path / "s.onnx")
    corners = np.array([[0.1, -1.0, 1e-3, 1.0, 0.0], [10.0, 1.0, 1.0, 3.0, 2.0]])
    assert_same(run(tmp_path / "s.onnx", corners), surrogate.predict(corners))


def test_the_coverage_is_that_of_the_export(surrogate, tmp_path):
    """Half of the runs, if that was asked for."""
    _onnx.export_onnx(surrogate, tmp_path / "s.onnx", coverage=0.5)
    x = SPACE.decode(np.random.default_rng(2).random((20, len(SPACE))))
    assert_same(run(tmp_path / "s.onnx", x), surrogate.predict(x, coverage=0.5))


def test_outside_the_space_nothing_is_inside(surrogate, tmp_path):
    """Where `predict` refuses, the graph answers and says that it should not be believed."""
    _onnx.export_onnx(surrogate, tmp_path / "s.onnx")
    good = surrogate.space.decode(np.full((1, len(SPACE)), 0.5))
    x = np.repeat(good, 3, axis=0)
    x[1, 0], x[2, 1] = 10.1, -1.1
    assert run(tmp_path / "s.onnx", x)["inside"].tolist() == [bool(surrogate.predict(good).inside[0]), False, False]


@pytest.mark.parametrize("d", [2, 9])
@pytest.mark.parametrize("stated", [(), ("y",)], ids=["no errors stated", "errors stated"])
def test_few_and_many_inputs_with_errors_and_without(tmp_path, d, stated):
    """Up to eight inputs the stated errors are foreseen by a quadratic, beyond by a line; without any there is no such part."""
    space = Space({f"u{i}": Real(0.0, 1.0) for i in range(d)})
    surrogate = fitted(space, (Output(name="y", shape=(4,)),), stated)
    _onnx.export_onnx(surrogate, tmp_path / "s.onnx")
    x = np.random.default_rng(3).random((30, d))
    assert_same(run(tmp_path / "s.onnx", x), surrogate.predict(x))


def test_foreseen_errors_alone():
    """The graph's part for the stated errors against `predict_noise`, times a factor by column."""
    rng = np.random.default_rng(4)
    u = rng.random((40, 3))
    coefficients, factor = fit_noise(u, np.exp(rng.standard_normal((40, 2))), np.ones(40)), np.array([1.0, 4.0])
    graph = _onnx.Graph()
    graph.add("Identity", _onnx.run_noise(graph, "u", 3, coefficients, factor), name="noise")
    double, helper = onnx.TensorProto.DOUBLE, onnx.helper
    made = helper.make_graph(
        graph.nodes, "noise", [helper.make_tensor_value_info("u", double, ["n", 3])],
        [helper.make_tensor_value_info("noise", double, ["n", 2])], initializer=graph.constants,
    )  # fmt: skip
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", _onnx.OPERATORS)], ir_version=_onnx.FORMAT)
    found = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"u": u})[0]
    np.testing.assert_allclose(found, predict_noise(u, coefficients) * factor, rtol=1e-12)


def test_the_file_says_what_it_is(surrogate, tmp_path):
    """Versions, coverage, parameters and outputs with their units; a valid model with a free first axis."""
    _onnx.export_onnx(surrogate, tmp_path / "folder" / "s.onnx", coverage=0.8)
    model = onnx.load(tmp_path / "folder" / "s.onnx")
    onnx.checker.check_model(model, full_check=True)
    facts = {p.key: p.value for p in model.metadata_props}
    assert facts["surrogate"] == surrogate.version and facts["coverage"] == "0.8"
    assert facts["mlforhpc"] == model.producer_version and model.producer_name == "mlforhpc"
    assert space_from_json(json.loads(facts["parameters"])) == SPACE
    assert tuple(output_from_json(row) for row in json.loads(facts["outputs"])) == OUTPUTS
    shapes = {v.name: [s.dim_param or s.dim_value for s in v.type.tensor_type.shape.dim] for v in (*model.graph.input, *model.graph.output)}
    assert shapes["x"] == ["n", 5] and shapes["n"] == ["n"] and shapes["p.upper"] == ["n", 2, 3] and shapes["inside"] == ["n"]
    assert {v.name: v.doc_string for v in model.graph.output}["p.lower"] == "nm"


def test_two_exports_are_the_same_bytes(surrogate, tmp_path):
    """Nothing of time or place is in the file, and nothing is left beside it."""
    for name in ("a.onnx", "b.onnx"):
        _onnx.export_onnx(surrogate, tmp_path / name)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.onnx", "b.onnx"]


@pytest.mark.parametrize("name", ["x", "inside", "y.lower"])
def test_names_that_the_graph_needs_are_refused(tmp_path, name):
    """Before anything is written."""
    outputs = (Output(name=name), Output(name="y"))
    with pytest.raises(UsageError, match=f"output called '{name}' cannot be exported"):
        _onnx.export_onnx(fitted(Space(a=Real(0.0, 1.0)), outputs, ()), tmp_path / "s.onnx")
    assert not list(tmp_path.iterdir())


def test_nonsense_is_refused(surrogate, tmp_path):
    """A coverage of 1, and something that has no graph."""
    with pytest.raises(UsageError, match="between 0 and 1"):
        _onnx.export_onnx(surrogate, tmp_path / "s.onnx", coverage=1.0)
    with pytest.raises(UsageError, match="found str"):
        _onnx.export_onnx("surrogate", tmp_path / "s.onnx")


def test_without_onnx_the_extra_is_named(monkeypatch):
    """The sentence says what to install."""
    monkeypatch.delitem(sys.modules, "mlforhpc.learners._onnx")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtra, match=r"Export to ONNX needs the package 'onnx'.*pip install 'mlforhpc\[onnx\]'"):
        importlib.import_module("mlforhpc.learners._onnx")
