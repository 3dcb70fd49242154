"""A Gaussian process as ONNX: the same numbers as `predict`, whatever the space and the outputs."""

from __future__ import annotations

import numpy as np
import pytest

from mlforhpc.core.learner import Dataset
from mlforhpc.core.simulation import Output
from mlforhpc.core.space import Choice, Integer, Real, Space
from mlforhpc.learners import gaussian_process

pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")
from mlforhpc.learners import _onnx  # noqa: E402 (needs onnx)

SPACE = Space(a=Real(0.1, 10.0, log=True, unit="nm"), b=Real(-1.0, 1.0), k=Integer(1, 3), c=Choice(("x", "y", "z")))
OUTPUTS = (Output(name="n", unit="mol/L"), Output(name="p", shape=(2, 3), unit="nm", scale="mean"))


def fitted(space=SPACE, outputs=OUTPUTS, stated=("p",), noise=0.02, n=40):
    """A small surrogate of positive outputs that grow towards a corner."""
    rng = np.random.default_rng(0)
    x = space.decode(rng.random((n, len(space))))
    u = space.encode(x)
    level = 3.0 + np.exp(2.0 * u[:, 0]) * (1.0 + np.sin(3.0 * u).sum(axis=1))  # (n,)
    y = {o.name: np.multiply.outer(level, np.linspace(1.0, 2.0, int(np.prod(o.shape))).reshape(o.shape)) for o in outputs}
    y = {name: a * (1.0 + noise * rng.standard_normal(a.shape)) for name, a in y.items()}
    data = Dataset(
        space=space, outputs=outputs, x=x, y=y, y_se={name: noise * y[name] for name in stated}, outcome=("ok",) * n,
        fidelity=np.full(n, 0.25), cost_s=np.ones(n),
    )  # fmt: skip
    return gaussian_process.create(folds=3).fit(data, seed=0)


def assert_same(surrogate, path, x, coverage=0.9):
    """The file against `predict`, relative 1e-9 of the outputs and of the intervals' widths."""
    _onnx.export_onnx(surrogate, path, coverage=coverage)
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = dict(zip([o.name for o in session.get_outputs()], session.run(None, {"x": x}), strict=True))
    p = surrogate.predict(x, coverage=coverage)
    for name in p.mean:
        np.testing.assert_allclose(found[name], p.mean[name], rtol=1e-9)
        width, wanted = found[name + ".upper"] - found[name + ".lower"], p.upper[name] - p.lower[name]
        np.testing.assert_allclose(width, wanted, rtol=1e-6, atol=1e-9 * np.abs(p.mean[name]).max())
        assert found[name].dtype == np.float64 and found[name].shape == p.mean[name].shape
    assert np.array_equal(found["inside"], p.inside)


@pytest.mark.parametrize("n", [1, 1000])
@pytest.mark.parametrize("stated", [("p",), (), ("n", "p")])
def test_the_graph_gives_the_numbers_of_predict(tmp_path, n, stated):
    """Numbers, arrays, intervals and `inside`, through a logarithm, an integer and a choice, noise stated or not."""
    assert_same(fitted(stated=stated), tmp_path / "s.onnx", SPACE.decode(np.random.default_rng(1).random((n, len(SPACE)))))


@pytest.mark.parametrize("d", [1, 12])
def test_one_input_and_many(tmp_path, d):
    """From one input to more than foreseen errors are quadratic in."""
    space = Space({f"x{i}": Real(0.0, 1.0) for i in range(d)})
    surrogate = fitted(space, (Output(name="y"),), stated=("y",))
    assert_same(surrogate, tmp_path / "s.onnx", np.random.default_rng(2).random((50, d)), coverage=0.5)


def test_outputs_that_never_vary(tmp_path):
    """No component is left: the mean is the constant, and the graph still runs."""
    space = Space(a=Real(0.0, 1.0))
    data = Dataset(
        space=space, outputs=(Output(name="y"),), x=np.linspace(0, 1, 8)[:, None], y={"y": np.full(8, 3.0)}, y_se={},
        outcome=("ok",) * 8, fidelity=np.ones(8), cost_s=np.ones(8),
    )  # fmt: skip
    surrogate = gaussian_process.create(folds=2).fit(data, seed=0)
    _onnx.export_onnx(surrogate, tmp_path / "s.onnx")
    session = runtime.InferenceSession(tmp_path / "s.onnx", providers=["CPUExecutionProvider"])
    assert session.run(["y"], {"x": np.array([[0.3], [0.7]])})[0].tolist() == [3.0, 3.0]
