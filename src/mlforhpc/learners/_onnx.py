"""A surrogate as an ONNX file, so that it answers from C++, Fortran or a browser without Python: same numbers as `predict`.

Input `x` (n, d) float64 in physical units, a choice as its option's index. For each output `name`: `name` (n, *shape), the mean,
and `name.lower`, `name.upper`, the interval for a run of the training runs' median fidelity, all float64 in the output's unit;
`inside` (n,) bool, false also outside the space, where `predict` would refuse. n is free.

A surrogate class takes part by a method `onnx_graph`, which adds what it calculates from the unit cube; what surrogates have in
common is here. ONNX: Open Neural Network Exchange, operator set 18.
"""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mlforhpc.core.errors import UsageError
from mlforhpc.core.learner import Surrogate
from mlforhpc.core.names import missing
from mlforhpc.core.output_columns import placed
from mlforhpc.core.simulation import Output
from mlforhpc.core.space import FloatArray, Real, Space, bounds
from mlforhpc.learners._noise import MOST_QUADRATIC, pairs
from mlforhpc.learners._saved import output_to_json, replace_file, space_to_json

try:
    import onnx
    from onnx import TensorProto, helper, numpy_helper
except ModuleNotFoundError as error:
    raise missing("Export to ONNX", error.name or "onnx") from error

OPERATORS, FORMAT = 18, 8
"""Versions of operator set and file format: ONNX Runtime reads them from 1.14 (2023) on."""
INPUT, INSIDE, ENDINGS = "x", "inside", ("", ".lower", ".upper")


class RunInterval(NamedTuple):
    """Names in a graph, in the outputs' units: mean (n, m), half-width of the interval for a run (n, m), within reach (n,) bool."""

    mean: str
    half: str
    inside: str


@runtime_checkable
class Exportable(Protocol):
    """A surrogate that can be exported."""

    @property
    def space(self) -> Space: ...
    @property
    def outputs(self) -> tuple[Output, ...]: ...
    @property
    def version(self) -> str: ...

    def onnx_graph(self, graph: Graph, u: str, coverage: float) -> RunInterval:
        """Add what `predict` calculates, from the unit cube `u` (n, d) on; columns are the outputs' elements in order."""
        ...


