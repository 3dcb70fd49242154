"""The network ensemble as nodes of an ONNX graph: `_network_model.Model.moments`, line by line."""

from __future__ import annotations

import numpy as np

from mlforhpc.core.space import FloatArray
from mlforhpc.learners._network_model import WIDTH, Model
from mlforhpc.learners._onnx import Graph, RunInterval, from_components, interval, run_noise


def add_model(graph: Graph, u: str, model: Model, width: FloatArray) -> RunInterval:
    """From the unit cube `u` (n, d) to the interval for a run; width (m,): see `_onnx.interval`."""
    v = _expand(graph, u, model.columns)
    scores = _forward(graph, v, model.layers)  # (M, n, k)
    middle = graph.reduced("ReduceMean", scores, 0)
    apart = graph.add("Sub", scores, middle)
    spread = graph.add("Add", graph.reduced("ReduceSum", graph.add("Mul", apart, apart), 0), graph.constant(model.residual))
    spread = graph.add("Div", spread, graph.constant(len(model.layers[0]) - 1 + float(model.count)))
    mean = from_components(graph, middle, model.loadings, model.centre)
    variance = from_components(graph, spread, model.loadings**2, model.rest)
    if len(model.noise):
        inputs = int(model.columns[-1, 0]) + 1
        variance = graph.add("Add", variance, run_noise(graph, u, inputs, model.noise, model.stated / model.fidelity))
    near = graph.add("LessOrEqual", _nearest(graph, v, model.runs), graph.constant(float(model.farthest)))
    return interval(graph, mean, variance, model.scale, width, near)


def _expand(graph: Graph, u: str, columns: FloatArray) -> str:
    """`_network_model.expand`."""
    v = graph.columns(u, columns[:, 0].astype(np.intp))
    options = columns[:, 2] > 0.0
    if options.any():
        away = graph.add("Abs", graph.add("Sub", v, graph.constant(columns[:, 1])))
        chosen = graph.add("Cast", graph.add("Less", away, graph.constant(columns[:, 2])), to=graph.DOUBLE)
        v = graph.add("Where", graph.constant(options), chosen, v)
    return graph.add("Mul", graph.add("Sub", v, graph.constant(0.5)), graph.constant(2.0 * WIDTH))


def _forward(graph: Graph, h: str, layers: tuple[FloatArray, ...]) -> str:
    """`_network_model.forward`; the first product is one of two matrices: OpenVINO fails to multiply (n, e) by (M, e, units)."""
    for i in range(0, len(layers), 2):
        h = _widen(graph, h, layers[0]) if i == 0 else graph.add("MatMul", h, graph.constant(layers[i]))
        h = graph.add("Add", h, graph.constant(layers[i + 1]))
        if i < len(layers) - 2:
            gate = graph.add("Tanh", graph.add("Mul", h, graph.constant(0.5)))
            h = graph.add("Mul", h, graph.scaled(gate, 0.5, 0.5))
    return h


def _widen(graph: Graph, v: str, weights: FloatArray) -> str:
    """Inputs (n, e) times weights (M, e, units): (M, n, units)."""
    members, inputs, units = weights.shape
    side_by_side = graph.constant(weights.transpose(1, 0, 2).reshape(inputs, members * units))
    apart = graph.add("Reshape", graph.add("MatMul", v, side_by_side), graph.constant([-1, members, units]))  # (n, M, units)
    return graph.add("Transpose", apart, perm=[1, 0, 2])


def _nearest(graph: Graph, v: str, runs: FloatArray) -> str:
    """`_network_model.nearest`."""
    square = graph.reduced("ReduceSum", graph.add("Mul", v, v), 1)
    others = from_components(graph, v, -2.0 * runs.T, np.sum(runs * runs, axis=1))  # (n, runs)
    return graph.add("Add", square, graph.reduced("ReduceMin", others, 1))