class Graph:
    """Grows node by node; what is added gets a name, by which it is used."""

    DOUBLE = int(TensorProto.DOUBLE)

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, value: NDArray[Any] | Sequence[int] | float) -> str:
        """An array as it is, a float as float64, whole numbers as int64."""
        name = f"/constant/{len(self.constants)}"
        array = np.asarray(value)  # a scalar stays one
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name))
        return name

    def add(self, operator: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """A node with one output, called `name` or by a number."""
        output = name or f"/node/{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def scaled(self, a: str, factor: FloatArray | float, shift: FloatArray | float = 0.0) -> str:
        """a * factor + shift."""
        return self.add("Add", self.add("Mul", a, self.constant(factor)), self.constant(shift))

    def reduced(self, operator: str, a: str, axis: int) -> str:
        """ReduceSum, ReduceMean or ReduceMin along one axis, which goes."""
        return self.add(operator, a, self.constant([axis]), keepdims=0)

    def columns(self, a: str, index: NDArray[np.intp]) -> str:
        """Some columns (n, len(index)) of an array (n, m)."""
        return self.add("Gather", a, self.constant(index.astype(np.int64)), axis=1)


def export_onnx(surrogate: Surrogate, path: Path, *, coverage: float = 0.9) -> None:
    """Write `surrogate` to `path` as ONNX, next to it first and then renamed.

    Args:
        surrogate: whose class offers `onnx_graph`.
        path: of the file, usually ending in .onnx.
        coverage: of the intervals, in (0, 1).

    Raises:
        UsageError: a coverage outside (0, 1), an output of a name that the graph needs, or a surrogate that cannot be exported.
        MissingExtra: (on import of this module) onnx is not installed.
    """
    if not isinstance(surrogate, Exportable):
        raise UsageError(f"A surrogate with a method 'onnx_graph' is wanted for export to ONNX, found {type(surrogate).__name__}.")
    taken = {INPUT, INSIDE, *(o.name + ending for o in surrogate.outputs for ending in ENDINGS[1:])}
    reserved = [o.name for o in surrogate.outputs if o.name in taken]
    if reserved:
        raise UsageError(f"An output called '{reserved[0]}' cannot be exported to ONNX: the graph needs that name. Rename the output.")
    graph = Graph()
    found = surrogate.onnx_graph(graph, encode(graph, surrogate.space), coverage)
    graph.add("And", found.inside, within(graph, surrogate.space), name=INSIDE)
    parts = (found.mean, graph.add("Sub", found.mean, found.half), graph.add("Add", found.mean, found.half))
    for name, (a, b, shape) in placed(surrogate.outputs).items():
        for ending, columns in zip(ENDINGS, parts, strict=True):
            own = graph.columns(columns, np.arange(a, b))
            graph.add("Reshape", own, graph.constant([-1, *shape]), name=name + ending)
    replace_file(Path(path), _model(surrogate, graph, coverage).SerializeToString())


def encode(graph: Graph, space: Space) -> str:
    """The unit cube (n, d) of the graph's input; see `mlforhpc.core.space`."""
    low, high = np.array([bounds(p) for p in space.parameters.values()]).T
    log = np.array([isinstance(p, Real) and p.log for p in space.parameters.values()])
    whole = np.array([not isinstance(p, Real) for p in space.parameters.values()])
    x, low, high = INPUT, low - 0.5 * whole, high + 0.5 * whole
    if log.any():
        mask = graph.constant(log)
        x = graph.add("Where", mask, graph.add("Log", graph.add("Where", mask, INPUT, graph.constant(1.0))), INPUT)
        low[log], high[log] = np.log(low[log]), np.log(high[log])
    return graph.add("Div", graph.add("Sub", x, graph.constant(low)), graph.constant(high - low))


def within(graph: Graph, space: Space) -> str:
    """Whether each point lies inside the space's bounds (n,)."""
    low, high = np.array([bounds(p) for p in space.parameters.values()]).T
    above, below = graph.add("Sub", INPUT, graph.constant(low)), graph.add("Sub", graph.constant(high), INPUT)
    room = graph.add("Min", graph.reduced("ReduceMin", above, 1), graph.reduced("ReduceMin", below, 1))
    return graph.add("GreaterOrEqual", room, graph.constant(0.0))


def from_components(graph: Graph, scores: str, loadings: FloatArray, shift: FloatArray) -> str:
    """Scores (n, k) -> columns (n, m); with squared loadings and what was cut off, variances -> variances."""
    return graph.add("Add", graph.add("MatMul", scores, graph.constant(loadings)), graph.constant(shift))


def run_noise(graph: Graph, u: str, inputs: int, coefficients: FloatArray, factor: FloatArray) -> str:
    """`_noise.predict_noise` of so many inputs, times a factor (m,): (n, m)."""
    features = graph.scaled(u, 2.0, -1.0)
    if inputs <= MOST_QUADRATIC:
        i, j = pairs(inputs)
        features = graph.add("Concat", features, graph.add("Mul", graph.columns(features, i), graph.columns(features, j)), axis=1)
    log_se2 = from_components(graph, features, coefficients[1:], coefficients[0])
    return graph.add("Mul", graph.add("Exp", log_se2), graph.constant(factor))


def interval(graph: Graph, mean: str, variance: str, scale: FloatArray, width: FloatArray, inside: str) -> RunInterval:
    """From scaled mean and run variance (n, m) to units: width (m,) is a half-width for a variance of 1, in the outputs' units."""
    half = graph.add("Mul", graph.add("Sqrt", variance), graph.constant(width))
    return RunInterval(graph.add("Mul", mean, graph.constant(scale)), half, inside)


def _model(surrogate: Exportable, graph: Graph, coverage: float) -> onnx.ModelProto:
    """The graph with its input, its outputs and what there is to know about them."""
    space, double = surrogate.space, TensorProto.DOUBLE
    answers = [
        helper.make_tensor_value_info(o.name + ending, double, ["n", *o.shape], doc_string=o.unit)
        for o in surrogate.outputs
        for ending in ENDINGS
    ]
    made = helper.make_graph(
        graph.nodes,
        "surrogate",
        [helper.make_tensor_value_info(INPUT, double, ["n", len(space)], doc_string=", ".join(space.names))],
        [*answers, helper.make_tensor_value_info(INSIDE, TensorProto.BOOL, ["n"])],
        initializer=graph.constants,
    )
    version = importlib.metadata.version("mlforhpc")
    model = helper.make_model(
        made, opset_imports=[helper.make_opsetid("", OPERATORS)], ir_version=FORMAT, producer_name="mlforhpc", producer_version=version
    )
    facts = {
        "mlforhpc": version,
        "surrogate": surrogate.version,
        "coverage": repr(coverage),
        "parameters": json.dumps(space_to_json(space)),
        "outputs": json.dumps([output_to_json(o) for o in surrogate.outputs]),
    }
    helper.set_model_props(model, facts)
    onnx.checker.check_model(model, full_check=True)
    return model
